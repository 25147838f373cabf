"""CLIPs of OpenAI's form with random weights, in the file formats that exist, and what they should give.

`images_by_hand` and `texts_by_hand` are written from OpenAI's papers and published code, with nothing of open_clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from inference.encoders.openai import Architecture

TINY_VIT = Architecture(32, 64, 32, 64, 2, 64, text_layers=2)
TINY_RESNET = Architecture(48, 64, None, 32, (1, 2, 1, 1), 64, text_layers=2)
NUMBERS = ("input_resolution", "context_length", "vocab_size")

State = dict[str, torch.Tensor]


def random_state(architecture: Architecture, seed: int = 0, half: bool = True) -> State:
    """A state dict with OpenAI's names, float32. half: of values that half precision can hold, as OpenAI's are."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    a = architecture
    vision = CLIPVisionCfg(layers=a.vision_layers, width=a.vision_width, patch_size=a.patch, image_size=a.image_size)
    text = CLIPTextCfg(a.context, a.vocabulary, width=a.text_width, heads=a.text_width // 64, layers=a.text_layers)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = CLIP(a.dimension, vision, text, quick_gelu=True).state_dict()
        for name, tensor in state.items():
            if tensor.ndim == 1 and tensor.is_floating_point():  # biases, norms: as made, most of them do nothing
                tensor += 0.2 * torch.rand_like(tensor)
            if name.endswith((".mlp.c_fc.weight", ".in_proj_weight")):  # large enough for attention to choose
                tensor *= 2
            if tensor.ndim == 4:  # convolutions: else what differs between images fades from layer to layer
                tensor *= 2.5
    return {name: tensor.half().float() if half and tensor.is_floating_point() else tensor
            for name, tensor in state.items()}  # fmt: skip


def save_archive(path: Path, state: Mapping[str, torch.Tensor], architecture: Architecture) -> Path:
    """A TorchScript archive as OpenAI's: half precision but for norms and the scale, three numbers beside."""
    numbers = (architecture.image_size, architecture.context, architecture.vocabulary)
    kept = ("ln_", "bn", "downsample.1", "positional_embedding", "class_embedding", "logit_scale", "token_embedding")
    root = torch.nn.Module()
    for name, tensor in state.items():
        half = tensor.is_floating_point() and not any(part in name for part in kept) and _fits_half(tensor)
        _place(root, name, tensor.half() if half else tensor)
    for name, number in zip(NUMBERS, numbers, strict=True):
        root.register_buffer(name, torch.tensor(number))
    torch.jit.script(root).save(str(path))
    return path


def save_dict(path: Path, state: Mapping[str, torch.Tensor]) -> Path:
    """By torch.save."""
    torch.save(dict(state), path)
    return path


def save_safetensors(path: Path, state: Mapping[str, torch.Tensor]) -> Path:
    """As on the hub."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def random_pixels(architecture: Architecture, count: int = 5) -> np.ndarray:
    """(n, 3, side, side) uint8, each of a few large patches, so that the vectors differ."""
    side = architecture.image_size // 4
    coarse = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return coarse.repeat(side, axis=2).repeat(side, axis=3)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest 1 - cosine of rows, in float64; no smaller after the mean of the expected rows is taken off both."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return max(_apart(a, b), _apart(a - b.mean(axis=0), b - b.mean(axis=0)))


def images_by_hand(state: State, architecture: Architecture, batch: torch.Tensor) -> np.ndarray:
    """(n, 3, side, side) normalised pixels -> (n, dimension)."""
    return (_vit if architecture.patch else _resnet)(state, architecture, batch).numpy()


def texts_by_hand(state: State, architecture: Architecture, tokens: torch.Tensor) -> np.ndarray:
    """(n, context) tokens -> (n, dimension)."""
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
    mask = torch.full((architecture.context, architecture.context), -torch.inf).triu(1)
    x = _blocks(state, "transformer", architecture.text_layers, x, mask)
    x = _norm(state, "ln_final", x)[torch.arange(len(x)), tokens.argmax(dim=1)]  # at the mark of the end
    return (x @ state["text_projection"]).numpy()


def _vit(state: State, architecture: Architecture, batch: torch.Tensor) -> torch.Tensor:
    cells = functional.conv2d(batch, state["visual.conv1.weight"], stride=architecture.patch).flatten(2).mT
    start = state["visual.class_embedding"].expand(len(batch), 1, -1)
    x = _norm(state, "visual.ln_pre", torch.cat([start, cells], 1) + state["visual.positional_embedding"])
    x = _blocks(state, "visual.transformer", int(str(architecture.vision_layers)), x, None)
    return _norm(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]


def _blocks(state: State, prefix: str, count: int, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    for i in range(count):
        at = f"{prefix}.resblocks.{i}"
        x = x + _attention(state, f"{at}.attn", _norm(state, f"{at}.ln_1", x), mask)
        h = _linear(state, f"{at}.mlp.c_fc", _norm(state, f"{at}.ln_2", x))
        x = x + _linear(state, f"{at}.mlp.c_proj", h * torch.sigmoid(1.702 * h))
    return x


def _attention(state: State, at: str, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    whole = x @ state[f"{at}.in_proj_weight"].T + state[f"{at}.in_proj_bias"]
    q, k, v = (part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in whole.chunk(3, -1))
    scores = q @ k.mT / 8 + (0 if mask is None else mask)
    return _linear(state, f"{at}.out_proj", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def _resnet(state: State, architecture: Architecture, batch: torch.Tensor) -> torch.Tensor:
    x = batch
    for i, stride in ((1, 2), (2, 1), (3, 1)):
        x = _convolved(state, f"visual.conv{i}", f"visual.bn{i}", x, stride).relu()
    x = functional.avg_pool2d(x, 2)
    assert isinstance(architecture.vision_layers, tuple)
    for stage, blocks in enumerate(architecture.vision_layers, 1):
        for i in range(blocks):
            x = _bottleneck(state, f"visual.layer{stage}.{i}", x, 2 if stage > 1 and i == 0 else 1)
    return _attention_pool(state, x)


def _bottleneck(state: State, at: str, x: torch.Tensor, stride: int) -> torch.Tensor:
    h = _convolved(state, f"{at}.conv1", f"{at}.bn1", x).relu()
    h = _convolved(state, f"{at}.conv2", f"{at}.bn2", h).relu()
    h = _convolved(state, f"{at}.conv3", f"{at}.bn3", functional.avg_pool2d(h, stride))
    if f"{at}.downsample.0.weight" in state:
        x = _convolved(state, f"{at}.downsample.0", f"{at}.downsample.1", functional.avg_pool2d(x, stride))
    return (h + x).relu()


def _convolved(state: State, convolution: str, norm: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    kernel = state[f"{convolution}.weight"]
    x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
    mean, variance, weight, bias = (
        state[f"{norm}.{name}"].view(-1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def _attention_pool(state: State, x: torch.Tensor) -> torch.Tensor:
    at = "visual.attnpool"
    cells = x.flatten(2).mT
    x = torch.cat([cells.mean(1, keepdim=True), cells], 1) + state[f"{at}.positional_embedding"]
    query, key, value = _linear(state, f"{at}.q_proj", x[:, :1]), *(_linear(state, f"{at}.{n}_proj", x) for n in "kv")
    q, k, v = (part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in (query, key, value))
    mixed = ((q @ k.mT / 8).softmax(-1) @ v).transpose(1, 2).flatten(1)
    return _linear(state, f"{at}.c_proj", mixed)


def _linear(state: State, at: str, x: torch.Tensor) -> torch.Tensor:
    return x @ state[f"{at}.weight"].T + state[f"{at}.bias"]


def _norm(state: State, at: str, x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{at}.weight"], state[f"{at}.bias"])


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float((1 - cosines).max())


def _fits_half(tensor: torch.Tensor) -> bool:
    return bool((tensor.half().float() == tensor).all())


def _place(root: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    if tensor.is_floating_point() and not last.startswith("running_"):
        root.register_parameter(last, torch.nn.Parameter(tensor, requires_grad=False))
    else:
        root.register_buffer(last, tensor)
