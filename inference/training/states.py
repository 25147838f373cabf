"""What a training puts down after each epoch: all that the next one needs, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STATE, BEST = "last.pt", "best.pt"


class Changed(Exception):
    """The folder holds a training of something else: which settings differ."""


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Tensors and plain values, under their name when all is written."""
    _written(folder / STATE, dict(state))


def save_best(folder: Path, network: Mapping[str, torch.Tensor]) -> None:
    """The weights that are the best so far."""
    _written(folder / BEST, dict(network))


def load(folder: Path) -> dict[str, Any]:
    """The state after the last epoch that came to its end; empty where there is none. Nothing in the file is run."""
    file = folder / STATE
    return _read(file) if file.is_file() else {}


def best(folder: Path) -> dict[str, Any]:
    """The best weights."""
    return _read(folder / BEST)


def must_be_same(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises Changed, naming every key that differs."""
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if keys:
        told = ", ".join(f"{key} ({then.get(key)} then, {now.get(key)} now)" for key in sorted(keys))
        raise Changed(f"an unfinished training lies here, which differs in {told}")


def _written(file: Path, content: dict[str, Any]) -> None:
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as opened:
            torch.save(content, opened)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return found
