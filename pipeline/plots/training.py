"""How a training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots.style import FAINT, MUTED, narrow, page_width, palette, styled


@styled
def training_curves(
    epochs: np.ndarray,
    losses: Mapping[str, np.ndarray],
    shares: Mapping[str, np.ndarray],
    chances: Sequence[float],
    rates: np.ndarray,
    best: int,
) -> Figure:
    """Loss, what was found among the images kept aside, and the learning rate; the epoch that was kept is marked.

    Args:
        epochs: (e,) 0 is before the first. losses: name -> (e,), NaN where not known.
        shares: name -> (e,) in [0, 1], higher is better. chances: what a random order would give for each, or NaN.
        rates: (e,) learning rate at the end of each epoch. best: the epoch whose weights were kept.
    """
    across = 1 if narrow() else 3
    figure = Figure(figsize=(page_width(), 3.1 if across == 3 else 8.2))
    first, second, third = figure.subplots(3 // across, across).ravel()
    for name, values in losses.items():
        first.plot(epochs, values, label=name, marker="o" if len(epochs) < 8 else None)
    first.set_title("Loss")
    for number, ((name, values), chance) in enumerate(zip(shares.items(), chances, strict=True)):
        color = palette()[number % len(palette())]
        thin = 2.6 - 0.8 * number  # where they agree, all can be seen
        second.plot(epochs, values, label=name, color=color, linewidth=thin, marker="o" if len(epochs) < 8 else None)
        if np.isfinite(chance):
            second.axhline(chance, color=color, linewidth=0.7, linestyle=":")
    second.set_ylim(0, 1.02)
    second.set_title("Validation images")
    third.plot(epochs[1:], rates[1:], color=MUTED, marker="o" if len(epochs) < 8 else None)
    third.set_ylim(bottom=0)
    third.set_title("Learning rate")
    for axes in (first, second, third):
        _finish(axes, best)
    _legend(first, "")
    if shares:
        _legend(second, "dotted: by chance" if np.isfinite(np.asarray(chances, np.float64)).any() else "")
    return figure


def _legend(axes: Axes, title: str) -> None:
    """Below the axes, where no curve is."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.22), borderpad=0, title=title or None)
    legend.get_title().set_fontsize(7)
    legend.set_alignment("left")


def _finish(axes: Axes, best: int) -> None:
    axes.axvline(best, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_xlabel(f"epoch (dashed: the best, {best})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.grid(axis="y", color=FAINT)
    axes.set_axisbelow(True)
