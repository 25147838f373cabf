"""Texts and images together: what a search finds, tags, cosine similarity explained, captions found by their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc

from pipeline.plots.images import GAP, MARGIN, canvas, draw_image, draw_rows, finish, fitted_height, in_rows, titled
from pipeline.plots.style import (
    FAINT,
    INK,
    MUTED,
    halo,
    narrow,
    nothing_to_draw,
    page_width,
    pair,
    palette,
    sentence,
    styled,
    title,
    wrap,
)

REFERENCE = (1.0, 2.0)
EXAMPLES = (("near", (2.0, 1.0)), ("opposite", (-1.0, -1.0)), ("orthogonal", (-2.0, 1.0)))
"""Protocol 5's vectors, whose cosines with the reference are 0.80, -0.95 and 0.00."""

_QUERY = 0.8  # inches of the picture of a query


@styled
def picture_grid(
    thumbnails: Sequence[np.ndarray | None], titles: Sequence[str], heading: str, lines: int = 4, subtitle: str = ""
) -> Figure:
    """Images in rows with some lines under each: tags with their scores, or what an image was taken for.

    Args:
        thumbnails: (h, w, 3) or (h, w) uint8 each; None draws a grey box 'no longer readable'.
        titles: one for each image; after the first newline quieter.
        heading, subtitle: what is shown. lines: most lines under an image.

    Raises:
        ValueError: the numbers of images and titles differ.
    """
    columns = 3 if narrow() else 6
    return _grid(thumbnails, titles, heading, subtitle, (), columns, lines)


@styled
def hits(
    query: str, pictures: Sequence[np.ndarray | None], thumbnails: Sequence[np.ndarray | None], titles: Sequence[str],
    subtitle: str = "",
) -> Figure:  # fmt: skip
    """A query and the images that it finds, best first.

    Args:
        query: its words, '' where it is pictures alone. pictures: of the query, at most four are drawn.
        thumbnails, titles: the images found, as in `picture_grid`; the score belongs into the first line of each title.
        subtitle: in which space and how many were searched.

    Raises:
        ValueError: the numbers of images and titles differ.
    """
    columns = 3 if narrow() else 6
    heading = f"“{query}”" if query else "Images like this" if len(pictures) == 1 else "Images like these"
    return _grid(thumbnails, titles, heading, subtitle, pictures[:4], columns, 3)


def _grid(
    thumbnails: Sequence[np.ndarray | None], titles: Sequence[str], heading: str, subtitle: str,
    pictures: Sequence[np.ndarray | None], columns: int, lines: int,
) -> Figure:  # fmt: skip
    side = (page_width() - 2 * MARGIN - (columns - 1) * GAP) / columns
    beside = len(pictures) * (_QUERY + GAP) if pictures else 0.0
    room = (page_width() - 2 * MARGIN - beside) * 72
    heads, notes = wrap(sentence(heading), room / 1.15, 10, 4), wrap(subtitle, room, 7.5, 2)
    words = 0.17 * len(heads) + 0.14 * len(notes)
    top = max(_QUERY if pictures else 0.0, words) + 0.2
    cells = [titled(image, text, side, lines) for image, text in zip(thumbnails, titles, strict=True)]
    rows = in_rows(cells, columns, side)
    height = top + MARGIN + (sum(row[2] for row in rows) if rows else 0.6)
    figure, axes = canvas(height)
    for place, picture in enumerate(pictures):
        draw_image(axes, picture, MARGIN + place * (_QUERY + GAP), 0.06 + fitted_height(picture, _QUERY), _QUERY)
    axes.text(MARGIN + beside, 0.06, "\n".join(heads), ha="left", va="top", fontsize=10, fontweight="bold")
    axes.text(
        MARGIN + beside, 0.1 + 0.17 * len(heads), "\n".join(notes), ha="left", va="top", fontsize=7.5, color=MUTED
    )
    draw_rows(axes, rows, MARGIN, top, side)
    finish(axes, height, empty=not cells)
    return figure


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors, in [-1, 1].

    >>> [round(cosine(REFERENCE, vector), 2) + 0.0 for _, vector in EXAMPLES]
    [0.8, -0.95, 0.0]
    """
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


@styled
def cosine_explained() -> Figure:
    """A vector, and one that is near to it, one that is opposite and one at a right angle, with their cosines."""
    width = min(4.4, page_width())
    figure = Figure(figsize=(width, 0.54 * width + 0.8))
    axes = figure.subplots()
    colors = palette()
    arrows = [("reference", REFERENCE, INK), *((name, v, colors[i]) for i, (name, v) in enumerate(EXAMPLES))]
    start = float(np.degrees(np.arctan2(REFERENCE[1], REFERENCE[0])))
    for place, (name, (x, y), color) in enumerate(arrows):
        axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2,
                                                      "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11})  # fmt: skip
        said = f"{name} [{x:g}, {y:g}]"
        if place:
            said += f"\ncosine {abs(value) if abs(value := cosine(REFERENCE, (x, y))) < 5e-3 else value:.2f}"
            end = float(np.degrees(np.arctan2(y, x)))
            turn = (end - start + 180) % 360 - 180
            size = 0.5 + 0.3 * place
            first, last = (start, start + turn) if turn > 0 else (start + turn, start)
            axes.add_patch(Arc((0, 0), size, size, theta1=first, theta2=last, color=color, linewidth=1.2))
        axes.annotate(
            said, (x, y), xytext=(6 if x > 0 else -6, 2 if y > 0 else -2), textcoords="offset points", fontsize=7.5,
            ha="left" if x > 0 else "right", va="bottom" if y > 0 else "top", color=INK, path_effects=halo(),
        )  # fmt: skip
    axes.set(xlim=(-5.0, 4.6), ylim=(-2.1, 2.9))
    axes.set_aspect("equal")
    axes.set_xticks(range(-4, 5, 2))
    axes.set_yticks(range(-1, 3))
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    axes.axhline(0, color=MUTED, linewidth=0.6)
    axes.axvline(0, color=MUTED, linewidth=0.6)
    title(axes, "Cosine similarity", "only the angle counts: 1 same direction, 0 right angle, -1 opposite")
    return figure


@styled
def recall_curves(
    curves: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    marks: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
    """The share of queries with a right answer among the k nearest, over k, for each direction.

    Args:
        curves: name of a direction, k (p,) rising, recall (p,), recall of a random order (p,).
        marks: for each, k at which there are intervals, the recall there, low and high; NaN is left out.
    """
    figure = Figure(figsize=(min(4.8, page_width()), 3.2))
    axes = figure.subplots()
    known = [
        (curve, mark) for curve, mark in zip(curves, marks, strict=True) if len(curve[1]) and np.isfinite(mark[1]).any()
    ]
    if not known:
        nothing_to_draw(axes, "no captions to be found")
        return figure
    for place, ((name, k, recall, chance), (at, value, low, high)) in enumerate(known):
        color, dashes, marker = pair()[place % 2], ("-", "--")[place % 2], ("o", "D")[place % 2]
        axes.plot(k, recall, color=color, linestyle=dashes, label=name)
        axes.plot(k, chance, color=color, linestyle=":", linewidth=1)
        moved = at * 1.03 ** (1 if place else -1)  # so that the intervals of both can be seen
        axes.vlines(moved, low, high, color=color, linewidth=1.6)
        axes.plot(moved, value, linestyle="none", marker=marker, markersize=4, color=color)
    axes.plot([], [], color=MUTED, linestyle=":", linewidth=1, label="by chance")
    axes.set_xscale("log")
    ends = max(int(curve[1][-1]) for curve, _ in known)
    axes.set(xlim=(0.9, max(ends, 2) * 1.1), ylim=(0, 1.02), ylabel="share of queries, higher is better")
    ticks = [tick for tick in (1, 5, 10, 100, 1000, 10_000, 100_000, 1_000_000) if tick <= max(ends, 2)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("k: a right answer is among the k nearest")
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    title(axes, "Captions and images found by each other", "marks: at 1, 5 and 10 with 95 % intervals")
    figure.legend(loc="outside lower left", ncols=1 if narrow() else 2)
    return figure
