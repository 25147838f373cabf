"""Vectors that exist already: of images, matched to a data set, and of texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.places import unturned
from inference.probability import Rule
from pipeline.datasets.matching import match
from pipeline.datasets.text_vectors import Texts, open_texts
from pipeline.datasets.vector_files import Side, Source, faults, read, unit
from pipeline.errors import RunError
from pipeline.schema import PrecomputedEncoder

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LENGTHS = (1e-15, 1e15)  # beyond, squares leave float32 and distances are wrong without a word
BLOCK = 2**26  # bytes of vectors held at a time while they are brought into order
NO_SCALE = "encoder.logit_scale: needed for probabilities: what the model multiplies cosines by (100 for CLIP)"
IMAGES = Side("encoder.path", ("id", "ids", "image_path"), "", "img_emb", "images")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Unusable:
    """rows: of the files that are left out, and why, for skipped.csv."""

    rows: np.ndarray
    reason: str
    detail: str


class Precomputed:
    """Given vectors as the record and the embedding stage see them. Nothing in them is changed but the order, the type
    (float32) and, if wanted, the length. Of texts it knows what an encoder knows (inference.encoders.Encoder)."""

    def __init__(self, source: Source, settings: PrecomputedEncoder, fingerprint: str, texts: Texts | None) -> None:
        self.source, self.texts = source, texts
        self.path, self.normalize, self.logit_scale = Path(settings.path), settings.normalize, settings.logit_scale
        self.name = "precomputed"
        self.model = self.path.name
        self.dimension = source.dimension
        self.dtype = "float32"
        self.precision = f"as given ({source.parts[0].dtype}), stored as float32"
        self.preprocessing = "not known: the vectors were made elsewhere"
        self.image_fingerprint = fingerprint
        self.text_fingerprint = texts.fingerprint if texts else None

    def facts(self) -> dict[str, Any]:
        """For the record."""
        told = {
            name: getattr(self, name) for name in ("name", "model", "preprocessing", "precision", "dimension", "dtype")
        }
        told |= {"normalized": self.normalize, "texts": self.texts is not None}
        told["fingerprints"] = {"images": self.image_fingerprint, "texts": self.text_fingerprint}
        if self.texts is None:
            return told
        texts = {"path": str(self.texts.path), "count": self.texts.count, "fingerprint": self.texts.fingerprint}
        return told | {"text_vectors": texts}

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """(n, dimension) float32: their given vectors. Raises RunError for a text without one."""
        if self.texts is None:
            raise RunError("encoder.text_path: needed for texts, with vectors of the encoder that made the images' own")
        return self.texts.vectors(texts, self.normalize)

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        """(n, m) cosines of n images to m texts -> (n, m) probabilities, rows that sum to 1: softmax of
        `logit_scale` times them. Raises RunError where that is not known."""
        if self.logit_scale is None:
            raise RunError(NO_SCALE)
        return Rule(self.logit_scale)(similarities)

    def match(self, files: pd.DataFrame) -> np.ndarray:
        """(len(files),) int64: the row of each file's vector, -1 for none: by their names (matching.match has the
        rules), or by order where the vectors have none. Raises RunError where neither fits."""
        if self.source.names is None:
            return self._by_order(files)
        try:
            found = match(files["id"].tolist(), [unturned(path) for path in files["path"]], self.source.names)
        except RunError as error:
            raise RunError(f"encoder.path: {self.path.name}: {error}") from error
        has = found.rows >= 0
        said = f"{self.path.name}: {has.sum():,} of {len(has):,} images have a vector, matched by {found.rule}"
        if found.sure:
            log.info(said)
        else:
            row = int(np.flatnonzero(has)[0])
            image = files["path"][row] or files["id"][row]
            log.warning("%s: '%s' is that of '%s', say", said, self.source.names[found.rows[row]], image)
        return found.rows

    def _by_order(self, files: pd.DataFrame) -> np.ndarray:
        rows = files.attrs.get("rows")
        if rows is None:
            raise RunError(
                f"encoder.path: {self.path.name} has no ids, and the data set no order of its own; use dataset=table"
            )
        if rows != self.source.count:
            raise RunError(f"encoder.path: {self.path.name} has {self.source.count:,} vectors, the table {rows:,} rows")
        log.info("%s: matched by order", self.path.name)
        return files["position"].to_numpy(np.int64)

    def take(self, found: np.ndarray, target: Path, progress: Progress) -> tuple[np.ndarray, list[Unusable]]:
        """Vectors in the order of `found`, written to `target`: (m, d) float32, and the rows left out. Raises RunError
        for lengths that cannot be worked with."""
        kept = np.flatnonzero(found >= 0)
        step = max(1, BLOCK // (8 * self.dimension))
        wrong = np.zeros((2, len(kept)), bool)
        for start in range(0, len(kept), step):  # first look, then write: the number of good rows is known only then
            block = slice(start, start + step)
            rows = self.source.rows(found[kept[block]])
            wrong[:, block] = faults(rows)
            self._must_have_length(rows[~wrong[:, block].any(axis=0)])
            progress(min(start + step, len(kept)), 2 * len(kept))
        unusable = [
            Unusable(np.flatnonzero(found < 0), "no vector", f"{self.path.name} has none for it"),
            Unusable(kept[wrong[0]], "not finite", "the vector has NaN, infinite or missing values"),
            Unusable(kept[wrong[1]], "all zero", "the vector has no direction"),
        ]
        made = self._written(found[kept[~wrong.any(axis=0)]], target, step, progress)
        return made, [some for some in unusable if len(some.rows)]

    def _must_have_length(self, rows: np.ndarray) -> None:
        if self.normalize:
            return
        lengths = np.linalg.norm(rows, axis=1)
        odd = lengths[(lengths < LENGTHS[0]) | (lengths > LENGTHS[1])]
        if len(odd):
            raise RunError(
                f"encoder.path: {self.path.name} has a vector of length {odd[0]:.2g}, too far from 1 for distances "
                f"between vectors ({LENGTHS[0]:g} to {LENGTHS[1]:g}): use encoder.normalize=true"
            )

    def _written(self, wanted: np.ndarray, target: Path, step: int, progress: Progress) -> np.ndarray:
        """The source's rows `wanted` in a file."""
        if not len(wanted):
            return np.empty((0, self.dimension), np.float32)
        made = np.lib.format.open_memmap(target, "w+", np.float32, (len(wanted), self.dimension))
        for start in range(0, len(wanted), step):
            rows = self.source.rows(wanted[start : start + step])
            made[start : start + step] = unit(rows) if self.normalize else rows
            progress(len(wanted) + min(start + step, len(wanted)), 2 * len(wanted))
        made.flush()
        stored: np.ndarray = np.load(target, mmap_mode="r")
        return stored


def open_vectors(settings: PrecomputedEncoder, content_hashes: Callable[[Sequence[str]], list[str]]) -> Precomputed:
    """The vectors that `settings` name, those of texts too, checked for shape and type. Raises CallError."""
    source = read(Path(settings.path), settings.column, IMAGES)
    fingerprint = f"precomputed:{settings.column}:{':'.join(content_hashes(source.files))}"
    return Precomputed(source, settings, fingerprint, open_texts(settings, source.dimension, content_hashes))
