"""How far clusters and embedding know the labels, beside what permuted labels give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.plots.style import FAINT, INK, MUTED, narrow, page_width, pair, styled

_ROW = 0.24  # inches


@dataclass(frozen=True)
class Measure:
    """A score, and the same with permuted labels: mean and standard deviation, NaN where none were permuted. said:
    what stands in the right margin."""

    label: str
    value: float
    permuted_mean: float
    permuted_sd: float
    said: str


@styled
def label_structure(clusters: Sequence[Measure], embedding: Sequence[Measure], majority: float) -> Figure:
    """A row for each score: with the labels, and with labels that were dealt out at random.

    Args:
        clusters: how far clusters and labels agree, higher is better. embedding: accuracies of what tells labels from
            vectors, in [0, 1]; may be empty. majority: share of the most frequent label, which needs no vector.
    """
    panels = [
        (of, heading, words)
        for of, heading, words in (
            (clusters, "Clusters against labels", "higher is better; adjusted: 0 is chance"),
            (embedding, "Told from the embedding", "accuracy, higher is better"),
        )
        if of
    ]
    figure = Figure(figsize=(page_width(), _ROW * sum(len(of) for of, _, _ in panels) + 0.75 * len(panels) + 0.5))
    heights = [len(of) for of, _, _ in panels]
    places = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights).ravel()
    low = min([0.0, *(m.value for of, _, _ in panels for m in of if np.isfinite(m.value))])
    for axes, (of, heading, words) in zip(places, panels, strict=True):
        _rows(axes, of)
        axes.set_title(heading)
        axes.set_xlabel(words)
        axes.set_xlim(low - 0.04, 1.04)
        axes.tick_params(labelbottom=True)
    if embedding:
        places[-1].axvline(majority, color=INK, linewidth=1, linestyle=":")
    first, second = pair()
    marks = [Line2D([], [], color=first, marker="o", markersize=5, linestyle="none", label="the labels")]
    if any(np.isfinite(m.permuted_mean) for of, _, _ in panels for m in of):
        marks.append(Line2D([], [], color=second, marker="D", markersize=4, linewidth=3, alpha=0.8,
                            label="permuted labels: mean ± sd"))  # fmt: skip
    if embedding:
        marks.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label="always the most frequent label"))
    figure.legend(handles=marks, loc="outside lower left", ncols=1 if narrow() else 3)
    return figure


def _rows(axes: Axes, of: Sequence[Measure]) -> None:
    first, second = pair()
    for at, measure in enumerate(of):
        if np.isfinite(measure.value) and np.isfinite(measure.permuted_mean):
            axes.plot([measure.permuted_mean, measure.value], [at, at], color=FAINT, linewidth=2, zorder=1)
        ends = [measure.permuted_mean - measure.permuted_sd, measure.permuted_mean + measure.permuted_sd]
        axes.plot(ends, [at, at], color=second, linewidth=3, alpha=0.8, solid_capstyle="butt")
        axes.plot([measure.permuted_mean], [at], color=second, marker="D", markersize=4)
        axes.plot([measure.value], [at], color=first, marker="o", markersize=5)
        axes.annotate(measure.said, (1, at), xytext=(5, 0), xycoords=("axes fraction", "data"), ha="left", va="center",
                      textcoords="offset points", fontsize=7)  # fmt: skip
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.set_yticks(range(len(of)), [measure.label for measure in of], fontsize=7)
    axes.set_ylim(len(of) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
