"""A training in the report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from pipeline.report.methods import methods_paragraph, protocol_lines
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


RECORD: dict[str, Any] = {
    "stages": [{"name": "training", "status": "done"}],
    "training": {
        "base": {"kind": "scratch"}, "stopped": "", "metrics": FOUND,
        "texts": {"captions": "labels", "templates": ["a photo of {}", "a {}"]},
        "architecture": {"image_size": 32, "patch": 8, "width": 64, "layers": 4, "dimension": 48, "text_width": 64,
                         "text_layers": 1},
        "recipe": {"loss": "contrastive", "shared": True, "train": "all", "lr": 5e-4, "batch_size": 128, "warmup": 0.05,
                   "schedule": "cosine", "weight_decay": 0.2, "precision": "fp32", "seed": 0, "augment": "affine"},
    },
}  # fmt: skip


def test_methods_of_a_training() -> None:
    text, references = methods_paragraph(RECORD)
    assert text.startswith(
        "A CLIP was trained from random weights (a ViT of 4 layers of width 64 for images of 32 x 32 pixels in patches "
        "of 8, 1 layer of width 64 for texts, vectors of 48 numbers), on 806 images and their class names in 2 "
        "templates by the symmetric cross-entropy of CLIP [1], equal texts of a batch counted as right [2]; images "
        "varied by small turns, zooms and shifts, with AdamW [3] (batches of 128, learning rate 0.0005, falling as a "
        "cosine to 0 after a rise over 5 % of the steps, weight decay 0.2, fp32, seed 0). Of 100 epochs number 74 was "
        "kept, with the smallest loss on 90 validation images; 901 test images were looked at once, at the end."
    )
    assert [reference.split(",")[0] for reference in references] == ["Radford", "Yang", "Loshchilov"]
    assert protocol_lines(RECORD)[2].startswith("AdamW: batches of 128, learning rate 0.0005")


def test_methods_of_fine_tuning_a_locked_model() -> None:
    told = RECORD["training"]
    recipe = told["recipe"] | {"train": "text", "schedule": "plateau", "accumulate": 4, "loss": "sigmoid"}
    base = {"kind": "open_clip", "model": "ViT-B-16-SigLIP"}
    text, references = methods_paragraph(RECORD | {"training": told | {"base": base, "recipe": recipe}})
    assert "from the weights of ViT-B-16-SigLIP (base: open_clip)" in text
    assert "batches of 128, gradients of 4 summed, learning rate 0.0005, times 0.8 where" in text
    assert "the image tower was locked [3]" in text
    assert [reference.split(",")[0] for reference in references] == ["Zhai", "Yang", "Zhai", "Loshchilov"]


def test_nothing_was_trained() -> None:
    assert cells(run({})) == []
    assert sentence(run({})) == ""
