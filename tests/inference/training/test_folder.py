"""What a training leaves: read by open_clip itself and by encoder=checkpoint, from every base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import DistilBertConfig, DistilBertForMaskedLM

from inference.encoders import EncoderError, EncoderHandle, Look, describe
from inference.preprocessing import Preprocessing
from inference.training import folder
from inference.training.loop import Examples, Recipe, train
from inference.training.towers import describe_towers
from inference.training.trainee import Trainee
from tests.inference.encoders.clips import TINY_RESNET, TINY_VIT, random_pixels, random_state, save_safetensors
from tests.inference.training.models import CAPTIONS, SMALL, handle_of, trained, trainee

CARD = {"format": 1, "data": {"dataset": "mine"}, "metrics": {"valid_loss": 0.5}}
NONE = dict.fromkeys(("mean", "std", "resize", "interpolation"))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "cat", "dog"]


def written(place: Path, model: Trainee, weights: dict[str, torch.Tensor]) -> Path:
    return folder.write(place, model.handle.description, weights, model.preprocessing, CARD)


def learned(model: Trainee, place: Path, texts: list[str], loss: str = "contrastive") -> dict[str, torch.Tensor]:
    """Weights after one epoch on random pictures."""
    height, width = model.preprocessing.size
    n = 4
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    rows = np.arange(n)
    given = Examples(pixels, texts, rows[:, None] % len(texts), rows % len(texts), rows, rows)
    train(model, given, Recipe(1, 4, 1e-3, 0.1, loss=loss), place, lambda *_: {}, {})  # type: ignore[arg-type]
    return model.network.state_dict()


def both_read(place: Path, pixels: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors by encoder=checkpoint, which must be open_clip's own."""
    network, _, _ = open_clip.create_model_and_transforms(f"local-dir:{place}")
    encoder = handle_of(place).load()
    found = encoder.encode_images(pixels), encoder.encode_texts(texts)
    prepared = encoder.preprocessing.normalized(torch.from_numpy(pixels), torch.float32)  # type: ignore[attr-defined]
    with torch.no_grad():
        network.eval()
        tokens = open_clip.get_tokenizer(f"local-dir:{place}")(texts)
        np.testing.assert_allclose(found[0], network.encode_image(prepared).numpy(), atol=2e-4)
        np.testing.assert_allclose(found[1], network.encode_text(tokens).numpy(), atol=2e-4)
    return found


def test_from_scratch(tmp_path: Path) -> None:
    model = trainee(tmp_path / "model")
    found = trained(tmp_path, model=model, epochs=1)
    place = written(tmp_path / "out", model, model.network.state_dict())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    images, _ = both_read(place, pixels, CAPTIONS[:3])
    direct = model.preprocessing.normalized(torch.from_numpy(pixels), torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(images, model.image_vectors(direct).numpy(), atol=1e-5)
    assert found.best == 1
    assert sorted(file.name for file in place.iterdir()) == [
        "README.md", "card.json", "open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert json.loads((place / "card.json").read_text()) == CARD


def test_from_what_was_trained(tmp_path: Path) -> None:
    """A checkpoint of ours is a base again."""
    model = trainee(tmp_path / "model")
    first = written(tmp_path / "first", model, model.network.state_dict())
    again = Trainee(handle_of(first), "cpu")
    second = written(tmp_path / "second", again, learned(again, tmp_path / "work", CAPTIONS))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    before, after = (both_read(place, pixels, CAPTIONS[:3]) for place in (first, second))
    assert not np.allclose(before[0], after[0], atol=1e-3)
    assert not np.allclose(before[1], after[1], atol=1e-3)


@pytest.mark.parametrize("architecture", [TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def test_from_openai(tmp_path: Path, architecture: object) -> None:
    """QuickGELU goes along: open_clip gives the same vectors."""
    file = save_safetensors(tmp_path / "openai.safetensors", random_state(architecture))  # type: ignore[arg-type]
    arguments = {"model": None, "weights": str(file), "preprocessing": "openai"} | NONE
    model = Trainee(describe("openai", arguments, False, Look(tmp_path, lambda path: "")), "cpu")
    place = written(tmp_path / "out", model, learned(model, tmp_path / "work", ["a cat", "a dog", "a fox", "x"]))
    both_read(place, random_pixels(architecture, 3), ["a cat", "a photo of a dog"])  # type: ignore[arg-type]


def test_locked_batch_statistics_stay(tmp_path: Path) -> None:
    file = save_safetensors(tmp_path / "openai.safetensors", random_state(TINY_RESNET))
    arguments = {"model": None, "weights": str(file), "preprocessing": "openai"} | NONE
    model = Trainee(describe("openai", arguments, False, Look(tmp_path, lambda path: "")), "cpu")
    moving = [module for module in model.network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    model.train_only("text")
    model.training()
    assert not any(module.training for module in moving)
    model.train_only("all")
    model.training()
    assert all(module.training for module in moving)


@pytest.fixture
def towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderHandle:
    """Published towers as they lie in model_checkpoints/, with random weights and a small text tower."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = tmp_path / "model_checkpoints"
    texts = place / "distilbert-base-uncased"
    texts.mkdir(parents=True)
    torch.manual_seed(0)
    image = timm.create_model("resnet50", pretrained=False).state_dict()
    save_file(image, place / "resnet50.a1_in1k.safetensors")
    config = DistilBertConfig(vocab_size=len(WORDS), n_layers=1, dim=64, hidden_dim=64, n_heads=1)
    text = {
        name: t.clone() for name, t in DistilBertForMaskedLM(config).state_dict().items() if name.startswith("distil")
    }
    save_file(text, texts / "model.safetensors")
    (texts / "vocab.txt").write_text("\n".join(WORDS))
    (texts / "config.json").write_text('{"model_type": "distilbert"}')
    return describe_towers(Look(place, lambda path: f"hash of {Path(path).name}"))


@pytest.mark.slow
def test_the_tutorial_from_its_towers(tmp_path: Path, towers: EncoderHandle) -> None:
    model = Trainee(towers, "cpu")
    assert model.scale() is None
    assert {p.name.split(".")[0] for p in model.parameters if p.head} == {"image_projection", "text_projection"}
    weights = learned(model, tmp_path / "work", ["a cat", "a dog"], "tutorial")
    place = written(tmp_path / "out", model, weights)
    look = Look(tmp_path / "nowhere", lambda path: "")  # the tokeniser is in the folder
    arguments = {"path": str(place), "model": None, "activation": "auto", "antialias": False}
    read = describe("checkpoint", arguments, False, look)
    assert "clipscope's training (tutorial)" in read.description.recognised
    encoder = read.load()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    prepared = model.preprocessing.normalized(torch.from_numpy(pixels), torch.float32)
    model.network.eval()
    with torch.no_grad():
        np.testing.assert_allclose(encoder.encode_images(pixels), model.image_vectors(prepared).numpy(), atol=1e-4)
        tokens = model.tokens(["a photo of a cat"])
        mine = model.text_vectors(tokens, np.array([0])).numpy()
    np.testing.assert_allclose(encoder.encode_texts(["a photo of a cat"]), mine, atol=1e-5)


def test_a_model_of_transformers_cannot_be_written(tmp_path: Path) -> None:
    from inference.encoders import Description

    with pytest.raises(EncoderError, match="mine is a model of transformers"):
        folder.must_be_writable(Description("huggingface", "mine", "", ""), "training.base")


def test_the_card_for_people_is_text() -> None:
    nasty = "<script>|x|`rm`\n# *bold* [a](b)"
    page = folder.readme({"command": nasty, "data": {"cla|ss<es>": [nasty]}})
    assert "<script>" not in page.replace("\\<script\\>", "")
    assert "\n# *" not in page
    table = [line for line in page.splitlines() if line.startswith("| cla")]
    assert len(table) == 1
    assert table[0].replace("\\|", "").count("|") == 3


def test_preprocessing_goes_along(tmp_path: Path) -> None:
    model = trainee(tmp_path / "model")
    other = Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "squash", interpolation="bilinear", palette="resize_first")
    place = folder.write(tmp_path / "out", model.handle.description, model.network.state_dict(), other, CARD)
    assert handle_of(place).load().preprocessing == other  # type: ignore[attr-defined]
    assert SMALL.image_size == 16
