"""Tables as colours: predictions against truth, images against texts, groups against categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from pipeline.plots.distances import name_axes, write_cells
from pipeline.plots.style import INK, MUTED, narrow, nothing_to_draw, page_width, styled, text_width, title

MOST = 60  # rows or columns that can be told apart on a page


@styled
def confusion(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Which class was called what. Colour is the share of the row (the true class), the number the count of images.

    Beyond sixty classes only those with the most wrong images (called by another name, or others called by theirs).

    Args:
        counts: (C, C) whole numbers, a row for each true class, a column for each predicted one.
        names: C names.
    """
    counts = np.asarray(counts)
    shown = np.arange(len(counts))
    if len(shown) > MOST:
        wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)[np.ix_(shown, shown)]
    chosen = [names[int(place)] for place in shown]
    texts = np.vectorize(lambda n: f"{n:,d}" if n else "", otypes=[object])(counts[np.ix_(shown, shown)].astype(int))
    note = "rows: the true class, columns: what it was called"
    if len(shown) < len(counts):
        note += f"; the {MOST} of {len(counts):,} classes with the most errors"
    figure, axes, _ = _heat_map(
        shares,
        chosen,
        chosen,
        ("What each class was called", note),
        Normalize(0, 1),
        "Blues",
        "share of the class",
        texts,
    )
    if axes is not None:
        _frame(axes, [(place, place) for place in range(len(shown))] if len(shown) <= 25 else [])
    return figure


@styled
def image_text_similarity(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], subtitle: str) -> Figure:
    """Mean cosine of the images of each class (rows) with the text of each class (columns).

    The text that is nearest to a row is framed. At most sixty of each, the first.

    Args:
        matrix: (R, C) cosines, NaN where there are no images.
        rows, columns: R and C names.
        subtitle: what the texts are, e.g. 'a photo of {}'.
    """
    matrix = np.asarray(matrix, dtype=np.float64)[:MOST, :MOST]
    known = matrix[np.isfinite(matrix)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    norm = Normalize(low, high if high > low else low + 1e-3)
    texts = np.vectorize("{:.2f}".format, otypes=[object])(matrix)
    notes = [subtitle, "framed: the nearest text of a row"]
    if max(len(rows), len(columns)) > MOST:
        notes.append(f"the first {MOST} of {max(len(rows), len(columns)):,}")
    heading = ("Mean similarity of images (rows) and texts (columns)", "; ".join(notes))
    figure, axes, _ = _heat_map(matrix, rows[:MOST], columns[:MOST], heading, norm, "viridis", "mean cosine", texts)
    if axes is not None:
        best = [(row, int(np.nanargmax(values))) for row, values in enumerate(matrix) if np.isfinite(values).any()]
        _frame(axes, best)
    return figure


@styled
def category_lift(lift: np.ndarray, groups: Sequence[str], categories: Sequence[str], subtitle: str) -> Figure:
    """How much more often the tags of each group (rows) come from each category (columns) than those of all images.

    At most sixty groups, the first, and the sixty categories with the largest lift.

    Args:
        lift: (K, Q) logarithms to base 2, 1 is twice as often, -1 half; NaN where there are too few tags, hatched.
        groups, categories: K and Q names.
        subtitle: what is grouped and tagged.
    """
    lift = np.asarray(lift, dtype=np.float64)[:MOST]
    shown = np.arange(lift.shape[1])
    if len(shown) > MOST:
        largest = np.where(np.isfinite(lift), lift, -np.inf).max(axis=0, initial=-np.inf)
        shown = np.sort(np.argsort(-largest, kind="stable")[:MOST])
    left_out = [
        f"{MOST} of {count:,} {what}" for count, what in ((len(groups), "groups"), (len(categories), "categories"))
        if count > MOST
    ]  # fmt: skip
    known = lift[np.isfinite(lift)]
    reach = max(1.0, float(np.abs(known).max())) if known.size else 1.0
    texts = np.vectorize("{:+.1f}".format, otypes=[object])(np.round(lift[:, shown], 1) + 0.0)  # no -0.0
    heading = ("Which categories describe which group", "; ".join([subtitle, *left_out]))
    names = [categories[int(place)] for place in shown]
    norm = TwoSlopeNorm(0, -reach, reach)
    figure, _, _ = _heat_map(
        lift[:, shown],
        groups[:MOST],
        names,
        heading,
        norm,
        "PuOr_r",
        "log2 of the ratio",
        texts,
        "too few",
    )
    return figure


def _heat_map(
    matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], heading: tuple[str, str], norm: Normalize,
    colors: str, scale: str, texts: np.ndarray, missing: str = "no images",
) -> tuple[Figure, Axes | None, AxesImage | None]:  # fmt: skip
    if matrix.size == 0:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "nothing to compare")
        return figure, None, None
    width = float(np.clip(0.42 * len(columns), 1.8, page_width() - (1.75 if narrow() else 2.9)))
    height = float(np.clip(0.3 * len(rows), 0.9, width if len(rows) == len(columns) else 7.0))
    figure = Figure(figsize=(min(page_width(), max(width + 2.9, 4.6)), height + (1.75 if narrow() else 1.5)))
    axes = figure.subplots()
    axes.patch.set(facecolor="white", edgecolor=MUTED, hatch="/////")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colors, norm=norm, aspect="auto")
    name_axes(axes, rows, columns, (width, height))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    longest = max((text_width(text, 1.0) for text in texts.ravel()), default=1.0)
    size = min(7.0, (width * 72 / len(columns) - 3) / max(longest, 0.5), height * 72 / len(rows) - 2)
    if size >= 5:
        write_cells(axes, image, matrix, texts, size)
    names = max((text_width(label.get_text(), 7) for label in axes.get_yticklabels()), default=0)
    title(axes, *heading, names + 20)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, aspect=24)
    bar.set_label(scale)
    bar.outline.set_visible(False)
    if not np.isfinite(matrix).all():
        patch = Patch(facecolor="white", edgecolor=MUTED, hatch="/////", label=missing)
        figure.legend(handles=[patch], loc="outside lower right")
    return figure, axes, image


def _frame(axes: Axes, cells: Sequence[tuple[int, int]]) -> None:
    for row, column in cells:
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))
