"""Vectors of texts that exist already, for an encoder whose vectors were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.vector_files import Side, Source, faults, read, unit
from pipeline.errors import CallError, RunError, nearest
from pipeline.schema import PrecomputedEncoder

NAMES = ("text", "texts", "caption")  # arrays or columns that may hold the texts
SAME = 1e-3  # vectors of one text may differ by so much of their length: half precision, another batch
NEAR_AMONG = 50_000  # texts that are compared with one that is not there
BLOCK = 65_536  # rows checked at a time


class Texts:
    """Texts with a vector each."""

    def __init__(self, source: Source, names: Sequence[str], path: Path, fingerprint: str) -> None:
        self.source, self.path, self.fingerprint = source, path, fingerprint
        self.places = _places(source, names, path)

    @property
    def count(self) -> int:
        """How many different texts there are."""
        return len(self.places)

    def lack(self, texts: Sequence[str]) -> str | None:
        """Why one of the texts has no vector, None where all have one."""
        lost = next((text for text in texts if text not in self.places), None)
        if lost is None:
            return None
        near = nearest(lost, list(self.places)[:NEAR_AMONG])
        return f"encoder.text_path: {self.path.name} has no vector for the text '{lost}'{near}"

    def vectors(self, texts: Sequence[str], normalize: bool) -> np.ndarray:
        """(n, d) float32 in the order of the texts. Raises RunError for one that has no vector."""
        if (reason := self.lack(texts)) is not None:
            raise RunError(reason)
        found = self.source.rows(np.array([self.places[text] for text in texts], np.int64))
        return (unit(found) if normalize else found).astype(np.float32)


def open_texts(
    settings: PrecomputedEncoder, dimension: int, content_hashes: Callable[[Sequence[str]], list[str]]
) -> Texts | None:
    """The texts that `settings` name, all checked; None where they name none. dimension: of the images' vectors.
    Raises CallError."""
    if settings.text_path is None:
        return None
    path, given = Path(settings.text_path), settings.text_names
    lines = Path(given) if given and given.lower().endswith(".txt") else None
    names = () if lines else (given,) if given else NAMES
    side = Side("encoder.text_path", names, "encoder.text_names" if names else "", "text_emb", "texts")
    source = read(path, settings.column, side)
    if source.dimension != dimension:
        raise CallError(
            f"encoder.text_path: {path.name} has vectors of {source.dimension:,} numbers, those of images have "
            f"{dimension:,}: they are of different encoders"
        )
    listed = _lines(lines) if lines else source.names
    if listed is None:
        raise CallError(
            f"encoder.text_names: {path.name} holds vectors only: give a .txt file with a text in each line"
        )
    files = [*source.files, *([str(lines)] if lines else [])]
    hashes = ":".join(content_hashes(files))
    return Texts(source, listed, path, f"precomputed texts:{settings.column}:{given}:{hashes}")


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CallError(f"encoder.text_names: {file.name} cannot be read: {why}") from error
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _places(source: Source, names: Sequence[str], path: Path) -> dict[str, int]:
    """Text -> row. Raises CallError where a text is missing, its vector is none, or it has two."""
    if len(names) != source.count:
        raise CallError(f"encoder.text_names: {len(names):,} texts for the {source.count:,} vectors of {path.name}")
    for row, name in enumerate(names):
        if not name.strip():
            raise CallError(f"encoder.text_names: the text of vector {row + 1:,} of {path.name} is empty")
    for start in range(0, source.count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, source.count))
        for wrong, what in zip(faults(source.rows(rows)), ("has NaN or infinite values", "is all zero"), strict=True):
            if wrong.any():
                row = int(rows[wrong][0])
                raise CallError(
                    f"encoder.text_path: {path.name}: the vector of '{names[row]}' (row {row + 1:,}) {what}"
                )
    places: dict[str, int] = {}
    again = [row for row, name in enumerate(names) if places.setdefault(name, row) != row]
    for row in again:
        one, other = source.rows(np.array([places[names[row]], row]))
        if np.linalg.norm(one - other) > SAME * np.linalg.norm(one):
            raise CallError(f"encoder.text_path: {path.name}: the text '{names[row]}' has two different vectors")
    return places
