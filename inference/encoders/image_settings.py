"""The preprocessing that a user sets: over a model's own, or in its place where a model carries none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inference.encoders import EncoderError
from inference.preprocessing import CHANNELS, Preprocessing


def refuse_wrong(arguments: Mapping[str, Any]) -> None:
    """What is wrong whatever the model is. Raises EncoderError."""
    for name in ("mean", "std"):
        values = arguments.get(name)
        if values is not None and len(values) not in CHANNELS.values():
            raise EncoderError(f"{list(values)}: one number a channel (3), or one for all", f"encoder.{name}")
    if arguments.get("std") is not None and min(arguments["std"]) <= 0:
        raise EncoderError(f"{list(arguments['std'])}: all have to be greater than 0", "encoder.std")


def with_settings(own: Preprocessing | None, arguments: Mapping[str, Any], lacking: str = "") -> Preprocessing:
    """`own` with what the settings size, mean, std, resize, interpolation and channels say, as far as the encoder has
    them; null leaves it as it is.

    With a size of one's own nothing is cut off beyond what `resize` does. own: None where the model says nothing
    (`lacking`: of what, in words), so that size, mean and std have to be given. Raises EncoderError."""
    given = {
        name: arguments[name] for name in ("resize", "interpolation", "channels") if arguments.get(name) is not None
    }
    given |= {name: tuple(arguments[name]) for name in ("mean", "std") if arguments.get(name) is not None}
    if arguments.get("size") is not None:
        given |= {"size": (arguments["size"], arguments["size"]), "resize_to": None}
    if own is None and (absent := [name for name in ("size", "mean", "std") if name not in given]):
        raise EncoderError(f"{lacking}: give encoder.{', encoder.'.join(absent)}", f"encoder.{absent[0]}")
    _check_numbers(own, given)
    try:
        return Preprocessing(**given) if own is None else replace(own, **given)
    except ValueError as error:
        raise EncoderError(str(error), "encoder.interpolation") from error


def _check_numbers(own: Preprocessing | None, given: Mapping[str, Any]) -> None:
    channels = given.get("channels", "rgb" if own is None else own.channels)
    for name in ("mean", "std"):
        values = given[name] if name in given else getattr(own, name)
        if len(values) not in (1, CHANNELS[channels]):
            wanted = f"channels={channels} takes {CHANNELS[channels]}, of pixels in 0..1"
            raise EncoderError(f"{list(values)} are {len(values)} numbers: {wanted}", f"encoder.{name}")
