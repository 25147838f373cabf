"""Texts to vectors: sharded, in worker processes, resumable."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.errors import RunError
from pipeline.stage import Facts, Stage, Workspace
from pipeline.stages.text_vectors import no_text_side, text_vectors

log = logging.getLogger(__name__)


def run(settings: Any, workspace: Workspace, texts: Any, text_encoder: Any) -> dict[str, Any]:
    """`text_embeddings` (m, d) of length 1, a row for each of `texts`; `text_encoding`, one row: how many were cut, how
    many mean nothing to the tokenizer, the fidelity."""
    column = texts["text"]
    if not len(column):
        raise RunError("texts: there is no entry to encode")
    found = text_vectors(column, text_encoder, workspace, workspace.folder, settings.text.prefix or "")
    count = len(column)
    told = {
        "texts": count,
        "dimension": found.vectors.shape[1],
        "truncated": found.truncated,
        "unknown": found.unknown,
        "fidelity": found.fidelity,
    }
    return {"text_embeddings": found.vectors, "text_encoding": pd.DataFrame([told])}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """How many texts, cut ones, unknown ones; fidelity."""
    told = made["text_encoding"].iloc[0]
    return {name: float(told[name]) for name in ("texts", "truncated", "unknown", "fidelity")}


def refuse(facts: Facts, settings: Any) -> str | None:
    """Needs an encoder that sees texts; without texts that is no matter."""
    return None if settings.text.source == "none" else no_text_side(facts)


STAGE = Stage(
    name="text_embedding",
    needs=("texts", "text_encoder"),
    makes=("text_embeddings", "text_encoding"),
    settings=("text",),
    keyed=lambda settings: {"prefix": getattr(settings.text, "prefix", None) or ""},  # text=none has none
    run=run,
    metrics=metrics,
    refuse=refuse,
    packages=("torch", "transformers", "open_clip_torch"),
)
