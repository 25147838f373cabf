"""Open Images (Kuznetsova et al., 2020): a folder of `<ImageID>.jpg` with the tables of V1 to V7.

A label counts where people verified that it is present, which the tables say beside what they verified to be absent
and what only a machine believes. An image has several labels; `dataset.several_labels` says which one is its label, or
that each label is judged by itself (`multi`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.images import EXTENSIONS, ImageFile
from inference.places import UnreadableImage, turned
from pipeline.datasets.candidates import Found, candidates
from pipeline.datasets.download import Unreachable, download
from pipeline.datasets.open_images_tables import Judged, class_names, image_facts, image_labels
from pipeline.errors import CallError, nearest, one_of
from pipeline.schema import ManyLabels, OpenImagesDataset

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "open_images"  # below paths.data
SPLITS = ("train", "validation", "test")
BELOW = ("", "labels", "metadata")  # where tables lie, in the root or the folder above it
HUMAN = r"(?!.*machine).*(image-?_?labels|classifications).*\.csv(\.gz)?|labels\.csv"
MACHINE = r".*machine.*image-?_?labels.*\.csv(\.gz)?"
CLASSES = r".*class[-_](descriptions|names).*\.csv|classes\.csv|dict\.csv"
IMAGE_IDS = r".*(image[-_]ids|images.*rotation).*\.csv(\.gz)?"
ABOUT = "https://storage.googleapis.com/openimages/web/download_v7.html"


def find(settings: OpenImagesDataset, data: Path) -> Found:
    """Candidates of the images in the folder, with labels by the rule. An id is the ImageID.

    With `classes` only images that show one of them are listed (with `multi`, all that were judged for one). Raises
    CallError for a folder without images, tables that are missing or cannot be read, and classes that do not exist.
    """
    root = _root(settings, data)
    images, ignored, twice = _images(root)
    if images.empty:
        raise CallError(_nothing_there(root, settings))
    names = _Classes(class_names(_classes_tables(root, settings)))
    wanted = names.wanted(settings.classes)
    tables = _label_tables(root, settings)
    judged = image_labels(tables, settings.machine_threshold, images["id"].tolist(), wanted)
    notes = [f"{twice:,} images lie in two folders: the first is taken"] if twice else []
    notes += _oddities(judged)
    images = images.merge(_label_of_each(judged.frame, wanted, names, settings, notes), how="left", on="id")
    images, labels = _of_interest(images, judged.frame, wanted, names, settings, notes)
    images = _upright(images, root, settings, notes)
    facts = {
        "labels": "verified by people" + ("" if settings.machine_threshold is None else ", or by a machine"),
        "several_labels": settings.several_labels.value,
        "label_tables": [path.name for path in tables],
    }
    return Found(candidates(images), ignored, tuple(notes), facts=facts, labels=labels)


def fetch(settings: OpenImagesDataset, data: Path, progress: Callable[[int, int], None]) -> tuple[str, ...]:
    """Download the images of `classes`, up to `limit_per_class` of each, that are not there; notes of what is missing.

    Raises CallError where the address cannot be reached; what came before is kept, and the same call goes on.
    """
    if not settings.download:
        return ()
    if not settings.classes:
        raise CallError("dataset.download: needs dataset.classes=[...]: the images of all classes are nine million")
    root = _root(settings, data)
    names = _Classes(class_names(_classes_tables(root, settings)))
    wanted = names.wanted(settings.classes)
    found = image_labels(_label_tables(root, settings), settings.machine_threshold, labels=wanted).frame
    chosen = _drawn(found[found["present"]], wanted, settings)
    there = set(_images(root)[0]["id"]) if root.is_dir() else set()
    missing = [name for name in chosen if name not in there]
    if not missing:
        return ()
    splits = _splits(missing, root, settings)
    base = settings.base_url.rstrip("/")
    files = [(f"{base}/{splits[name]}/{name}.jpg", root / splits[name] / f"{name}.jpg") for name in missing]
    return _downloaded(files, base, progress)


# --- where things are ------------------------------------------------------------------------------------------------


def _root(settings: OpenImagesDataset, data: Path) -> Path:
    return Path(settings.root) if settings.root else data / FOLDER


def _images(root: Path) -> tuple[pd.DataFrame, dict[str, int], int]:
    """id, path and split of every image in the folder or one below; endings of other files; names there twice."""
    import pandas as pd

    ids: dict[str, tuple[str, str | None]] = {}
    ignored: Counter[str] = Counter()
    twice = 0
    for folder in _folders(root):
        split = folder.name if folder.name in SPLITS else None
        for name in _files(folder):
            stem, dot, ending = name.rpartition(".")
            if not name.lower().endswith(EXTENSIONS):
                ignored[f".{ending.lower()}" if dot else name] += 1
            elif stem in ids:
                twice += 1
            else:
                ids[stem] = (f"{folder}{os.sep}{name}", split)
    columns = {"id": list(ids), "path": [path for path, _ in ids.values()], "split": [s for _, s in ids.values()]}
    return pd.DataFrame(columns, dtype=object), dict(sorted(ignored.items())), twice


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield root
        yield from sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise CallError(f"dataset.root: cannot be opened: {folder} ({error.strerror})") from error
    return sorted(name for name in names if not any("\ud800" <= c <= "\udfff" for c in name))


def _tables(root: Path, pattern: str) -> list[Path]:
    """Tables whose names fit, in the root, else in the folder above it."""
    for home in (root, root.parent):
        folders = [home / below for below in BELOW]
        files = [folder / name for folder in folders if folder.is_dir() for name in _files(folder)]
        if found := [file for file in files if re.fullmatch(pattern, file.name, re.IGNORECASE)]:
            return found
    return []


def _label_tables(root: Path, settings: OpenImagesDataset) -> list[Path]:
    given = settings.labels
    if isinstance(given, str):
        return [Path(given)]
    if isinstance(given, list) and all(isinstance(one, str) for one in given) and given:
        return [Path(one) for one in given]
    if given:
        raise CallError(f"dataset.labels = {given}: a table, or several: [a.csv,b.csv]")
    found = _tables(root, HUMAN)
    if settings.machine_threshold is not None:
        found += _tables(root, MACHINE)
    if not found:
        raise CallError(
            f"dataset.labels: no table of image labels (as in validation-annotations-human-imagelabels.csv) in {root} "
            f"or the folder above it; get one from {ABOUT}, or say dataset.labels=<file>"
        )
    return found


def _classes_tables(root: Path, settings: OpenImagesDataset) -> list[Path]:
    if settings.classes_table is None:
        return _tables(root, CLASSES)
    path = Path(settings.classes_table)
    if not path.is_file():
        raise CallError(f"dataset.classes_table: no such file: {path}")
    return [path]


def _image_ids_tables(root: Path, settings: OpenImagesDataset) -> list[Path]:
    return _tables(root, IMAGE_IDS) if settings.image_ids is None else [Path(settings.image_ids)]


def _nothing_there(root: Path, settings: OpenImagesDataset) -> str:
    there = f"no images in {root} or the folders in it" if root.is_dir() else f"no such folder: {root}"
    more = "" if settings.download else "; dataset.download=true dataset.classes=[Cat,Dog] fetches those of classes"
    return (
        f"dataset.root: {there}. Put <ImageID>.jpg there, and beside them or in the folder above the tables of image "
        f"labels and class names ({ABOUT}){more}"
    )


# --- classes and labels ----------------------------------------------------------------------------------------------


class _Classes:
    """The names of classes; two classes of one name are told apart by their ids."""

    def __init__(self, names: dict[str, str]) -> None:
        often = Counter(names.values())
        self.names = {key: name if often[name] == 1 else f"{name} ({key})" for key, name in names.items()}
        self.keys: dict[str, list[str]] = {}
        for key, name in names.items():
            self.keys.setdefault(name.casefold(), []).append(key)

    def __getitem__(self, key: str) -> str:
        return self.names.get(key, key)

    def wanted(self, classes: Sequence[str]) -> list[str]:
        """Ids of the classes, given by name, however its capitals are, or id. Raises CallError."""
        problems, found = [], []
        for wanted in map(str, classes):
            keys = [wanted] if wanted.startswith("/") else self.keys.get(wanted.strip().casefold(), [])
            if len(keys) == 1:
                found.append(keys[0])
            elif keys:
                problems.append(f"dataset.classes: several classes are called '{wanted}': say one of {', '.join(keys)}")
            elif self.names:
                near = nearest(wanted, self.names.values())
                problems.append(f"dataset.classes: no class '{wanted}'{near} (of {len(self.names):,} names)")
            else:
                problems.append(
                    f"dataset.classes: '{wanted}' is a name, and there is no table of class names (as in "
                    "class-descriptions.csv): dataset.classes_table=<file>, or an id as in /m/01yrx"
                )
        problems += [
            f"dataset.classes: {self[key]} is named twice" for key, count in Counter(found).items() if count > 1
        ]
        if problems:
            raise CallError(*problems)
        return found


def _oddities(judged: Judged) -> list[str]:
    notes = []
    if judged.contradictory:
        notes.append(f"{judged.contradictory:,} labels were found both present and absent by people: they do not count")
    if judged.odd:
        notes.append(f"{judged.odd:,} rows of the image-labels tables make no sense: they do not count")
    return notes


def _label_of_each(
    judged: pd.DataFrame, wanted: Sequence[str], names: _Classes, settings: OpenImagesDataset, notes: list[str]
) -> pd.DataFrame:
    """id and label of the images that have one, by the rule; says how often it had to choose."""
    rule = settings.several_labels
    if rule is ManyLabels.first_wanted and not wanted:
        raise CallError(
            "dataset.several_labels = first_wanted: needs dataset.classes=[...], which say what comes first"
        )
    present = judged.loc[judged["present"], ["id", "label"]]
    several = int((present["id"].value_counts() > 1).sum())
    if several and rule is not ManyLabels.multi:
        notes.append(f"{several:,} images have several labels; dataset.several_labels = {rule.value}")
    chosen = RULES[rule](present, list(wanted))
    return chosen.assign(label=[names[key] for key in chosen["label"]]).astype(object)


def _first_wanted(present: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    return _best(present, present["label"].map({key: i for i, key in enumerate(wanted)}))


def _most_specific(present: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    """The label that the fewest of these images have; of equally rare ones the first by its id."""
    return _best(present, present["label"].map(present["label"].value_counts()))


def _best(present: pd.DataFrame, rank: pd.Series) -> pd.DataFrame:
    order = present.assign(rank=rank).sort_values(["id", "rank", "label"], kind="stable")
    return order.drop_duplicates("id")[["id", "label"]]


def _only_one(present: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    return present[~present["id"].duplicated(keep=False)]


def _none(present: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    return present.iloc[:0]


RULES: dict[ManyLabels, Callable[[Any, list[str]], Any]] = {
    ManyLabels.first_wanted: _first_wanted,
    ManyLabels.most_specific: _most_specific,
    ManyLabels.drop: _only_one,
    ManyLabels.multi: _none,
}


def _of_interest(
    images: pd.DataFrame, judged: pd.DataFrame, wanted: Sequence[str], names: _Classes, settings: OpenImagesDataset,
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame | None]:  # fmt: skip
    """The images to list, and with `multi` the table of all judgements."""
    multi = settings.several_labels is ManyLabels.multi
    if not judged["present"].any():
        classes = ", ".join(names[key] for key in wanted)
        what = f"none shows {classes}" if wanted else "none has a verified label"
        raise CallError(f"dataset.classes: of the {len(images):,} images in the folder {what}")
    shown = set(judged["id"] if multi else judged.loc[judged["present"], "id"])
    kept = images["id"].isin(shown)
    if wanted:
        if left := int((~kept).sum()):
            what = "were not judged for any" if multi else "show none"
            notes.append(f"{left:,} of {len(images):,} images are left out: they {what} of dataset.classes")
        images = images[kept]
        if absent := [names[key] for key in wanted if not (judged["present"] & (judged["label"] == key)).any()]:
            notes.append(f"no image in the folder shows {', '.join(absent)}")
    elif none := int((~kept).sum()):
        notes.append(f"{none:,} images have no label")
    if not multi:
        return images, None
    labels = judged.assign(label=[names[key] for key in judged["label"]])
    return images, labels.sort_values(["id", "label"], ignore_index=True)


# --- turned images ---------------------------------------------------------------------------------------------------


def _upright(images: pd.DataFrame, root: Path, settings: OpenImagesDataset, notes: list[str]) -> pd.DataFrame:
    """Splits where they are not known yet, and places that say by how much an image is turned."""
    tables = _image_ids_tables(root, settings)
    if not tables:
        return images
    facts = image_facts(tables, images["id"].tolist()).reindex(images["id"])
    subset = facts["subset"].to_numpy(object)
    images = images.assign(split=[b if a is None else a for a, b in zip(images["split"], _text(subset), strict=True)])
    turns = facts["rotation"].fillna(0).astype(int).to_numpy()
    count = int((turns > 0).sum())
    if not count:
        return images
    if not settings.upright:
        notes.append(f"{count:,} images do not lie upright; dataset.upright=true turns them")
        return images
    paths = [turned(path, int(turn)) for path, turn in zip(images["path"], turns, strict=True)]
    notes.append(
        f"{count:,} images were turned upright, as the table of image ids says; dataset.upright=false does not"
    )
    return images.assign(path=paths)


def _text(cells: Any) -> list[str | None]:
    return [cell if isinstance(cell, str) else None for cell in cells]


# --- download --------------------------------------------------------------------------------------------------------


def _drawn(present: pd.DataFrame, wanted: Sequence[str], settings: OpenImagesDataset) -> list[str]:
    """Ids of up to `limit_per_class` (else `limit`) images of each class, the same ones for the same seed."""
    most = settings.limit_per_class or settings.limit
    random = np.random.default_rng(settings.sample_seed)
    chosen: set[str] = set()
    for key in wanted:
        ids = np.sort(present.loc[present["label"] == key, "id"].to_numpy(dtype=str))
        chosen.update(random.permutation(ids)[:most].tolist())
    strange = sorted(name for name in chosen if not re.fullmatch(r"[0-9A-Za-z_-]+", name))
    if strange:
        raise CallError(f"dataset.labels: '{strange[0]}' is no ImageID: nothing is downloaded")
    return sorted(chosen)


def _splits(ids: Sequence[str], root: Path, settings: OpenImagesDataset) -> dict[str, str]:
    if settings.download_split is not None:
        if settings.download_split not in SPLITS:
            raise CallError(
                f"dataset.download_split: no split '{settings.download_split}'{one_of(settings.download_split, SPLITS)}"
            )
        return dict.fromkeys(ids, settings.download_split)
    facts = image_facts(_image_ids_tables(root, settings), ids)
    known: dict[str, str] = {name: split for name, split in facts["subset"].items() if split in SPLITS}
    if lost := [name for name in ids if name not in known]:
        raise CallError(
            f"dataset.download_split: of which split is {lost[0]} ({len(lost):,} images)? train, validation or test; "
            "or dataset.image_ids=<table of image ids>"
        )
    return known


def _downloaded(files: list[tuple[str, Path]], base: str, progress: Callable[[int, int], None]) -> tuple[str, ...]:
    try:
        found = download(files, _damage, progress)
    except Unreachable as error:
        kept = f"; {error.done:,} of {len(files):,} images came before, and the same call goes on" if error.done else ""
        raise CallError(f"dataset.base_url: {base} cannot be reached: {error.reason}{kept}") from error
    except OSError as error:
        raise CallError(f"dataset.root: cannot write {error.filename}: {error.strerror}") from error
    notes = []
    if found.missing:
        notes.append(f"{len(found.missing):,} of {len(files):,} images are not on the server, as {found.missing[0]}")
    if found.failed:
        name, reason = found.failed[0]
        notes.append(f"{len(found.failed):,} of {len(files):,} images could not be downloaded, as {name}: {reason}")
    return tuple(notes)


def _damage(file: Path) -> str:
    """Why the file is no image, '' if it is one."""
    try:
        ImageFile(file).rgb()
    except UnreadableImage as error:
        return str(error)
    return ""
