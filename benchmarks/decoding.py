"""Image files to arrays on one core: what a shard does with each file against Pillow's open, convert and resize.

python -m benchmarks.decoding
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.timing import in_turns, machine
from inference.encoders.pixels import Pixels
from inference.images import USUAL, warm_up
from inference.shards import Reading, Task, read
from pipeline.content_hashes import blake3_of

SIDE = 224


def photographs(folder: Path, count: int, form: str) -> list[Path]:
    """Pictures of 400 x 533 pixels with the size on disk of photographs."""
    made = []
    for i in range(count):
        random = np.random.default_rng(i)
        coarse = cv2.resize(random.integers(0, 256, (13, 17, 3), np.uint8), (533, 400), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(coarse + random.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)
        made.append(folder / f"{i:04d}.{form}")
        Image.fromarray(pixels).save(made[-1], quality=90)
    return made


def plain(paths: list[Path], mode: str) -> int:
    """What a user writes, by the filter that ours has too. The number of images."""
    side, filter_ = (SIDE, SIDE), Image.Resampling.BILINEAR
    return len([np.asarray(Image.open(file).convert(mode).resize(side, filter_)) for file in paths])


def ours(task: Task, color: str) -> int:
    """What a shard does: read, checked for damage, compared with its hash when listed, decoded, scaled with
    antialiasing, and looked at for brightness and sharpness."""
    reading = Reading()
    count = sum(1 for _ in read(Pixels(SIDE, color, True, "none"), task, lambda row: None, reading))
    assert not reading.unreadable
    return count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warm_up()
    sys.stdout.write(machine("Pillow", "opencv-python-headless") + ", of which one is used\n\n")
    sys.stdout.write("| files | pixels | Pillow, images/s | ours, images/s | ratio of each turn, median |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for form in ("jpg", "png"):
        with tempfile.TemporaryDirectory() as place:
            paths = photographs(Path(place), asked.images, form)
            listed = dict(enumerate(blake3_of(str(path)) for path in paths))
            task = Task(0, [(row, str(path)) for row, path in enumerate(paths)], 64, USUAL, listed)
            for mode, color in (("RGB", "rgb"), ("L", "gray")):
                theirs, mine, ratio = in_turns(partial(plain, paths, mode), partial(ours, task, color), asked.times)
                rates = f"{asked.images / theirs:.0f} | {asked.images / mine:.0f} | {ratio:.2f}"
                sys.stdout.write(f"| {form.upper()} | {color} | {rates} |\n")


if __name__ == "__main__":
    main()
