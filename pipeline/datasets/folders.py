"""Image folders: pairs of class and folder, a root whose sub-folders are classes, or one flat unlabelled folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inference.images import EXTENSIONS
from pipeline.datasets.candidates import Found, candidates
from pipeline.errors import CallError, nearest
from pipeline.schema import FoldersDataset

NOT_UTF8 = "file name: not valid UTF-8, rename the file"
TWICE = "so with dataset.recursive=true images would count twice"


def find(settings: FoldersDataset, data: Path) -> Found:
    """Candidates of `settings.pairs` or `settings.root`. An id is class/path below the class folder."""
    if settings.pairs:
        names, folders = settings.pairs[::2], settings.pairs[1::2]
        return _classes(_checked(names, folders, settings.recursive), settings)
    root = Path(str(settings.root))
    _must_be_folder(root, "dataset.root")
    return of_root(root, settings)


def of_root(root: Path, settings: FoldersDataset) -> Found:
    """Sub-folders with images are classes; without any, the images of the root itself are one unlabelled set."""
    subfolders = _subfolders(root)
    filled = [name for name in subfolders if _has_images(root / name, settings.recursive)]
    if not filled:
        return _flat(root, settings, subfolders)
    empty = sorted(set(subfolders) - set(filled))
    if empty:
        raise CallError(_no_images(root / empty[0], settings.recursive, f"class folder '{empty[0]}' of dataset.root"))
    classes = {name: root / name for name in filled}
    if problems := _overlaps(list(classes.items()), settings.recursive, "dataset.root"):  # by links
        raise CallError(*problems)
    found = _classes(classes, settings)
    beside = sum(1 for _ in _image_names(root))
    note = f"{beside} images lie in {root} beside the class folders and are left out"
    return Found(found.table, found.ignored, found.notes + ((note,) if beside else ()))


def _flat(root: Path, settings: FoldersDataset, subfolders: list[str]) -> Found:
    if next(_image_names(root), None) is None:
        raise CallError(_no_images(root, settings.recursive or not subfolders, "dataset.root"))
    ignored: Counter[str] = Counter()
    rows = list(_rows(root, None, False, ignored))
    return _found(rows, ignored, settings)


def _classes(folders: dict[str, Path], settings: FoldersDataset) -> Found:
    ignored: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    real = [_real(folder) for folder in folders.values()]
    for name, folder in folders.items():
        of_class = list(_rows(folder, name, settings.recursive, ignored, real))
        if not of_class:
            raise CallError(_no_images(folder, settings.recursive, f"class '{name}'"))
        rows += of_class
    return _found(rows, ignored, settings)


def _found(rows: list[dict[str, Any]], ignored: Counter[str], settings: FoldersDataset) -> Found:
    notes = _group(rows, settings.group) if settings.group else ()
    return Found(candidates(rows), dict(sorted(ignored.items())), notes)


def _checked(names: list[str], folders: list[str], recursive: bool) -> dict[str, Path]:
    """Class -> folder; every problem with the pairs at once."""
    problems = []
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(f"dataset.pairs: the class '{name}' is given {count} times; each name once")
        if not name.strip():
            problems.append("dataset.pairs: a class has no name")
    for name, folder in zip(names, folders, strict=True):
        problems += _folder_problem(Path(folder), f"dataset.pairs, class '{name}'")
    classes = [(name, Path(folder)) for name, folder in zip(names, folders, strict=True)]
    problems += _overlaps(classes, recursive, "dataset.pairs")
    if problems:
        raise CallError(*problems)
    return dict(classes)


def _overlaps(classes: Sequence[tuple[str, Path]], recursive: bool, what: str) -> list[str]:
    """Classes whose folders are, links resolved, the same or lie in each other."""
    problems = []
    real = [_real(folder) for _, folder in classes]
    for i, (name, folder) in enumerate(classes):
        for j, (other, _) in enumerate(classes[:i]):
            if real[i] == real[j]:
                problems.append(f"{what}: '{other}' and '{name}' are the same folder: {folder}")
            elif recursive and _inside(real[i], real[j]):
                problems.append(f"{what}: the folders of '{other}' and '{name}' lie in each other, {TWICE}")
    return problems


def _real(folder: Path) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:  # a NUL in the name: no such folder, which is said elsewhere
        return str(folder)


def _inside(a: str, b: str) -> bool:
    return os.path.commonpath([a, b]) in (a, b)


def _must_be_folder(folder: Path, what: str) -> None:
    if problems := _folder_problem(folder, what):
        raise CallError(*problems)


def _folder_problem(folder: Path, what: str) -> list[str]:
    if not _is_utf8(str(folder)):
        return [f"{what}: the folder's name is not valid UTF-8, rename it: {_printable(str(folder))}"]
    try:
        folder.stat()
        if not folder.is_dir():
            return [f"{what}: not a folder: {folder}"]
        os.scandir(folder).close()
    except FileNotFoundError:
        return [f"{what}: no such folder: {folder}{_nearest_sibling(folder)}"]
    except (OSError, ValueError) as error:
        return [f"{what}: cannot be opened: {folder} ({getattr(error, 'strerror', None) or error})"]
    return []


def _nearest_sibling(folder: Path) -> str:
    try:
        return nearest(folder.name, [place.name for place in folder.parent.iterdir() if place.is_dir()])
    except OSError:
        return ""


def _no_images(folder: Path, recursive: bool, what: str) -> str:
    more = "" if recursive else "; dataset.recursive=true also looks in the folders inside it"
    return f"{what}: no images in {folder} (looked for {' '.join(EXTENSIONS)}){more}"


def _subfolders(root: Path) -> list[str]:
    names = sorted(entry.name for entry in _entries(root) if _is_folder(entry) and not entry.name.startswith("."))
    for name in names:
        if not _is_utf8(name):
            raise CallError(f"dataset.root: a folder's name is not valid UTF-8, rename it: {_printable(name)}")
    return names


def _has_images(folder: Path, recursive: bool) -> bool:
    return next((name for name in _walk(folder, recursive) if _is_image(name)), None) is not None


def _image_names(folder: Path) -> Iterator[str]:
    return (name for name in _walk(folder, False) if _is_image(name))


def _rows(
    folder: Path, label: str | None, recursive: bool, ignored: Counter[str], elsewhere: Iterable[str] = ()
) -> Iterator[dict[str, Any]]:
    for name in _walk(folder, recursive, elsewhere):
        if not _is_image(name):
            ignored[_printable(Path(name).suffix.lower() or Path(name).name)] += 1
            continue
        inside = name if _is_utf8(name) else _printable(name)
        yield {
            "id": inside if label is None else f"{label}/{inside}",
            "path": str(folder / inside),
            "label": label,
            "problem": "" if _is_utf8(name) else NOT_UTF8,
        }


def _walk(folder: Path, recursive: bool, elsewhere: Iterable[str] = ()) -> Iterator[str]:
    """Names of files below `folder`, with '/'; hidden ones are not looked at; a folder reached twice counts once, and
    folders `elsewhere` (real paths), which links may lead to, are left to others."""
    seen = {os.path.realpath(folder), *elsewhere}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for entry in _entries(folder / below):
            if entry.name.startswith("."):
                continue
            name = f"{below}{entry.name}"
            if not _is_folder(entry):
                yield name
            elif recursive and (real := os.path.realpath(folder / name)) not in seen:
                seen.add(real)
                waiting.append(f"{name}/")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, in the order of the names' bytes."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise CallError(f"dataset: a folder cannot be opened: {_printable(str(folder))} ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that is closed to us
        return False


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _group(rows: list[dict[str, Any]], pattern: str) -> tuple[str, ...]:
    """Fill in each row's group; a row without a match is a group of its own."""
    missed = []
    for row in rows:
        match = re.search(pattern, row["id"])
        group = match.group(min(1, match.re.groups)) if match else None
        if group:
            row["group"] = group
        else:  # an empty match would put all of these into one group
            row["group"] = row["id"]
            missed.append(row["id"])
    if len(missed) == len(rows):
        raise CallError(f"dataset.group = {pattern}: matches no image; the first is called {rows[0]['id']}")
    if not missed:
        return ()
    return (f"dataset.group matches {len(rows) - len(missed)} of {len(rows)} images; the others are groups of one",)
