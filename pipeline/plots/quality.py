"""What a data set is made of: how many of which class, how large, how bright, how sharp."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.plots.style import FAINT, MUTED, narrow, page_width, pair, shorten, styled

_MOST = 12  # bars in a panel
_BINS = 40


@styled
def overview(
    classes: Mapping[str, int],
    sizes: tuple[np.ndarray, np.ndarray],
    modes: Mapping[str, int],
    brightness: np.ndarray,
    sharpness: np.ndarray,
) -> Figure:
    """One picture of a data set; panels of which nothing is known are left out.

    Args:
        classes: images of each class.
        sizes: widths and heights in pixels, (n,) each; 0 where they are not known.
        modes: images of each colour mode.
        brightness: (n,) mean grey, 0 to 255; NaN where it is not known.
        sharpness: (n,) variance of the Laplacian, higher is sharper; NaN where it is not known.
    """
    width, height = (np.asarray(side, dtype=np.float64) for side in sizes)
    known = (width > 0) & (height > 0)
    bright, sharp = (np.asarray(values, dtype=np.float64) for values in (brightness, sharpness))
    panels: list[Callable[[Axes], None]] = []
    if classes:
        panels.append(lambda axes: _bars(axes, classes, "Images of each class"))
    if known.any():
        panels.append(lambda axes: _sizes(axes, width[known], height[known]))
        panels.append(lambda axes: _shapes(axes, width[known] / height[known]))
    if modes:
        panels.append(lambda axes: _bars(axes, modes, "Colour modes of the files"))
    if np.isfinite(bright).any():
        values = bright[np.isfinite(bright)]
        panels.append(
            lambda axes: _histogram(axes, values, "Brightness", "mean grey of what the encoder sees, 0 to 255")
        )
    if np.isfinite(sharp).any():
        logs = np.log10(np.maximum(sharp[np.isfinite(sharp)], 0.1))
        panels.append(lambda axes: _sharpness(axes, logs))
    return _arranged(panels)


def _arranged(panels: Sequence[Callable[[Axes], None]]) -> Figure:
    columns = 1 if narrow() else 2
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(page_width(), 2.05 * rows + 0.1))
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        panel(axes)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure


def _bars(axes: Axes, counts: Mapping[str, int], heading: str) -> None:
    """Most frequent first; what does not fit is one bar."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ordered if len(ordered) <= _MOST else ordered[: _MOST - 1]
    rest = ordered[len(shown) :]
    names = [shorten(name, 90, 7) for name, _ in shown] + [f"{len(rest)} others"] * bool(rest)
    values = [count for _, count in shown] + [sum(count for _, count in rest)] * bool(rest)
    colors = [pair()[0]] * len(shown) + [MUTED] * bool(rest)
    axes.barh(range(len(values)), values, color=colors, height=0.72)
    axes.set_yticks(range(len(values)), names, fontsize=7 if len(values) <= 8 else 6)
    axes.set_ylim(max(len(values), 4) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("images")
    axes.set_title(heading)
    _grid(axes)


def _sizes(axes: Axes, width: np.ndarray, height: np.ndarray) -> None:
    axes.scatter(width, height, s=7, color=pair()[0], alpha=0.35, linewidths=0, rasterized=len(width) > 5000)
    if width.max() > 20 * width.min() or height.max() > 20 * height.min():
        axes.set(xscale="log", yscale="log")
    else:
        axes.set_xlim(0, 1.06 * width.max())
        axes.set_ylim(0, 1.06 * height.max())
    axes.set(xlabel="width in pixels", ylabel="height in pixels")
    axes.set_title("Sizes")
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)


def _shapes(axes: Axes, ratio: np.ndarray) -> None:
    values = np.log2(ratio)
    reach = max(1.0, float(np.ceil(np.abs(values).max())))
    axes.hist(values, bins=np.linspace(-reach, reach, 2 * _BINS // 2 + 1).tolist(), color=pair()[0])
    ticks = np.arange(-reach, reach + 1) if reach <= 4 else np.linspace(-reach, reach, 5)
    axes.set_xticks(ticks, [_ratio(tick) for tick in ticks])
    axes.set(xlabel="width : height", ylabel="images")
    axes.set_title("Aspect ratios")
    _grid(axes)


def _ratio(power: float) -> str:
    return f"{2**power:.3g}:1" if power >= 0 else f"1:{2**-power:.3g}"


def _histogram(axes: Axes, values: np.ndarray, heading: str, label: str) -> None:
    axes.hist(values, bins=np.linspace(0, 255, _BINS + 1).tolist(), color=pair()[0])
    axes.set(xlim=(0, 255), xlabel=label, ylabel="images")
    axes.set_title(heading)
    _grid(axes)


def _sharpness(axes: Axes, logs: np.ndarray) -> None:
    low, high = float(np.floor(logs.min())), float(max(np.ceil(logs.max()), np.floor(logs.min()) + 1))
    axes.hist(logs, bins=np.linspace(low, high, _BINS + 1).tolist(), color=pair()[0])
    ticks = np.arange(low, high + 1)
    axes.set_xticks(ticks, [f"{10**tick:g}" for tick in ticks])
    axes.set(xlabel="variance of the Laplacian (left: blurred)", ylabel="images")
    axes.set_title("Sharpness")
    _grid(axes)


def _grid(axes: Axes) -> None:
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
