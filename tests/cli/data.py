"""Small data sets that look like a user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def picture(file: Path, seed: int, side: int = 24) -> Path:
    """A picture with structure: a smooth wave whose direction and brightness depend on the seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    wave = np.sin(x * random.uniform(2, 9) + y * random.uniform(2, 9) + random.uniform(0, 6))
    noise = random.normal(0, 0.15, (side, side, 3))
    pixels = np.clip((wave[..., None] * random.uniform(0.3, 1, 3) + noise + 1) * 127, 0, 255).astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def class_folders(root: Path, classes: dict[str, int], side: int = 24) -> Path:
    """`root` with a folder per class and so many images in each; the class '' puts them into `root` itself."""
    for number, (name, count) in enumerate(classes.items()):
        for i in range(count):
            picture(root / name / f"image {i:03d}.png", 1000 * number + i, side)
    return root


def three_blobs(folder: Path) -> None:
    """given.npy and ids.csv: thirty vectors in three classes."""
    random = np.random.default_rng(0)
    np.save(folder / "given.npy", np.concatenate([random.normal(centre, 1, (10, 8)) for centre in (-4, 0, 4)]))
    labels = np.repeat(["low", "middle", "high"], 10)
    pd.DataFrame({"id": [f"{i:04d}" for i in range(30)], "label": labels}).to_csv(folder / "ids.csv", index=False)
