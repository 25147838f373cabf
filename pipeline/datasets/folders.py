"""Image folders: pairs of class and folder, a root whose sub-folders are classes, or one flat unlabelled folder. The
root may be a zip archive, and may hold a folder for each split first."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.dicom import starts_like_dicom
from inference.images import EXTENSIONS
from pipeline.datasets.candidates import Found, candidates, text_frame, texts
from pipeline.datasets.trees import Disk, Tree, Zipped, is_utf8, opened_zip, printable
from pipeline.errors import CallError, nearest, one_of
from pipeline.schema import FoldersDataset

if TYPE_CHECKING:
    import pandas as pd

NOT_UTF8 = "file name: not valid UTF-8, rename the file"
TWICE = "so with dataset.recursive=true images would count twice"
NO_ENDING = re.compile(r"[^.]+|[\d.]+")  # or a DICOM identifier for a name
SPLITS = ("train", "val", "valid", "validation", "test")


@dataclass(frozen=True)
class _Class:
    """Images of one label, or without any, in one folder."""

    tree: Tree
    label: str | None
    split: str | None = None

    @property
    def name(self) -> str:
        """What stands before the file's name in an id."""
        return "/".join(part for part in (self.split, self.label) if part is not None)


def find(settings: FoldersDataset, data: Path) -> Found:
    """Candidates of `settings.pairs` or `settings.root`. An id is class/path below the class folder, after the split
    where there are splits. Raises CallError."""
    if settings.pairs:
        folders = _checked(settings.pairs[::2], settings.pairs[1::2], settings.recursive)
        return _found([_Class(tree, name) for name, tree in folders.items()], settings)
    root = Path(str(settings.root))
    if root.is_file() and (zipfile.is_zipfile(root) or root.suffix.lower() == ".zip"):
        return _of_zip(root, settings)
    _must_be_folder(root, "dataset.root")
    return of_root(Disk(root), settings)


def _of_zip(archive: Path, settings: FoldersDataset) -> Found:
    whole, twice = opened_zip(archive, "dataset.root")
    root = _unwrapped(whole)
    notes = [f"all of {archive.name} lies in its folder {root.prefix}"] if root.prefix else []
    if twice:
        notes.append(f"{twice} files of {archive.name} have the name of another one in it; the last of a name is used")
    return of_root(root, settings, notes)


def _unwrapped(root: Zipped) -> Zipped:
    """Archives often hold one folder, and all else in that: it is no class, unless it holds images itself."""
    while len(root.inner) == 1 and _first_image(root, False) is None:
        name, only = next(iter(root.inner.items()))
        if name.lower() in SPLITS or _first_image(only, False) is not None:
            break
        root = only
    return root


def of_root(root: Tree, settings: FoldersDataset, notes: Sequence[str] = ()) -> Found:
    """Sub-folders with images are classes; without any, the images of the root itself are one unlabelled set. The same
    inside each split, where the root holds splits. Raises CallError."""
    splits = _splits(root, settings.splits)
    if splits:
        said = "" if settings.splits else f"the folders of {root} are taken as splits: {', '.join(splits)}"
        levels = [_level(root.below(split), settings, split) for split in splits]
    else:
        said, levels = "", [_level(root, settings, None)]
    classes = [some for level, _ in levels for some in level]
    if problems := _overlaps([(some.name, some.tree) for some in classes], settings.recursive, "dataset.root"):
        raise CallError(*problems)
    return _found(classes, settings, [*notes, *filter(None, [said]), *(note for _, more in levels for note in more)])


def _splits(root: Tree, wanted: Sequence[str]) -> list[str]:
    """The sub-folders that are splits: those asked for, else all where nothing else is there."""
    names = root.folders()
    for split in wanted:
        if split not in names:
            raise CallError(f"dataset.splits: {root} has no folder '{split}'{one_of(split, names) if names else ''}")
    return list(wanted) or (names if all(name.lower() in SPLITS for name in names) else [])


def _level(tree: Tree, settings: FoldersDataset, split: str | None) -> tuple[list[_Class], list[str]]:
    """The classes in the root or a split, and what to know of it."""
    what = "dataset.root" if split is None else f"split '{split}' of dataset.root"
    names = tree.folders()
    filled = [name for name in names if _first_image(tree.below(name), settings.recursive) is not None]
    beside = sum(_is_image(tree, name) for name in tree.files(False))
    if not filled:
        if not beside:
            raise CallError(_no_images(tree, settings.recursive or not names, what))
        return [_Class(tree, None, split)], []
    empty = sorted(set(names) - set(filled))
    if empty and split is None:
        raise CallError(_no_images(tree.below(empty[0]), settings.recursive, f"class folder '{empty[0]}' of {what}"))
    notes = [f"class '{name}' has no images in split '{split}'" for name in empty]
    if beside:
        notes.append(f"{beside} images lie in {tree} beside the class folders and are left out")
    return [_Class(tree.below(name), name, split) for name in filled], notes


def _found(classes: Sequence[_Class], settings: FoldersDataset, notes: Sequence[str] = ()) -> Found:
    import pandas as pd

    ignored: Counter[str] = Counter()
    real = [some.tree.real() for some in classes]
    frames = []
    for some in classes:
        rows = _rows(some, settings.recursive and some.label is not None, ignored, real)
        frames.append(text_frame(rows, ("id", "path", "label", "split", "problem")))
        if frames[-1].empty:
            raise CallError(_no_images(some.tree, settings.recursive, f"class '{some.label}'"))
    frame = pd.concat(frames, ignore_index=True)
    groups = groups_of(frame["id"], settings.group)
    links = _links_that_leave(classes, settings)
    found = candidates(frame.assign(group=groups.cells))
    return Found(found, dict(sorted(ignored.items())), (*notes, *links, *groups.notes))


def _links_that_leave(classes: Sequence[_Class], settings: FoldersDataset) -> tuple[str, ...]:
    """They are followed, and counted."""
    root = None if settings.root is None else os.path.realpath(settings.root)
    count = sum(some.tree.leaving(root or some.tree.real()) for some in classes if isinstance(some.tree, Disk))
    where = "dataset.root" if root else "their class folder"
    said = "1 link leads" if count == 1 else f"{count} links lead"
    return (f"{said} out of {where}; what is there is read",) if count else ()


def _rows(
    some: _Class, recursive: bool, ignored: Counter[str], elsewhere: Sequence[str]
) -> Iterator[tuple[str, str, str | None, str | None, str]]:
    """(id, path, label, split, problem) of each image; files of other kinds are counted."""
    before = f"{some.name}/" if some.name else ""
    for name in some.tree.files(recursive, elsewhere):
        if not _is_image(some.tree, name):
            ignored[printable(Path(name).suffix.lower() or Path(name).name)] += 1
            continue
        inside, problem = (name, "") if is_utf8(name) else (printable(name), NOT_UTF8)
        yield before + inside, some.tree.place(inside), some.label, some.split, problem


def _checked(names: list[str], folders: list[str], recursive: bool) -> dict[str, Disk]:
    """Class -> folder; every problem with the pairs at once."""
    problems = []
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(f"dataset.pairs: the class '{name}' is given {count} times; each name once")
        if not name.strip():
            problems.append("dataset.pairs: a class has no name")
    for name, folder in zip(names, folders, strict=True):
        problems += _folder_problem(Path(folder), f"dataset.pairs, class '{name}'")
    classes = [(name, Disk(Path(folder))) for name, folder in zip(names, folders, strict=True)]
    problems += _overlaps(classes, recursive, "dataset.pairs")
    if problems:
        raise CallError(*problems)
    return dict(classes)


def _overlaps(classes: Sequence[tuple[str, Tree]], recursive: bool, what: str) -> list[str]:
    """Classes whose folders are, links resolved, the same or lie in each other."""
    problems = []
    real = [folder.real() for _, folder in classes]
    for i, (name, folder) in enumerate(classes):
        for j, (other, _) in enumerate(classes[:i]):
            if real[i] == real[j]:
                problems.append(f"{what}: '{other}' and '{name}' are the same folder: {folder}")
            elif recursive and _inside(real[i], real[j]):
                problems.append(f"{what}: the folders of '{other}' and '{name}' lie in each other, {TWICE}")
    return problems


def _inside(a: str, b: str) -> bool:
    return os.path.commonpath([a, b]) in (a, b)


def _must_be_folder(folder: Path, what: str) -> None:
    if problems := _folder_problem(folder, what):
        raise CallError(*problems)


def _folder_problem(folder: Path, what: str) -> list[str]:
    if not is_utf8(str(folder)):
        return [f"{what}: the folder's name is not valid UTF-8, rename it: {printable(str(folder))}"]
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


def _no_images(tree: Tree, recursive: bool, what: str) -> str:
    more = "" if recursive else "; dataset.recursive=true also looks in the folders inside it"
    return f"{what}: no images in {tree} (looked for {' '.join(EXTENSIONS)}){more}"


def _first_image(tree: Tree, recursive: bool) -> str | None:
    return next((name for name in tree.files(recursive) if _is_image(tree, name)), None)


def _is_image(tree: Tree, name: str) -> bool:
    """By its ending; only what has none is looked into, on disk, for scanners write DICOM files without one."""
    if name.lower().endswith(EXTENSIONS):
        return True
    last = name.rpartition("/")[2]
    nameless = isinstance(tree, Disk) and NO_ENDING.fullmatch(last) and last.upper() != "DICOMDIR"
    return bool(nameless) and starts_like_dicom(tree.place(name))


@dataclass(frozen=True)
class Groups:
    """cells: of each image, None where no groups were asked for; notes: what the user should know of them."""

    cells: pd.Series | None = None
    notes: tuple[str, ...] = ()


def groups_of(ids: pd.Series, pattern: str | None) -> Groups:
    """The group of each id; one that does not match is a group of its own. Raises CallError where none matches."""
    if not pattern:
        return Groups()
    matched = texts(_matches(ids, pattern))
    missed = int(matched.isna().sum())
    if missed == len(ids):
        raise CallError(f"dataset.group = {pattern}: matches no image; the first is called {ids.iloc[0]}")
    said = f"dataset.group matches {len(ids) - missed} of {len(ids)} images; the others are groups of one"
    return Groups(matched.fillna(ids), (said,) if missed else ())


def _matches(ids: Iterable[str], pattern: str) -> Iterator[str | None]:
    for name in ids:
        match = re.search(pattern, name)
        found = match.group(min(1, match.re.groups)) if match else None
        yield found or None  # an empty match would put all of these into one group
