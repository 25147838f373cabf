"""How many clusters: k-means for every k of a range, scored by several criteria. It suggests, and decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.stage import Drawing, Stage, Workspace

log = logging.getLogger(__name__)

BLADES = 11  # the first so many k keep clusters and silhouettes of every image, and are drawn: 2 to 12


def run(settings: Any, workspace: Workspace, image_embeddings: np.ndarray, projection: np.ndarray) -> dict[str, Any]:
    """`k_scores`: a row per k. `k_suggestions`: a row per criterion. `k_clusters` (n, b) int32 and `k_silhouettes`
    (n, b) float32, Euclidean in the projection: the first b of the k that are scored, a column each."""
    from pipeline.metrics.clustering import separation, silhouette, silhouette_samples

    inertias, clusters = _fits(settings.k_selection, projection, workspace)
    ks = list(clusters)
    columns = np.stack(list(clusters.values()), axis=1) if ks else np.empty((len(projection), 0), dtype=np.int32)
    in_projection = silhouette_samples(projection, columns, ("euclidean",))["euclidean"]
    in_embedding = silhouette_samples(image_embeddings, columns, ("cosine",))["cosine"]
    apart = [separation(projection, column) for column in columns.T]
    scores = pd.DataFrame({"k": list(inertias), "inertia_projection": list(inertias.values())}).set_index("k")
    scored = {
        "silhouette_projection": [silhouette(column) for column in in_projection.T],
        "calinski_harabasz_projection": [one.calinski_harabasz for one in apart],
        "davies_bouldin_projection": [one.davies_bouldin for one in apart],
        "silhouette_embedding": [silhouette(column) for column in in_embedding.T],
    }
    table = scores.join(pd.DataFrame(scored, index=ks, dtype=float)).rename_axis("k").reset_index()
    return {
        "k_scores": table,
        "k_suggestions": _suggested(table),
        "k_clusters": columns[:, :BLADES],
        "k_silhouettes": in_projection[:, :BLADES].astype(np.float32),
    }


def _fits(chosen: Any, vectors: np.ndarray, workspace: Workspace) -> tuple[dict[int, float], dict[int, np.ndarray]]:
    """Inertia by k, from one below the range, and clusters (n,) by k."""
    from pipeline.geometry.clustering import kmeans
    from pipeline.metrics.k_selection import distinct_rows, total_inertia

    low, high = _range(chosen, len(vectors), distinct_rows(vectors, most=chosen.k_max))
    inertias: dict[int, float] = {}
    clusters: dict[int, np.ndarray] = {}
    first = low - 1
    for k in range(first, high + 1):
        workspace.progress(k - first, high + 2 - first)  # what follows the fits counts as one more
        if k == 1:
            inertias[k] = total_inertia(vectors)
            continue
        found = kmeans(vectors, k, chosen.n_init, chosen.seed)
        if len(found.centroids) < k:  # vectors that differ by less than products can tell
            log.warning("k_selection: ends at k = %d instead of %d", k - 1, high)
            break
        inertias[k] = found.inertia
        if k >= low:
            clusters[k] = found.clusters.astype(np.int32)
    return inertias, clusters


def _range(chosen: Any, n: int, distinct: int) -> tuple[int, int]:
    """Lowest and highest k that can be scored: fewer clusters than images, no more than vectors that differ. Says
    what it lowered; (2, 1) where there is none."""
    most = min(n - 1, distinct)
    why = f"there are {n} images" if most == n - 1 else f"only {distinct} different vector{'s' * (distinct != 1)}"
    if most < 2:
        log.warning("k_selection: no number of clusters can be scored: %s", why)
        return 2, 1
    for key in ("k_min", "k_max"):
        if (value := getattr(chosen, key)) > most:
            log.warning("k_selection.%s = %d lowered to %d: %s", key, value, most, why)
    return min(chosen.k_min, most), min(chosen.k_max, most)


def _suggested(scores: pd.DataFrame) -> pd.DataFrame:
    from pipeline.metrics.k_selection import NEAR, suggestions

    found = suggestions({name: scores[name].to_numpy() for name in scores})
    rows = [
        {
            "criterion": one.criterion.name,
            "space": one.criterion.space,
            "rule": one.criterion.rule,
            "k": one.k,
            "value": one.value,
            "at_end": one.at_end,
            "agrees_with": " ".join(
                f"{other.criterion.space}/{other.criterion.name}"
                for other in found
                if other is not one and abs(other.k - one.k) <= NEAR
            ),
        }
        for one in found
    ]
    types = {"criterion": str, "space": str, "rule": str, "k": int, "value": float, "at_end": bool, "agrees_with": str}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """The range that was scored, and <space>/<criterion>/k and /value."""
    scored = made["k_scores"].loc[made["k_scores"]["silhouette_projection"].notna(), "k"]
    numbers = {"k_min": scored.min(), "k_max": scored.max()} if len(scored) else {}
    for row in made["k_suggestions"].itertuples(index=False):
        numbers |= {f"{row.space}/{row.criterion}/k": row.k, f"{row.space}/{row.criterion}/value": row.value}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The curves over k with what each criterion suggests, and silhouette blades for the first k."""
    from pipeline.plots.k_selection import blades, dispersion, elbow, silhouettes

    scores, clusters = made["k_scores"], made["k_clusters"]
    ks = scores.loc[scores["silhouette_projection"].notna(), "k"].tolist()
    if not ks:
        return {}
    curves = {name: scores[name].to_numpy(dtype=float) for name in scores}
    suggested = {f"{row.space}/{row.criterion}": int(row.k) for row in made["k_suggestions"].itertuples(index=False)}
    return {
        "elbow": elbow(curves["k"], curves["inertia_projection"], suggested.get("projection/knee")),
        "silhouettes_by_k": silhouettes(
            curves["k"],
            curves["silhouette_projection"],
            curves["silhouette_embedding"],
            (suggested.get("projection/silhouette"), suggested.get("embedding/silhouette_cosine")),
        ),
        "dispersion_by_k": dispersion(
            curves["k"],
            curves["calinski_harabasz_projection"],
            curves["davies_bouldin_projection"],
            (suggested.get("projection/calinski_harabasz"), suggested.get("projection/davies_bouldin")),
        ),
        "blades_by_k": blades(ks[: clusters.shape[1]], made["k_silhouettes"], clusters),
    }


STAGE = Stage(
    name="k_selection",
    version=2,
    needs=("image_embeddings", "projection"),
    makes=("k_scores", "k_suggestions", "k_clusters", "k_silhouettes"),
    settings=("k_selection",),
    run=run,
    metrics=metrics,
    draw=draw,
    packages=("scikit-learn", "scipy", "numpy"),
)
