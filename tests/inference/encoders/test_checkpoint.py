"""`encoder=checkpoint`: what a file is, and that it is then read right; all with tiny networks of the true make."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip.model
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from inference.encoders import EncoderError, Look, Runtime, checkpoint, open_clip_modules
from inference.encoders import open_clip as open_clip_encoder
from inference.encoders.checkpoints import TensorInfo
from inference.encoders.openai import Architecture
from inference.encoders.recognition import clip_sizes, fitting, looks_like, read_configs
from tests.inference.encoders.clips import (
    NUMBERS,
    TINY_RESNET,
    TINY_VIT,
    State,
    apart,
    images_by_hand,
    random_pixels,
    random_state,
    save_archive,
)

ARGUMENTS = {"model": None, "activation": "auto", "antialias": False}
CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
SIGLIP: dict[str, Any] = CONFIG | {"custom_text": True, "init_logit_bias": -10}


def network(config: dict[str, Any] = CONFIG, quick: bool = False) -> Any:
    torch.manual_seed(0)
    settings = {key: value for key, value in config.items() if key != "custom_text"}
    make = open_clip.model.CustomTextCLIP if "custom_text" in config else open_clip.model.CLIP
    made = make(**settings, quick_gelu=quick).eval()
    for parameter in made.parameters():  # larger than at the start of a training, so that the activation matters
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Look(tmp_path / "model_checkpoints", lambda path: f"hash of {Path(path).name}")


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip with tiny configurations beside its own."""
    known = dict(open_clip_encoder.config_files())
    for name, config in {
        "tiny": CONFIG,
        "tiny-quickgelu": CONFIG | {"quick_gelu": True},
        "tiny-custom": SIGLIP | {"embed_dim": 48},
    }.items():
        known[name] = tmp_path / f"{name}.json"
        known[name].write_text(json.dumps(config))
    monkeypatch.setattr(open_clip_encoder, "config_files", lambda: known)


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def described(path: Path, look: Look, **changed: Any) -> Any:
    return checkpoint.describe({"path": str(path), **ARGUMENTS, **changed}, look)


def loaded(path: Path, look: Look, **changed: Any) -> Any:
    arguments = {"path": str(path), **ARGUMENTS, **changed}
    return checkpoint.load(arguments, checkpoint.describe(arguments, look), Runtime())


def assert_encodes_as(encoder: Any, reference: Any) -> None:
    with torch.no_grad():
        normalized = encoder.preprocessing.normalized(torch.from_numpy(PIXELS), torch.float32)
        expected = reference.encode_image(normalized).numpy()
    assert apart(encoder.encode_images(PIXELS), expected) < 1e-8


def by_hand(encoder: Any, state: State, architecture: Architecture) -> float:
    """How far the encoder is from the network as OpenAI's papers have it."""
    pixels = random_pixels(architecture)
    with torch.no_grad():
        normalized = encoder.preprocessing.normalized(torch.from_numpy(pixels), torch.float32)
        return apart(encoder.encode_images(pixels), images_by_hand(state, architecture, normalized))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("architecture", [TINY_VIT, TINY_RESNET])
def test_openais_torchscript_archive(tmp_path: Path, look: Look, architecture: Architecture) -> None:
    state = random_state(architecture)
    path = save_archive(tmp_path / "tiny.pt", state, architecture)
    description = described(path, look)
    assert description.name == "checkpoint" and description.weights == (str(path),)
    assert description.recognised == "CLIP of OpenAI's form: TorchScript archive"
    assert by_hand(loaded(path, look), state, architecture) < 1e-8


def test_openais_state_dict(tmp_path: Path, look: Look) -> None:
    state = random_state(TINY_VIT)
    numbers = {name: torch.tensor(1) for name in NUMBERS}
    path = tmp_path / "tiny.pth"
    torch.save({"model_state_dict": state | numbers, "epoch": 3}, path)
    assert described(path, look).recognised == "CLIP of OpenAI's form: torch archive, inside 'model_state_dict'"
    assert by_hand(loaded(path, look), state, TINY_VIT) < 1e-8


@pytest.mark.parametrize("activation", ["quickgelu", "gelu", "auto"])
@pytest.mark.parametrize("kind", ["pt", "safetensors", "ckpt", "old"])
def test_an_open_clip_state_dict(
    tmp_path: Path, look: Look, configs: None, kind: str, activation: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, model = tmp_path / f"tiny.{kind}", network(quick=activation == "quickgelu")
    state = model.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        wrapped = {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {"state": {}}}
        torch.save(wrapped if kind == "ckpt" else state, path, _use_new_zipfile_serialization=kind != "old")
    with caplog.at_level(logging.WARNING):
        description = described(path, look, activation=activation)
    name = "tiny-quickgelu" if activation == "quickgelu" else "tiny"
    assert description.recognised.startswith(f"open_clip's {name}: ")
    assert ("weights do not show the activation" in caplog.text) == (activation == "auto")
    encoder = loaded(path, look, activation=activation)
    assert_encodes_as(encoder, model)
    other = network(quick=activation != "quickgelu")  # and not as the other activation would
    with torch.no_grad():
        wrong = other.encode_image(encoder.preprocessing.normalized(torch.from_numpy(PIXELS), torch.float32)).numpy()
    assert apart(encoder.encode_images(PIXELS), wrong) > 1e-6


OTHER = {"mean": [0.5], "std": [0.25], "resize": "squash", "interpolation": "bilinear"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_preprocessing_of_ones_own_goes_with_every_form(tmp_path: Path, look: Look, configs: None) -> None:
    """open_clip's form and OpenAI's."""
    save_file(network().state_dict(), tmp_path / "a.safetensors")
    save_archive(tmp_path / "b.pt", random_state(TINY_VIT), TINY_VIT)
    for name in ("a.safetensors", "b.pt"):
        own, other = loaded(tmp_path / name, look), loaded(tmp_path / name, look, **OTHER)
        assert own.preprocessing.mean != other.preprocessing.mean == (0.5,)
        assert (other.preprocessing.resize, other.preprocessing.interpolation) == ("squash", "bilinear")
        assert own.description.image_fingerprint != other.description.image_fingerprint
    with pytest.raises(EncoderError, match="all have to be greater than 0"):
        described(tmp_path / "b.pt", look, std=[0.0])


def test_a_clip_with_its_text_tower_apart(tmp_path: Path, look: Look, configs: None) -> None:
    path, model = tmp_path / "custom.pt", network(SIGLIP | {"embed_dim": 48})
    torch.save(model.state_dict(), path)
    assert described(path, look).recognised == "open_clip's tiny-custom: torch archive"
    assert_encodes_as(loaded(path, look), model)


def test_an_unknown_size_is_refused_unless_the_user_says_what_it_is(tmp_path: Path, look: Look) -> None:
    path, model = tmp_path / "tiny.pt", network(quick=True)
    torch.save(model.state_dict(), path)
    with pytest.raises(EncoderError, match=r"no configuration of its sizes \(image tower 64 wide, 2 layers, 32 pixels"):
        described(path, look)
    assert_encodes_as(loaded(path, look, activation="quickgelu"), model)
    with pytest.raises(EncoderError, match="no model 'ViT-B-33': did you mean"):
        described(path, look, model="ViT-B-33")
    with pytest.raises(EncoderError, match="not the weights of ViT-B-32") as refused:
        loaded(path, look, model="ViT-B-32")
    assert refused.value.key == "encoder.path"


def test_a_transformers_folder_and_the_file_in_it(tmp_path: Path, look: Look) -> None:
    folder = tmp_path / "clip"
    side = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=CLIPTextConfig(**side, vocab_size=100, max_position_embeddings=16).to_dict(),
        vision_config=CLIPVisionConfig(**side, image_size=32, patch_size=16).to_dict(),
        projection_dim=24,
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    with torch.no_grad():
        pixels = torch.from_numpy(PIXELS)
        for path in (folder, folder / "model.safetensors"):
            encoder = loaded(path, look)
            assert described(path, look).recognised == "transformers folder clip"
            normalized = encoder.preprocessing.normalized(pixels, torch.float32)
            expected = model.get_image_features(pixel_values=normalized).pooler_output.numpy()
            assert apart(encoder.encode_images(PIXELS), expected) < 1e-8
    (folder / "config.json").unlink()
    with pytest.raises(EncoderError, match="look like a two-tower model of transformers: give the folder"):
        described(folder / "model.safetensors", look)
    with pytest.raises(EncoderError, match=r"neither config.json .* it holds model.safetensors, preprocessor_config"):
        described(folder, look)


def test_an_open_clip_folder(tmp_path: Path, look: Look) -> None:
    folder, model = tmp_path / "mine", network()
    folder.mkdir()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    written = {"model_cfg": CONFIG, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    assert described(folder, look).recognised == "open_clip folder mine"
    assert_encodes_as(loaded(folder, look), model)


def test_a_file_of_clipscopes_own(tmp_path: Path, look: Look, configs: None) -> None:
    path, model = tmp_path / "own.safetensors", network(quick=True)
    save_file(model.state_dict(), path, {"format": "clipscope", "architecture": "open_clip:tiny-quickgelu"})
    description = described(path, look)
    assert description.recognised.startswith("open_clip's tiny-quickgelu: safetensors of clipscope's training")
    assert_encodes_as(loaded(path, look), model)
    save_file(model.state_dict(), path, {"format": "clipscope", "architecture": "something newer"})
    with pytest.raises(EncoderError, match="not known here"):
        described(path, look)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: timm.create_model("resnet18"), "a ResNet"),
        (lambda: timm.create_model("densenet121"), "a DenseNet"),
        (lambda: timm.create_model("vit_tiny_patch16_224"), "a vision transformer of timm"),
        (lambda: timm.create_model("convnext_atto"), "a convolutional network of timm"),
    ],
)
def test_an_image_model_needs_its_name(tmp_path: Path, look: Look, model: Any, words: str) -> None:
    path = tmp_path / "image.pt"
    torch.save(model().state_dict(), path)
    with pytest.raises(EncoderError) as refused:
        described(path, look)
    assert f"look like {words}: say encoder=timm encoder.model=" in refused.value.message
    assert f"encoder.weights={path}" in refused.value.message


def test_what_no_model_has(tmp_path: Path, look: Look) -> None:
    path = tmp_path / "odd.pt"
    torch.save({f"thing.{i}": torch.ones(2) for i in range(5)}, path)
    with pytest.raises(
        EncoderError, match=r"holds 5 tensors \(thing.0, thing.1, thing.2, ...\) that no known model has"
    ):
        described(path, look)
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=10)
    torch.save(BertModel(small).state_dict(), path)
    with pytest.raises(EncoderError, match="look like a transformer of transformers"):
        described(path, look)
    torch.save({k: v for k, v in network().state_dict().items() if k.startswith("visual.")}, path)
    with pytest.raises(EncoderError, match="look like the image tower of a CLIP, which alone is no model"):
        described(path, look)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda w: {k: v for k, v in w.items() if k != "visual.proj"},
            r"1 of \d+ tensors are missing \(visual.proj: the image",
        ),
        (lambda w: w | {"fc.weight": torch.ones(2)}, r"1 have no place in it \(fc.weight: a classification head\)"),
        (lambda w: w | {"state.0.exp_avg": torch.ones(2)}, "state.0.exp_avg: optimizer state"),
    ],
)
def test_missing_and_unexpected_weights_are_named(
    tmp_path: Path, look: Look, configs: None, changed: Any, message: str
) -> None:
    path = tmp_path / "tiny.pt"
    torch.save(changed(dict(network().state_dict())), path)
    with pytest.raises(EncoderError, match=message) as refused:
        loaded(path, look, model="tiny")
    assert refused.value.key == "encoder.path"


def test_several_architectures_of_one_size_are_listed(tmp_path: Path, look: Look) -> None:
    config = read_configs(open_clip_encoder.config_files())["convnext_base_w"]
    with torch.device("meta"):
        model = open_clip_encoder._network(config)
    path = tmp_path / "convnext.safetensors"
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + 4 * tensor.numel()]}
        end += 4 * tensor.numel()
    written = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written)
        file.truncate(8 + len(written) + end)  # numbers that nobody reads, on no disk
    with pytest.raises(EncoderError, match="convnext_base_w, convnext_base_w_320") as refused:
        described(path, look)
    assert refused.value.key == "encoder.model"


@pytest.mark.parametrize(
    "name", ["RN50", "RN50x64", "ViT-B-32", "ViT-L-14-336", "ViT-bigG-14", "ViT-L-14-CLIPA", "ViT-B-16-SigLIP-384"]
)
def test_open_clips_configurations_are_seen_in_the_shapes(name: str) -> None:
    known = read_configs(open_clip_encoder.config_files())
    with torch.device("meta"):
        model = open_clip_encoder._network(known[name])
    sizes = clip_sizes({k: TensorInfo(tuple(v.shape), "float32") for k, v in model.state_dict().items()})
    assert sizes is not None
    assert {found.removesuffix("-quickgelu") for found in fitting(sizes, known)} == {name}


def test_siglips_preprocessing_goes_with_its_architecture() -> None:
    tags = open_clip_modules.tables()
    assert open_clip_encoder._agreed(tags["ViT-B-16-SigLIP"])["mean"] == (0.5, 0.5, 0.5)
    assert "mean" not in open_clip_encoder._agreed(tags["ViT-L-14"])  # its published weights disagree


def test_names_are_told_apart() -> None:
    assert looks_like(["fc.weight", "fc.bias"]) == "a classification head"
    assert looks_like(["visual.proj"]) == "the image tower of a CLIP"
    assert looks_like(["text.ln_final.weight", "visual.proj", "visual.conv1.weight"]).startswith("the image tower")
    assert looks_like(["nothing"]) == ""
