"""Images told by the texts of classes: how often rightly, how surely, and single answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pipeline.plots.images import GAP, MARGIN, SIZE, canvas, draw_image, finish, fitted_height
from pipeline.plots.style import (
    FAINT,
    INK,
    MUTED,
    narrow,
    nothing_to_draw,
    page_width,
    pair,
    sentence,
    shorten,
    styled,
    text_width,
    title,
    wrap,
)

MOST = 60  # classes that are shown: the best and the worst
_SIDE = 0.95  # inches of an image beside its bars


@styled
def reliability(
    edges: np.ndarray, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, ece: float,
    interval: tuple[float, float], by_chance: float,
) -> Figure:  # fmt: skip
    """How often predictions of some probability are right, and below how many there are of each.

    Args:
        edges: (b + 1,) of the bins. counts: (b,) images. confidence, accuracy: (b,) means, NaN in an empty bin.
        ece, interval: expected calibration error and its 95 % interval. by_chance: the largest that is to be expected
            (95 %) of a model that is right as often as it says.
    """
    counts = np.asarray(counts)
    figure = Figure(figsize=(min(4.4, page_width()), 4.3))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    if counts.sum() == 0:
        for axes in (upper, lower):
            axes.set_axis_off()
        nothing_to_draw(upper, "no image has a label to compare with")
        return figure
    first, second = pair()
    known = counts > 0
    width, left = np.diff(edges), np.asarray(edges)[:-1]
    upper.bar(left[known], accuracy[known], width[known], align="edge", color=first, alpha=0.25, linewidth=0)
    gap = np.abs(confidence - accuracy)[known]
    upper.bar(
        left[known], gap, width[known], np.minimum(confidence, accuracy)[known], align="edge", fill=False, hatch="////",
        edgecolor=second, linewidth=0, alpha=0.6,
    )  # fmt: skip
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
    upper.plot(confidence[known], accuracy[known], color=first, marker="o", markersize=4, linewidth=1)
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
    upper.grid(color=FAINT)
    upper.set_axisbelow(True)
    said = f"ECE {ece:.3f}"
    if np.isfinite(interval).all():
        said += f" ({interval[0]:.3f} to {interval[1]:.3f})"
    title(upper, "Probability against truth", f"{said}, lower is better; up to {by_chance:.3f} by chance alone")
    lower.bar(left, counts, width, align="edge", color=MUTED, linewidth=0)
    lower.set(xlabel="probability of the best class", ylabel="images")
    lower.grid(axis="y", color=FAINT)
    lower.set_axisbelow(True)
    marks = [
        Line2D([], [], color=first, marker="o", markersize=4, linewidth=1, label="right"),
        Line2D([], [], color=MUTED, linewidth=1, linestyle=":", label="as often as said"),
        Rectangle((0, 0), 1, 1, fill=False, hatch="////", edgecolor=second, linewidth=0, label="gap"),
    ]
    figure.legend(handles=marks, loc="outside lower left", ncols=3)
    return figure


@styled
def class_bars(
    names: Sequence[str], recall: np.ndarray, interval: tuple[np.ndarray, np.ndarray], precision: np.ndarray,
    images: np.ndarray, chance: float,
) -> Figure:  # fmt: skip
    """The share of each class's images that is told right, with its interval, and the precision of its name.

    Args:
        names: C classes in the order in which they are to stand, the best first. recall, precision: (C,) in [0, 1],
            NaN where not defined. interval: low and high, (C,) each. images: (C,) numbers of images.
        chance: recall of guesses, 1 / C.
    """
    count = len(names)
    shown = np.arange(count) if count <= MOST else np.r_[0 : MOST // 2, count - MOST // 2 : count]
    if not count:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no classes")
        return figure
    size, row = (7.0, 0.2) if len(shown) <= 30 else (6.0, 0.135)
    figure = Figure(figsize=(page_width(), row * max(len(shown), 3) + (1.75 if narrow() else 1.4)))
    axes = figure.subplots()
    places, (first, second) = np.arange(len(shown)), pair()
    axes.barh(places, recall[shown], color=first, alpha=0.35, height=0.7, linewidth=0)
    axes.hlines(places, interval[0][shown], interval[1][shown], color=first, linewidth=1.4)
    axes.plot(precision[shown], places, linestyle="none", marker="D", markersize=3.5, color=second)
    axes.axvline(chance, color=MUTED, linewidth=1, linestyle=":")
    room = 70.0 if narrow() else 150.0
    axes.set_yticks(places, [f"{shorten(names[int(i)], room, size)}  ({images[i]:,})" for i in shown], fontsize=size)
    axes.set_ylim(max(len(shown), 3) - 0.4, -0.6)
    axes.set_xlim(0, 1.01)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
    names_end = max(text_width(label.get_text(), size) for label in axes.get_yticklabels())
    title(axes, "How well each class is told", "behind a name: its images", names_end + 20)
    axes.set_xlabel("share, higher is better")
    marks = [
        Rectangle((0, 0), 1, 1, color=first, alpha=0.35, linewidth=0, label="of its images, told right (recall)"),
        Line2D([], [], color=first, linewidth=1.4, label="its 95 % interval"),
        Line2D([], [], color=second, linestyle="none", marker="D", markersize=3.5,
               label="of those called so, right (precision)"),
        Line2D([], [], color=MUTED, linewidth=1, linestyle=":", label="guesses"),
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside lower left", ncols=1 if narrow() else 2)
    if len(shown) < count:
        axes.axhline(MOST // 2 - 0.5, color=INK, linewidth=0.6)
        figure.supxlabel(f"the {MOST // 2} best and worst of {count:,} classes", x=0.01, ha="left", color=MUTED)
    return figure


@styled
def coverage_curve(
    coverage: np.ndarray, accuracy: np.ndarray, named_outside: np.ndarray, threshold: np.ndarray, what: str,
    chosen: float | None = None,
) -> Figure:  # fmt: skip
    """Accuracy of the surest predictions over how many are given, and how often images of no class are named.

    Args:
        coverage, accuracy, named_outside, threshold: (p,), thresholds falling; named_outside NaN without such images.
        what: what the threshold is on, 'probability' or 'cosine'.
        chosen: the threshold in use, None for none.
    """
    figure = Figure(figsize=(min(4.6, page_width()), 3.2))
    axes = figure.subplots()
    if not len(coverage):
        nothing_to_draw(axes, "no image has a label to compare with")
        return figure
    first, second = pair()
    axes.plot(coverage, accuracy, color=first, label="right, of those named")
    if np.isfinite(named_outside).any():
        axes.plot(coverage, named_outside, color=second, linestyle="--", label="of other things: named all the same")
    marked = _spaced(coverage)
    for place in marked:
        axes.annotate(
            f"{threshold[place]:.2f}", (coverage[place], accuracy[place]), xytext=(0, 5), textcoords="offset points",
            ha="center", fontsize=6.5, color=MUTED,
        )  # fmt: skip
    axes.plot(coverage[marked], accuracy[marked], linestyle="none", marker="o", markersize=3.5, color=first)
    if chosen is not None and (threshold >= chosen).any():
        at = coverage[threshold >= chosen][-1]
        axes.axvline(at, color=INK, linewidth=1, linestyle=":", label=f"threshold {chosen:g}")
    axes.set(xlim=(0, 1.04), ylim=(0, 1.08), xlabel="share of images that are named", ylabel="share")
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    title(axes, "‘None of these’: fewer names, more of them right", f"small numbers: the lowest {what} that is named")
    figure.legend(loc="outside lower left", ncols=1 if narrow() else 2)
    return figure


def _spaced(coverage: np.ndarray) -> np.ndarray:
    """A few points of the curve that lie well apart."""
    wanted = np.linspace(0.1, 1.0, 7)
    places = np.unique(np.abs(coverage[:, None] - wanted).argmin(axis=0))
    apart = [int(places[-1])]
    for place in places[-2::-1]:
        if coverage[apart[-1]] - coverage[place] > 0.1:
            apart.append(int(place))
    return np.array(apart[::-1])


@dataclass(frozen=True)
class Answer:
    """A single image and what it was taken for.

    thumbnail: (h, w, 3) or (h, w) uint8, None for one that can no longer be read; title: its name; names, values: the
    best classes and their probabilities in [0, 1], best first; true: the place of the true class among these, -1 where
    it is not among them or not known; label: the true class in words, '' where not known.
    """

    thumbnail: np.ndarray | None
    title: str
    names: Sequence[str]
    values: Sequence[float]
    true: int
    label: str


@styled
def answers(shown: Sequence[Answer], heading: str) -> Figure:
    """Images with bars of the probabilities of their best classes: the image left, its bars right."""
    columns = 1 if narrow() else 2
    lines = wrap(sentence(heading), (page_width() - 2 * MARGIN) * 72 / 1.15, 10, 2)
    top = 0.14 + 0.17 * len(lines)
    whole = (page_width() - 2 * MARGIN - (columns - 1) * 0.25) / columns
    most = max((len(answer.names) for answer in shown), default=0)
    height = max(_SIDE + 0.3, 0.17 * most + 0.36)
    rows = -(-len(shown) // columns)
    bottom = 0.26 if shown else 0.5
    figure, axes = canvas(top + rows * height + bottom)
    axes.text(MARGIN, 0.06, "\n".join(lines), ha="left", va="top", fontsize=10, fontweight="bold")
    for place, answer in enumerate(shown):
        left = MARGIN + place % columns * (whole + 0.25)
        _answer(axes, answer, left, top + place // columns * height, whole)
    if shown:
        words = "bars: probabilities, 0 to 1"
        if any(answer.true >= 0 for answer in shown):
            words += "; ✓: the true class"
        words = shorten(words, (page_width() - 2 * MARGIN) * 70, 7)
        axes.text(MARGIN, top + rows * height + 0.08, words, ha="left", va="top", fontsize=7, color=MUTED)
    finish(axes, top + rows * height + bottom, empty=not shown)
    return figure


def _answer(axes: Axes, answer: Answer, left: float, top: float, width: float) -> None:
    draw_image(axes, answer.thumbnail, left, top + 0.17 + fitted_height(answer.thumbnail, _SIDE), _SIDE)
    said = answer.title if not answer.label else f"{answer.title}  ·  {answer.label}"
    axes.text(left, top + 0.04, shorten(said, width * 69, 7), ha="left", va="top", fontsize=7, color=MUTED)
    start, (first, second) = left + _SIDE + GAP, pair()
    room = left + width - start
    names = 0.46 * room
    bars = room - names - 0.32
    for row, (name, value) in enumerate(zip(answer.names, answer.values, strict=True)):
        y, true = top + 0.2 + 0.17 * row, row == answer.true
        text = shorten(f"{'✓ ' if true else ''}{name}", names * 72 - 4, SIZE)
        axes.text(start + names - 0.05, y + 0.055, text, ha="right", va="center", fontsize=SIZE,
                  color=INK, fontweight="bold" if true else "normal")  # fmt: skip
        axes.add_patch(Rectangle((start + names, y), bars, 0.11, color=FAINT, linewidth=0))
        axes.add_patch(Rectangle((start + names, y), bars * min(max(value, 0), 1), 0.11, linewidth=0,
                                 color=second if true else first))  # fmt: skip
        axes.text(start + names + bars + 0.04, y + 0.055, f"{value:.2f}", ha="left", va="center", fontsize=SIZE)
