"""The images against clouds without clusters: scores, gaps between clusters, and scores over their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.metrics.gaps import NONE, REAL
from pipeline.plots.style import FAINT, INK, MUTED, halo, narrow, nothing_to_draw, page_width, pair, styled

MOST = 60  # clusters that are shown: the largest
_IMAGES, _CLOUDS = "o", "D"  # markers, so that colour is not all that tells them apart
_ROW = 0.21  # inches


@dataclass(frozen=True)
class Score:
    """A score of the images beside that of clouds.

    group: which clusters are measured where, a heading over its scores; label: the score; observed, sd: of the images
    and over half-samples; null_mean, null_sd, null_low, null_high: of the clouds; said: excess and p, after a comma,
    for the right margin. Numbers may be NaN.
    """

    group: str
    label: str
    observed: float
    sd: float
    null_mean: float
    null_sd: float
    null_low: float
    null_high: float
    said: str


@styled
def observed_against_null(silhouettes: Sequence[Score], ratios: Sequence[Score]) -> Figure:
    """A row for each score: the clouds' mean, spread and range, and the images' score with its interval.

    Args:
        silhouettes: on their common scale, -1 to 1, higher is better.
        ratios: logarithms of ratios to the clouds' mean (theirs is 0), higher is better.
    """
    panels = [
        (scores, heading, words)
        for scores, heading, words in (
            (silhouettes, "Silhouettes", "silhouette, higher is better"),
            (ratios, "Other scores, as ratios", "log ratio to the clouds, higher is better"),
        )
        if scores
    ]
    if not panels:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no score could be compared")
        return figure
    lines = [len(scores) + len({score.group for score in scores}) for scores, _, _ in panels]
    figure = Figure(figsize=(page_width(), _ROW * sum(lines) + 0.75 * len(panels) + 0.45))
    places = figure.subplots(len(panels), 1, squeeze=False, height_ratios=lines).ravel()
    for axes, (scores, heading, words) in zip(places, panels, strict=True):
        _score_rows(axes, scores)
        axes.set_title(heading)
        axes.set_xlabel(words)
    first, second = pair()
    marks = [
        Line2D([], [], color=first, marker=_IMAGES, label="the images ± sd over half-samples"),
        Line2D([], [], color=second, marker=_CLOUDS, markersize=4, linewidth=3, alpha=0.8,
               label="clouds without clusters: mean ± sd (thin: range)"),
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside lower left", ncols=1 if narrow() else 2)
    return figure


def _score_rows(axes: Axes, scores: Sequence[Score]) -> None:
    first, second = pair()
    at, ticks, group = 0, [], None
    for score in scores:
        if score.group != group:
            group = score.group
            axes.annotate(group, (0.01, at), xycoords=("figure fraction", "data"), ha="left", va="center", fontsize=7,
                          color=MUTED, in_layout=False, path_effects=halo())  # fmt: skip
            at += 1
        axes.plot([score.null_low, score.null_high], [at, at], color=second, linewidth=0.8)
        ends = [score.null_mean - score.null_sd, score.null_mean + score.null_sd]
        axes.plot(ends, [at, at], color=second, linewidth=3, alpha=0.8, solid_capstyle="butt")
        axes.plot([score.null_mean], [at], color=second, marker=_CLOUDS, markersize=4)
        if np.isfinite(score.sd):
            axes.plot([score.observed - score.sd, score.observed + score.sd], [at, at], color=first, linewidth=1.4)
        axes.plot([score.observed], [at], color=first, marker=_IMAGES, markersize=5)
        said = score.said.split(",")[0] if narrow() else score.said
        axes.annotate(said, (1, at), xytext=(5, 0), xycoords=("axes fraction", "data"), ha="left", va="center",
                      textcoords="offset points", fontsize=7)  # fmt: skip
        ticks.append(at)
        at += 1
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.set_yticks(ticks, [score.label for score in scores], fontsize=7)
    axes.set_ylim(at - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow() else 8))
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)


@styled
def gaps(
    clusters: Sequence[int],
    sizes: Sequence[int],
    gap: np.ndarray,
    gap_sd: np.ndarray,
    jaccard: np.ndarray,
    clouds: tuple[float, float],
) -> Figure:
    """For each cluster the gap to its nearest, and beside it how much of it half-samples find again.

    Args:
        clusters, sizes: K ids and numbers of images, in the order in which they are to stand, the largest first.
        gap: (K,) >= 0, near 0 is a wide gap, 1 none; NaN where it cannot be told. gap_sd: (K,) >= 0 over half-samples;
            NaN without.
        jaccard: (K,) in [0, 1], 1 is found again whole; NaN without half-samples.
        clouds: median gap and mean Jaccard index of clouds without clusters; NaN where there is none.
    """
    shown = min(len(clusters), MOST)
    figure = Figure(figsize=(page_width(), float(np.clip((0.24 if shown <= 15 else 0.135) * shown + 1.25, 1.9, 9.4))))
    known = gap[:shown], jaccard[:shown]
    left, right = figure.subplots(1, 2, sharey=True)
    spread = np.nan_to_num(gap_sd[:shown])
    _gap_zones(left, float(np.nanmax([1.2, *known[0] + spread + 0.08])))
    for values, axes in zip(known, (left, right), strict=True):
        for place in np.flatnonzero(~np.isfinite(values)):
            axes.annotate("cannot be told", (0, place), xytext=(3, 0), textcoords="offset points", va="center",
                          fontsize=min(6, _label_size(shown)), color=MUTED)  # fmt: skip
        axes.grid(axis="y", color=FAINT)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    color = pair()[0]
    places = np.arange(shown)
    ends = np.maximum(known[0] - spread, 0), known[0] + spread
    left.hlines(places, *ends, color=color, linewidth=1.2, zorder=1.9)
    for inside, face in ((known[0] <= REAL, color), (known[0] > REAL, "white")):
        left.plot(known[0][inside], places[inside], linestyle="none", marker="o", markersize=_dot(shown),
                  markeredgecolor=color, markerfacecolor=face)  # fmt: skip
    right.plot(known[1], places, linestyle="none", marker="o", markersize=_dot(shown), color=color)
    right.set(xlim=(0, 1.04))
    for axes, value in zip((left, right), clouds, strict=True):
        if np.isfinite(value):
            axes.axvline(value, color=pair()[1], linestyle="--", linewidth=1.2)
    names = [
        f"{cluster}" if narrow() else f"{cluster}  ({size:,})" for cluster, size in zip(clusters, sizes, strict=True)
    ]
    left.set_yticks(places, names[:shown], fontsize=_label_size(shown))
    left.set_ylim(max(shown, 2) - 0.4, -1.6)
    left.set_ylabel("cluster" if narrow() else "cluster (images)")
    left.set_xlabel("valley over peak: 0 wide gap, 1 none")
    right.set_xlabel("share found again: 1 whole")
    left.set_title("Gap to the nearest cluster")
    right.set_title("Found again in halves (Jaccard)")
    rest = "" if shown == len(clusters) else f"\nthe {shown} largest of {len(clusters):,} clusters"
    words = f"clouds without clusters (median, mean){rest}"
    marks = [Line2D([], [], color=pair()[1], linestyle="--", linewidth=1.2, label=words)]
    if spread.any():
        marks.append(Line2D([], [], color=color, marker="o", markersize=4, label="± sd over half-samples"))
    figure.legend(handles=marks, loc="outside lower left", ncols=1 if narrow() else 2)
    return figure


def _gap_zones(axes: Axes, end: float) -> None:
    """What counts as a gap and what as none, named at the top."""
    axes.set_xlim(0, end)
    axes.axvspan(NONE, end, color=FAINT, alpha=0.7, linewidth=0)
    for at in (REAL, NONE):
        axes.axvline(at, color=INK, linewidth=0.8, linestyle=":")
    for middle, word in ((REAL / 2, "gap"), ((NONE + end) / 2, "none")):
        axes.annotate(word, (middle, -1.1), ha="center", va="center", fontsize=7, color=MUTED, path_effects=halo())
    ticks = [0, 0.35, REAL, *np.arange(1.2, end, 0.4)] if narrow() else [0, 0.35, REAL, NONE, *np.arange(1.2, end, 0.4)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _label_size(rows: int) -> float:
    return 7 if rows <= 15 else 6


def _dot(rows: int) -> float:
    return 5 if rows <= 15 else 4


@styled
def k_choice(
    ks: np.ndarray,
    silhouettes: tuple[np.ndarray, np.ndarray],
    stability: tuple[np.ndarray, np.ndarray],
    gate: float,
    chosen: tuple[int, int] | None,
    space: str,
    votes: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> Figure:
    """Silhouette and stability over k, of the images and of clouds, with the gate and the k that is supported; below,
    what each criterion votes for.

    Args:
        ks: (m,) rising. silhouettes: (m,) each, of the images and the clouds' mean, in [-1, 1].
        stability: (m,) each, mean adjusted Rand index of the clusters of halves with those of all; NaN: no halves.
        gate: the silhouette that the best of the images has to reach.
        chosen: lowest and highest k that the criteria give, None where no k is supported.
        space: where the clusters are, 'projection' or 'embedding'.
        votes: by criterion the k of all images, one or none, and that of each half.
    """
    rows, height = (2, 2.2) if narrow() else (1, 2.5)
    figure = Figure(figsize=(page_width(), height * rows + 0.35 + (0.85 if votes else 0)))
    heights = [height] * rows + ([0.2 + 0.17 * len(votes)] if votes else [])
    grid = figure.add_gridspec(len(heights), 3 - rows, height_ratios=heights)
    left, right = (figure.add_subplot(grid[i // (3 - rows), i % (3 - rows)]) for i in range(2))
    for axes, values, heading in (
        (left, silhouettes, f"Silhouette in the {space}"),
        (right, stability, "Stability over halves" + ("" if narrow() else " (adjusted Rand)")),
    ):
        axes.set_title(heading)
        if not np.isfinite(values[0]).any():
            nothing_to_draw(axes, "no half-samples")
            continue
        _chosen_band(axes, chosen)
        axes.plot(ks, values[0], color=pair()[0], marker=_IMAGES, markersize=3)
        axes.plot(ks, values[1], color=pair()[1], marker=_CLOUDS, markersize=3, linestyle="--")
        axes.set_xlabel("number of clusters, k")
        axes.set_ylabel("higher is better", fontsize=7, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
        axes.margins(y=0.1)
        axes.grid(color=FAINT)
        axes.set_axisbelow(True)
    left.axhline(gate, color=INK, linewidth=1, linestyle=":")
    marks = [
        Line2D([], [], color=pair()[0], marker=_IMAGES, markersize=3, label="the images"),
        Line2D([], [], color=pair()[1], marker=_CLOUDS, markersize=3, linestyle="--", label="clouds without clusters"),
        Line2D([], [], color=INK, linewidth=1, linestyle=":", label="gate for the best"),
        Line2D([], [], color="none" if chosen is None else FAINT, linewidth=7, label=_chosen(chosen)),
    ]
    if votes:
        _ballots(figure.add_subplot(grid[rows, :]), ks, votes, chosen)
        marks += [
            Line2D([], [], color=pair()[0], marker=_IMAGES, markersize=6, linestyle="none", label="vote of all"),
            Line2D([], [], color=MUTED, marker=_IMAGES, markersize=4, markerfacecolor="none", linestyle="none",
                   label="of a half"),
        ]  # fmt: skip
    figure.legend(handles=marks, loc="outside lower left", ncols=2 if narrow() else 3)
    return figure


def _chosen_band(axes: Axes, chosen: tuple[int, int] | None) -> None:
    if chosen is not None:
        axes.axvspan(chosen[0] - 0.25, chosen[1] + 0.25, color=FAINT, linewidth=0)


def _ballots(
    axes: Axes, ks: np.ndarray, votes: Mapping[str, tuple[Sequence[int], Sequence[int]]], chosen: tuple[int, int] | None
) -> None:
    """A row for each criterion: what all images vote for, and around it the halves."""
    axes.set_title("What each criterion votes for")
    _chosen_band(axes, chosen)
    for row, (of_all, of_halves) in enumerate(votes.values()):
        for k, count in Counter(of_halves).items():
            axes.plot([k], [row], color=MUTED, marker=_IMAGES, markersize=5 + 2.2 * count**0.5, markerfacecolor="none")
        axes.plot(of_all, [row] * len(of_all), color=pair()[0], marker=_IMAGES, markersize=4.5, linestyle="none")
    axes.set_yticks(range(len(votes)), list(votes), fontsize=7)
    axes.set_ylim(len(votes) - 0.4, -0.6)
    axes.set_xlim(ks[0] - 0.7, ks[-1] + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=20, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)


def _chosen(chosen: tuple[int, int] | None) -> str:
    if chosen is None:
        return "no k supported"
    return f"k = {chosen[0]}" if chosen[0] == chosen[1] else f"k = {chosen[0]} to {chosen[1]}"
