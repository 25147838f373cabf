"""A data set whose vectors are given, those of texts too, so that what is nearest to what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = ("low", "middle", "high")
WORDS = ("dark", "grey", "bright", "noise")
RANDOM = np.random.default_rng(0)
IMAGES = (np.repeat(np.eye(3, 8), 10, axis=0) + RANDOM.normal(0, 0.35, (30, 8))).astype(np.float32)
CAPTIONS = [f"caption {i}" for i in range(30)]
TEXTS = {
    **{f"a photo of {name}": row for name, row in zip(CLASSES, np.eye(3, 8), strict=True)},
    **dict(zip(WORDS, np.eye(8)[[0, 1, 2, 7]], strict=True)),
    **dict(zip(CAPTIONS, IMAGES + RANDOM.normal(0, 0.3, IMAGES.shape), strict=True)),
}


def spoken(folder: Path) -> tuple[str, ...]:
    """Words of a call with thirty images in three classes, ten each, with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.repeat(CLASSES, 10)
    ids = [f"{i:04d}" for i in range(30)]
    pd.DataFrame({"id": ids, "label": labels, "caption": CAPTIONS}).to_csv(folder / "images.csv", index=False)
    np.save(folder / "images.npy", IMAGES)
    np.savez(folder / "texts.npz", embedding=np.array(list(TEXTS.values()), np.float32), texts=np.array(list(TEXTS)))
    return (
        "dataset=table", f"dataset.path={folder}/images.csv", "encoder=precomputed",
        f"encoder.path={folder}/images.npy",
        f"encoder.text_path={folder}/texts.npz", "encoder.logit_scale=10",
    )  # fmt: skip


def cosines(texts: tuple[str, ...] | list[str]) -> np.ndarray:
    """(30, t) of all images with these texts."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True)
            for rows in (IMAGES.astype(np.float64), np.array([TEXTS[text] for text in texts]))]  # fmt: skip
    return unit[0] @ unit[1].T
