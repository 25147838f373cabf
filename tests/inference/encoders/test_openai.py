"""encoder=openai: vectors as open_clip's loader and as an independent network give them, from every form of file."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.encoders import Description, EncoderError, Look, Runtime, openai
from inference.encoders.openai import MODELS, Architecture
from inference.encoders.tokens import bpe_tokens
from inference.encoders.torch_model import TorchEncoder
from pipeline.schema import OpenAIModel, OpenAIPreprocessing
from tests.inference.encoders.clips import (
    TINY_RESNET,
    TINY_VIT,
    apart,
    images_by_hand,
    random_pixels,
    random_state,
    save_archive,
    save_dict,
    save_safetensors,
    texts_by_hand,
)
from tests.model_files import COMMIT, into_hub_cache, look_at

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),  # of archives, made here and by the reference
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

TINY = [pytest.param(TINY_VIT, id="ViT"), pytest.param(TINY_RESNET, id="ResNet")]
TEXTS = ["a photo of a dog", "chest x-ray, pa view", "ein Bär &amp; zwei", ""]
SAME = 1e-8  # 1 - cosine
EXACT = Runtime()
SAVE: dict[str, Callable[[Path, Any, Architecture], Path]] = {
    "archive": save_archive,
    "state dict": lambda path, state, _: save_dict(path, state),
    "wrapped": lambda path, state, _: save_dict(
        path, {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    ),
    "safetensors": lambda path, state, _: save_safetensors(path, state),
}


def described(folder: Path, **arguments: Any) -> Description:
    return openai.describe({"model": None, "weights": None, "preprocessing": "openai"} | arguments, look_at(folder))


def loaded(path: Path, runtime: Runtime = EXACT, **arguments: Any) -> TorchEncoder:
    arguments = {"weights": str(path)} | arguments
    return openai.load(arguments, described(path.parent, **arguments), runtime)


def refusal(folder: Path, **arguments: Any) -> EncoderError:
    with pytest.raises(EncoderError) as error:
        described(folder, **arguments)
    assert "\n" not in error.value.message
    return error.value


def loaded_by_open_clip(path: Path) -> Any:
    import open_clip

    return open_clip.load_openai_model(str(path), precision="fp32", device="cpu")


def normalized(encoder: TorchEncoder, pixels: np.ndarray) -> torch.Tensor:
    return encoder.preprocessing.normalized(torch.from_numpy(pixels), torch.float32)


def tokens_of(texts: list[str], context: int) -> tuple[torch.Tensor, int]:
    made = bpe_tokens(openai._tokenizer(), texts, context, lambda rows: rows.argmax(1).numpy() + 1)
    assert made.lengths.tolist() == [row.tolist().index(49407) + 1 for row in made.rows]
    return torch.stack(made.rows), int(made.cut.sum())


@pytest.mark.parametrize("form", SAVE)
@pytest.mark.parametrize("architecture", TINY)
def test_vectors_are_those_of_an_independent_network(tmp_path: Path, architecture: Architecture, form: str) -> None:
    state = random_state(architecture)
    encoder = loaded(SAVE[form](tmp_path / "x.pt", state, architecture))
    pixels, tokens = random_pixels(architecture), tokens_of(TEXTS, 77)[0]
    images, texts = encoder.encode_images(pixels), encoder.encode_texts(TEXTS)
    assert apart(images, images_by_hand(state, architecture, normalized(encoder, pixels))) < SAME
    assert apart(texts, texts_by_hand(state, architecture, tokens)) < SAME
    assert images.dtype == texts.dtype == np.float32
    assert encoder.dimension == images.shape[1] == texts.shape[1] == architecture.dimension
    lengths = np.linalg.norm(images, axis=1)
    assert (np.abs(lengths - 1) > 0.01).all()  # whoever uses them scales them


@pytest.mark.parametrize("half", [True, False], ids=["half", "single"])
@pytest.mark.parametrize("architecture", TINY)
def test_an_archive_is_read_as_openais_loader_reads_it(tmp_path: Path, architecture: Architecture, half: bool) -> None:
    path = save_archive(tmp_path / "x.pt", random_state(architecture, half=half), architecture)
    encoder, reference = loaded(path), loaded_by_open_clip(path)
    pixels, tokens = random_pixels(architecture), tokens_of(TEXTS, 77)[0]
    with torch.inference_mode():
        expected = reference.encode_image(normalized(encoder, pixels)).numpy()
        texts = reference.encode_text(tokens).numpy()
    assert apart(encoder.encode_images(pixels), expected) < SAME
    assert apart(encoder.encode_texts(TEXTS), texts) < SAME


def test_a_state_dict_in_single_precision_keeps_it(tmp_path: Path) -> None:
    state = random_state(TINY_VIT, half=False)
    encoder = loaded(save_dict(tmp_path / "x.pt", state))
    rounded = loaded(save_archive(tmp_path / "y.pt", state, TINY_VIT))
    pixels = random_pixels(TINY_VIT)
    expected = images_by_hand(state, TINY_VIT, normalized(encoder, pixels))
    assert apart(encoder.encode_images(pixels), expected) < SAME < apart(rounded.encode_images(pixels), expected)


@pytest.mark.parametrize("architecture", TINY)
def test_gelu_in_the_place_of_quickgelu_would_be_seen(tmp_path: Path, architecture: Architecture) -> None:
    path = save_dict(tmp_path / "x.pt", random_state(architecture))
    encoder, wrong = loaded(path), loaded(path)
    for block in wrong.network.modules():
        if hasattr(block, "gelu"):
            block.gelu = torch.nn.GELU()
    assert apart(wrong.encode_texts(TEXTS), encoder.encode_texts(TEXTS)) > 1000 * SAME
    if architecture.patch:
        pixels = random_pixels(architecture)
        assert apart(wrong.encode_images(pixels), encoder.encode_images(pixels)) > 1000 * SAME


@pytest.mark.parametrize("architecture", TINY)
def test_bf16_is_near(tmp_path: Path, architecture: Architecture) -> None:
    path = save_dict(tmp_path / "x.pt", random_state(architecture))
    exact, fast = loaded(path), loaded(path, Runtime(precision="bf16", exact=False))
    pixels = random_pixels(architecture)
    for found, expected in (
        (fast.encode_images(pixels), exact.encode_images(pixels)),
        (fast.encode_texts(TEXTS), exact.encode_texts(TEXTS)),
    ):
        assert SAME < apart(found, expected) < 0.02  # after the mean is taken off too
        assert found.dtype == np.float32


def test_nothing_in_an_archive_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_archive(tmp_path / "x.pt", random_state(TINY_VIT), TINY_VIT)
    for name in ("torch.jit.load", "torch.load"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("a loader that runs code"))
    assert loaded(path).encode_images(random_pixels(TINY_VIT)).shape == (5, 32)


def test_probabilities_are_a_softmax_with_the_models_own_scale(tmp_path: Path) -> None:
    state = random_state(TINY_VIT) | {"logit_scale": torch.tensor(np.log(50.0))}
    encoder = loaded(save_dict(tmp_path / "x.pt", state))
    found = encoder.similarity_to_probability(np.array([[0.30, 0.28], [0.1, 0.1]]))
    np.testing.assert_allclose(found, [[np.e / (np.e + 1), 1 / (np.e + 1)], [0.5, 0.5]], rtol=1e-6)


def test_a_text_that_is_too_long_is_cut_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = loaded(save_dict(tmp_path / "x.pt", random_state(TINY_VIT)))
    words = "dog " * 80
    found = encoder.encode_texts(["a dog", words, words + "cat"])
    assert encoder.truncated_texts == 2
    assert "2 of 3 texts" in caplog.text
    np.testing.assert_array_equal(found[1], found[2])


def test_tokens_are_openais() -> None:
    tokens, cut = tokens_of(["a photo of a cat", "<|endoftext|> <start_of_text>", "x " * 75, "x " * 76], 77)
    assert cut == 1
    assert tokens.shape == (4, 77)
    assert tokens[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert tokens[1, :3].tolist() == [49406, 49407, 283]  # OpenAI's own special token, and '<' of what is none of its
    assert (tokens[2, -1], tokens[3, -1]) == (49407, 49407)
    assert (tokens[2] == tokens[3]).all()


def test_tokens_are_open_clips() -> None:
    import open_clip

    texts = ["It’s a “smart” quote", "&lt;b&gt; caf\u00e9 ﬁne", "schÃ¶n", "  MRI:  T2-weighted\n", "日本 🐕"]
    np.testing.assert_array_equal(tokens_of(texts, 77)[0].numpy(), open_clip.tokenize(texts).numpy())


@pytest.mark.parametrize("preprocessing", ["openai", "transformers"])
def test_the_description_says_what_there_is(tmp_path: Path, preprocessing: str) -> None:
    path = save_archive(tmp_path / "x.pt", random_state(TINY_VIT), TINY_VIT)
    found = described(tmp_path, weights=str(path), preprocessing=preprocessing)
    assert found.model == "CLIP of OpenAI's form (ViT, patches of 32, 2 layers 64 wide, 64x64 pixels, 32-D)"
    assert found.recognised == "CLIP of OpenAI's form, TorchScript archive (as given)"
    assert found.weights == (str(path),)
    assert found.hashes == (hashlib.sha256(path.read_bytes()).hexdigest(),)
    assert "64x64" in found.preprocessing
    size = dict(found.facts)["preprocessing"]["size"]
    assert size == (64, 64)


def test_fingerprints_change_with_the_weights_and_the_preprocessing(tmp_path: Path) -> None:
    first = save_dict(tmp_path / "x.pt", random_state(TINY_VIT, seed=1))
    second = save_dict(tmp_path / "y.pt", random_state(TINY_VIT, seed=2))
    a, b = described(tmp_path, weights=str(first)), described(tmp_path, weights=str(second))
    c = described(tmp_path, weights=str(first), preprocessing="transformers")
    assert len({a.image_fingerprint, b.image_fingerprint, c.image_fingerprint}) == 3
    assert a.text_fingerprint == c.text_fingerprint != b.text_fingerprint
    first.rename(tmp_path / "moved.pt")
    assert described(tmp_path, weights=str(tmp_path / "moved.pt")).image_fingerprint == a.image_fingerprint


def empty_shell(name: str, **changes: Any) -> dict[str, torch.Tensor]:
    """The tensors of one of the nine by name, shape and type, of no memory; `changes` to its architecture."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    a = dataclasses.replace(MODELS[name].architecture, **changes)
    vision = CLIPVisionCfg(layers=a.vision_layers, width=a.vision_width, patch_size=a.patch, image_size=a.image_size)
    text = CLIPTextCfg(a.context, a.vocabulary, width=a.text_width, heads=a.text_width // 64, layers=a.text_layers)
    with torch.device("meta"):
        return CLIP(a.dimension, vision, text, quick_gelu=True).state_dict()


def inspected(tensors: dict[str, torch.Tensor]) -> Any:
    from inference.encoders.checkpoints import Inspection, TensorInfo

    infos = {name: TensorInfo(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}
    return Inspection("state dict", infos, {})


@pytest.mark.parametrize("name", MODELS)
def test_the_table_is_open_clips(name: str) -> None:
    """Names, files, hubs and checksums; and the architecture is the one of open_clip's own configuration."""
    import open_clip
    from open_clip.model import CLIP
    from open_clip.pretrained import get_pretrained_cfg

    listed = name.replace("/", "-").replace("@336px", "-336")
    known, ours = get_pretrained_cfg(listed, "openai"), MODELS[name]
    assert known["url"].endswith(f"/{ours.sha256}/{ours.file}")
    assert known["hf_hub"].rstrip("/") == ours.repository
    with torch.device("meta"):
        network = CLIP(**open_clip.get_model_config(listed))
    assert openai.architecture_of(inspected(network.state_dict()), "x", "key") == ours.architecture


def test_the_schema_offers_these_names() -> None:
    assert [model.value for model in OpenAIModel] == list(MODELS)
    assert [way.value for way in OpenAIPreprocessing] == list(openai.PREPROCESSING)


def test_the_file_says_which_model_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_dict(tmp_path / "x.pt", {"a": torch.zeros(1)})
    for name in MODELS:
        shell = inspected(empty_shell(name))
        monkeypatch.setattr(openai, "inspect_checkpoint", lambda *_, shell=shell: shell)
        assert described(tmp_path, weights=str(path)).model == name
        assert described(tmp_path, weights=str(path), model=name).model == name
    assert not caplog.records
    shell = inspected(empty_shell("ViT-B/32", vision_layers=2))
    monkeypatch.setattr(openai, "inspect_checkpoint", lambda *_: shell)
    assert described(tmp_path, weights=str(path), model="ViT-B/32").model == "ViT-B/32"
    assert "holds a ViT-B/32 with 2 image and 12 text layers instead of 12 and 12" in caplog.text


def test_published_files_are_known_by_their_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_dict(tmp_path / "x.pt", {"a": torch.zeros(1)})
    monkeypatch.setattr(openai, "inspect_checkpoint", lambda *_: inspected(empty_shell("RN50")))
    published = Look(tmp_path, lambda _: MODELS["RN50"].sha256)
    arguments = {"model": "RN50", "weights": str(path), "preprocessing": "openai"}
    told = openai.describe(arguments, published)
    assert "OpenAI's own RN50.pt" in told.recognised and told.published
    assert "OpenAI's own" not in openai.describe(arguments, look_at(tmp_path)).recognised


def test_another_model_than_named_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_dict(tmp_path / "x.pt", random_state(TINY_VIT))
    error = refusal(tmp_path, weights=str(path), model="RN50")
    assert error.key == "encoder.model"
    assert error.message.startswith("RN50, but x.pt holds none of OpenAI's nine (ViT, patches of 32, 2 layers 64 wide")
    monkeypatch.setattr(openai, "inspect_checkpoint", lambda *_: inspected(empty_shell("ViT-B/16")))
    assert "ViT-B/32, but x.pt holds ViT-B/16" in refusal(tmp_path, weights=str(path), model="ViT-B/32").message


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"fc.weight": torch.zeros(2, 2), "layer1.0.conv1.weight": torch.zeros(1)}, "looks like"),
        ({"vision_model.x": torch.zeros(1), "text_model.x": torch.zeros(1)}, "two-tower model of transformers"),
        ({"something": torch.zeros(1)}, "is no CLIP of OpenAI's form: encoder=checkpoint"),
    ],
)
def test_what_is_no_clip_is_refused_with_what_it_looks_like(tmp_path: Path, tensors: Any, said: str) -> None:
    path = save_dict(tmp_path / "x.pt", tensors)
    assert said in refusal(tmp_path, weights=str(path)).message


def test_tensors_that_are_missing_or_left_over_are_named(tmp_path: Path) -> None:
    state = random_state(TINY_VIT)
    del state["visual.ln_post.bias"]
    path = save_dict(tmp_path / "x.pt", state | {"visual.extra": torch.zeros(1)})
    with pytest.raises(EncoderError, match=r"missing \(visual\.ln_post\.bias.*no place in it \(visual\.extra"):
        loaded(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"PK\x03\x04 and no more", "damaged"),
    ],
)
def test_files_that_hold_no_weights(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    error = refusal(tmp_path, weights=str(tmp_path / "x.pt"))
    assert (error.key, said in error.message) == ("encoder.weights", True)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a hub that nobody answers for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


def test_weights_are_looked_for_in_order(tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "inspect_checkpoint", lambda *_: inspected(empty_shell("ViT-B/32")))
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "downloaded" / "open_clip_model.safetensors").write_bytes(b"from the hub")
    snapshot = into_hub_cache(hub_cache, MODELS["ViT-B/32"].repository, tmp_path / "downloaded")
    places = [snapshot / "open_clip_model.safetensors", tmp_path / "checkpoints/ViT-B-32.pt", tmp_path / "given.pt"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(place.name.encode())
        given = str(place) if place.name == "given.pt" else None
        found = described(tmp_path / "checkpoints", weights=given)
        assert (found.weights, found.model) == ((str(place),), "ViT-B/32")
        assert found.revision == (COMMIT if "snapshots" in str(place) else None)


def test_missing_weights_are_one_message_within_seconds(tmp_path: Path, hub_cache: Path) -> None:
    start = time.monotonic()
    error = refusal(tmp_path / "model_checkpoints", model="ViT-L/14@336px")
    assert time.monotonic() - start < 5
    assert error.key == "encoder.weights"
    for part in ("OpenAI's ViT-L/14@336px", "ViT-L-14-336px.pt", "timm/vit_large_patch14_clip_336.openai",
                 "cannot be reached", str(tmp_path / "model_checkpoints" / "ViT-L-14-336px.safetensors"),
                 "encoder.weights=<file>"):  # fmt: skip
        assert part in error.message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B/32", "RN50"])
def test_the_whole_architecture(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    architecture = MODELS[name].architecture
    state = random_state(architecture)
    path = save_archive(tmp_path / MODELS[name].file, state, architecture)
    caplog.set_level(logging.WARNING)
    found = described(tmp_path, model=name)
    assert (found.model, found.weights) == (name, (str(path),))
    encoder, reference = openai.load({}, found, EXACT), loaded_by_open_clip(path)
    pixels = random_pixels(architecture, 3)
    batch, tokens = normalized(encoder, pixels), tokens_of(TEXTS, 77)[0]
    with torch.inference_mode():
        expected, texts = reference.encode_image(batch).numpy(), reference.encode_text(tokens).numpy()
    assert apart(encoder.encode_images(pixels), expected) < SAME
    assert apart(encoder.encode_images(pixels), images_by_hand(state, architecture, batch)) < SAME
    assert apart(encoder.encode_texts(TEXTS), texts) < SAME
    assert apart(encoder.encode_texts(TEXTS), texts_by_hand(state, architecture, tokens)) < SAME
    fast = openai.load({}, found, Runtime(precision="bf16"))
    assert apart(fast.encode_images(pixels), expected) < 0.05
    assert not caplog.records


def test_the_fused_activation_is_the_same_function(tmp_path: Path) -> None:
    from inference.encoders.networks import fuse_quickgelu
    from inference.encoders.openai import network_of

    state = random_state(TINY_VIT)
    plain, fused = (network_of(TINY_VIT, state, False, "x", "k") for _ in range(2))
    fuse_quickgelu(fused)
    assert not any("QuickGELU" in type(module).__name__ for module in fused.modules())
    pixels = torch.from_numpy(random_pixels(TINY_VIT)).float() / 255
    with torch.inference_mode():
        assert apart(fused.encode_image(pixels).numpy(), plain.encode_image(pixels).numpy()) < 1e-9
        tokens = torch.stack([torch.arange(77) * 3 + 1, torch.arange(77) * 5 + 2])
        assert apart(fused.encode_text(tokens).numpy(), plain.encode_text(tokens).numpy()) < 1e-9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_is_the_same_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_archive(tmp_path / "ViT-B-32.pt", random_state(TINY_VIT), TINY_VIT)
    found = described(tmp_path, weights=str(tmp_path / "ViT-B-32.pt"))
    pixels = random_pixels(TINY_VIT)
    plain, compiled = (openai.load({}, found, Runtime(exact=False, compiled=c)) for c in (False, True))
    assert apart(compiled.encode_images(pixels), plain.encode_images(pixels)) < 1e-9
    torch.compiler.reset()
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-compiler-of-that-name"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    with pytest.raises(EncoderError, match=r"torch cannot compile it here: .*; false does without"):
        openai.load({}, found, Runtime(exact=False, compiled=True)).encode_images(pixels)
