"""What perturbed pixels do to clusters: every perturbation at one severity, curves over severities, pairs of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots.images import image_sheet
from pipeline.plots.style import FAINT, INK, MUTED, narrow, page_width, pair, palette, sentence, styled

Row = Mapping[str, Any]

_PANELS: tuple[tuple[str, str, tuple[str, str] | None], ...] = (  # column, its heading, its interval
    ("flip_rate", "changed cluster", ("flip_low", "flip_high")),
    ("reclustered_silhouette", "silhouette anew", None),
    ("cosine", "cosine to before", None),
    ("accuracy", "near own class", ("accuracy_low", "accuracy_high")),
)
_MISSING = float("nan")


@styled
def rates(rows: Mapping[str, Row], clean: Row, severity: int) -> Figure:
    """Every perturbation at one severity, the one that changes most clusters on top; a line for the images as they are.
    Beside the share that changed: the silhouette when clustered anew, the cosine to the clean vector, and the share
    nearest to its own class.

    Args:
        rows: name -> a row of `robustness_scores`; clean: that of the images read again.
        severity: of the rows, 1 to 5.
    """
    names = sorted(rows, key=lambda name: _value(rows[name], "flip_rate"))
    panels = [panel for panel in _PANELS if any(np.isfinite(_value(row, panel[0])) for row in rows.values())]
    across = min(2 if narrow() else 4, max(1, len(panels)))
    down = max(1, -(-len(panels) // across))
    figure = Figure(figsize=(page_width(), down * (0.75 + 0.2 * len(names)) + 0.3))
    figure.suptitle(f"Perturbed pixels, severity {severity} of 5; dashed: the images as they are", x=0.01, ha="left")
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _dots(axes, names, rows, clean, panel)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _dots(axes: Axes, names: Sequence[str], rows: Mapping[str, Row], clean: Row, panel: Any) -> None:
    column, heading, ends = panel
    color = pair()[1 if column == "flip_rate" else 0]
    values = np.array([_value(rows[name], column) for name in names])
    places = np.arange(len(names))
    if ends:
        low, high = (np.array([_value(rows[name], end) for name in names]) for end in ends)
        axes.hlines(places, low, high, color=color, alpha=0.4, linewidth=2.5)
    axes.plot(values, places, "o", color=color, clip_on=False)
    if np.isfinite(_value(clean, column)):
        axes.axvline(_value(clean, column), color=MUTED, linewidth=0.9, linestyle="--")
    axes.set_title(sentence(heading), fontsize=8)
    axes.set_yticks(places, [_words(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    lowest = np.nanmin([0.0, *values, _value(clean, column)])  # never zoomed in on what hardly differs
    axes.set_xlim(lowest - 0.03, 1.03)
    axes.grid(axis="y", color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(3))


@styled
def curves(severities: Sequence[int], rows: Mapping[str, Sequence[Row]]) -> Figure:
    """A panel for each perturbation: over severity (0: the images as they are) the share that changed cluster, with its
    interval, the silhouette when clustered anew, the cosine to the clean vector and the share nearest to its own class.

    Args:
        severities: s rising, 0 first. rows: name -> s rows of `robustness_scores`.
    """
    across = min(len(rows), 2 if narrow() else 4)
    down = -(-len(rows) // across)
    figure = Figure(figsize=(page_width(), 1.45 * down + (0.75 if narrow() else 0.6)))
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, (name, of_name) in zip(grid.flat, rows.items(), strict=False):
        _lines(axes, severities, of_name)
        axes.set_title(sentence(_words(name)), fontsize=8)
    for axes in grid.flat[len(rows) :]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, len(rows) - across) : len(rows)]:  # with nothing below
        axes.tick_params(labelbottom=True)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    over = "over severity; 0: the images as they are"
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if narrow() else 4, title=over, title_fontsize=8)
    return figure


def _lines(axes: Axes, severities: Sequence[int], rows: Sequence[Row]) -> None:
    colors = palette()
    styles = ("-", "--", ":", "-.")
    lowest = 0.0
    for (column, heading, ends), line, number in zip(_PANELS, styles, (1, 0, 2, 3), strict=True):
        values = np.array([_value(row, column) for row in rows])
        if not np.isfinite(values).any():
            continue
        color = pair()[1] if column == "flip_rate" else colors[number]
        axes.plot(severities, values, line, color=color, marker="o", markersize=2.5, label=heading)
        lowest = min(lowest, float(np.nanmin(values)))
        if ends and column == "flip_rate":
            low, high = (np.array([_value(row, end) for row in rows]) for end in ends)
            axes.fill_between(severities, low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.4)
    axes.set_ylim(min(-0.03, lowest - 0.03), 1.03)
    axes.set_xticks(list(severities))
    axes.grid(axis="y", color=FAINT)


def pairs_sheet(thumbnails: Sequence[np.ndarray | None], titles: Sequence[str]) -> Figure:
    """Images and titles as `pipeline.plots.images.image_sheet` takes them, two and two beside each other."""
    return image_sheet(thumbnails, titles, columns=2 * max(1, round(4 * page_width() / 7.1)))


def _value(row: Row, column: str) -> float:
    found = row.get(column, _MISSING)
    return _MISSING if found is None else float(found)


def _words(name: str) -> str:
    return "JPEG" if name == "jpeg" else name.replace("_", " ")
