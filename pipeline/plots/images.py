"""Pictures made of the images themselves: a sheet of samples, and a cluster's members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.plots.style import FAINT, INK, MUTED, narrow, page_width, sentence, styled, wrap

SIZE = 6.5  # font size of titles, points
LINE = SIZE * 1.25 / 72  # height of a title's line, inches
GAP = 0.09  # between neighbouring images, inches
MARGIN = 0.04
_SHARP_BELOW = 64  # images with fewer pixels a side are enlarged without blur


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure with one axes that measures in inches from the upper left corner (fast for many images)."""
    figure = Figure(figsize=(page_width(), height))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, page_width())
    axes.set_ylim(height, 0)
    return figure, axes


def fitted_height(image: np.ndarray | None, side: float) -> float:
    """Height in inches of an image fitted into a square of `side` inches."""
    return side if image is None else side * image.shape[0] / max(image.shape[:2])


def draw_image(axes: Axes, image: np.ndarray | None, left: float, bottom: float, side: float) -> None:
    """Draw an image above `bottom`, centred in a column of `side` inches, its proportions kept."""
    if image is None:
        axes.add_patch(Rectangle((left, bottom - side), side, side, facecolor=FAINT, edgecolor="none"))
        axes.text(
            left + side / 2, bottom - side / 2, "no longer\nreadable",
            ha="center", va="center", fontsize=SIZE, color=MUTED,
        )  # fmt: skip
        return
    height = fitted_height(image, side)
    width = height * image.shape[1] / image.shape[0]
    x = left + (side - width) / 2
    axes.imshow(
        image,
        extent=(x, x + width, bottom, bottom - height),
        interpolation="nearest" if max(image.shape[:2]) < _SHARP_BELOW else "antialiased",
        cmap="gray",
        vmin=0,
        vmax=255,
        aspect="auto",
    )
    axes.add_patch(Rectangle((x, bottom - height), width, height, fill=False, edgecolor=FAINT, linewidth=0.5))


@dataclass(frozen=True)
class Cell:
    """An image with the lines under it, each with its colour."""

    image: np.ndarray | None
    lines: list[tuple[str, str]]


def titled(image: np.ndarray | None, title: str, side: float, most: int) -> Cell:
    """Break a title into at most `most` lines; what follows a newline (a caption) is quieter."""
    lines: list[tuple[str, str]] = []
    for number, part in enumerate(str(title).split("\n")):
        if len(lines) < most:
            color = MUTED if number else INK
            lines += [(line, color) for line in wrap(part, side * 72, SIZE, most - len(lines))]
    return Cell(image, lines)


def in_rows(cells: Sequence[Cell], columns: int, side: float) -> list[tuple[list[Cell], float, float]]:
    """Cells by row, with the row's image height and whole height in inches."""
    rows = []
    for start in range(0, len(cells), columns):
        row = list(cells[start : start + columns])
        images = max(fitted_height(cell.image, side) for cell in row)
        lines = max(len(cell.lines) for cell in row)
        rows.append((row, images, images + lines * LINE + 1.6 * GAP))
    return rows


def draw_rows(
    axes: Axes, rows: Sequence[tuple[list[Cell], float, float]], left: float, top: float, side: float
) -> None:
    for row, images, height in rows:
        for column, cell in enumerate(row):
            x = left + column * (side + GAP)
            draw_image(axes, cell.image, x, top + images, side)
            for number, (line, color) in enumerate(cell.lines):
                y = top + images + (number + 0.35) * LINE
                axes.text(x + side / 2, y, line, ha="center", va="top", fontsize=SIZE, color=color)
        top += height


def finish(axes: Axes, height: float, empty: bool) -> None:
    if empty:
        axes.text(page_width() / 2, height / 2, "no images", ha="center", va="center", color=MUTED)
    axes.set_xlim(0, page_width())  # imshow moves the limits
    axes.set_ylim(height, 0)


@styled
def image_sheet(thumbnails: Sequence[np.ndarray | None], titles: Sequence[str], columns: int | None = None) -> Figure:
    """Images in rows, each with its title (at most two lines) under it.

    Args:
        thumbnails: (h, w, 3) or (h, w) uint8 each, any size; None draws a grey box 'no longer readable'.
        titles: one for each image; an empty string leaves the place free.
        columns: images a row; by default eight on a page of 180 mm.

    Returns:
        A figure as wide as the page and as high as its rows need.

    Raises:
        ValueError: the numbers of images and titles differ.
    """
    columns = columns or max(2, round(8 * page_width() / 7.1))
    side = (page_width() - 2 * MARGIN - (columns - 1) * GAP) / columns
    cells = [titled(image, title, side, 2) for image, title in zip(thumbnails, titles, strict=True)]
    rows = in_rows(cells, columns, side)
    height = 2 * MARGIN + (sum(row[2] for row in rows) if rows else 0.6)
    figure, axes = canvas(height)
    draw_rows(axes, rows, MARGIN, MARGIN, side)
    finish(axes, height, empty=not cells)
    return figure


@styled
def cluster_grid(
    nearest: Sequence[np.ndarray | None],
    nearest_titles: Sequence[str],
    at_random: Sequence[np.ndarray | None],
    random_titles: Sequence[str],
    heading: str,
) -> Figure:
    """What a cluster holds: up to nine members nearest to its centre beside up to nine random ones.

    Args:
        nearest, at_random: images, (h, w, 3) or (h, w) uint8, the first nine are drawn; None for one
            that can no longer be read.
        nearest_titles, random_titles: one for each image: the label, and after a newline the caption;
            three lines are drawn at most, the last one cut with an ellipsis.
        heading: the cluster's name and size.

    Raises:
        ValueError: the numbers of images and titles differ.
    """
    lines = wrap(sentence(heading), (page_width() - 2 * MARGIN) * 72 / 1.15, 10, 2)
    space, top = 0.3, 0.39 + 0.17 * len(lines)
    beside = 1 if narrow() else 2
    side = ((page_width() - 2 * MARGIN - (beside - 1) * space) / beside - 2 * GAP) / 3
    blocks = []
    for images, titles in ((nearest, nearest_titles), (at_random, random_titles)):
        cells = [titled(image, title, side, 3) for image, title in zip(images, titles, strict=True)]
        blocks.append(in_rows(cells[:9], 3, side))
    heights = [max(sum(row[2] for row in block), 0.3) for block in blocks]
    height = top + MARGIN + (max(heights) if beside == 2 else sum(heights) + space)
    figure, axes = canvas(height)
    axes.text(MARGIN, 0.06, "\n".join(lines), ha="left", va="top", fontsize=10, fontweight="bold")
    right, below = (3 * side + 2 * GAP + space, 0.0) if beside == 2 else (0.0, heights[0] + space)
    places = ((MARGIN, top), (MARGIN + right, top + below))
    for block, (left, upper), name in zip(blocks, places, ("nearest to the centre", "random members"), strict=True):
        if block:
            axes.text(left, upper - 0.24, name, ha="left", va="top", fontsize=8, color=MUTED)
            draw_rows(axes, block, left, upper, side)
    finish(axes, height, empty=not any(blocks))
    return figure
