"""Listing and hashing a folder of images against `os.walk` with `hashlib.sha256` in a loop; files in the page cache.

python -m benchmarks.listing                20,000 files of 15 KB and 20 of 50 MB
python -m benchmarks.listing --table        1,000,000 rows of a table, listed (nothing is opened)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import in_turns, machine
from pipeline.content_hashes import ContentHashes
from pipeline.datasets import find
from pipeline.schema import ColumnSettings, FoldersDataset, SeveralLabels, TableDataset


def files(root: Path, small: int, large: int) -> None:
    """`small` files of 15 KB and `large` ones of 50 MB, in ten classes; all different."""
    noise = np.random.default_rng(0).bytes(50 * 2**20)
    for i in range(small + large):
        file = root / f"class {i % 10}" / f"{i:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        size = 15_000 if i < small else len(noise)
        file.write_bytes(i.to_bytes(8, "little") + noise[: size - 8])


def plain(root: Path) -> list[tuple[str, str]]:
    """What a user writes: the path and SHA-256 of every file."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found.append((path, hashlib.sha256(file.read()).hexdigest()))
    return sorted(found)


def ours(root: Path, memory: Path | None = None) -> list[str]:
    """Listed, checked and hashed as a run does it; with a memory, as a second run does."""
    table = find(_of_folders(root), root).table
    return ContentHashes(memory).of(table["path"].tolist(), lambda done, total: None)


def compare(small: int, large: int, times: int) -> None:
    """Both ways in turns, then ours with what an earlier run remembers."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "images"
        files(root, small, large)
        time.sleep(2.5)  # younger files are hashed anew each time
        assert len(plain(root)) == len(ours(root)) == small + large
        memory = Path(place) / "memory"
        ours(root, memory)
        sys.stdout.write("| ours | os.walk and sha256 | ours | ratio of each turn, median |\n|---|---|---|---|\n")
        for name, way in (("all hashed", None), ("nothing changed since the last run", memory)):
            theirs, mine, ratio = in_turns(partial(plain, root), partial(ours, root, way), times)
            sys.stdout.write(f"| {name} | {theirs:.2f} s | {mine:.2f} s | {ratio:.1f} |\n")


COMMON: dict[str, Any] = {
    "limit": None, "limit_per_class": None, "sample_seed": 0, "max_unreadable": 0.5, "pixel_size": 8,
}  # fmt: skip


def _of_folders(root: Path) -> FoldersDataset:
    own: dict[str, Any] = {"root": str(root), "pairs": [], "recursive": False, "group": None, "splits": []}
    return FoldersDataset(name="folders", source="folders", **COMMON, **own)


def _of_table(file: Path) -> TableDataset:
    own: dict[str, Any] = {
        "path": str(file), "root": None, "outside_root": False, "columns": ColumnSettings(*[None] * 6), "extension": "",
        "label_separator": None, "several_labels": SeveralLabels.first, "splits": [],
    }  # fmt: skip
    return TableDataset(name="table", source="table", **COMMON, **own)


def table(rows: int) -> None:
    """A CSV of so many rows with labels and captions, listed."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "images.csv"
        lines = (f"folder {i % 97}/{i:07d}.jpg,label {i % 13},a caption of the image {i}\n" for i in range(rows))
        file.write_text("image,label,caption\n" + "".join(lines))
        start = time.perf_counter()
        found = find(_of_table(file), Path(place))
        sys.stdout.write(f"{len(found.table):,} rows of a table listed in {time.perf_counter() - start:.1f} s\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    sys.stdout.write(machine("blake3") + "\n\n")
    if asked.table:
        table(1_000_000)
    else:
        compare(asked.small, asked.large, asked.times)


if __name__ == "__main__":
    main()
