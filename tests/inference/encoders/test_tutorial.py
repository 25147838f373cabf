"""The tutorial CLIP against a construction of its own from timm and transformers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizer

from inference.encoders import EncoderError, Look, NoTextSide, Runtime, checkpoint
from inference.images import ImageFile
from tests.inference.encoders.clips import apart
from tests.making import picture

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "cat", "dog", "chest", "x", "ray", "##s"]
ARGUMENTS = {"model": None, "activation": "auto", "antialias": False}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Head(torch.nn.Module):
    """As the tutorial writes it."""

    def __init__(self, width: int, to: int = 256) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(width, to)
        self.gelu = torch.nn.GELU()
        self.fc = torch.nn.Linear(to, to)
        self.dropout = torch.nn.Dropout(0.1)
        self.layer_norm = torch.nn.LayerNorm(to)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = self.projection(x)
        return self.layer_norm(self.dropout(self.fc(self.gelu(projected))) + projected)


class Tower(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model


class TutorialClip(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = Tower(timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="avg"))
        self.text_encoder = Tower(DistilBertModel(DistilBertConfig(vocab_size=len(WORDS), n_layers=2)))
        self.image_projection, self.text_projection = Head(2048), Head(768)

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.image_projection(self.image_encoder.model(pixels))

    def texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.text_encoder.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.text_projection(hidden[:, 0, :])


@pytest.fixture(scope="module")
def model() -> TutorialClip:
    torch.manual_seed(0)
    made = TutorialClip()
    for module in made.modules():  # statistics that training would have left
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return made.eval()


@pytest.fixture(scope="module")
def weights(model: TutorialClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Without a hub, with the tokeniser in model_checkpoints/."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "model_checkpoints" / "distilbert-base-uncased"
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "config.json").write_text('{"model_type": "distilbert"}')
    return Look(folder.parent, lambda path: f"hash of {Path(path).name}")


def described(path: Path, look: Look, **changed: Any) -> Any:
    return checkpoint.describe({"path": str(path), **ARGUMENTS, **changed}, look)


def loaded(path: Path, look: Look) -> Any:
    return checkpoint.load({"path": str(path), **ARGUMENTS}, described(path, look), Runtime())


def test_image_vectors(model: TutorialClip, weights: Path, look: Look, tmp_path: Path) -> None:
    encoder = loaded(weights, look)
    batch, expected = [], []
    for seed, (height, width) in enumerate(((300, 200), (61, 400), (224, 224))):
        file = tmp_path / f"{seed}.png"
        picture(height, width, seed).save(file)
        batch.append(encoder.preprocess(ImageFile(file)))
        seen = cv2.resize(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB), (224, 224))
        assert np.array_equal(batch[-1], seen.transpose(2, 0, 1))
        expected.append(((seen / 255 - MEAN) / STD).transpose(2, 0, 1))
    with torch.no_grad():
        reference = model.images(torch.from_numpy(np.stack(expected)).float()).numpy()
    found = encoder.encode_images(np.stack(batch))
    assert found.shape == (3, 256) and encoder.dimension == 256
    assert apart(found, reference) < 1e-8
    assert np.allclose(np.linalg.norm(found, axis=1), np.linalg.norm(reference, axis=1), rtol=1e-5)  # not normalised


def test_text_vectors(model: TutorialClip, weights: Path, look: Look, caplog: pytest.LogCaptureFixture) -> None:
    encoder = loaded(weights, look)
    texts = ["a photo of a cat", "chest x rays", "dog " * 300]
    tokenizer = DistilBertTokenizer.from_pretrained(str(look.checkpoints / "distilbert-base-uncased"))
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=200, return_tensors="pt")
    assert tokens["input_ids"].shape == (3, 200)
    with torch.no_grad():
        reference = model.texts(tokens["input_ids"], tokens["attention_mask"]).numpy()
    with caplog.at_level(logging.WARNING):
        found = encoder.encode_texts(texts)
    assert apart(found, reference) < 1e-8
    assert encoder.truncated_texts == 1 and "1 of 3 texts" in caplog.text
    scores = np.array([[0.2, 0.5], [0.9, -0.1]])
    assert np.allclose(encoder.similarity_to_probability(scores), np.exp(scores) / np.exp(scores).sum(1, keepdims=True))


def test_without_its_tokeniser_it_still_sees_images(
    weights: Path, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    bare = Look(look.checkpoints / "none", look.content_hash)
    with caplog.at_level(logging.WARNING):
        description = described(weights, bare)
    assert description.text_fingerprint is None
    assert "distilbert-base-uncased" in caplog.text and "tokeniser" in caplog.text
    encoder = checkpoint.load({"path": str(weights), **ARGUMENTS}, description, Runtime())
    assert encoder.encode_images(np.zeros((1, 3, 224, 224), np.uint8)).shape == (1, 256)
    with pytest.raises(NoTextSide):
        encoder.encode_texts(["a"])


def test_it_says_what_it_is(weights: Path, look: Look) -> None:
    description = described(weights, look)
    assert description.recognised == "tutorial CLIP (ResNet-50, DistilBERT): torch archive"
    assert "224x224 by bilinear interpolation without antialiasing (aspect not kept)" in description.preprocessing
    smooth = described(weights, look, antialias=True)
    assert smooth.image_fingerprint != description.image_fingerprint
    assert smooth.text_fingerprint == description.text_fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "image_encoder.model.layer1.0.conv1.weight"}, "1 of .* missing"),
        (lambda w: {k: v for k, v in w.items() if "layer.1.ffn.lin2" not in k}, "2 of .* missing"),
        (lambda w: w | {"image_encoder.model.fc.weight": torch.ones(3)}, "1 have no place"),
        (lambda w: {k: v for k, v in w.items() if not k.startswith("text_projection")}, "text_projection"),
        (lambda w: w | {"image_projection.fc.weight": torch.ones(3, 3)}, "another shape"),
    ],
)
def test_nothing_stays_random_in_silence(
    model: TutorialClip, look: Look, tmp_path: Path, changed: Any, message: str
) -> None:
    path = tmp_path / "odd.pt"
    torch.save(changed(dict(model.state_dict())), path)
    with pytest.raises(EncoderError, match=message) as refused:
        loaded(path, look)
    assert refused.value.key == "encoder.path"


def test_what_only_training_needs_may_be_missing_or_left_over(model: TutorialClip, look: Look, tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    kept = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    torch.save(kept | {"text_encoder.model.embeddings.position_ids": torch.arange(512)[None]}, path)
    assert loaded(path, look).encode_images(np.zeros((1, 3, 224, 224), np.uint8)).shape == (1, 256)


def test_the_image_side_alone(model: TutorialClip, look: Look, tmp_path: Path) -> None:
    path = tmp_path / "images.pt"
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith("image_")}, path)
    encoder = loaded(path, look)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    with torch.no_grad():
        reference = model.images(
            (
                (torch.from_numpy(pixels) / 255 - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
            ).float()
        )
    assert apart(encoder.encode_images(pixels), reference.numpy()) < 1e-8
