"""Small data sets in the layouts of published ones, made by the tests themselves."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CUIS = {
    "X-Ray Computed Tomography": "C0040405",
    "Plain x-ray": "C1306645",
    "Ultrasonography": "C0041618",
    "Magnetic Resonance Imaging": "C0024485",
    "angiogram": "C0002978",
}


def write_table(path: Path, rows: Iterable[Sequence[object]], start: bytes = b"", newline: str = "\n") -> Path:
    """A CSV file as spreadsheets and the releases write them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerows(rows)
    path.write_bytes(start + text.getvalue().encode())
    return path


def jpeg(value: int, side: int = 12) -> bytes:
    """A small JPEG; its stripes and brightness depend on `value`."""
    random = np.random.default_rng(value)
    y, x = np.mgrid[0:side, 0:side] / side
    wave = np.sin(x * random.uniform(1, 9) + y * random.uniform(1, 9) + random.uniform(0, 6))
    file = io.BytesIO()
    Image.fromarray(((wave + 1) * 127).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def rocov2_name(number: int, split: str = "test") -> str:
    """As the release names its images."""
    return f"ROCOv2_2023_{split}_{number:06d}"


def rocov2_tables(root: Path, count: int, split: str = "test", concepts: Mapping[int, str] | None = None) -> list[str]:
    """Captions, concepts and manual concepts of `count` images, modalities in turn, and the names of the images.

    concepts: manual concepts of single images.
    """
    names = [rocov2_name(i, split) for i in range(count)]
    given = concepts or {}
    cuis = [given.get(i, list(CUIS.values())[i % len(CUIS)]) for i in range(count)]
    captions = [f"Scan {i}, axial view (arrow)" for i in range(count)]
    write_table(root / f"{split}_captions.csv", [("ID", "Caption"), *zip(names, captions, strict=True)])
    write_table(
        root / f"{split}_concepts.csv",
        [("ID", "CUIs"), *((name, f"{c};C0000001") for name, c in zip(names, cuis, strict=True))],
    )
    write_table(root / f"{split}_concepts_manual.csv", [("ID", "CUIs"), *zip(names, cuis, strict=True)])
    mapping = [("CUI", "Canonical name"), *((cui, name) for name, cui in CUIS.items())]
    write_table(root / "cui_mapping.csv", mapping)
    return names


def rocov2_merged(path: Path, count: int) -> list[str]:
    """The merged table of `count` images, modalities in turn, and the names of the images."""
    names = [rocov2_name(i) for i in range(count)]
    rows = [(i + 1, name, f"Scan {i}", list(CUIS)[i % len(CUIS)]) for i, name in enumerate(names)]
    write_table(path, [("id", "image", "caption", "modality"), *rows])
    return names


def images_in_folder(folder: Path, names: Sequence[str], side: int = 12) -> Path:
    """`<name>.jpg` for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (folder / f"{name}.jpg").write_bytes(jpeg(i, side))
    return folder


def images_in_zip(archive: Path, names: Sequence[str], inside: str = "test/") -> Path:
    """The same in a zip file, below a folder, beside what macOS puts there."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as opened:
        for i, name in enumerate(names):
            opened.writestr(f"{inside}{name}.jpg", jpeg(i))
            opened.writestr(f"__MACOSX/{inside}._{name}.jpg", b"\0\5\26\7")
    return archive


def images_with_several_labels(root: Path, count: int) -> Path:
    """`count` images of Open Images with their tables: every third shows a cat, every second a dog, the others were
    verified to show none; every fourth shows a tree, which nobody verified to be absent anywhere."""
    names = [f"{i:016x}" for i in range(count)]
    rows: list[tuple[object, ...]] = [("ImageID", "Source", "LabelName", "Confidence")]
    for i, name in enumerate(names):
        rows += [
            (name, "verification", "/m/01yrx", int(i % 3 == 0)),
            (name, "verification", "/m/0bt9lr", int(i % 2 == 0)),
        ]
        rows += [(name, "verification", "/m/07j7r", 1)] if i % 4 == 0 else []
    write_table(root / "validation-annotations-human-imagelabels.csv", rows)
    classes = [("/m/01yrx", "Cat"), ("/m/0bt9lr", "Dog"), ("/m/07j7r", "Tree")]
    write_table(root / "class-descriptions.csv", [("LabelName", "DisplayName"), *classes])
    return images_in_folder(root / "validation", names).parent
