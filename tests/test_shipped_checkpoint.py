"""model_checkpoints/digits_clip: it does what its card says, and its command makes it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from inference.images import ImageFile
from pipeline.datasets import find
from pipeline.schema import DigitsDataset
from tests.cli.command import HOME, Clipscope
from tests.inference.training.models import handle_of

FOLDER = HOME / "model_checkpoints" / "digits_clip"
CARD = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))


def test_the_held_out_half(tmp_path: Path) -> None:
    """Zero-shot over all templates, by open_clip's own tokeniser and text tower."""
    table = find(DigitsDataset("digits", "digits", None, None, 0, 0.5, 8, ["held_out"]), tmp_path).table
    encoder = handle_of(FOLDER).load()
    images = encoder.encode_images(np.stack([encoder.preprocess(ImageFile(path)) for path in table["path"]]))
    network = open_clip.create_model(f"local-dir:{FOLDER}").eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    with torch.no_grad():
        prompts = [[t.replace("{}", digit) for t in CARD["texts"]["templates"]] for digit in "0123456789"]
        classes = [network.encode_text(tokenize(texts), normalize=True).mean(0) for texts in prompts]
    unit = torch.nn.functional.normalize(torch.stack(classes), dim=1).numpy()
    found = (images @ unit.T).argmax(axis=1).astype(str)
    right = float((found == table["label"].to_numpy()).mean())
    assert right >= 0.95
    assert right == pytest.approx(CARD["metrics"]["test_zero_shot_top1"], abs=0.003)


def test_it_is_small_and_names_no_machine() -> None:
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) < 2e6
    assert CARD["command"] == "python run.py experiment=train_digits_clip"
    told = "".join(file.read_text(encoding="utf-8") for file in files if file.suffix != ".safetensors")
    assert "/work" not in told
    assert "/home" not in told


@pytest.mark.slow
def test_other_images_are_warned_of(tmp_path: Path) -> None:
    from tests.cli.data import class_folders

    cli, root = Clipscope(tmp_path), class_folders(tmp_path / "images", {"a": 6, "b": 6})
    words = ["encoder=checkpoint", f"encoder.path={FOLDER}", "analysis=class_distances"]
    assert "has never seen any images but those of digits" in cli(*words, "dataset=folders", f"dataset.root={root}").err
    assert "never seen" not in cli(*words, "dataset=digits", "dataset.limit=40").err


@pytest.mark.slow
def test_its_command_makes_it_again(tmp_path: Path) -> None:
    """On another machine the last digits differ, and with them a few images."""
    found = Clipscope(tmp_path)("experiment=train_digits_clip").metrics
    for name in ("zero_shot_top1", "image_to_text_recall_at_1", "text_to_image_recall_at_1"):
        assert found[f"training/test_{name}"] == pytest.approx(CARD["metrics"][f"test_{name}"], abs=0.02)
    assert found["training/test_zero_shot_top1"] >= 0.95
