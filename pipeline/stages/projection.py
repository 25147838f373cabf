"""The projection in which images are clustered, how much it keeps of the neighbourhoods, and a 2-D map to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.schema import NoProjection, PcaProjection, UmapProjection
from pipeline.stage import Facts, Stage, Workspace

QUALITY = ("trustworthiness", "continuity", "neighbours_kept")


def run(settings: Any, workspace: Workspace, image_embeddings: np.ndarray) -> dict[str, Any]:
    """`projection` (n, d') float32, or the embeddings themselves where there is none; `map` (n, 2) float32;
    `projection_quality` by name and value."""
    from pipeline.metrics.faithfulness import projection_quality

    chosen = settings.projection
    if too_few := _too_few(chosen, len(image_embeddings)):
        raise RunError(f"projection: {too_few}")
    projection = PROJECT[type(chosen)](chosen, image_embeddings, workspace)
    quality: dict[str, float] = {}
    if not isinstance(chosen, NoProjection):
        quality = projection_quality(image_embeddings, projection)
    table = pd.DataFrame({"name": list(quality), "value": list(quality.values())}, columns=["name", "value"])
    table["value"] = table["value"].astype(float)
    return {"projection": projection, "projection_quality": table, "map": _map(settings, projection, workspace)}


def _umap(chosen: UmapProjection, vectors: np.ndarray, workspace: Workspace) -> np.ndarray:
    from pipeline.geometry.projection import umap_projection

    return umap_projection(
        vectors, chosen.n_components, chosen.n_neighbors, chosen.min_dist, chosen.seed, workspace.progress
    )


def _pca(chosen: PcaProjection, vectors: np.ndarray, workspace: Workspace) -> np.ndarray:
    from pipeline.geometry.projection import pca_projection

    if chosen.n_components > vectors.shape[1]:
        raise RunError(
            f"projection.n_components = {chosen.n_components}: the embeddings have {vectors.shape[1]} dimensions only"
        )
    return pca_projection(vectors, chosen.n_components)


def _none(chosen: NoProjection, vectors: np.ndarray, workspace: Workspace) -> np.ndarray:
    return vectors


PROJECT: dict[type, Callable[[Any, np.ndarray, Workspace], np.ndarray]] = {
    UmapProjection: _umap,
    PcaProjection: _pca,
    NoProjection: _none,
}


def _map(settings: Any, projection: np.ndarray, workspace: Workspace) -> np.ndarray:
    """The projection where that is 2-D, else 2-D by the same method; without a projection by UMAP."""
    from pipeline.geometry.projection import flat_map

    chosen = settings.projection
    if isinstance(chosen, PcaProjection):
        return flat_map(projection, "pca")
    if isinstance(chosen, UmapProjection):
        return flat_map(
            projection, "umap", chosen.n_neighbors, chosen.min_dist, chosen.seed, progress=workspace.progress
        )
    return flat_map(projection, "umap", seed=settings.seed, progress=workspace.progress)


def map_name(chosen: Any, dimensions: int) -> str:
    """What the axes of `map` are, in words."""
    if isinstance(chosen, NoProjection):
        return "2-D UMAP of the embeddings, for looking only: nothing was computed in it"
    method = "UMAP" if isinstance(chosen, UmapProjection) else "PCA"
    if dimensions == 2:
        return f"the 2-D {method} projection, in which the clusters were found"
    return f"2-D {method} of the {dimensions}-D {method} projection, for looking only"


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """quality/<name>."""
    table = made["projection_quality"]
    return {f"quality/{row.name}": row.value for row in table.itertuples(index=False) if row.name in QUALITY}


def refuse(facts: Facts, settings: Any) -> str | None:
    """A projection needs a few more images than it has dimensions."""
    return _too_few(settings.projection, facts.images)


def _too_few(chosen: Any, images: int) -> str | None:
    if isinstance(chosen, UmapProjection):
        needed = max(chosen.n_components + 2, 4)
    elif isinstance(chosen, PcaProjection):
        needed = max(chosen.n_components, 2)
    else:
        needed = 2
    if images >= needed:
        return None
    of = "" if isinstance(chosen, NoProjection) else f" in {chosen.n_components} dimensions"
    return f"projection={chosen.name}{of} needs at least {needed} images, and there are {images}"


STAGE = Stage(
    name="projection",
    needs=("image_embeddings",),
    makes=("projection", "projection_quality", "map"),
    settings=("projection", "seed"),
    run=run,
    metrics=metrics,
    refuse=refuse,
    unseeded=lambda settings: getattr(settings.projection, "seed", 0) is None,
    packages=("umap-learn", "numba", "numpy", "scikit-learn"),
)
