"""The encoder: described and fingerprinted here, loaded only where something has to be encoded."""

from __future__ import annotations

import json
import logging
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

log = logging.getLogger(__name__)


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """`encoder`, `text_encoder`: a handle on the encoder that the config describes, or on vectors that exist already.
    `encoder_identity`: which model it is by its weights, their files, and whether they are known to be the published
    ones; empty of given vectors."""
    if isinstance(settings.encoder, PrecomputedEncoder):
        opened = vectors.open_vectors(settings.encoder, workspace.content_hashes)
        return {"encoder": opened, "text_encoder": opened, "encoder_identity": {}}
    try:
        described = _described(settings, workspace)
    except EncoderError as error:
        raise CallError(f"{error.key}: {error.message}") from error
    _warn_of_other_images(settings, described)
    return {"encoder": described, "text_encoder": described, "encoder_identity": _identity(described)}


def _identity(handle: EncoderHandle) -> dict[str, Any]:
    told = handle.description
    files = [Path(path).name for path in told.weights]
    return {"model": told.model, "weights": files, "published": told.published}


def _warn_of_other_images(settings: Any, handle: EncoderHandle) -> None:
    """A checkpoint of ours that began from nothing knows the data set that it has seen, and no other."""
    if handle.kind != "checkpoint":
        return
    from inference.training.folder import CARD, only_seen

    try:
        card = json.loads(Path(handle.description.weights[0]).with_name(CARD).read_text(encoding="utf-8"))
        seen = only_seen(card)
    except (OSError, ValueError, AttributeError, TypeError, KeyError):  # none, or somebody else's
        return
    if seen is not None and seen != settings.dataset.name:
        log.warning(
            "this checkpoint (%s) has never seen any images but those of %s: of %s its vectors mean little, and no "
            "score of them speaks for CLIP",
            handle.description.model, seen, settings.dataset.name,
        )  # fmt: skip


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
    """All that changes an image's vector, and a text's. The device is no part of it."""
    handle: EncoderHandle | Precomputed = made["encoder"]
    identity = {"encoder_identity": json.dumps(made["encoder_identity"], sort_keys=True)}
    if isinstance(handle, Precomputed):
        scaled = f":normalize={handle.normalize}"
        texts = f"{handle.text_fingerprint}:logit_scale={handle.logit_scale}"
        return identity | {"encoder": handle.image_fingerprint + scaled, "text_encoder": texts}
    guarded = f":{handle.runtime.words()}:min_fidelity={handle.min_fidelity}" if is_guarded(handle) else ""
    images = f"{handle.description.image_fingerprint}:normalize={handle.normalize}{guarded}"
    return identity | {"encoder": images, "text_encoder": f"{handle.description.text_fingerprint}{guarded}"}


STAGE = Stage(
    name="encoder",
    needs=(),
    makes=("encoder", "text_encoder", "encoder_identity"),
    settings=("encoder", "paths", "device", "precision", "dataset"),
    run=run,
    fingerprints=fingerprints,
    unsaved=("encoder", "text_encoder", "encoder_identity"),
)
