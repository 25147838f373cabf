"""How well each of several labels is told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.style import FAINT, MUTED, narrow, page_width, pair, shorten, styled

MOST = 40  # labels that are shown: the best and the worst


@styled
def label_scores(
    names: Sequence[str],
    auc: np.ndarray,
    precision: np.ndarray,
    chance: np.ndarray,
    present: np.ndarray,
    negatives: np.ndarray,
    verified: np.ndarray,
) -> Figure:
    """Bars of the AUC of each label, and beside them the share among the nearest neighbours against chance.

    Args:
        names: L labels, in the order in which they are to stand, the best first. auc, precision, chance: (L,) in
            [0, 1]; NaN is left empty. present, negatives: (L,) numbers of images. verified: (L,) whether the negatives
            were verified to be.
    """
    shown = _shown(len(names))
    places = np.arange(len(shown))
    rows = 2 if narrow() else 1
    height = float(np.clip(0.2 * len(shown) + 0.3, 0.8, 8.6))
    figure = Figure(figsize=(page_width(), rows * height + 1.15))
    left, right = figure.subplots(rows, 3 - rows, sharey=True, squeeze=False).flat
    first, second = pair()
    left.barh(places, auc[shown], color=first, height=0.68)
    left.axvline(0.5, color=MUTED, linewidth=1, linestyle=":")
    left.set(xlim=(0, 1), xlabel="AUC (dotted: chance)")
    right.barh(places, precision[shown], color=second, height=0.68)
    right.plot(chance[shown], places, linestyle="", marker="|", markersize=8, color="black", label="chance")
    right.set(xlim=(0, 1), xlabel="share of the 5 nearest (mark: chance)")
    named = [f"{_name(names[i])}{'' if verified[i] else ' *'}{_counts(present[i], negatives[i])}" for i in shown]
    for axes in (left, right):
        axes.set_yticks(places, named, fontsize=7)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(axis="x", color=FAINT)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    if rows == 1:
        right.tick_params(labelleft=False)
    figure.suptitle("How well each label is told apart", x=0.01, ha="left", fontsize=9, fontweight="bold")
    note = _explained(len(names), len(shown), bool(verified.all()))
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7, color=MUTED)
    return figure


def _shown(count: int) -> list[int]:
    if count <= MOST:
        return list(range(count))
    return [*range(MOST // 2), *range(count - MOST // 2, count)]


def _name(name: str) -> str:
    return shorten(name, 70.0 if narrow() else 130.0, 7)


def _counts(present: int, negatives: int) -> str:
    return "" if narrow() else f"  {present:,} / {negatives:,}"


def _explained(count: int, shown: int, all_verified: bool) -> str:
    text = "Cosine in the embedding space; higher is better."
    text += "" if narrow() else " Behind a name: images that show it / that do not."
    if not all_verified:
        text += "\n*: others that are not marked to show it, never verified."
    return text if shown == count else f"{text}\nThe {shown // 2} best and worst of {count:,} labels."
