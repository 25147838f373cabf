"""How near classes are to themselves and to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from pipeline.plots.style import (
    FAINT,
    MUTED,
    contrast,
    narrow,
    nothing_to_draw,
    page_width,
    pair,
    shorten,
    styled,
    text_width,
    title,
)

_NUMBERS_UP_TO = 15  # classes
_NAME_WIDTH = 110.0  # points
_BAR = 45  # points that the scale of colours takes
_CELL = 19.0  # points that a number needs


def _tick_step(count: int, room: float, size: float) -> int:
    """Label every how many-th row, so that labels of font size `size` fit into `room` points."""
    return max(1, int(np.ceil(count * size * 1.15 / room)))


def name_axes(axes: Axes, rows: Sequence[str], columns: Sequence[str], side: tuple[float, float]) -> None:
    """Name the rows and columns of a heat map whose cells cover `side` (width, height) inches.

    Names are cut to fit; long column names are turned, and some are left out where there are too many.
    """
    size, room = 7.0, _NAME_WIDTH / 2 if narrow() else _NAME_WIDTH
    step = _tick_step(len(rows), side[1] * 72, size)
    places = range(0, len(rows), step)
    axes.set_yticks(places, [shorten(rows[place], room, size) for place in places], fontsize=size)
    names = [shorten(name, room, size) for name in columns]
    cell = side[0] * 72 / max(1, len(columns))
    if max((text_width(name, size) for name in names), default=0) <= cell - 3:
        axes.set_xticks(range(len(names)), names, fontsize=size)
        return
    places = range(0, len(names), _tick_step(len(names), side[0] * 72, size))
    turned = {"rotation": 90} if len(names) > _NUMBERS_UP_TO else {"rotation": 40, "ha": "right"}
    axes.set_xticks(places, [names[place] for place in places], fontsize=size, **turned)
    if "ha" in turned:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")


def write_cells(axes: Axes, image: AxesImage, values: np.ndarray, texts: np.ndarray, size: float) -> None:
    """Write `texts` into the cells of a heat map, black or white by the cell's own colour."""
    for row, column in np.argwhere(np.isfinite(values)):
        color = contrast(tuple(image.to_rgba(values[row, column])))
        axes.text(column, row, texts[row, column], ha="center", va="center", fontsize=size, color=color)


def _limits(matrix: np.ndarray) -> tuple[float, float]:
    known = matrix[np.isfinite(matrix)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high - low > 1e-9 else (low - 0.05, high + 0.05)


@styled
def class_similarity(
    matrix: np.ndarray, class_names: Sequence[str], subtitle: str = "cosine in the embedding space"
) -> Figure:
    """Heat map of mean cosine similarities: within each class on the diagonal, between classes off it.

    Args:
        matrix: (C, C) float, cosines in [-1, 1]; NaN where not defined, drawn hatched.
        class_names: C names.
        subtitle: which space this is.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    count = len(class_names)
    if count == 0:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no classes")
        return figure
    side = float(min(np.clip(0.42 * count, 2.2, 4.9), page_width() - 1.3))
    figure = Figure(figsize=(min(page_width(), side + 2.4), side + (1.6 if narrow() else 1.3)))
    axes = figure.subplots()
    axes.set_anchor("NW")
    low, high = _limits(matrix)
    axes.patch.set(facecolor="white", edgecolor=MUTED, hatch="/////")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="viridis", vmin=low, vmax=high)
    name_axes(axes, class_names, class_names, (side, side))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if count <= _NUMBERS_UP_TO and side * 72 / count >= _CELL:
        texts = np.vectorize("{:.2f}".format, otypes=[object])(matrix)
        write_cells(axes, image, matrix, texts, 7 if count <= 10 else 6)
    if 1 < count <= 60:
        _frame_diagonal(axes, count)
    names = max(text_width(label.get_text(), 7) for label in axes.get_yticklabels())
    left = figure.get_figwidth() * 72 - (side * 72 + _BAR)  # the map is square, and may not begin at the left
    title(axes, "Mean similarity within (diagonal) and between classes", subtitle, max(names + 20, left))
    if np.isfinite(matrix).any():
        bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03)
        bar.outline.set_visible(False)
    if not np.isfinite(matrix).all():
        patch = Patch(facecolor="white", edgecolor=MUTED, hatch="/////", label="not defined")
        figure.legend(handles=[patch], loc="outside lower right")
    return figure


def _frame_diagonal(axes: Axes, count: int) -> None:
    width = 1.2 if count <= 25 else 0.6
    for place in range(count):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=width))


def _shown(edges: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The range with anything in it, and a margin of 4 % of it on either side."""
    used = np.flatnonzero(counts)
    if used.size == 0:
        return float(edges[0]), float(edges[-1])
    low, high = float(edges[used[0]]), float(edges[used[-1] + 1])
    margin = max(0.04 * (high - low), float(edges[1] - edges[0]))
    return low - margin, high + margin


@styled
def within_between(
    edges: np.ndarray,
    within: np.ndarray,
    between: np.ndarray,
    subtitle: str,
    means: tuple[float, float] | None = None,
) -> Figure:
    """Cosine similarities of pairs of one class against pairs of two classes, as densities.

    Args:
        edges: (bins + 1,) float, edges of the bins, increasing.
        within, between: (bins,) counts of unordered pairs; all zero where there are none.
        subtitle: which space this is.
        means: exact mean within and between, marked in the picture; by default those of the histograms,
            which are right to half a bin.
    """
    edges = np.asarray(edges, dtype=np.float64)
    figure = Figure(figsize=(page_width(), 3.1 if narrow() else 2.9))
    axes = figure.subplots()
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    one, other = pair()
    given: tuple[float | None, float | None] = means or (None, None)
    rows = (
        ("within a class", np.asarray(within), one, "-", given[0]),
        ("between classes", np.asarray(between), other, "--", given[1]),
    )
    for name, counts, color, dashes, mean in rows:
        pairs = int(counts.sum())
        if pairs == 0:
            axes.plot([], [], color=color, linestyle=dashes, label=f"{name}: no pairs")
            continue
        density = counts / (pairs * widths)
        centre = float((counts * middles).sum() / pairs) if mean is None else mean
        label = f"{name}: {pairs:,} pairs, mean {centre:.3f}"
        axes.stairs(density, edges, fill=True, color=color, alpha=0.18, linewidth=0)
        axes.stairs(density, edges, color=color, linewidth=1.4, linestyle=dashes, label=label)
        axes.axvline(centre, color=color, linewidth=1, linestyle=":")
    low, high = _shown(edges, np.asarray(within) + np.asarray(between))
    axes.set(xlim=(low, high), xlabel="cosine similarity of two images", ylabel="density of pairs")
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
    title(axes, "Pairs within a class against pairs between classes", subtitle)
    figure.legend(loc="outside lower left", ncols=1 if narrow() else 2, handlelength=2.5)
    return figure
