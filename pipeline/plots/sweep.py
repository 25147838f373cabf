"""Scores of the jobs of a sweep against the number of clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from pipeline.plots.style import (
    FAINT,
    MARKERS,
    MUTED,
    narrow,
    nothing_to_draw,
    page_width,
    palette,
    printable,
    shorten,
    styled,
    text_width,
    wrap,
)

_HINTS = {"higher": "higher is better", "lower": "lower is better"}
_DASHES = ("-", "--", ":", "-.")
_NAMES = 240  # points that a model's name may take in the legend


def _number(value: object) -> float | None:
    if value is None or isinstance(value, str | bytes):
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


def _points(rows: Sequence[Mapping[str, Any]], model: str, key: str) -> list[tuple[float, float]]:
    """The (k, score) of a model's jobs that have both, by k."""
    pairs = [(_number(row.get("k")), _number(row.get(key))) for row in rows if str(row.get("model")) == model]
    return sorted((k, score) for k, score in pairs if k is not None and score is not None)


def _bands(
    rows: Sequence[Mapping[str, Any]], model: str, key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the clouds without clusters that a model's scores were compared with: k, mean, lowest, highest, (m,) each by
    k; means over jobs of one k."""
    found: dict[float, list[list[float]]] = {}
    for row in rows:
        names = ("null_mean", "null_low", "null_high")
        numbers = [_number(row.get("k")), *(_number(row.get(f"{key}/{name}")) for name in names)]
        if str(row.get("model")) == model and None not in numbers:
            found.setdefault(numbers[0], []).append(numbers[1:])  # type: ignore[arg-type]
    ks = sorted(found)
    means = np.array([np.mean(found[k], axis=0) for k in ks]).reshape(-1, 3)
    return np.array(ks), means[:, 0], means[:, 1], means[:, 2]


def _draw_band(axes: Axes, band: tuple[np.ndarray, ...], number: int) -> None:
    """Over k, in the model's colour; one k alone is widened, so that it can be seen."""
    ks, mean, low, high = band
    if not len(ks):
        return
    if len(ks) == 1:
        ks, mean, low, high = ks[0] + np.array([-0.2, 0.2]), *(np.repeat(one, 2) for one in (mean, low, high))
    color = _look(number)["color"]
    axes.fill_between(ks, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(ks, mean, color=color, linewidth=0.8, alpha=0.7, linestyle=(0, (1, 1)))


def _look(number: int) -> dict[str, Any]:
    return {"color": palette()[number % len(palette())], "marker": MARKERS[number % len(MARKERS)]}


def _draw_against_k(axes: Axes, points: list[tuple[float, float]], number: int, label: str) -> bool:
    if not points:
        return False
    ks = sorted({k for k, _ in points})
    if len(ks) > 1:  # several jobs with one k (seeds, say): the line goes through their mean
        means = [float(np.mean([score for place, score in points if place == k])) for k in ks]
        dashes = _DASHES[number // len(palette()) % len(_DASHES)]
        axes.plot(ks, means, color=_look(number)["color"], linestyle=dashes, linewidth=1.4)
    axes.plot(*zip(*points, strict=True), linestyle="none", label=label, **_look(number))
    return True


def _panel_against_k(axes: Axes, rows: Sequence[Mapping[str, Any]], models: Sequence[str], key: str) -> bool:
    room = page_width() * 72 - 40
    for number, model in enumerate(models):
        _draw_band(axes, _bands(rows, model, key), number)
    drawn = [
        _draw_against_k(axes, _points(rows, model, key), number, shorten(model, min(_NAMES, room), 7.5))
        for number, model in enumerate(models)
    ]
    axes.set_xlabel("number of clusters, k")
    ks = sorted({k for model in models for k, _ in _points(rows, model, key)})
    if len(ks) <= 8:
        axes.set_xticks(ks, [f"{k:g}" for k in ks])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    return any(drawn)


def _panel_by_model(axes: Axes, rows: Sequence[Mapping[str, Any]], models: Sequence[str], key: str) -> bool:
    """Where k does not vary: a line of points for each model, best read from its name."""
    room = _name_room(models)
    drawn = False
    for number, model in enumerate(models):
        points = _points(rows, model, key)
        for mean, low, high in zip(*_bands(rows, model, key)[1:], strict=True):
            axes.fill_between([low, high], number - 0.3, number + 0.3, color=_look(number)["color"], alpha=0.18, lw=0)
            axes.plot([mean, mean], [number - 0.3, number + 0.3], color=_look(number)["color"], lw=0.8, alpha=0.7)
        if points:
            axes.plot([score for _, score in points], [number] * len(points), linestyle="none", **_look(number))
            drawn = True
    axes.set_yticks(
        range(len(models)), ["\n".join(wrap(model, room, 7, 3 if narrow() else 2)) for model in models], fontsize=7
    )
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    return drawn


def _name_room(models: Sequence[str]) -> float:
    """Points beside a panel for the models' names, which take up to three lines."""
    widest = max(text_width(printable(model), 7) for model in models)
    return min(widest + 1, 0.4 * page_width() * 72)


def _dress(axes: Axes, title: str, better: str | None, varies: bool, drawn: bool, room: float) -> None:
    """room: points that the panel's title may take."""
    axes.set_title("\n".join(wrap(title, room, 9 * 1.12, 3)))
    if not drawn:
        nothing_to_draw(axes, "no job has this score")
        return
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    scale = axes.yaxis if varies else axes.xaxis
    if max(map(abs, scale.get_view_interval())) >= 1000:
        scale.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if better in _HINTS:
        scale.set_label_text(_HINTS[better], fontsize=7, color=MUTED)


@styled
def metric_against_k(rows: Sequence[Mapping[str, Any]], metrics: Sequence[tuple[str, str, str | None]]) -> Figure:
    """A panel for each score, a line with markers for each model, over the number of clusters.

    A model with a single k is drawn as points; where no model varies k, models stand under each other. Shaded in a
    model's colour: from the lowest to the highest score of the clouds without clusters, and their mean, dotted.

    Args:
        rows: one mapping a job: 'model' (str), 'k' (int) and a column for each score; jobs without a
            score (failed, not defined) are left out. '<score>/null_mean', '<score>/null_low' and '<score>/null_high'
            are of the clouds, where there are any.
        metrics: (key, label, 'higher' | 'lower' | None) each; the label names the space.
    """
    models = list(dict.fromkeys(str(row.get("model")) for row in rows))
    ks = {_number(row.get("k")) for row in rows} - {None}
    if not models or not metrics or not ks:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no finished jobs to compare")
        return figure
    varies = len(ks) > 1
    names = 0.0 if varies else _name_room(models)
    columns = 1 if narrow() or names > 0.2 * page_width() * 72 else min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    row_height = 2.15 if varies else max(1.45, 0.9 + (0.38 if narrow() else 0.27) * len(models))
    width = page_width() if columns == 2 else min(4.6 + names / 72, page_width())
    figure = Figure(figsize=(width, lines * row_height + 0.1))
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    draw = _panel_against_k if varies else _panel_by_model
    for axes, (key, label, better) in zip(panels, metrics, strict=False):
        _dress(axes, label, better, varies, draw(axes, rows, models, key), width / columns * 72 - 45 - names)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    shaded = any(len(_bands(rows, model, key)[0]) for model in models for key, _, _ in metrics)
    said = "shaded: clouds without clusters, from the lowest to the highest, and their mean" if shaded else ""
    if varies:
        _legend(figure, panels, said)
    else:
        only = next(k for k in ks if k is not None)
        words = f"All jobs with k = {only:g}" + (f"; {said}" if said else "")
        figure.suptitle(words, x=0.006, ha="left", color=MUTED)
    return figure


def _legend(figure: Figure, panels: np.ndarray, said: str) -> None:
    """The models, as many beside each other as the page is wide for, and what is shaded; the picture grows by their
    lines."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if said:
        handles["\n".join(wrap(said, page_width() * 72 - 60, 7.5, 2))] = Patch(color=MUTED, alpha=0.25, linewidth=0)
    widest = max((text_width(line, 7.5) for label in handles for line in label.split("\n")), default=0) + 35
    columns = int(np.clip(figure.get_figwidth() * 72 // widest, 1, max(1, len(handles))))
    figure.set_figheight(figure.get_figheight() + 0.12 + 0.17 * -(-len(handles) // columns))
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=columns)
