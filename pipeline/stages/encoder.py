"""The encoder: described and fingerprinted here, loaded only where something has to be encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.encoders import EncoderError, EncoderHandle, Look, describe
from inference.fidelity import is_guarded
from pipeline.datasets import vectors
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import CallError
from pipeline.schema import PrecomputedEncoder, plain
from pipeline.stage import Stage, Workspace


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """A handle on the encoder that the config describes, or on vectors that exist already."""
    if isinstance(settings.encoder, PrecomputedEncoder):
        return {"encoder": vectors.open_vectors(settings.encoder, workspace.content_hashes)}
    try:
        return {"encoder": _described(settings, workspace)}
    except EncoderError as error:
        raise CallError(f"{error.key}: {error.message}") from error


def first_look(settings: Any) -> None:
    """The encoder can be described: weights are there and can be read, the device is there."""
    run(settings, Workspace(Path()))


def _described(settings: Any, workspace: Workspace) -> EncoderHandle:
    arguments = dict(plain(settings.encoder))
    kind, normalize = arguments.pop("kind"), arguments.pop("normalize")
    arguments.pop("name")
    look = Look(Path(settings.paths.checkpoints), lambda path: workspace.sha256([path])[0])
    handle = describe(kind, arguments, normalize, look)
    if handle.description.exact_only:
        return handle
    from inference.runtime import resolve

    runtime = resolve(settings.device, settings.precision.mode.value, settings.precision.compile)
    return replace(handle, runtime=runtime, min_fidelity=settings.precision.min_fidelity)


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """All that changes an image's vector."""
    handle: EncoderHandle | Precomputed = made["encoder"]
    if isinstance(handle, Precomputed):
        return {"encoder": f"{handle.image_fingerprint}:normalize={handle.normalize}"}
    fingerprint = f"{handle.description.image_fingerprint}:normalize={handle.normalize}"
    if is_guarded(handle):  # the device is no part of it
        fingerprint += f":{handle.runtime.words()}:min_fidelity={handle.min_fidelity}"
    return {"encoder": fingerprint}


STAGE = Stage(
    name="encoder",
    needs=(),
    makes=("encoder",),
    settings=("encoder", "paths", "device", "precision"),
    run=run,
    first_look=first_look,
    fingerprints=fingerprints,
    unsaved=("encoder",),
)
