"""The projection in which images are clustered, how much it keeps of the neighbourhoods, and a 2-D map to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.schema import NoProjection, PcaProjection, TsneProjection, UmapProjection
from pipeline.stage import Facts, Stage, Workspace

log = logging.getLogger(__name__)

QUALITY = ("trustworthiness", "continuity", "neighbours_kept")


def run(
    settings: Any,
    workspace: Workspace,
    image_embeddings: np.ndarray,
    neighbour_rows: np.ndarray,
    neighbour_distances: np.ndarray,
) -> dict[str, Any]:
    """`projection` (n, d') float32, or the embeddings themselves where there is none; `map` (n, 2) float32;
    `projection_quality` by name and value."""
    from pipeline.metrics.faithfulness import projection_quality
    from pipeline.metrics.k_selection import distinct_rows

    chosen = settings.projection
    if why := too_few(chosen, len(image_embeddings)):
        raise RunError(f"projection: {why}")
    if distinct_rows(image_embeddings, most=2) < 2:
        log.warning("all vectors are the same: a map of them, and clusters found in their projection, mean nothing")
    near = (neighbour_rows, neighbour_distances)
    projection = PROJECT[type(chosen)](chosen, image_embeddings, near, workspace)
    quality: dict[str, float] = {}
    if not isinstance(chosen, NoProjection):
        of_all = neighbour_rows if neighbour_rows.shape[1] and len(neighbour_rows) == len(projection) else None
        quality = projection_quality(image_embeddings, projection, nearest=of_all)
    table = pd.DataFrame({"name": list(quality), "value": list(quality.values())}, columns=["name", "value"])
    table["value"] = table["value"].astype(float)
    return {"projection": projection, "projection_quality": table, "map": _map(settings, projection, near, workspace)}


Near = tuple[np.ndarray, np.ndarray]


def _umap(chosen: UmapProjection, vectors: np.ndarray, near: Near, workspace: Workspace) -> np.ndarray:
    from pipeline.geometry.projection import umap_projection

    return umap_projection(
        vectors,
        chosen.n_components,
        chosen.n_neighbors,
        chosen.min_dist,
        chosen.seed,
        workspace.progress,
        near,
        chosen.max_fit,
    )


def _tsne(chosen: TsneProjection, vectors: np.ndarray, near: Near, workspace: Workspace) -> np.ndarray:
    from pipeline.geometry.tsne import tsne_projection

    return tsne_projection(
        vectors, chosen.perplexity, chosen.n_iter, chosen.seed, workspace.progress, near, chosen.max_fit
    )


def _pca(chosen: PcaProjection, vectors: np.ndarray, near: Near, workspace: Workspace) -> np.ndarray:
    from pipeline.geometry.projection import pca_projection

    if chosen.n_components > vectors.shape[1]:
        raise RunError(
            f"projection.n_components = {chosen.n_components}: the embeddings have {vectors.shape[1]} dimensions only"
        )
    return pca_projection(vectors, chosen.n_components)


def _none(chosen: NoProjection, vectors: np.ndarray, near: Near, workspace: Workspace) -> np.ndarray:
    return vectors


PROJECT: dict[type, Callable[[Any, np.ndarray, Near, Workspace], np.ndarray]] = {
    UmapProjection: _umap,
    TsneProjection: _tsne,
    PcaProjection: _pca,
    NoProjection: _none,
}


def _map(settings: Any, projection: np.ndarray, near: Near, workspace: Workspace) -> np.ndarray:
    """The projection where that is 2-D, else 2-D by the same method; without a projection by UMAP."""
    from pipeline.geometry.projection import flat_map

    chosen = settings.projection
    if isinstance(chosen, TsneProjection):
        return projection
    if isinstance(chosen, PcaProjection):
        return flat_map(projection, "pca")
    shared: dict[str, Any] = {"progress": workspace.progress, "max_fit": chosen.max_fit}
    if isinstance(chosen, UmapProjection):
        return flat_map(projection, "umap", chosen.n_neighbors, chosen.min_dist, chosen.seed, **shared)
    return flat_map(projection, "umap", seed=settings.seed, neighbours=near, **shared)


NAMES: dict[type, str] = {UmapProjection: "UMAP", TsneProjection: "t-SNE", PcaProjection: "PCA"}


def map_name(chosen: Any, dimensions: int, clustered: bool = True) -> str:
    """What the axes of `map` are, in words. clustered: whether the clusters were found in the projection."""
    if isinstance(chosen, NoProjection):
        return "2-D UMAP of the embeddings, for looking only: nothing was computed in it"
    method = NAMES[type(chosen)]
    if dimensions == 2:
        found = "in which the clusters were found" if clustered else "the clusters were found in the embedding space"
        return f"the 2-D {method} projection, {found}"
    return f"2-D {method} of the {dimensions}-D {method} projection, for looking only"


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """quality/<name>."""
    table = made["projection_quality"]
    return {f"quality/{row.name}": row.value for row in table.itertuples(index=False) if row.name in QUALITY}


def refuse(facts: Facts, settings: Any) -> str | None:
    """A projection needs a few more images than it has dimensions."""
    return too_few(settings.projection, facts.images)


FEWEST: dict[type, Callable[[Any], int]] = {
    UmapProjection: lambda chosen: max(chosen.n_components + 2, 4),
    TsneProjection: lambda chosen: 4,
    PcaProjection: lambda chosen: max(chosen.n_components, 2),
    NoProjection: lambda chosen: 2,
}


def too_few(chosen: Any, images: int) -> str | None:
    """Why so many images cannot be projected, None where they can."""
    needed = FEWEST[type(chosen)](chosen)
    if images >= needed:
        return None
    of = f" in {chosen.n_components} dimensions" if hasattr(chosen, "n_components") else ""
    return f"projection={chosen.name}{of} needs at least {needed} images, and there are {images}"


STAGE = Stage(
    name="projection",
    version=3,
    needs=("image_embeddings", "neighbour_rows", "neighbour_distances"),
    makes=("projection", "projection_quality", "map"),
    settings=("projection", "seed"),
    run=run,
    metrics=metrics,
    refuse=refuse,
    unseeded=lambda settings: getattr(settings.projection, "seed", 0) is None,
    packages=("umap-learn", "numba", "openTSNE", "numpy", "scikit-learn"),
)
