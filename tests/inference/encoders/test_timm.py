"""encoder=timm: the vectors and pixels of timm itself, from small models; classifiers dropped, nothing random."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config

from inference.encoders import EncoderError, EncoderHandle, Look, NoTextSide, Runtime, describe
from inference.encoders import timm as ours
from inference.images import ImageFile
from tests.model_files import COMMIT, block_sockets, cosine_gap, image_files, into_hub_cache, look_at

SETTINGS = ("weights", "revision", "size", "resize", "interpolation", "channels", "mean", "std")
VIT, NET = "test_vit", "test_resnet"  # timm's own models for tests: 160 pixels, a few hundred thousand weights


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    block_sockets(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def network(name: str, **options: Any) -> Any:
    """A network with random weights that are no constants, in evaluation mode."""
    torch.manual_seed(5)
    made = timm.create_model(name, pretrained=False, **options).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim == 1 else 0.02))
        for buffer in made.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer) * 0.2)
    return made


def saved(model: Any, file: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    return file


def handle(model: str, look: Look | None = None, **settings: Any) -> EncoderHandle:
    arguments = dict.fromkeys(SETTINGS) | {"model": model, "feature": "pooled"} | settings
    return describe("timm", arguments, True, look or look_at(Path("nowhere")))


def refusal(model: str, look: Look | None = None, **settings: Any) -> EncoderError:
    with pytest.raises(EncoderError) as caught:
        handle(model, look, **settings).load()
    assert "\n" not in caught.value.message
    return caught.value


def pixels(side: int = 160, channels: int = 3, n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def normalized(batch: np.ndarray, encoder: Any) -> torch.Tensor:
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1) for values in (encoder.preprocessing.mean, encoder.preprocessing.std)
    )
    return (torch.from_numpy(batch).float() / 255 - mean) / std


def pooled(model: Any, batch: torch.Tensor) -> torch.Tensor:
    return model.forward_head(model.forward_features(batch), pre_logits=True)


CASES: list[tuple[str, str, Callable[[Any, torch.Tensor], torch.Tensor]]] = [
    (NET, "pooled", pooled),
    (VIT, "pooled", pooled),
    (VIT, "cls", lambda model, batch: model.forward_features(batch)[:, 0]),
    (VIT, "mean", lambda model, batch: model.forward_features(batch)[:, 1:].mean(1)),
    ("densenet121", "pooled", pooled),
    ("test_convnext", "pooled", pooled),
    ("test_efficientnet", "pooled", pooled),
]


@pytest.mark.parametrize(("name", "feature", "reference"), CASES)
def test_the_vectors_are_the_librarys(
    tmp_path: Path, name: str, feature: str, reference: Callable[[Any, torch.Tensor], torch.Tensor]
) -> None:
    model = network(name)
    file = saved(model, tmp_path / "mine.safetensors")
    made = handle(name, weights=str(file), feature=feature, size=None)
    encoder: Any = made.load()
    batch = pixels(encoder.preprocessing.size[0])
    with torch.no_grad():
        expected = reference(model, normalized(batch, encoder)).numpy()
    found = encoder.encode_images(batch)
    assert found.shape == expected.shape == (5, encoder.dimension)
    assert cosine_gap(found, expected) < 1e-8
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert made.description.text_fingerprint is None
    with pytest.raises(NoTextSide):
        encoder.encode_texts(["a cat"])


@pytest.mark.parametrize("name", [NET, VIT, "densenet121", "test_convnext", "resnetv2_50x1_bit", "inception_v3"])
def test_the_pixels_are_the_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Within one grey level, by the exact and the fast path."""
    monkeypatch.setattr(ours, "load", lambda arguments, description, runtime: description)
    saved(network(NET), tmp_path / "any.safetensors")
    description = handle(name, weights=str(tmp_path / "any.safetensors")).description
    preprocessing = ours.Preprocessing(**dict(description.facts)["preprocessing"])
    transform = create_transform(**resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()))
    grey_level = 1.001 / 255 / min(preprocessing.std)
    for path in image_files(tmp_path):
        with Image.open(path) as opened:
            expected = transform(opened.convert("RGB")).numpy()
        for made in (preprocessing.exact(ImageFile(path)), preprocessing.fast(ImageFile(path))):
            found = preprocessing.normalized(torch.from_numpy(made[None]), torch.float32)[0].numpy()
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= grey_level, path.name


def lightning(tensors: dict[str, Any]) -> dict[str, Any]:
    parts = {"epoch": 3, "global_step": 7, "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{"state": {}}]}
    return parts | {"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}}


WRAPPED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "bare": lambda tensors: tensors,
    "module": lambda tensors: {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
    "lightning": lightning,
}


@pytest.mark.parametrize("form", WRAPPED)
def test_a_file_as_training_programs_write_it(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    model = network(NET, num_classes=7)
    torch.save(WRAPPED[form](model.state_dict()), tmp_path / "mine.ckpt")
    made = handle(NET, weights=str(tmp_path / "mine.ckpt"))
    assert made.description.recognised.endswith("classifier left out: fc.weight, fc.bias")
    encoder: Any = made.load()
    with torch.no_grad():
        expected = pooled(model, normalized(pixels(), encoder)).numpy()
    assert cosine_gap(encoder.encode_images(pixels()), expected) < 1e-8


def test_what_is_missing_is_never_random(tmp_path: Path) -> None:
    tensors = network(NET).state_dict()
    lacking = {name: tensor for name, tensor in tensors.items() if not name.startswith("layer4")}
    torch.save(lacking, tmp_path / "lacking.pt")
    wrong = refusal(NET, weights=str(tmp_path / "lacking.pt"))
    assert wrong.key == "encoder.weights" and "are missing (layer4.0" in wrong.message and NET in wrong.message
    torch.save(tensors | {"decoder.weight": torch.ones(2)}, tmp_path / "more.pt")
    assert "decoder.weight" in refusal(NET, weights=str(tmp_path / "more.pt")).message
    saved(network(VIT), tmp_path / "vit.safetensors")
    assert "not the weights of test_resnet" in refusal(NET, weights=str(tmp_path / "vit.safetensors")).message


def test_old_files_without_counters(tmp_path: Path) -> None:
    model = network(NET)
    tensors = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "old.pt")
    encoder: Any = handle(NET, weights=str(tmp_path / "old.pt")).load()
    with torch.no_grad():
        expected = pooled(model, normalized(pixels(), encoder)).numpy()
    assert cosine_gap(encoder.encode_images(pixels()), expected) < 1e-8


def test_another_size_of_a_transformer(tmp_path: Path) -> None:
    """Its positions are resized as timm does it."""
    model = network(VIT)
    file = saved(model, tmp_path / "mine.safetensors")
    encoder: Any = handle(VIT, weights=str(file), size=192).load()
    reference = timm.create_model(
        VIT, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, img_size=192, num_classes=0
    ).eval()
    with torch.no_grad():
        expected = reference(normalized(pixels(192), encoder)).numpy()
    assert cosine_gap(encoder.encode_images(pixels(192)), expected) < 1e-8
    wrong = refusal(VIT, weights=str(saved(network(VIT, img_size=192), tmp_path / "larger.safetensors")))
    assert wrong.key == "encoder.size" and "another size of image" in wrong.message
    assert handle(NET, weights=str(saved(network(NET), tmp_path / "n.safetensors")), size=192).load().dimension == 96


def test_one_channel(tmp_path: Path) -> None:
    model = network(NET, in_chans=1)
    file = str(saved(model, tmp_path / "grey.safetensors"))
    own = {"channels": "gray", "mean": [0.4], "std": [0.2]}
    encoder: Any = handle(NET, weights=file, **own).load()
    with torch.no_grad():
        expected = pooled(model, normalized(pixels(160, 1), encoder)).numpy()
    assert cosine_gap(encoder.encode_images(pixels(160, 1)), expected) < 1e-8
    assert "choose encoder.channels=gray" in refusal(NET, weights=file).message
    colour = str(saved(network(NET), tmp_path / "colour.safetensors"))
    assert "choose encoder.channels=rgb or gray_rgb" in refusal(NET, weights=colour, **own).message
    assert refusal(NET, weights=file, channels="gray").key == "encoder.mean"


def test_own_settings_lie_over_the_models(tmp_path: Path) -> None:
    file = str(saved(network(NET), tmp_path / "mine.safetensors"))
    own: Any = handle(NET, weights=file).load()
    changed: Any = handle(NET, weights=file, resize="squash", interpolation="nearest", std=[0.5]).load()
    assert changed.preprocessing.interpolation == "nearest" and changed.preprocessing.std == (0.5,)
    assert changed.preprocessing.mean == own.preprocessing.mean
    assert changed.description.image_fingerprint != own.description.image_fingerprint
    assert handle(NET, weights=file, feature="pooled").description == own.description


def test_published_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    model = network(NET)
    source = tmp_path / "source"
    source.mkdir()
    saved(model, source / "model.safetensors")
    into_hub_cache(tmp_path / "cache", "timm/test_resnet.r160_in1k", source)
    made = handle(NET, look_at(tmp_path / "none"))
    assert made.description.model == "test_resnet.r160_in1k" and made.description.revision == COMMIT
    assert handle("test_resnet.r160_in1k", look_at(tmp_path / "none")).description == made.description
    put = tmp_path / "model_checkpoints"
    put.mkdir()
    saved(model, put / "test_resnet.r160_in1k.safetensors")
    local = handle(NET, look_at(put)).description
    assert local.revision is None and local.image_fingerprint == made.description.image_fingerprint


def test_a_repository_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    model = network(VIT, img_size=128)
    source = tmp_path / "source"
    source.mkdir()
    saved(model, source / "model.safetensors")
    images = {"input_size": [3, 128, 128], "mean": [0.7, 0.5, 0.7], "std": [0.2, 0.3, 0.2], "crop_pct": 1.0}
    images |= {"interpolation": "bicubic", "fixed_input_size": True, "classifier": "head", "crop_mode": "center"}
    config = {"architecture": VIT, "num_classes": 1000, "pretrained_cfg": images, "model_args": {"img_size": 128}}
    (source / "config.json").write_text(json.dumps(config))
    into_hub_cache(tmp_path / "cache", "org/slides", source)
    for name in ("hf-hub:org/slides", f"local-dir:{source}"):
        encoder: Any = handle(name, look_at(tmp_path / "none")).load()
        assert encoder.preprocessing.size == (128, 128) and encoder.preprocessing.mean == (0.7, 0.5, 0.7)
        with torch.no_grad():
            expected = pooled(model, normalized(pixels(128), encoder)).numpy()
        assert cosine_gap(encoder.encode_images(pixels(128)), expected) < 1e-8
    (source / "config.json").write_text(json.dumps({"architectures": ["CLIPModel"]}))
    assert "not one of timm's" in refusal(f"local-dir:{source}").message
    (source / "config.json").write_text(json.dumps(config | {"architecture": "test_vi"}))
    assert "did you mean test_vit" in refusal(f"local-dir:{source}").message
    assert "no such folder" in refusal("local-dir:/no/where").message


def test_misspelt_names_are_answered_without_torch() -> None:
    code = """
import sys, time
from pathlib import Path
from inference.encoders import EncoderError, Look, describe
start = time.monotonic()
try:
    describe("timm", {"model": "densenet12", "mean": None, "std": None}, True, Look(Path("none"), lambda path: ""))
except EncoderError as error:
    print(error.key, error.message)
assert time.monotonic() - start < 2
assert "torch" not in sys.modules
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("encoder.model") and "did you mean densenet121" in said


def test_the_names_are_the_librarys() -> None:
    assert set(ours._architectures()) == set(timm.list_models())


def test_a_wrong_tag_lists_the_right_ones() -> None:
    wrong = refusal("densenet121.ra_in1")
    assert "did you mean densenet121.ra_in1k?" in wrong.message and "tv_in1k" in wrong.message


def test_offline_one_message_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    wrong = refusal("densenet121", look_at(tmp_path))
    assert time.monotonic() - start < 5
    assert wrong.key == "encoder.weights" and "timm/densenet121.ra_in1k" in wrong.message
    assert str(tmp_path / "densenet121.ra_in1k.safetensors") in wrong.message


def test_models_without_published_weights_need_a_file() -> None:
    assert "no published weights" in refusal("vit_giant_patch14_224").message


@pytest.mark.parametrize(("name", "feature"), [(NET, "mean"), (NET, "cls"), ("test_vit2", "cls")])
def test_features_that_a_model_lacks(tmp_path: Path, name: str, feature: str) -> None:
    model = network(name)
    wrong = refusal(name, weights=str(saved(model, tmp_path / "mine.safetensors")), feature=feature)
    assert wrong.key == "encoder.feature"


def test_the_fast_way_is_near(tmp_path: Path) -> None:
    made = handle(VIT, weights=str(saved(network(VIT), tmp_path / "mine.safetensors")))
    exact = made.load().encode_images(pixels())
    fast = made.at(Runtime(precision="bf16", exact=False)).load().encode_images(pixels())
    assert fast.dtype == np.float32 and 0 < cosine_gap(fast[:1], exact[:1]) < 1e-2
