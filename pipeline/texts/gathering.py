"""From sources to entries: lines and n-grams of all texts, in portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import compress, groupby
from pathlib import Path
from typing import Any

from pipeline.schema import FilesText, GramSettings, TableText
from pipeline.texts import columns
from pipeline.texts.entries import Entries
from pipeline.texts.grams import KINDS, Grams, Rules
from pipeline.texts.portions import Portion, UnreadableText, check, portions
from pipeline.texts.sources import TextFile, TextSources

LONGEST = 10_000  # characters of an entry: no encoder sees as much

Progress = Callable[[int, int], None]


@dataclass
class Gathered:
    """entries: how many of each kind were written; skipped: (name, reason, detail) of files that could not be read.
    lines: texts as they stand; of these, blank, long and repeated ones are no entries. nuls: characters that were read
    as spaces."""

    entries: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    files: int = 0
    lines: int = 0
    blank: int = 0
    long: int = 0
    repeated: int = 0
    nuls: int = 0


@dataclass(frozen=True)
class _Piece:
    """Some lines of a file or cells of a table; where there are several categories, one for each."""

    portion: Portion
    categories: Sequence[str]

    def stretches(self) -> Iterator[tuple[str, list[str]]]:
        """(category, lines of it that follow one another)."""
        if len(self.categories) == 1:
            yield self.categories[0], list(self.portion.lines)
            return
        rows = zip(self.categories, self.portion.lines, strict=True)
        for category, some in groupby(rows, key=lambda row: row[0]):
            yield category, [line for _, line in some]


def gather(sources: TextSources, settings: Any, folder: Path, progress: Progress) -> Gathered:
    """Writes `folder`/texts.parquet and texts.arrow with the columns of entries.schema(), neither of them where there
    is no entry. Raises RunError for a table that cannot be read."""
    found = Gathered()
    running = isinstance(settings, GramSettings)
    kinds = [kind.value.removesuffix("s") for kind in settings.kinds] if running else ["line"]
    of_grams = tuple(kind for kind in KINDS if kind in kinds)
    grams = Grams(Rules(of_grams, settings.lower, settings.min_count, settings.top_k)) if of_grams else None
    entries = Entries(folder / "gathering", settings.chunk_size if running else len(sources.cells) or 1)
    lower = running and settings.lower
    joined = isinstance(settings, FilesText) and settings.across_lines
    total = sum(file.path.stat().st_size for file in sources.files if not file.problem and file.path.is_file())
    done = 0
    for file in sources.files or (None,):
        for number, piece in enumerate(_of_file(file, settings, found) if file else _of_cells(sources)):
            lines, continues = piece.portion.lines, piece.portion.continues or (joined and number > 0)
            if "line" in kinds:
                entries.add(*_as_entries(piece, lower, found), sources.kind)
            if grams:
                for category, some in piece.stretches():
                    grams.add(some, category, joined, continues)
            done += sum(map(len, lines)) + len(lines)
            if total:
                progress(min(done, total), total)
    if grams:
        for kind in of_grams:
            entries.add_scored([astuple(gram) for gram in grams.best(kind)], kind)
    found.entries = entries.write(folder / "texts.parquet", folder / "texts.arrow")
    found.repeated = entries.plain - found.entries.get(sources.kind, 0)
    return found


def _of_file(file: TextFile, settings: Any, found: Gathered) -> Iterator[_Piece]:
    """Nothing for a file that cannot be read: it is listed."""
    if file.problem:
        reason, _, detail = file.problem.partition(": ")
        found.skipped.append((file.name, reason, detail))
    elif isinstance(settings, TableText):
        found.files += 1
        for cells, categories in columns.cells(file.path, settings.column, settings.category_column):
            yield _piece(cells, categories)
    else:
        try:
            found.nuls += check(file.path, file.content_hash)
        except UnreadableText as error:
            found.skipped.append((file.name, error.reason, error.detail))
            return
        found.files += 1
        for portion in portions(file.path):
            yield _Piece(portion, [file.name])


def _of_cells(sources: TextSources) -> Iterator[_Piece]:
    yield _piece([text for text, _ in sources.cells], [category for _, category in sources.cells])


def _piece(cells: Sequence[str], categories: Sequence[str]) -> _Piece:
    """A cell is a line, whatever it holds."""
    return _Piece(Portion([_clean(cell) for cell in cells]), [_clean(category) for category in categories])


def _clean(cell: str) -> str:
    """On one line; without halves of characters, which JSON and the command line can hold."""
    if not cell.isprintable():
        cell = " ".join(cell.replace("\0", " ").splitlines())
        cell = cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return cell


def _as_entries(piece: _Piece, lower: bool, found: Gathered) -> tuple[list[str], list[str]]:
    """(texts, categories) of the lines that can be entries; counts the others."""
    lines, categories = list(piece.portion.lines), piece.categories
    found.lines += len(lines) - piece.portion.continues
    if piece.portion.continues:  # in pieces, so it is a long one, and counted where it began
        lines[0] = ""
        found.blank -= 1
    if piece.portion.unfinished and lines[-1]:
        lines[-1] = ""
        found.blank -= 1
        found.long += 1
    texts = [line.strip() for line in lines]
    if lower:
        texts = [text.lower() for text in texts]
    found.blank += texts.count("")
    found.long += sum(len(text) > LONGEST for text in texts)
    good = [0 < len(text) <= LONGEST for text in texts]
    if len(categories) == 1 < len(texts):
        categories = [categories[0]] * len(texts)
    return list(compress(texts, good)), list(compress(categories, good))
