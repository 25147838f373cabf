"""ROCOv2: radiological images with captions and concepts (Rückert et al., 2024; Zenodo record 8333645).

Two layouts are read: the official release, and the merged table (`merged_dataset_test.csv`) of the work that clustered
its test images. The label of an image is its modality. An image is known by the release's own name in both, so that
runs on them compare row by row. The release names no patients: there is no group.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.images import EXTENSIONS
from inference.places import inside
from pipeline.datasets.candidates import Found, candidates
from pipeline.datasets.table import RULES, labels_of, read_table
from pipeline.errors import CallError, one_of
from pipeline.schema import ReleaseLayout, Rocov2Dataset

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "ROCOv2"  # below paths.data
SPLITS = ("train", "valid", "test")
SEPARATOR = ";"  # between the concepts of an image
MODALITIES = {  # concept of the manual table -> label, as the merged table has them; PET is not in that
    "C0040405": "X-Ray Computed Tomography",
    "C1306645": "Plain x-ray",
    "C0041618": "Ultrasonography",
    "C0024485": "Magnetic Resonance Imaging",
    "C0002978": "angiogram",
    "C0032743": "Positron-Emission Tomography",
}
VERSIONS = {  # rows of the test split
    9972: "the first version of the release",
    9927: "the later version of the release",
    9827: "the merged table of the clustering work",
}


@dataclass(frozen=True)
class _Rows:
    """frame: id, caption, label, split; notes: what was left out."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def find(settings: Rocov2Dataset, data: Path) -> Found:
    """Candidates of the splits that are wanted; images in folders or straight from the release's zip files.

    An image that is named but not there is listed, and skipped by the run. Raises CallError where the release or all
    of its images are missing, with what to get and where to put it, and for tables that cannot be what they should.
    """
    import pandas as pd

    for split in settings.splits or ["none"]:
        if split not in SPLITS:
            raise CallError(f"dataset.splits: no split '{split}'{one_of(split, SPLITS)}")
    root = _root(settings, data)
    layout, choice = _layout(root, settings)
    parts = _merged(root, settings) if layout is ReleaseLayout.merged else _official(root, settings)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    frame["path"], frame["problem"], lost = _places(root, settings.splits, frame)
    notes = [*choice, *(note for part in parts for note in part.notes), *lost]
    variants = [_variant(str(split), int(rows)) for split, rows in frame["split"].value_counts().items()]
    facts = {"layout": _NAMES[layout], "variant": "; ".join(sorted(variants))}
    return Found(candidates(frame), notes=tuple(notes), facts=facts)


_NAMES = {ReleaseLayout.merged: "merged table", ReleaseLayout.official: "official release"}


def _variant(split: str, rows: int) -> str:
    version = f": {VERSIONS.get(rows, 'other than the published ones')}" if split == "test" else ""
    return f"ROCOv2 {split}, {rows:,} rows{version}"


def _root(settings: Rocov2Dataset, data: Path) -> Path:
    if settings.root:
        return Path(settings.root)
    return Path(settings.table).parent if settings.table else data / FOLDER


# --- which layout is there -------------------------------------------------------------------------------------------


def _layout(root: Path, settings: Rocov2Dataset) -> tuple[ReleaseLayout, tuple[str, ...]]:
    """The layout to read, and a note where there was a choice."""
    if settings.table:
        return ReleaseLayout.merged, ()
    missing = {layout: [n for n in names if not (root / n).is_file()] for layout, names in _needed(settings).items()}
    wanted = settings.layout
    if wanted is ReleaseLayout.auto:
        there = [layout for layout, names in missing.items() if not names]
        if len(there) > 1:
            return there[0], (
                "both layouts of ROCOv2 are there: the official release is read; dataset.layout=merged takes the "
                "merged table",
            )
        wanted = there[0] if there else wanted
    if missing.get(wanted, ["all"]):
        raise CallError(_absent(root, settings, missing))
    return wanted, ()


def _needed(settings: Rocov2Dataset) -> dict[ReleaseLayout, list[str]]:
    """The tables that each layout cannot do without; the official ones are looked for first."""
    official = [name for split in settings.splits for name in (_captions(split), _manual(split))]
    return {ReleaseLayout.official: official, ReleaseLayout.merged: [_table_name(split) for split in settings.splits]}


def _captions(split: str) -> str:
    return f"{split}_captions.csv"


def _manual(split: str) -> str:
    return f"{split}_concepts_manual.csv"


def _table_name(split: str) -> str:
    return f"merged_dataset_{split}.csv"


def _absent(root: Path, settings: Rocov2Dataset, missing: dict[ReleaseLayout, list[str]]) -> str:
    official, merged = missing[ReleaseLayout.official], missing[ReleaseLayout.merged]
    archives = ", ".join(f"{split}_images.zip" for split in settings.splits)
    folders = ", ".join(f"{split}_images" for split in settings.splits)
    tables = {ReleaseLayout.official: official, ReleaseLayout.merged: merged}.get(settings.layout)
    lack = tables or official if root.is_dir() else []
    start = f"ROCOv2 is not complete in {root}: no {', '.join(lack)}." if lack else f"there is no ROCOv2 in {root}."
    names = ", ".join(name for split in settings.splits for name in (_captions(split), _manual(split)))
    return (
        f"dataset=rocov2: {start} Download {archives} (need not be unpacked), {names} from Zenodo, record 8333645 "
        f"(https://zenodo.org/records/8333645), and put them into {root}; or put "
        f"{', '.join(_table_name(split) for split in settings.splits)} there and the images into {folders} below it. "
        "It lies elsewhere? dataset.root=<folder>"
    )


# --- the tables ------------------------------------------------------------------------------------------------------


def _official(root: Path, settings: Rocov2Dataset) -> list[_Rows]:
    return [_of_split(root, split, settings) for split in settings.splits]


def _of_split(root: Path, split: str, settings: Rocov2Dataset) -> _Rows:
    """Captions name the rows, the manual concepts their modality."""
    import pandas as pd

    captions = _read(root / _captions(split), "dataset.root", ("ID", "Caption"), "ID")
    manual = _read(root / _manual(split), "dataset.root", ("ID", "CUIs"), "ID").set_index("ID")["CUIs"]
    names = captions["ID"]
    beside = int((~manual.index.isin(names)).sum())
    labels, notes = _modalities(manual.reindex(names).fillna("").tolist(), settings, split)
    if beside:
        notes += (f"{beside} rows of {_manual(split)} have no row in {_captions(split)}: left out",)
    frame = {"id": names, "caption": _or_none(captions["Caption"].tolist()), "label": labels, "split": split}
    return _Rows(pd.DataFrame(frame, dtype=object), notes)


def _modalities(cells: list[str], settings: Rocov2Dataset, split: str) -> tuple[list[str | None], tuple[str, ...]]:
    """The label of each cell of concepts, and how often there was none or the rule had to choose."""
    found = {cell: list(dict.fromkeys(_named(cell))) for cell in set(cells)}
    rule = RULES[settings.several_labels]
    kept = {cell: rule(parts, SEPARATOR) if parts else None for cell, parts in found.items()}
    none = sum(not found[cell] for cell in cells)
    several = sum(len(found[cell]) > 1 for cell in cells)
    notes = []
    if none:
        notes.append(f"{none:,} images of {split} have no modality among their manual concepts: unlabelled")
    if several:
        name = settings.several_labels.value
        notes.append(f"{several:,} images of {split} have several modalities; dataset.several_labels = {name}")
    return [kept[cell] for cell in cells], tuple(notes)


def _named(cell: str) -> Iterator[str]:
    return (MODALITIES[concept] for concept in labels_of(cell, SEPARATOR) if concept in MODALITIES)


def _merged(root: Path, settings: Rocov2Dataset) -> list[_Rows]:
    """The merged tables; `image` is the release's name of the image, `id` a number that only this table knows."""
    if settings.table:
        return [_of_merged(Path(settings.table), "dataset.table", settings.splits)]
    return [_of_merged(root / _table_name(split), "dataset.root", [split]) for split in settings.splits]


def _of_merged(path: Path, key: str, splits: Sequence[str]) -> _Rows:
    import pandas as pd

    table = _read(path, key, ("image", "caption", "modality"), "image")
    names = [_stem(name) for name in table["image"]]
    labels = [label.strip() or None for label in table["modality"]]
    of_row = [_split_of(name, splits) for name in names]
    frame = pd.DataFrame(
        {"id": names, "caption": _or_none(table["caption"].tolist()), "label": labels, "split": of_row}, dtype=object
    )
    frame = frame[frame["split"].isin(splits)]
    if frame.empty:
        raise CallError(f"dataset.splits: {path.name} has no image of {', '.join(splits)}")
    none = int(frame["label"].isna().sum())
    return _Rows(frame, (f"{none:,} images of {path.name} have no modality: unlabelled",) if none else ())


def _split_of(name: str, splits: Sequence[str]) -> str:
    """By the release's own name, as in ROCOv2_2023_test_000001; another name belongs to the first split wanted."""
    found = re.search(r"_(train|valid|test)_", name)
    return found[1] if found else splits[0]


def _read(path: Path, key: str, columns: Sequence[str], unique: str) -> pd.DataFrame:
    """The columns of a table under these names, however their capitals are; names of images are there, each once."""
    table = read_table(path, key)
    known = {str(name).strip().lower(): name for name in table.columns}
    for column in columns:
        if column.lower() not in known:
            raise CallError(f"{key}: {path.name} has no column '{column}'{one_of(column, map(str, table.columns))}")
    table = table.rename(columns={known[column.lower()]: column for column in columns})[list(columns)]
    table[unique] = table[unique].str.strip()
    twice = table[unique][table[unique].duplicated()]
    if len(twice):
        raise CallError(f"{key}: {path.name}: '{twice.iloc[0]}' stands in column '{unique}' more than once")
    if (table[unique] == "").any():
        raise CallError(f"{key}: {path.name}: a row of column '{unique}' is empty")
    return table


def _or_none(cells: list[str]) -> list[str | None]:
    return [cell or None for cell in cells]


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in EXTENSIONS else name


# --- the images ------------------------------------------------------------------------------------------------------


def _places(root: Path, splits: Sequence[str], frame: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Place and problem of each row's image, and notes. One that is not there has the path where it should be."""
    names = frame["id"].tolist()
    there = _in_folders(root, splits)
    if not there.keys() >= set(names):
        there = _in_archives(root, splits) | there
    absent = sum(name not in there for name in names)
    if absent == len(names):
        raise CallError(_no_images(root, splits, len(names)))
    expected = dict(zip(names, frame["split"], strict=True))
    paths, problems = [], []
    for name in names:
        plain = name in there or not (set(name) & set("/\\") or name.startswith("."))
        paths.append(there.get(name) or (str(root / f"{expected[name]}_images" / f"{name}.jpg") if plain else ""))
        problems.append("" if plain else "file name: the name of an image cannot be a path")
    return paths, problems, [f"{absent:,} of {len(names):,} images are not there"] if absent else []


def _no_images(root: Path, splits: Sequence[str], count: int) -> str:
    names = [name for split in splits for name in (f"{split}/", f"{split}_images/", f"{split}_images.zip")]
    return (
        f"dataset.root: none of the {count:,} images is there; looked in {', '.join(names)}, images/ and their "
        f"folders, and {root} itself"
    )


def _in_folders(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """Name of an image -> path, of all folders that may hold the splits, unpacked nested or not."""
    found: dict[str, str] = {}
    for folder in _folders(root, splits):
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        found |= {_stem(name): f"{folder}{os.sep}{name}" for name in sorted(names) if _is_image(name)}
    return found


def _folders(root: Path, splits: Sequence[str]) -> Iterator[Path]:
    """Those looked in last count first, where two hold an image of one name."""
    names = ["images", *(name for split in splits for name in (split, f"{split}_images"))]
    for folder in (root / name for name in names):
        if folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
            yield folder
    if root.is_dir():
        yield root


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _in_archives(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """Name of an image -> place, of the release's zip files; folders inside them do not matter."""
    found: dict[str, str] = {}
    for archive in (root / name for split in splits for name in (f"{split}_images.zip", f"{split}.zip")):
        if not archive.is_file():
            continue
        try:
            with zipfile.ZipFile(archive) as opened:
                members = opened.namelist()
            for member in members:
                name = member.rpartition("/")[2]
                if _is_image(name):
                    found.setdefault(_stem(name), inside("zip", member, archive))
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise CallError(f"dataset.root: {archive.name} is damaged, download it again: {error}") from error
        except ValueError as error:
            raise CallError(f"dataset.root: {archive}: {error}") from error
    return found
