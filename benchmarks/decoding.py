"""Image files to 224 x 224 pixels on one core: what a shard does with each file, against the loop that a user writes.

python -m benchmarks.decoding
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.timing import in_turns, machine
from inference.images import USUAL, warm_up
from inference.preprocessing import Preprocessing
from inference.shards import Reading, Task, read
from pipeline.content_hashes import blake3_of

SIDE = 224


def photographs(folder: Path, count: int, form: str) -> list[Path]:
    """Pictures of 1024 x 768 pixels, smooth with some noise, as large on disk as photographs."""
    made = []
    for i in range(count):
        random = np.random.default_rng(i)
        coarse = cv2.resize(random.integers(0, 256, (13, 17, 3), np.uint8), (1024, 768), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(coarse + random.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)
        made.append(folder / f"{i:04d}.{form}")
        Image.fromarray(pixels).save(made[-1], quality=85)
    return made


def plain(paths: list[Path]) -> list[np.ndarray]:
    """(224, 224, 3) uint8 of each."""
    return [np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))) for file in paths]


def ours(task: Task, preprocess: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """(3, 224, 224) uint8 of each, by what a shard does: read, compared with its hash when it was listed, decoded,
    checked for damage, resized, measured for brightness and sharpness."""
    reading, encoder = Reading(), SimpleNamespace(preprocess=preprocess)
    made = list(read(encoder, task, lambda row: None, reading))
    assert not reading.unreadable
    return made


def rows(count: int, times: int) -> Any:
    """A line a format and way, each checked to give the same pixels."""
    same = Preprocessing((SIDE, SIDE), resize="squash")
    for form in ("jpg", "png"):
        with tempfile.TemporaryDirectory() as place:
            paths = photographs(Path(place), count, form)
            listed = dict(enumerate(blake3_of(str(path)) for path in paths))
            task = Task(0, [(row, str(path)) for row, path in enumerate(paths)], 64, USUAL, listed)
            expected = np.moveaxis(np.stack(plain(paths)), -1, 1).astype(int)
            for name, way in (("the same bits", same.exact), ("within a grey level or two", same.fast)):
                off = np.abs(np.stack(ours(task, way)) - expected).max()
                assert off <= (0 if way == same.exact else 2), off
                theirs, mine, ratio = in_turns(partial(plain, paths), partial(ours, task, way), times)
                yield f"| {form.upper()}, {name} | {count / theirs:.0f} | {count / mine:.0f} | {ratio:.2f} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    import torch

    said = machine("Pillow", "opencv-python-headless", "torchvision")
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warm_up()
    sys.stdout.write(f"{said}; one core is used\n\n")
    sys.stdout.write("| files and result | Pillow, images/s | ours, images/s | ratio of each turn, median |\n")
    sys.stdout.write("|---|---|---|---|\n")
    for line in rows(asked.images, asked.times):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
