"""Protocol 2 as a user does it today: umap-learn, scikit-learn in loops, matplotlib. The baseline of protocol2.py.

    python -m benchmarks.protocol2_baseline vectors.npy folder

Written from PROTOCOLS.md, section 2, from the vectors on: UMAP to five dimensions with its defaults and without a
seed, k-means with k = 8 and three scores there, a 2-D UMAP of the five dimensions coloured by cluster, inertia for
k = 1..19, silhouettes and an elbow for k = 2..20, silhouette blades for k = 2..12. Each k is fitted once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(file: str, folder: str) -> None:
    """Numbers into folder/scores.json, fifteen pictures beside it."""
    import umap
    from sklearn.cluster import KMeans
    from sklearn.metrics import (
        calinski_harabasz_score,
        davies_bouldin_score,
        silhouette_samples,
        silhouette_score,
    )

    place = Path(folder)
    vectors = umap.UMAP(n_components=5).fit_transform(np.load(file))
    clusters = KMeans(n_clusters=8, random_state=42).fit_predict(vectors)
    scores = {
        "silhouette": silhouette_score(vectors, clusters),
        "calinski_harabasz": calinski_harabasz_score(vectors, clusters),
        "davies_bouldin": davies_bouldin_score(vectors, clusters),
    }
    scatter(umap.UMAP(n_components=2).fit_transform(vectors), clusters, place / "map.png")
    models = {k: KMeans(n_clusters=k, random_state=42).fit(vectors) for k in range(1, 21)}
    inertias = {k: model.inertia_ for k, model in models.items()}
    curve({k: inertias[k] for k in range(1, 20)}, "inertia", place / "inertia.png")
    silhouettes = {k: silhouette_score(vectors, models[k].labels_) for k in range(2, 21)}
    curve(silhouettes, "silhouette", place / "silhouettes.png")
    of_elbow = {k: inertias[k] for k in range(2, 21)}
    curve(of_elbow, "inertia", place / "elbow.png", knee(of_elbow))
    for k in range(2, 13):
        labels = models[k].labels_
        blades(silhouette_samples(vectors, labels), labels, place / f"blades_{k:02d}.png")
    found = {**scores, "inertias": inertias, "silhouettes": silhouettes, "knee": knee(of_elbow)}
    (place / "scores.json").write_text(json.dumps(found, default=float))


def knee(values: dict[int, float]) -> int:
    """The k farthest below the chord between the ends."""
    ks, heights = np.array(list(values)), np.array(list(values.values()))
    return int(ks[np.argmax(np.interp(ks, ks[[0, -1]], heights[[0, -1]]) - heights)])


def scatter(points: Any, clusters: Any, file: Path) -> None:
    """Coloured by cluster."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.scatter(points[:, 0], points[:, 1], c=clusters, cmap="tab10", s=4)
    figure.savefig(file)
    plt.close(figure)


def curve(values: dict[int, float], name: str, file: Path, marked: int | None = None) -> None:
    """A line over k, and the suggested k where there is one."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot(list(values), list(values.values()), marker="o")
    if marked is not None:
        axes.axvline(marked, linestyle="--", label=f"elbow at k = {marked}")
        axes.legend()
    axes.set(xlabel="k", ylabel=name)
    figure.savefig(file)
    plt.close(figure)


def blades(samples: Any, clusters: Any, file: Path) -> None:
    """Silhouettes of every image, sorted within its cluster."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    base = 0
    for cluster in np.unique(clusters):
        values = np.sort(samples[clusters == cluster])
        axes.fill_betweenx(np.arange(base, base + len(values)), 0, values)
        base += len(values) + 10
    axes.axvline(samples.mean(), linestyle="--")
    axes.set(xlabel="silhouette", ylabel="images by cluster")
    figure.savefig(file)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
