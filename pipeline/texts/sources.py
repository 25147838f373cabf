"""Where texts come from: text files, a table, the data set's captions or class names, a list in the call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.datasets.trees import Disk, is_utf8, printable
from pipeline.errors import CallError, nearest
from pipeline.schema import CaptionsText, FilesText, LabelsText, TableText, WordsText
from pipeline.texts import columns

if TYPE_CHECKING:
    import pandas as pd

# an analysis that was named is refused with it, else it is a choice: pipeline.stage.by_choice
NO_TEXTS = "it needs texts (text=folder, file, table, captions, labels, words, or tagging.index=...), and text=none"

ENDING = ".txt"  # of the files that a folder is searched for, in small letters or capitals

Hashes = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class TextFile:
    """name: below text.path, with '/'; content_hash: BLAKE3; problem: '<reason>: <detail>' where it cannot be read."""

    name: str
    path: Path
    content_hash: str = ""
    problem: str = ""


@dataclass(frozen=True)
class TextSources:
    """files: to be read, in the order of their names' bytes. cells: texts that are there already, with their category;
    kind: what these are. notes: what to know of it."""

    files: tuple[TextFile, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    kind: str = "line"
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with every text, and with the name of every file: 64 hexadecimal digits."""
        state = hashlib.sha256(self.kind.encode())
        for file in self.files:
            state.update(f"\0{file.name}\0{file.content_hash}\0{file.problem}".encode())
        for text, category in self.cells:
            state.update(f"\0\0{len(text)}\0{text}\0{category}".encode("utf-8", "surrogatepass"))
        return state.hexdigest()


def find_sources(
    settings: Any, hashes: Hashes, images: pd.DataFrame | None = None, image_labels: pd.DataFrame | None = None
) -> TextSources:
    """What the `text` section of the config names. images, image_labels: artifacts, for captions and class names.
    Raises CallError."""
    if isinstance(settings, FilesText):
        return _files(settings, hashes)
    if isinstance(settings, TableText):
        path = Path(settings.path)
        return TextSources((_file(path.name, path, hashes([str(path)])[0]),))
    if isinstance(settings, WordsText):
        return TextSources(cells=tuple((word, "") for word in settings.words), kind="word")
    if images is None:
        raise CallError(f"text={settings.source}: there are no images to take texts of")
    if isinstance(settings, CaptionsText):
        known = images[images["caption"].notna()]
        cells = zip(known["caption"], known["label"].fillna(""), strict=True)
        return TextSources(cells=tuple(cells), kind="caption")
    labels = images["label"] if image_labels is None else image_labels["label"]
    return TextSources(cells=tuple((label, label) for label in sorted(labels.dropna().unique())), kind="label")


def look(settings: Any) -> None:
    """Raises CallError for a path or a column that is not there; opens no more than a table's head."""
    if isinstance(settings, TableText):
        _must_be_file(Path(settings.path))
        columns.must_have(Path(settings.path), settings.column, settings.category_column)
    elif isinstance(settings, FilesText) and settings.source == "file":
        _must_be_file(Path(settings.path))
    elif isinstance(settings, FilesText):
        _must_be_folder(Path(settings.path))
        if not any(_is_text(name) for name in _tree(settings).files(True)):
            raise CallError(f"text.path: no {ENDING} files in {settings.path} or the folders in it")


def refusal(settings: Any, captioned: bool, labelled: bool) -> str | None:
    """Why this data set has no such texts, None if it may have."""
    if settings.source == "none":
        return NO_TEXTS
    if isinstance(settings, CaptionsText) and not captioned:
        return "text=captions, but the data set has no captions"
    if isinstance(settings, LabelsText) and not labelled:
        return "text=labels, but the data set has no labels"
    return None


def _files(settings: FilesText, hashes: Hashes) -> TextSources:
    path = Path(settings.path)
    if settings.source == "file":
        return TextSources((_file(path.name, path, hashes([str(path)])[0]),))
    tree = _tree(settings)
    names = sorted((name for name in tree.files(True) if _is_text(name)), key=os.fsencode)
    places = [tree.place(name) for name in names]
    files = [_file(*found) for found in zip(names, map(Path, places), hashes(places), strict=True)]
    count = tree.leaving(tree.real())
    said = "1 link leads" if count == 1 else f"{count} links lead"
    notes = (f"{said} out of text.path; what is there is read",) if count else ()
    return TextSources(tuple(files), notes=notes)


def _file(name: str, path: Path, content: str) -> TextFile:
    """content: its hash, or why it cannot be read."""
    problem = ""
    if not is_utf8(name):
        problem = "file name: not valid UTF-8, rename the file"
    elif len(content) != 64:
        reason, _, detail = content.partition(": ")
        problem = f"{reason}: {detail or 'a pipe, a device or a folder'}"
    return TextFile(printable(name), path, "" if problem else content, problem)


def _tree(settings: FilesText) -> Disk:
    return Disk(Path(settings.path), key="text.path")


def _is_text(name: str) -> bool:
    return name.lower().endswith(ENDING)


def _must_be_file(path: Path) -> None:
    if path.is_dir():
        raise CallError(f"text.path: {path} is a folder; text=folder reads those")
    if not path.exists():
        raise CallError(f"text.path: no such file: {path}{nearest(path.name, _siblings(path))}")
    if not path.is_file():
        raise CallError(f"text.path: {path} is a pipe or a device, not a file")


def _must_be_folder(path: Path) -> None:
    if path.is_file():
        raise CallError(f"text.path: {path} is a file; text=file reads one, text=table a column of a table")
    if not path.is_dir():
        raise CallError(f"text.path: no such folder: {path}{nearest(path.name, _siblings(path))}")


def _siblings(path: Path) -> list[str]:
    return [place.name for place in path.parent.iterdir()] if path.parent.is_dir() else []
