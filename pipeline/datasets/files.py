"""Single images, named one by one or in a text file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.candidates import Found, candidates, text_frame
from pipeline.datasets.folders import groups_of
from pipeline.errors import CallError, nearest
from pipeline.schema import FilesDataset


def find(settings: FilesDataset, data: Path) -> Found:
    """Candidates of the files, whatever their names end in. An id is the path below the deepest folder that all lie in;
    `position` is the place in the list. Raises CallError."""
    named = settings.files or _lines(Path(str(settings.list)))
    files = list(dict.fromkeys(named))
    if settings.files:
        _must_exist(files)
    common = os.path.commonpath([Path(file).parent for file in files])
    rows = ((Path(file).relative_to(common).as_posix(), file) for file in files)
    frame = text_frame(rows, ("id", "path")).assign(position=range(len(files)))
    groups = groups_of(frame["id"], settings.group)
    twice = len(named) - len(files)
    notes = (f"{twice} lines of {settings.list} name a file once more; each counts once",) if twice else ()
    found = candidates(frame.assign(group=groups.cells))
    return Found(found, notes=(*notes, *groups.notes), rows=len(files))


def _lines(file: Path) -> list[str]:
    """The paths in a text file, absolute. Raises CallError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        siblings = [place.name for place in file.parent.iterdir()] if file.parent.is_dir() else []
        raise CallError(f"dataset.list: no such file: {file}{nearest(file.name, siblings)}") from error
    except UnicodeDecodeError as error:
        raise CallError(f"dataset.list: {file.name} is not UTF-8 (byte {error.start:,})") from error
    except OSError as error:
        raise CallError(f"dataset.list: {file.name} cannot be read: {error.strerror}") from error
    paths = [os.path.normpath(file.parent / Path(line).expanduser()) for line in lines if line.strip()]
    if not paths:
        raise CallError(f"dataset.list: {file.name} names no file")
    return paths


def _must_exist(files: Sequence[str]) -> None:
    """What was typed by hand: a slip is said at once. A list may have gaps, which are counted when it is read."""
    problems = []
    for file in map(Path, files):
        if not file.is_file():
            siblings = [place.name for place in file.parent.iterdir()] if file.parent.is_dir() else []
            problems.append(f"dataset.files: no such file: {file}{nearest(file.name, siblings)}")
    if problems:
        raise CallError(*problems)
