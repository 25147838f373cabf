"""Texts to vectors of length 1, made by an encoder or given: what several stages of words share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.encoders import EncoderError, EncoderHandle, NoTextSide
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import RunError
from pipeline.metrics.blocks import unit_rows
from pipeline.stage import Facts, Workspace

log = logging.getLogger(__name__)

SEEING_TEXTS = (
    "openai, open_clip, huggingface (CLIP, SigLIP), checkpoint (of a CLIP), precomputed with encoder.text_path"
)


@dataclass(frozen=True)
class TextVectors:
    """vectors: (m, d) float32 of length 1; truncated: how many texts were longer than the context and cut; unknown: how
    many have no word that the tokenizer knows; fidelity: smallest cosine to the exact way (1 where it is that).
    probability: (n, m) cosines of images to these texts -> (n, m) by the model's own rule."""

    vectors: np.ndarray
    probability: Callable[[np.ndarray], np.ndarray] | None
    truncated: int = 0
    unknown: int = 0
    fidelity: float = 1.0


def text_vectors(
    texts: Any, encoder: EncoderHandle | Precomputed, workspace: Workspace, folder: Path, prefix: str = ""
) -> TextVectors:
    """The vectors of texts (a list or an Arrow column), resumable in `folder`. Raises RunError."""
    if isinstance(encoder, Precomputed):
        given = encoder.encode_texts([prefix + text for text in as_list(texts)])
        return TextVectors(unit_rows(given).astype(np.float32), encoder.similarity_to_probability)
    from inference.texts import embed_texts

    try:
        made = embed_texts(
            texts, encoder, folder, prefix=prefix, workers=workspace.workers, progress=workspace.progress
        )
    except (EncoderError, NoTextSide) as error:
        raise RunError(f"{getattr(error, 'key', 'encoder')}: {error}") from error
    fidelity = made.fidelity.cosine if made.fidelity else 1.0
    return TextVectors(made.vectors, made.rule, made.truncated, made.unknown, fidelity)


def as_list(texts: Any) -> list[str]:
    """A list of a list or an Arrow column."""
    return list(texts) if isinstance(texts, Sequence) else list(texts.to_pylist())


def no_text_side(facts: Facts) -> str | None:
    """Why an analysis of texts cannot be done with this encoder, None if it can."""
    if facts.text_side:
        return None
    return f"encoder={facts.encoder} sees images only; encoders that see texts too: {SEEING_TEXTS}"
