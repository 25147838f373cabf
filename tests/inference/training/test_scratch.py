"""A new model, as open_clip itself and encoder=checkpoint read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from inference.encoders import Runtime
from inference.training.scratch import Architecture, make
from tests.inference.training.models import CAPTIONS, SMALL, handle_of
from tests.making import picture

TEXTS = ["a red bar", "A RED  bar!", "words that nobody said", "", " ".join(["red"] * 30), "ＲＥＤ"]


def test_open_clip_gives_the_same_vectors(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", SMALL, CAPTIONS, 0)
    own = handle_of(folder).at(Runtime()).load()
    network, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    image = picture(40, 60)
    image.save(tmp_path / "image.png")
    from inference.images import ImageFile

    network.eval()
    with torch.no_grad():
        texts = network.encode_text(tokenize(TEXTS)).numpy()
        images = network.encode_image(prepare(image)[None]).numpy()
    found = own.text_vectors(TEXTS)
    np.testing.assert_allclose(found.vectors, texts, atol=1e-5)
    pixels = own.preprocess(ImageFile(tmp_path / "image.png"))[None]
    np.testing.assert_allclose(own.encode_images(pixels), images, atol=1e-5)
    assert found.truncated == 1
    assert found.unknown == 2  # nothing, and only words that are not known


def test_words_are_what_the_tokeniser_knows(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", SMALL, ["A red-bar", "a blue bar"], 0)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer
    known = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    assert known == ["<pad>", "<unknown>", "-", "a", "bar", "blue", "red", "<start>", "<end>"]
    assert tokenizer.decode(tokenizer("A BLUE bar").input_ids) == "<start> a blue bar <end>"


def test_only_the_most_frequent_words(tmp_path: Path) -> None:
    few = Architecture(16, 8, 32, 1, 16, 32, 1, context=8, words=2)
    folder = make(tmp_path / "model", few, ["b a", "b c", "b c"], 0)
    assert set(open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer.get_vocab()) >= {"b", "c"}
    assert "a" not in open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer.get_vocab()


def test_clips_own_tokeniser(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", Architecture(16, 8, 32, 1, 16, 32, 1, context=20, words=0), [], 0)
    own = handle_of(folder).load()
    network = open_clip.create_model(f"local-dir:{folder}").eval()
    with torch.no_grad():
        texts = network.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a chest x-ray"])).numpy()
    np.testing.assert_allclose(own.encode_texts(["a chest x-ray"]), texts, atol=1e-5)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    files = [make(tmp_path / str(i), SMALL, CAPTIONS, seed) for i, seed in enumerate((0, 0, 1))]
    contents = [(folder / "open_clip_model.safetensors").read_bytes() for folder in files]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="image_size 30 is no multiple of patch 8"):
        Architecture(image_size=30, patch=8)
