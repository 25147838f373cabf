"""A tiny CLIP to train, and pictures with captions that it can learn: which colour is where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.encoders import EncoderHandle, Look, describe
from inference.training.loop import Examples, Recipe, Trained, train
from inference.training.scratch import Architecture, make
from inference.training.trainee import Trainee

SMALL = Architecture(16, 8, 32, 1, 16, 32, 1, context=8, words=50)
COLORS = {"red": (220, 30, 30), "white": (240, 240, 240)}
PLACES = ("left", "right", "top", "bottom")
CAPTIONS = [f"a {color} bar at the {place}" for color in COLORS for place in PLACES]


def handle_of(folder: Path) -> EncoderHandle:
    """On an open_clip folder, by encoder=checkpoint."""
    arguments = {"path": str(folder), "model": None, "activation": "auto", "antialias": False}
    return describe("checkpoint", arguments, False, Look(folder, lambda path: ""))


def trainee(folder: Path, texts: list[str] = CAPTIONS, architecture: Architecture = SMALL) -> Trainee:
    return Trainee(handle_of(make(folder, architecture, texts, 0)), "cpu")


def bar(caption: str, random: np.random.Generator, side: int = 16) -> np.ndarray:
    """(3, side, side) uint8 of what the caption says, on a noisy ground."""
    _, color, *_, place = caption.split()
    pixels = random.integers(90, 140, (side, side, 3)).astype(np.uint8)
    width = int(random.integers(3, 7))
    cut = {"left": np.s_[:, :width], "right": np.s_[:, -width:], "top": np.s_[:width], "bottom": np.s_[-width:]}
    pixels[cut[place]] = COLORS[color]
    return np.moveaxis(pixels, -1, 0)


def examples(copies: int = 20, seed: int = 0) -> Examples:
    """`copies` pictures of each caption, the last fifth for validation."""
    random = np.random.default_rng(seed)
    order = np.tile(np.arange(len(CAPTIONS)), copies)
    pixels = np.stack([bar(CAPTIONS[text], random) for text in order])
    rows = np.arange(len(order))
    cut = len(rows) * 4 // 5
    return Examples(pixels, CAPTIONS, order[:, None], order, rows[:cut], rows[cut:], np.arange(len(CAPTIONS)))


def accuracy(given: Examples) -> Any:
    """A measure: how many validation images are nearest to their own caption."""
    truth = given.text_of[given.valid, 0]

    def measure(images: np.ndarray, texts: np.ndarray, scale: float) -> Mapping[str, float]:
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts)]
        return {"top1": float(((unit[0] @ unit[1].T).argmax(axis=1) == truth).mean())}

    return measure


def trained(folder: Path, given: Examples | None = None, model: Trainee | None = None, **recipe: Any) -> Trained:
    """A short training in `folder`."""
    given = given or examples()
    wanted = Recipe(**{"epochs": 3, "batch_size": 32, "lr": 2e-3, "weight_decay": 0.1, "shared": True} | recipe)
    identity = {name: value for name, value in vars(wanted).items() if name != "threads"}
    return train(model or trainee(folder / "model"), given, wanted, folder / "work", accuracy(given), identity)
