"""The built-in default: 1,797 real scans of handwritten digits, as image files, so that it takes the true path.

They ship inside scikit-learn (the test part of the UCI set of Alpaydin and Kaynak, 1998): 8x8 pixels, values 0..16,
here scaled to 0..255 and written once as PNG files in a folder per digit.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.datasets import folders
from pipeline.datasets.candidates import Found
from pipeline.datasets.trees import Disk
from pipeline.errors import CallError
from pipeline.schema import DigitsDataset, FoldersDataset

COUNT = 1797


def find(settings: DigitsDataset, data: Path) -> Found:
    """Candidates of the digits under `data`, which are written there if they are not."""
    root = data / "digits"
    if not root.is_dir():
        _write(root)
    found = folders.of_root(
        Disk(root), FoldersDataset(root=str(root), pairs=[], recursive=False, group=None, splits=[])
    )
    if len(found.table) != COUNT:
        raise CallError(f"dataset=digits: {root} holds {len(found.table)} of {COUNT} images; delete it and run again")
    return replace(found, notes=())


def _write(root: Path) -> None:
    """All files under another name first: a folder called `digits` is complete."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    scratch = root.with_name(f"digits.{os.getpid()}.tmp")
    try:
        for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            folder = scratch / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            scaled = np.rint(pixels * (255 / 16)).astype(np.uint8)
            Image.fromarray(scaled).save(folder / f"digit_{i:04d}.png")
        os.rename(scratch, root)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if not root.is_dir():  # else another process was faster, with the same files
            raise CallError(f"paths.data: cannot write {root}: {error.strerror}") from error
