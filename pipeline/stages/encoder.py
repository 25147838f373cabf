"""The encoder: described and fingerprinted here, loaded only where something has to be encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.encoders import EncoderHandle
from pipeline.datasets import vectors
from pipeline.schema import PrecomputedEncoder, plain
from pipeline.stage import Stage, Workspace


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """A handle on the encoder that the config describes, or on vectors that exist already."""
    if isinstance(settings.encoder, PrecomputedEncoder):
        return {"encoder": vectors.open_vectors(settings.encoder, workspace.content_hashes)}
    arguments = dict(plain(settings.encoder))
    kind, normalize = arguments.pop("kind"), arguments.pop("normalize")
    arguments.pop("name")
    return {"encoder": EncoderHandle(kind, tuple(sorted(arguments.items())), normalize)}


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """All that changes an image's vector."""
    handle: EncoderHandle = made["encoder"]
    return {"encoder": f"{handle.load().image_fingerprint}:normalize={handle.normalize}"}


STAGE = Stage(
    name="encoder",
    needs=(),
    makes=("encoder",),
    settings=("encoder",),
    run=run,
    fingerprints=fingerprints,
    unsaved=("encoder",),
)
