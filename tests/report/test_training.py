"""A training in the report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from pipeline.report.training import cells, sentence

FOUND = {
    "train_images": 806, "valid_images": 90, "test_images": 901, "epochs": 100, "best_epoch": 74, "valid_copies": 0,
    "test_copies": 2, "valid_loss": 1.7, "start_valid_loss": 3.9, "valid_zero_shot_top1": 0.98,
    "test_zero_shot_top1": 0.97, "valid_chance_zero_shot_top1": 0.2, "test_chance_zero_shot_top1": 0.1,
    "valid_image_to_text_recall_at_1": 0.5,
}  # fmt: skip


def run(found: dict[str, float]) -> Any:
    table = pd.DataFrame(list(found.items()), columns=["name", "value"])
    return SimpleNamespace(folder=Path(), has=lambda name: bool(found), table=lambda name: table)


def test_cells() -> None:
    assert cells(run(FOUND)) == [
        ["images", "90", "901", "–"],
        ["zero-shot accuracy", "0.980", "0.970", "0.100"],
        ["text by image, recall at 1", "0.500", "–", "–"],
    ]
    alone = {name: value for name, value in FOUND.items() if not name.startswith("test_")} | {"test_images": 0}
    assert cells(run(alone))[1] == ["zero-shot accuracy", "0.980", "–", "0.200"]


def test_sentence() -> None:
    assert sentence(run(FOUND)) == (
        "Learned from 806 images in 100 epochs; epoch 74 was kept, whose validation loss is the smallest: 1.700, 3.900 "
        "before the first. 2 of the images kept aside are copies of these."
    )


def test_nothing_was_trained() -> None:
    assert cells(run({})) == []
    assert sentence(run({})) == ""
