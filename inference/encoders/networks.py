"""Weights into a network, every one of them or an error; what it makes of one image; fingerprints of settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inference.encoders import EncoderError
from inference.encoders.recognition import looks_like
from inference.preprocessing import CHANNELS, Preprocessing

if TYPE_CHECKING:
    import torch

NAMED = 3  # keys that a message names


def digest(value: Any) -> str:
    """SHA-256 of plain values, shortened: a part of a fingerprint."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Networks are made without the random weights that `fill` replaces, which take most of the time of making one."""
    from torch.nn import init

    before = {name: getattr(init, name) for name in vars(init) if name.endswith("_") and not name.endswith("__")}
    try:
        for name in before:
            setattr(init, name, lambda tensor, *args, **kwargs: tensor)
        yield
    finally:
        for name, function in before.items():
            setattr(init, name, function)


def fuse_quickgelu(network: torch.nn.Module) -> None:
    """For the fast way: open_clip's QuickGELU, x * sigmoid(1.702 x), as one operation instead of three.

    It is silu(1.702 x) / 1.702, and both factors go into the weights before and behind it, while they are in float32.
    """
    import torch

    factor = 1.702
    with torch.no_grad():
        for module in network.modules():
            if type(getattr(module, "gelu", None)).__name__ == "QuickGELU" and hasattr(module, "c_fc"):
                module.c_fc.weight.mul_(factor)
                module.c_fc.bias.mul_(factor)
                module.c_proj.weight.div_(factor)
                module.gelu = torch.nn.SiLU(inplace=True)


def fill(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], what: str, key: str) -> None:
    """Put `tensors` into the network of `what`. Raises EncoderError where one is missing, left over or of another
    shape, so that nothing stays random."""
    problems = misfits({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, tensors)
    if problems:
        raise EncoderError(f"not the weights of {what}: {'; '.join(problems)}", key)
    network.load_state_dict(dict(tensors))


def with_counters(wanted: Iterable[str], tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, with those of batch normalisation's counters that are `wanted`, which matter in training only and
    which old files lack."""
    import torch

    counters = [name for name in wanted if name.endswith("num_batches_tracked") and name not in tensors]
    return {**tensors, **{name: torch.tensor(0) for name in counters}}


def misfits(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """How the tensors of a file differ from names and shapes that a network wants, in words; empty: they fit."""
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    problems = [
        f"{len(missing)} of {len(wanted)} tensors are missing ({_seen(missing)})" if missing else "",
        f"{len(unknown)} have no place in it ({_seen(unknown)})" if unknown else "",
        f"{len(shapes)} have another shape ({first_few(shapes)})" if shapes else "",
    ]
    return [problem for problem in problems if problem]


def _seen(names: Sequence[str]) -> str:
    """The first names, and what they look like."""
    family = looks_like(names)
    return first_few(names) + (f": {family}" if family else "")


def first_few(names: Sequence[str]) -> str:
    """The first names of a list that may be long."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def dimension_of(
    network: torch.nn.Module,
    encode_image: Callable[[torch.Tensor], torch.Tensor],
    preprocessing: Preprocessing,
    what: str,
    key: str,
) -> int:
    """Length of the vectors, by encoding a black image. Raises EncoderError where the network cannot take it."""
    import torch

    network.eval()
    height, width = preprocessing.size
    with torch.inference_mode():
        try:
            vector = encode_image(torch.zeros(1, CHANNELS[preprocessing.channels], height, width))
        except (RuntimeError, ValueError, AssertionError) as error:
            shape = f"{height}x{width} pixels, {preprocessing.channels}"
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EncoderError(f"{what} does not take images of {shape}: {reason}", key) from error
    if vector.ndim != 2:
        raise EncoderError(f"{what} gives an array of shape {tuple(vector.shape)} instead of a vector an image", key)
    return int(vector.shape[1])
