"""encoder=open_clip: the vectors, pixels, tokens and probabilities of open_clip itself, from tiny models."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.utils import logging as library_log

from inference.encoders import EncoderError, EncoderHandle, Look, Runtime, describe
from inference.encoders import open_clip as ours
from inference.encoders.open_clip_modules import tables
from inference.images import ImageFile
from tests.model_files import COMMIT, block_sockets, cosine_gap, image_files, into_hub_cache, look_at

SIDE = 64
VISION = {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
PLAIN = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
TIMM = {"timm_model_name": "resnet10t", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}
MODELS: dict[str, dict[str, Any]] = {
    "clip": PLAIN,
    "quick": PLAIN | {"quick_gelu": True},
    "resnet": PLAIN | {"vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16}},
    "siglip": PLAIN | {"init_logit_bias": -10.0, "custom_text": True},
    "timm": PLAIN | {"custom_text": True, "vision_cfg": TIMM | {"image_size": SIDE}},
    "coca": PLAIN
    | {
        "custom_text": True,
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True, "vocab_size": 49408},
        "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    },
}
TEXTS = ["a cat", "a photo of a dog &amp; a cat", "dog " * 90, "“curly” quotes"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    block_sockets(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    level = library_log.get_verbosity()
    library_log.set_verbosity_error()
    yield
    library_log.set_verbosity(level)


def save(folder: Path, model_cfg: dict[str, Any], **preprocess: Any) -> Path:
    """A folder as open_clip's push_to_hf_hub writes it, with random weights that are no constants."""
    torch.manual_seed(3)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:  # else images hardly differ
                torch.nn.init.kaiming_normal_(parameter)
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.05))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("open_clip")
    return {name: save(home / name, config) for name, config in MODELS.items()}


def handle(model: str, look: Look | None = None, **settings: Any) -> EncoderHandle:
    arguments = {"model": model, "pretrained": None, "revision": None} | settings
    return describe("open_clip", arguments, True, look or look_at(Path("nowhere")))


def refusal(model: str, look: Look | None = None, **settings: Any) -> EncoderError:
    with pytest.raises(EncoderError) as caught:
        handle(model, look, **settings).load()
    assert "\n" not in caught.value.message
    return caught.value


def pixels(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.mark.parametrize("name", MODELS)
def test_vectors_tokens_and_probabilities_are_the_librarys(folders: dict[str, Path], name: str) -> None:
    where = f"local-dir:{folders[name]}"
    model = open_clip.create_model(where).eval()
    tokens = open_clip.get_tokenizer(where)(TEXTS)
    encoder: Any = handle(where).load()
    batch = encoder.preprocessing.normalized(torch.from_numpy(pixels()), torch.float32)
    with torch.no_grad():
        images, texts = model.encode_image(batch, normalize=False), model.encode_text(tokens, normalize=False)
        logits = (
            model.logit_scale.exp() * torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T
        )
        bias = getattr(model, "logit_bias", None)
        expected = logits.softmax(1) if bias is None else (logits + bias).sigmoid()
    found_images, found_texts = encoder.encode_images(pixels()), encoder.encode_texts(TEXTS)
    assert cosine_gap(found_images, images.numpy()) < 1e-8
    assert cosine_gap(found_texts, texts.numpy()) < 1e-8
    np.testing.assert_allclose(found_images, images.numpy(), rtol=1e-4, atol=1e-5)
    assert encoder.truncated_texts == 1 and encoder.dimension == images.shape[1]
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (found_images, found_texts)]
    found = encoder.similarity_to_probability(unit[0] @ unit[1].T)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


SHIPPED = [
    {},
    {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"},
    {"interpolation": "bilinear", "resize_mode": "squash", "mean": None},
    {"resize_mode": "longest", "interpolation": "bicubic", "fill_color": 0},
]


@pytest.mark.parametrize("shipped", SHIPPED, ids=str)
def test_the_pixels_are_the_librarys(tmp_path: Path, shipped: dict[str, Any]) -> None:
    """Within one grey level, by the exact and the fast path; transparency and palettes by open_clip's own rule."""
    where = f"local-dir:{save(tmp_path / 'model', PLAIN, **shipped)}"
    _, _, transform = open_clip.create_model_and_transforms(where)
    exact: Any = handle(where).load()
    fast: Any = handle(where).at(Runtime(exact=False)).load()
    grey_level = 1.001 / 255 / min(exact.preprocessing.std)
    for path in image_files(tmp_path):
        with Image.open(path) as opened:
            expected = transform(opened).numpy()
        for encoder in (exact, fast):
            batch = torch.from_numpy(encoder.preprocess(ImageFile(path))[None])
            found = encoder.preprocessing.normalized(batch, torch.float32)[0].numpy()
            assert np.abs(found - expected).max() <= grey_level, path.name


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """open_clip's ViT-B-32 is small; all else of its table is as it is."""
    file = tmp_path / "ViT-B-32.json"
    file.write_text(json.dumps(PLAIN))
    found = ours.config_files()
    monkeypatch.setattr(ours, "config_files", lambda: found | {"ViT-B-32": file})


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("tag", "activation"), [("openai", "quick"), ("laion2b_s34b_b79k", "clip")])
def test_a_tag_brings_its_activation(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, activation: str
) -> None:
    """GELU where QuickGELU belongs raises no error and costs a little: 'openai' says which it is."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = open_clip.get_pretrained_cfg("ViT-B-32", tag)["hf_hub"].rstrip("/")
    into_hub_cache(tmp_path / "cache", repository, folders["clip"])
    made = handle("ViT-B-32", look_at(tmp_path), pretrained=tag)
    assert made.description.revision == COMMIT and made.description.model == f"ViT-B-32 ({tag})"
    model = open_clip.create_model(f"local-dir:{folders['clip']}", force_quick_gelu=activation == "quick").eval()
    other = open_clip.create_model(f"local-dir:{folders['clip']}", force_quick_gelu=activation != "quick").eval()
    encoder: Any = made.load()
    batch = encoder.preprocessing.normalized(torch.from_numpy(pixels()), torch.float32)
    with torch.no_grad():
        found = encoder.encode_images(pixels())
        assert cosine_gap(found, model.encode_image(batch).numpy()) < 1e-8
        assert cosine_gap(found, other.encode_image(batch).numpy()) > 1e-6


@pytest.mark.usefixtures("tiny")
def test_weights_of_a_tag_may_lie_in_model_checkpoints(folders: dict[str, Path], tmp_path: Path) -> None:
    source = folders["clip"] / "open_clip_model.safetensors"
    (tmp_path / "ViT-B-32-laion2b_s34b_b79k.safetensors").write_bytes(source.read_bytes())
    made = handle("ViT-B/32", look_at(tmp_path), pretrained="laion2b-s34b-b79k").description
    assert made.weights == (str(tmp_path / "ViT-B-32-laion2b_s34b_b79k.safetensors"),) and made.revision is None


@pytest.mark.usefixtures("tiny")
def test_a_file_of_ones_own(folders: dict[str, Path], tmp_path: Path) -> None:
    """With or without an optimizer around it and `module.` before every name."""
    tensors = load_file(folders["clip"] / "open_clip_model.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3}, tmp_path / "mine.pt")
    expected = handle(f"local-dir:{folders['clip']}").load().encode_images(pixels())
    found = handle("ViT-B-32", pretrained=str(tmp_path / "mine.pt")).load().encode_images(pixels())
    np.testing.assert_array_equal(found, expected)


def test_the_fast_way_has_the_fused_activation(folders: dict[str, Path]) -> None:
    described = handle(f"local-dir:{folders['quick']}")
    exact, fast = (described.at(Runtime(exact=exact)).load() for exact in (True, False))
    assert "QuickGELU" in str(exact.network) and "QuickGELU" not in str(fast.network)  # type: ignore[attr-defined]
    assert cosine_gap(fast.encode_images(pixels()), exact.encode_images(pixels())) < 1e-9


@pytest.mark.usefixtures("tiny")
def test_weights_that_do_not_fit_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(folders["clip"] / "open_clip_model.safetensors")
    missing = {k: v for k, v in tensors.items() if not k.startswith("transformer.")}
    larger = dict(tensors, **{"visual.positional_embedding": torch.zeros(17, 64)})
    for content, words in (
        (missing, "24 of"),
        (tensors | {"optimizer.step": torch.ones(1)}, "optimizer.step"),
        (larger, "visual.positional_embedding is (17, 64) instead of (5, 64)"),
    ):
        save_file(content, tmp_path / "mine.safetensors")
        wrong = refusal("ViT-B-32", pretrained=str(tmp_path / "mine.safetensors"))
        assert wrong.key == "encoder.pretrained" and words in wrong.message and "ViT-B-32" in wrong.message


def test_a_repository_of_the_hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    into_hub_cache(tmp_path / "cache", "org/name", folders["siglip"])
    made = handle("hf-hub:org/name", look_at(tmp_path))
    assert made.description.revision == COMMIT
    local = handle(f"local-dir:{folders['siglip']}")
    assert local.description.image_fingerprint == made.description.image_fingerprint
    np.testing.assert_array_equal(made.load().encode_images(pixels()), local.load().encode_images(pixels()))
    assert "leave it null" in refusal("hf-hub:org/name", pretrained="openai").message


def bert_model(folder: Path, pooler: str = "cls_last_hidden_state_pooler") -> Path:
    """A model whose text tower and tokeniser are transformers', as BiomedCLIP is: its folder, ready but for them."""
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower = folder / "tower"
    transformers.BertConfig(vocab_size=40, max_position_embeddings=32, **sizes).save_pretrained(tower)
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": "org/tower", "hf_proj_type": "mlp", "context_length": 16}
    text |= {"hf_pooler_type": pooler}
    save(folder / "model", PLAIN | {"text_cfg": text})
    return folder / "model"


def name_tower(model: Path, name: str) -> None:
    file = model / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = name
    file.write_text(json.dumps(config))


def test_a_text_tower_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    model = bert_model(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "photo", "of"]
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(tmp_path / "tower")
    (tmp_path / "tower" / "vocab.txt").write_bytes(vocabulary.read_bytes())
    reference = open_clip.create_model(f"local-dir:{model}").eval()
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tmp_path / "tower"), context_length=16)
    with torch.no_grad():
        expected = reference.encode_text(tokenizer(TEXTS)).numpy()
    name_tower(model, "org/tower")
    assert "org/tower was not found" in refusal(f"local-dir:{model}", look_at(tmp_path / "none")).message
    into_hub_cache(tmp_path / "cache", "org/tower", tmp_path / "tower")
    encoder: Any = handle(f"local-dir:{model}", look_at(tmp_path / "none")).load()
    assert cosine_gap(encoder.encode_texts(TEXTS), expected) < 1e-8
    assert encoder.truncated_texts == 1


def test_without_a_tokenizer_there_are_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    made = handle(f"local-dir:{bert_model(tmp_path)}")
    assert made.description.text_fingerprint is None and "tokeniser is missing" in caplog.text
    assert made.load().encode_images(pixels()).shape == (5, 32)


def test_misspelt_names_are_answered_without_torch() -> None:
    code = """
import sys, time
from pathlib import Path
from inference.encoders import EncoderError, Look, describe
for model, tag in (("ViT-B32", "openai"), ("ViT-B-32", "laion2b_s34b_b79"), ("ViT-B-32", None)):
    start = time.monotonic()
    try:
        arguments = {"model": model, "pretrained": tag, "revision": None}
        describe("open_clip", arguments, True, Look(Path("none"), lambda path: ""))
    except EncoderError as error:
        print(error.key, error.message)
    assert time.monotonic() - start < 2
assert "torch" not in sys.modules and "open_clip" not in sys.modules
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].startswith("encoder.model") and "did you mean ViT-B-32" in said[0] and "ViT-gopt-16" in said[0]
    assert said[1].startswith("encoder.pretrained") and "did you mean laion2b_s34b_b79k" in said[1]
    assert said[2].startswith("encoder.pretrained ViT-B-32 needs weights: openai")


def test_the_tables_are_the_librarys() -> None:
    assert sorted(ours.config_files()) == sorted(open_clip.list_models())
    assert {name: list(tags) for name, tags in tables().items()} == {
        name: open_clip.list_pretrained_tags_by_model(name) for name in tables()
    }


def test_offline_one_message_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    by_tag = refusal("ViT-B-32", look_at(tmp_path), pretrained="laion2b_s34b_b79k").message
    of_hub = refusal("hf-hub:org/name", look_at(tmp_path)).message
    assert time.monotonic() - start < 5
    assert str(tmp_path / "ViT-B-32-laion2b_s34b_b79k.safetensors") in by_tag and "laion/CLIP-ViT-B-32" in by_tag
    assert "hf download org/name --include" in of_hub and "open_clip_model.safetensors" in of_hub
    assert str(tmp_path / "org--name") in of_hub


def test_a_folder_that_describes_no_model(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "no such folder" in refusal("local-dir:/no/where").message
    assert "has no open_clip_config.json" in refusal(f"local-dir:{tmp_path}").message
    (tmp_path / "open_clip_model.safetensors").write_bytes(
        (folders["clip"] / "open_clip_model.safetensors").read_bytes()
    )
    (tmp_path / "open_clip_config.json").write_text("{}")
    assert "describes no model" in refusal(f"local-dir:{tmp_path}").message
    (tmp_path / "open_clip_config.json").write_text("{")
    assert "cannot be read as JSON" in refusal(f"local-dir:{tmp_path}").message
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": PLAIN | {"wrong": 1}}))
    assert "open_clip cannot build it" in refusal(f"local-dir:{tmp_path}").message


@pytest.mark.parametrize("content", [b"", b"<html>", b"version https://git-lfs.github.com/spec/v1\n", b"junk"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.pt").write_bytes(content)
    assert refusal("ViT-B-32", pretrained=str(tmp_path / "mine.pt")).key == "encoder.pretrained"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-SigLIP", "coca_ViT-B-32", "RN50"])
def test_the_librarys_own_architectures(tmp_path: Path, name: str) -> None:
    """At full size, filled from a file."""
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained_text=False).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "mine.safetensors")
    encoder: Any = handle(name, look_at(tmp_path), pretrained=str(tmp_path / "mine.safetensors")).load()
    side = encoder.preprocessing.size[0]
    batch = np.random.default_rng(0).integers(0, 256, (2, 3, side, side), dtype=np.uint8)
    with torch.no_grad():
        expected = model.encode_image(
            encoder.preprocessing.normalized(torch.from_numpy(batch), torch.float32), normalize=False
        )
    assert cosine_gap(encoder.encode_images(batch), expected.numpy()) < 1e-8
