"""Where the texts come from: files, each with a hash of its content, or captions, class names and words. Separate from
`texts`, so that a corpus is read once, whatever images it is compared with and wherever it lies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.schema import CaptionsText, LabelsText, plain
from pipeline.stage import Facts, Stage, Workspace
from pipeline.texts import sources

log = logging.getLogger(__name__)


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame | None = None, image_labels: pd.DataFrame | None = None
) -> dict[str, Any]:
    """`text_sources`: pipeline.texts.sources.TextSources."""
    found = sources.find_sources(settings.text, workspace.content_hashes, images, image_labels)
    for note in found.notes:
        log.warning("%s", note)
    return {"text_sources": found}


def requires(settings: Any) -> tuple[str, ...]:
    """Images, where the texts are theirs."""
    return ("images",) if isinstance(settings.text, CaptionsText | LabelsText) else ()


def refuse(facts: Facts, settings: Any) -> str | None:
    """Without texts, or where the data set has none of the kind."""
    return sources.refusal(settings.text, facts.captioned, bool(facts.classes))


def first_look(settings: Any) -> None:
    """Files and columns are there."""
    sources.look(settings.text)


def keyed(settings: Any) -> dict[str, Any]:
    """What decides which texts these are: not what is put before them, nor how many are held in memory."""
    return {name: value for name, value in plain(settings.text).items() if name not in ("prefix", "chunk_size")}


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """Of all that is read, but not of where it lies."""
    return {"text_sources": made["text_sources"].fingerprint}


STAGE = Stage(
    name="text_sources",
    needs=(),
    uses=("images", "image_labels"),
    requires=requires,
    makes=("text_sources",),
    settings=("text",),
    keyed=keyed,
    run=run,
    refuse=refuse,
    first_look=first_look,
    fingerprints=fingerprints,
    unsaved=("text_sources",),
)
