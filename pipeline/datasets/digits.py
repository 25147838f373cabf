"""The built-in default: 1,797 real scans of handwritten digits, as image files, so that it takes the true path.

They ship inside scikit-learn (the test part of the UCI set of Alpaydin and Kaynak, 1998): 8x8 pixels, values 0..16,
here scaled to 0..255 and written once as PNG files in a folder per digit.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.datasets import folders
from pipeline.datasets.candidates import Found, of_splits, texts
from pipeline.datasets.trees import Disk
from pipeline.errors import CallError
from pipeline.schema import DigitsDataset, FoldersDataset

if TYPE_CHECKING:
    import pandas as pd

COUNT = 1797
SPLIT_SEED = 20_261_121  # never another one: what has been learned from cannot be held out


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
    table = of_splits(found.table.assign(split=_splits(found.table["label"])), settings.splits)
    return replace(found, table=table.reset_index(drop=True), notes=())


def _splits(labels: pd.Series) -> pd.Series:
    """A half of each digit's images, drawn once for all: whoever learns from `train` has never seen `held_out`."""
    random, places = np.random.default_rng(SPLIT_SEED), np.arange(len(labels))
    chosen = np.full(len(labels), "held_out", dtype=object)
    for label in sorted(labels.unique()):
        rows = random.permutation(places[labels == label])
        chosen[rows[: len(rows) // 2]] = "train"
    return texts(chosen).set_axis(labels.index)


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
