"""Scores of the jobs of a sweep against the number of clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from pipeline.plots.style import COLORS, FAINT, MARKERS, MUTED, WIDTH, nothing_to_draw, shorten, styled, wrap

_HINTS = {"higher": "higher is better", "lower": "lower is better"}
_DASHES = ("-", "--", ":", "-.")


def _number(value: object) -> float | None:
    if value is None or isinstance(value, str | bytes):
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


def _points(rows: Sequence[Mapping[str, Any]], model: str, key: str) -> list[tuple[float, float]]:
    """The (k, score) of a model's jobs that have both, by k."""
    pairs = [(_number(row.get("k")), _number(row.get(key))) for row in rows if str(row.get("model")) == model]
    return sorted((k, score) for k, score in pairs if k is not None and score is not None)


def _look(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def _draw_against_k(axes: Axes, points: list[tuple[float, float]], number: int, label: str) -> bool:
    if not points:
        return False
    ks = sorted({k for k, _ in points})
    if len(ks) > 1:  # several jobs with one k (seeds, say): the line goes through their mean
        means = [float(np.mean([score for place, score in points if place == k])) for k in ks]
        dashes = _DASHES[number // len(COLORS) % len(_DASHES)]
        axes.plot(ks, means, color=_look(number)["color"], linestyle=dashes, linewidth=1.4)
    axes.plot(*zip(*points, strict=True), linestyle="none", label=label, **_look(number))
    return True


def _panel_against_k(axes: Axes, rows: Sequence[Mapping[str, Any]], models: Sequence[str], key: str) -> bool:
    drawn = [
        _draw_against_k(axes, _points(rows, model, key), number, shorten(model, 150, 7.5))
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
    drawn = False
    for number, model in enumerate(models):
        points = _points(rows, model, key)
        if points:
            axes.plot([score for _, score in points], [number] * len(points), linestyle="none", **_look(number))
            drawn = True
    axes.set_yticks(range(len(models)), [shorten(model, 95, 7) for model in models], fontsize=7)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    return drawn


def _dress(axes: Axes, title: str, better: str | None, varies: bool, drawn: bool) -> None:
    width = (WIDTH / 2 - 0.7) * 72
    axes.set_title("\n".join(wrap(title, width, 9 * 1.12, 2)))
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

    A model with a single k is drawn as points; where no model varies k, models stand under each other.

    Args:
        rows: one mapping a job: 'model' (str), 'k' (int) and a column for each score; jobs without a
            score (failed, not defined) are left out.
        metrics: (key, label, 'higher' | 'lower' | None) each; the label names the space.
    """
    models = list(dict.fromkeys(str(row.get("model")) for row in rows))
    ks = {_number(row.get("k")) for row in rows} - {None}
    if not models or not metrics or not ks:
        figure = Figure(figsize=(WIDTH, 1.2))
        nothing_to_draw(figure.subplots(), "no finished jobs to compare")
        return figure
    varies = len(ks) > 1
    columns = min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    row_height = 2.15 if varies else max(1.45, 0.9 + 0.2 * len(models))
    figure = Figure(figsize=(WIDTH if columns == 2 else 4.6, lines * row_height + (0.4 if varies else 0.1)))
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    draw = _panel_against_k if varies else _panel_by_model
    for axes, (key, label, better) in zip(panels, metrics, strict=False):
        _dress(axes, label, better, varies, draw(axes, rows, models, key))
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    if varies:
        handles: dict[str, Any] = {}
        for axes in panels:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=min(4, max(1, len(handles))))
    else:
        only = next(k for k in ks if k is not None)
        figure.suptitle(f"All jobs with k = {only:g}", x=0.006, ha="left", color=MUTED)
    return figure
