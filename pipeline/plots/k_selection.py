"""Scores over the number of clusters, with what each criterion suggests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from pipeline.plots.scores import draw_blades
from pipeline.plots.style import FAINT, INK, MUTED, narrow, nothing_to_draw, page_width, palette, styled

_HIGHER, _LOWER = "higher is better", "lower is better"


@styled
def elbow(ks: np.ndarray, inertias: np.ndarray, knee: int | None) -> Figure:
    """Inertia over k, the chord between its ends, and the knee where there is one.

    Args:
        ks: (m,) rising numbers of clusters. inertias: (m,), >= 0.
        knee: the k farthest below the chord, None where no point lies below it.
    """
    figure = Figure(figsize=(min(4.6, page_width()), 2.7))
    axes = figure.subplots()
    axes.set_title("Inertia in the projection")
    axes.plot(ks[[0, -1]], inertias[[0, -1]], color=MUTED, linewidth=0.8, linestyle=":", label="chord")
    _curve(axes, ks, inertias)
    if knee is not None:
        at = int(np.flatnonzero(ks == knee)[0])
        chord = np.interp(knee, ks[[0, -1]], inertias[[0, -1]])
        axes.plot([knee, knee], [inertias[at], chord], color=INK, linewidth=1)
        _mark(axes, knee, inertias[at], f"knee: k = {knee}")
    else:
        axes.annotate("no knee", (0.98, 0.95), xycoords="axes fraction", ha="right", va="top", color=MUTED)
    _dress(axes, "falls with k whatever the data")
    axes.set_ylim(bottom=0)
    return figure


@styled
def silhouettes(
    ks: np.ndarray, projection: np.ndarray, embedding: np.ndarray, highest: tuple[int | None, int | None]
) -> Figure:
    """Mean silhouette over k of the same clusters, a panel for each space: they do not compare.

    Args:
        ks: (m,). projection: (m,) Euclidean in the projection. embedding: (m,) cosine. NaN where not defined.
        highest: the k with the highest value in each.
    """
    panels = (
        ("Silhouette in the projection (Euclidean)", projection, highest[0], _HIGHER),
        ("Silhouette in the embedding (cosine)", embedding, highest[1], _HIGHER),
    )
    return _two(ks, panels, "highest")


@styled
def dispersion(
    ks: np.ndarray, calinski_harabasz: np.ndarray, davies_bouldin: np.ndarray, best: tuple[int | None, int | None]
) -> Figure:
    """Calinski-Harabasz and Davies-Bouldin in the projection over k.

    Args:
        ks: (m,). calinski_harabasz, davies_bouldin: (m,), NaN where not defined.
        best: the k with the highest Calinski-Harabasz and the lowest Davies-Bouldin.
    """
    panels = (
        ("Calinski-Harabasz in the projection", calinski_harabasz, best[0], _HIGHER),
        ("Davies-Bouldin in the projection", davies_bouldin, best[1], _LOWER),
    )
    return _two(ks, panels, "best")


@styled
def blades(ks: Sequence[int], samples: np.ndarray, clusters: np.ndarray) -> Figure:
    """Silhouette blades of several k side by side, on one scale.

    Args:
        ks: b numbers of clusters. samples: (n, b) silhouettes in the projection. clusters: (n, b) integers.
    """
    if not len(ks):
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no number of clusters could be scored")
        return figure
    most = 2 if narrow() else 4
    columns = min(most, len(ks))
    lines = -(-len(ks) // columns)
    figure = Figure(figsize=(0.3 + columns * (page_width() - 0.3) / most, 0.5 + 1.75 * lines))
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False, sharex=True))
    low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
    for place, (axes, k) in enumerate(zip(panels, ks, strict=False)):
        values, of = np.asarray(samples[:, place], dtype=np.float64), clusters[:, place]
        known = np.isfinite(values) & (of >= 0)
        values, of = values[known], of[known]
        draw_blades(axes, values, of, np.unique(of))
        mean = float(values.mean())
        axes.axvline(0, color=MUTED, linewidth=0.6)
        axes.axvline(mean, color=INK, linewidth=1, linestyle="--")
        axes.set_title(f"k = {k}: mean {mean:.3f}", fontsize=8)
        axes.set_yticks([])
        axes.set_xlim(min(-0.05, low - 0.03), max(0.1, high + 0.03))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color=FAINT)
        axes.set_axisbelow(True)
        axes.xaxis.set_tick_params(labelbottom=place + columns >= len(ks))
    for axes in panels[len(ks) :]:
        axes.set_axis_off()
    figure.suptitle("Silhouettes in the projection, by number of clusters", x=0.006, ha="left", fontweight="bold",
                    fontsize=9)  # fmt: skip
    figure.supxlabel("silhouette of each image, higher is better; dashed: mean", fontsize=8)
    return figure


def _two(ks: np.ndarray, panels: Sequence[tuple[str, np.ndarray, int | None, str]], word: str) -> Figure:
    rows = 2 if narrow() else 1
    figure = Figure(figsize=(page_width(), 2.4 * rows + 0.1))
    places = np.ravel(figure.subplots(rows, 2 // rows))
    for axes, (heading, values, best, better) in zip(places, panels, strict=True):
        axes.set_title(heading)
        known = np.isfinite(values)
        if not known.any():
            nothing_to_draw(axes, "not defined here")
            continue
        _curve(axes, ks[known], values[known])
        if best is not None:
            _mark(axes, best, float(values[ks == best][0]), f"{word}: k = {best}")
        _dress(axes, better)
    return figure


def _curve(axes: Axes, ks: np.ndarray, values: np.ndarray) -> None:
    axes.plot(ks, values, color=palette()[0], marker="o", markersize=3)


def _mark(axes: Axes, k: int, value: float, words: str) -> None:
    """A ring around a point of a curve, and in the legend what it is."""
    axes.plot([k], [value], linestyle="none", marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK,
              label=words)  # fmt: skip
    axes.legend(loc="best")


def _dress(axes: Axes, note: str) -> None:
    axes.set_xlabel("number of clusters, k")
    axes.set_ylabel(note, fontsize=7, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    axes.margins(y=0.12)
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    if max(map(abs, axes.get_ylim())) >= 1000:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
