"""What a training begins with, and where it computes: found and fingerprinted here, loaded by the training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.encoders import TEXT_SIDES, EncoderError, EncoderHandle, Look, describe
from pipeline.errors import CallError
from pipeline.schema import PrecisionMode, TrainingBase, TrainingRecipe, TrainingSettings
from pipeline.stage import Stage, Workspace

NOTHING = dict.fromkeys(("mean", "std", "resize", "interpolation"))


@dataclass(frozen=True)
class Start:
    """handle: on the base model; None: from scratch. device; precision: of the network's inside."""

    handle: EncoderHandle | None
    device: str
    precision: str


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """`training_base`: a `Start`. Raises CallError for a base that cannot be found, or has no text side."""
    chosen: TrainingSettings = settings.training
    try:
        device, precision = _runtime(settings)
        return {"training_base": Start(_handle(settings, workspace), device, precision)}
    except EncoderError as error:
        key = _key(error.key, chosen.base)
        message = error.message.replace(error.key, key)
        if chosen.base is TrainingBase.scratch:  # which takes no file
            message = message.removesuffix(f", or say {key}=<file>")
        raise CallError(f"{key}: {message}") from error


def first_look(settings: Any) -> None:
    """Settings that do not go together, and the base itself."""
    chosen: TrainingSettings = settings.training
    _refuse_idle(chosen)
    if chosen.base is TrainingBase.scratch and chosen.recipe is TrainingRecipe.contrastive:
        _buildable(chosen)
    run(settings, Workspace(Path(), sha256=_no_hashes))


def _no_hashes(paths: Any) -> list[str]:
    """To look whether a base is there, its bytes need not be read."""
    return ["" for _ in paths]


def _refuse_idle(chosen: TrainingSettings) -> None:
    base = chosen.base.value
    takes = {
        "scratch": (),
        "openai": ("model", "weights"),
        "open_clip": ("model", "weights"),
        "checkpoint": ("weights",),
    }
    for name in ("model", "weights"):
        if getattr(chosen, name) is not None and name not in takes[base]:
            raise CallError(f"training.{name}: has no effect with training.base={base}")
    needed = {"open_clip": "model", "checkpoint": "weights"}.get(base)
    if needed and getattr(chosen, needed) is None:
        raise CallError(f"training.{needed}: must be given with training.base={base}")
    if chosen.recipe is TrainingRecipe.tutorial and base not in ("scratch", "checkpoint"):
        raise CallError(
            f"training.base = {base}: the tutorial recipe trains the tutorial's own network: scratch, or its checkpoint"
        )


def _buildable(chosen: TrainingSettings) -> None:
    from pipeline.stages.training_rows import architecture

    try:
        architecture(chosen)
    except ValueError as error:
        raise CallError(f"training.architecture: {error}") from error


def _handle(settings: Any, workspace: Workspace) -> EncoderHandle | None:
    from inference.training.folder import must_be_writable

    chosen, base = settings.training, settings.training.base.value
    if base == "scratch" and chosen.recipe is TrainingRecipe.contrastive:
        return None
    look = Look(Path(settings.paths.checkpoints), lambda path: workspace.sha256([path])[0])
    if base == "scratch":
        from inference.training.towers import describe_towers

        return describe_towers(look)
    handle = describe(base, _arguments(chosen, base), False, look)
    if handle.description.text_fingerprint is None:
        raise EncoderError(
            f"{handle.description.model} sees images only; with a text side: {TEXT_SIDES}", "encoder.model"
        )
    must_be_writable(handle.description, "training.base")
    is_tutorial = handle.description.name == "checkpoint" and "kind" not in dict(handle.description.facts)
    if is_tutorial != (chosen.recipe is TrainingRecipe.tutorial):
        what, other = ("a tutorial CLIP", "tutorial") if is_tutorial else ("no tutorial CLIP", "contrastive")
        raise EncoderError(f"the base is {what}: training.recipe={other}", "training.recipe")
    return handle


def _arguments(chosen: TrainingSettings, base: str) -> dict[str, Any]:
    """The settings that the encoder of that name has."""
    file = chosen.weights and str(Path(chosen.weights).expanduser())
    if base == "openai":
        return {"model": chosen.model, "weights": file, "preprocessing": "openai"} | NOTHING
    if base == "open_clip":
        return {"model": chosen.model, "pretrained": chosen.weights, "revision": None} | NOTHING
    return {"path": file, "model": None, "activation": "auto", "antialias": False} | NOTHING


def _key(key: str, base: TrainingBase) -> str:
    """The encoder's setting as this section calls it."""
    if key.startswith("encoder"):
        by_file = base is TrainingBase.checkpoint or key in ("encoder.weights", "encoder.pretrained", "encoder.path")
        return "training.weights" if by_file else "training.model"
    return key


def _runtime(settings: Any) -> tuple[str, str]:
    """fp32 on a CPU unless something else was asked for; on a GPU what it has natively."""
    from inference.runtime import resolve

    mode = settings.precision.mode
    found = resolve(settings.device, mode.value)
    if found.device == "cpu" and mode is PrecisionMode.auto:
        return "cpu", "fp32"
    return found.device, found.precision


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """All that changes what is begun with, and the precision. The device is no part of it."""
    start: Start = made["training_base"]
    told = start.handle.description if start.handle else None
    base = f"{told.image_fingerprint}|{told.text_fingerprint}" if told else "scratch"
    return {"training_base": hashlib.sha256(f"{base}|{start.precision}".encode()).hexdigest()}


STAGE = Stage(
    name="training_base",
    needs=(),
    makes=("training_base",),
    settings=("training", "paths", "device", "precision"),
    run=run,
    first_look=first_look,
    fingerprints=fingerprints,
    unsaved=("training_base",),
)
