"""How clusters meet labels, and how well each image fits its cluster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from pipeline.plots.distances import name_axes, write_cells
from pipeline.plots.style import FAINT, INK, MUTED, group_style, nothing_to_draw, page_width, sentence, styled


@styled
def label_table(counts: np.ndarray, label_names: Sequence[str], cluster_names: Sequence[str]) -> Figure:
    """Heat map of how each label's images spread over the clusters.

    Colour is the share of the row (the label); the number in a cell is the count of images.

    Args:
        counts: (L, K) whole numbers, images with label l in cluster c.
        label_names: L names. cluster_names: K names.
    """
    counts = np.asarray(counts)
    if counts.size == 0:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no labelled images in clusters")
        return figure
    rows, columns = counts.shape
    width = float(np.clip(0.42 * columns, 1.8, max(1.8, page_width() - 2.3)))
    height = float(np.clip(0.3 * rows, 1.2, 7.0))
    figure = Figure(figsize=(float(min(max(width + 2.5, 4.6), page_width())), height + 0.95))
    axes = figure.subplots()
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    name_axes(axes, label_names, cluster_names, (width, height))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    cell = min(width * 72 / columns / max(2, len(str(counts.max()))), height * 72 / rows)
    if cell >= 6.5:
        texts = np.vectorize(lambda n: f"{n:d}" if n else "", otypes=[object])(counts.astype(np.int64))
        write_cells(axes, image, shares, texts, min(7.5, cell))
    axes.set(xlabel="cluster", ylabel="label")
    axes.set_title("Images by label and cluster")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, aspect=30)
    bar.set_label("share of the label")
    bar.outline.set_visible(False)
    return figure


def draw_blades(axes: Axes, samples: np.ndarray, clusters: np.ndarray, ids: np.ndarray) -> list[float]:
    """Draw one blade under the other, each sorted, and return the height of each one's middle."""
    gap = max(1.0, 0.012 * len(samples))
    base, middles = 0.0, []
    for rank, cluster in enumerate(ids):
        values = np.sort(samples[clusters == cluster])[::-1]
        color, _ = group_style(rank)
        edges = base + np.arange(len(values) + 1)
        # What axes.stairs draws, without its slow search for limits: they are set below and by the caller.
        blade = StepPatch(values, edges, orientation="horizontal", fill=True, facecolor=color, linewidth=0, alpha=0.9)
        axes.add_artist(blade).set_rasterized(True)
        middles.append(base + len(values) / 2)
        base = edges[-1] + gap
    axes.set_ylim(base - gap + gap / 2, -gap / 2)
    return middles


@styled
def silhouette_blades(samples: np.ndarray, clusters: np.ndarray, title: str) -> Figure:
    """Each image's silhouette, sorted within its cluster, with the mean over all images marked.

    Args:
        samples: (n,) float in [-1, 1], higher is better; NaN rows (noise, not defined) are left out.
        clusters: (n,) integers; rows below 0 are left out.
        title: names the space, e.g. 'Silhouettes in the embedding (cosine)'.
    """
    samples, clusters = np.asarray(samples, dtype=np.float64), np.asarray(clusters)
    known = np.isfinite(samples) & (clusters >= 0)
    samples, clusters = samples[known], clusters[known]
    ids, sizes = np.unique(clusters, return_counts=True)
    figure = Figure(figsize=(min(4.6, page_width()), float(np.clip(0.26 * len(ids) + 1.2, 2.2, 8.0))))
    axes = figure.subplots()
    axes.set_title(sentence(title))
    if len(samples) == 0:
        nothing_to_draw(axes, "silhouettes are not defined here")
        return figure
    middles = draw_blades(axes, samples, clusters, ids)
    mean = float(samples.mean())
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.axvline(mean, color=INK, linewidth=1, linestyle="--")
    axes.set_xlim(min(-0.05, float(samples.min()) - 0.03), max(0.1, float(samples.max()) + 0.03))
    shown = _readable(middles, axes.get_ylim(), figure.get_figheight() - 0.8)
    axes.set_yticks([middles[place] for place in shown], [f"{ids[place]}" for place in shown])
    right = axes.secondary_yaxis("right")
    right.set_yticks([middles[place] for place in shown], [f"{sizes[place]:,}" for place in shown])
    for side in (axes, right):
        side.tick_params(axis="y", length=0, labelsize=7)
    right.spines["right"].set_visible(False)
    axes.set_ylabel("cluster")
    right.set_ylabel("images", color=MUTED)
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"silhouette of each image, higher is better; dashed: mean {mean:.3f}")
    return figure


def _readable(middles: Sequence[float], limits: tuple[float, float], height: float) -> list[int]:
    """Which blades can be named without their names touching."""
    room = abs(limits[0] - limits[1]) * 8.5 / (72 * height)
    shown: list[int] = []
    for place, middle in enumerate(middles):
        if not shown or middle - middles[shown[-1]] >= room:
            shown.append(place)
    return shown
