"""What the stages that compare with clouds without clusters share: which clouds, and where they are clustered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.schema import NoProjection, NullModel, Space
from pipeline.stage import Workspace

# what `replicates` makes, and the stages that compare with clouds and halves need
REPLICATES = (
    "replicate_rows",
    "half_rows",
    "null_half_rows",
    "sample_projection",
    "null_projections",
    "half_projections",
    "null_half_projections",
)

SHARED = ("null_model", "replicates", "embedding_replicates", "half_samples", "max_images", "seed")
"""The settings of significance that change clouds and halves."""


def replicates(settings: Any) -> int:
    """Clouds without clusters: projecting them takes long, so there are fewer than where nothing is projected."""
    chosen = settings.significance
    return int(chosen.embedding_replicates if flat(settings) else chosen.replicates)


def flat(settings: Any) -> bool:
    """Whether nothing is projected."""
    return isinstance(settings.projection, NoProjection)


def clustered_space(settings: Any) -> str:
    """The space in which clusters are found."""
    return "embedding" if flat(settings) or settings.clustering.space is Space.embedding else "projection"


def coordinates(settings: Any, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) vectors in coordinates of their own, where they are scored, and what clouds are drawn from: the same, but
    for shuffled features, which these coordinates do not have."""
    from pipeline.metrics.nulls import isometric

    own = isometric(vectors)
    return own, (vectors if settings.significance.null_model is NullModel.features else own)


def null_vectors(settings: Any, vectors: np.ndarray) -> Callable[[int], np.ndarray]:
    """What draws the same clouds that were projected, by their numbers."""
    from pipeline.metrics.nulls import null_drawer

    chosen = settings.significance
    return null_drawer(vectors, chosen.null_model.value, chosen.seed)


def refuse_to_compare(settings: Any) -> str | None:
    """Why there are no clouds, None where there are."""
    if replicates(settings):
        return None
    if settings.significance.name == "none":
        return "significance=none"
    return f"significance.{'embedding_replicates' if flat(settings) else 'replicates'} = 0"


def counter(workspace: Workspace, total: int) -> Callable[[], None]:
    """To be called as often as there are steps."""
    state = [0]

    def done() -> None:
        state[0] += 1
        workspace.progress(min(state[0], total), total)

    return done


def compared(
    space: str, clusters_of: str, name: str, observed: float, nulls: Sequence[float], halves: Sequence[float]
) -> dict[str, Any]:
    """A row of `null_scores`: a score of the images beside that of clouds and of half-samples."""
    from pipeline.metrics.significance import LOGARITHMIC, excess
    from pipeline.metrics.significance import halves as over_halves

    found, spread = excess(name, observed, nulls), over_halves(observed, halves)
    known = [value for value in nulls if math.isfinite(value) and (value > 0 or name not in LOGARITHMIC)]
    return {
        "space": space,
        "clusters_of": clusters_of,
        "name": name,
        "of": "",
        "observed": observed,
        "half_mean": spread.mean,
        "half_sd": spread.sd,
        "depends_on_n": spread.depends_on_n and name != "calinski_harabasz",  # which grows with n by its definition
        "null_mean": found.null_mean,
        "null_sd": found.null_sd,
        "null_low": min(known, default=math.nan),
        "null_high": max(known, default=math.nan),
        "replicates": found.replicates,
        "excess": found.excess,
        "p": found.p,
    }
