"""Every image's nearest neighbours among the embeddings: found once, for the projection and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.errors import RunError
from pipeline.schema import NoProjection, PcaProjection, TsneProjection, UmapProjection
from pipeline.stage import Stage, Workspace

FEWEST = 32  # settings that need fewer share these
FOR_THE_MAP = 15  # with projection=none, UMAP's own default


def run(settings: Any, workspace: Workspace, image_embeddings: np.ndarray) -> dict[str, Any]:
    """`neighbour_rows` (m, K) int32 and `neighbour_distances` (m, K) float32, Euclidean, the row itself first.

    m is n, or above `projection.max_fit` the size of the sample that is fitted, and rows are numbered within it.
    """
    from pipeline.geometry.neighbours import nearest_neighbours
    from pipeline.geometry.sampling import fitted_rows

    wanted, vectors = _wanted(settings), image_embeddings
    if wanted and len(vectors) > settings.projection.max_fit:
        vectors = vectors[fitted_rows(len(vectors), settings.projection.max_fit)]
    k = min(wanted, len(vectors))
    if not k:
        empty = (len(vectors), 0)
        return {"neighbour_rows": np.empty(empty, np.int32), "neighbour_distances": np.empty(empty, np.float32)}
    try:
        rows, distances = nearest_neighbours(vectors, k, progress=workspace.progress)
    except ValueError as error:
        raise RunError(f"neighbours: {error}") from error
    return {"neighbour_rows": rows, "neighbour_distances": distances}


def _of_tsne(chosen: TsneProjection) -> int:
    from pipeline.geometry.tsne import neighbours_for

    return neighbours_for(chosen.perplexity)


NEEDED: dict[type, Callable[[Any], int]] = {
    UmapProjection: lambda chosen: int(chosen.n_neighbors),
    TsneProjection: _of_tsne,
    PcaProjection: lambda chosen: 0,
    NoProjection: lambda chosen: FOR_THE_MAP,
}


def _wanted(settings: Any) -> int:
    """K: the next power of two, so that settings which need about as many share them; 0 where none are needed."""
    needed = NEEDED[type(settings.projection)](settings.projection)
    return max(FEWEST, 1 << (needed - 1).bit_length()) if needed else 0


def keyed(settings: Any) -> dict[str, int]:
    """Neither the kind of projection nor its other settings change who is near whom."""
    wanted = _wanted(settings)
    return {"k": wanted, "max_fit": settings.projection.max_fit} if wanted else {"k": 0}


STAGE = Stage(
    name="neighbours",
    needs=("image_embeddings",),
    makes=("neighbour_rows", "neighbour_distances"),
    settings=("projection",),
    keyed=keyed,
    run=run,
    packages=("numpy",),
)
