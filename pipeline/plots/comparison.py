"""Dots with intervals: scores of models under each other, and differences of pairs about a line at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    narrow,
    nothing_to_draw,
    page_width,
    palette,
    printable,
    styled,
    text_width,
    wrap,
)

MOST = 30  # rows of a panel
_ROW, _SIZE = 0.23, 7.0  # inches; points of the rows' names


@dataclass(frozen=True)
class Dot:
    """A row of a panel. group: by which it is coloured, None for ink; value, low, high: the last two NaN where there is
    no interval."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    group: int | None = None


@dataclass(frozen=True)
class Panel:
    """title names the score and its space; hint: what is better; dots: from the top."""

    title: str
    hint: str
    dots: Sequence[Dot] = field(default_factory=tuple)


@styled
def dots(panels: Sequence[Panel], heading: str, zero: bool) -> Figure:
    """A panel for each score; intervals as lines, a hollow dot where there is none.

    Args:
        panels: those without dots are left out; of more than MOST dots the first are drawn, and that is said.
        heading: what intervals are, above all.
        zero: a line at 0, for differences.
    """
    drawn = [panel for panel in panels if panel.dots]
    if not drawn:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "nothing to compare")
        return figure
    names = _name_room(drawn)
    columns = 1 if narrow() or names > 0.2 * page_width() * 72 else min(2, len(drawn))
    lines = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [0.75 + _ROW * max(_rows(panel, names) for panel in line) for line in lines]
    width = page_width() if columns == 2 else min(4.6 + names / 72, page_width())
    figure = Figure(figsize=(width, sum(heights) + 0.25))
    places = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for axes in places.ravel()[len(drawn) :]:
        axes.set_axis_off()
    for axes, panel in zip(places.ravel(), drawn, strict=False):
        _panel(axes, panel, zero, names, width / columns * 72 - 45 - names)
    figure.suptitle("\n".join(wrap(heading, width * 72 - 8, 8, 3)), x=0.006, ha="left", color=MUTED)
    return figure


def _name_room(panels: Sequence[Panel]) -> float:
    widest = max(text_width(printable(dot.label), _SIZE) for panel in panels for dot in panel.dots)
    return min(widest + 1, 0.42 * page_width() * 72)


def _name(label: str, room: float) -> str:
    return "\n".join(wrap(label, room, _SIZE, 3))


def _rows(panel: Panel, room: float) -> float:
    """Rows' heights that a panel takes: names of several lines take more."""
    return sum(max(1.0, 0.55 * (_name(dot.label, room).count("\n") + 1)) for dot in panel.dots[:MOST])


def _panel(axes: Axes, panel: Panel, zero: bool, names: float, room: float) -> None:
    shown = panel.dots[:MOST]
    if zero:
        axes.axvline(0, color=INK, linewidth=0.8)
    for place, dot in enumerate(shown):
        known = math.isfinite(dot.low) and math.isfinite(dot.high)
        color = INK if dot.group is None else palette()[dot.group % len(palette())]
        marker = MARKERS[(dot.group or 0) % len(MARKERS)]
        if known:
            axes.plot([dot.low, dot.high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
        face = color if known else "white"
        axes.plot([dot.value], [place], color=color, marker=marker, markersize=5, markerfacecolor=face)
    axes.set_yticks(range(len(shown)), [_name(dot.label, names) for dot in shown], fontsize=_SIZE)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    more = f" (the first {MOST} of {len(panel.dots)})" if len(panel.dots) > MOST else ""
    axes.set_title("\n".join(wrap(panel.title + more, room, 9 * 1.12, 3)))
    axes.set_xlabel(printable(panel.hint), fontsize=7, color=MUTED)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    if high - low < 1e-9:
        axes.set_xlim(low - 0.01, high + 0.01)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
