"""The 2-D map, coloured by cluster and by label; for looking only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.plots.style import (
    FAINT,
    INK,
    MUTED,
    NOISE,
    group_style,
    halo,
    narrow,
    nothing_to_draw,
    page_width,
    printable,
    shorten,
    styled,
    text_width,
)

_NAMED = 20  # groups that get a label of their own on the map
_COVERED = 0.25  # share of the map that names may cover
_LEGEND_NAME = 175  # points that a name may take in the legend
_NAME_SIZE = 7.5


@dataclass(frozen=True)
class _Groups:
    """Points by group: `codes` (n,) is each point's place in `names`, -1 for none."""

    codes: np.ndarray
    names: list[str]
    outside: str  # what points without a group are called


def _is_missing(label: object) -> bool:
    return label is None or label != label or str(label).strip() == ""


def _by_cluster(clusters: np.ndarray) -> _Groups:
    ids = np.unique(clusters[clusters >= 0])
    codes = np.where(clusters >= 0, np.searchsorted(ids, clusters), -1)
    return _Groups(codes, [str(name) for name in ids], "noise")


def _by_label(labels: Sequence[str]) -> _Groups:
    texts = ["" if _is_missing(label) else str(label) for label in labels]
    names = sorted(set(texts) - {""})
    place = {name: number for number, name in enumerate(names)}
    codes = np.array([place.get(text, -1) for text in texts], dtype=np.int64)
    return _Groups(codes, names, "without a label")


def _largest(groups: _Groups, count: int) -> np.ndarray:
    sizes = np.bincount(groups.codes[groups.codes >= 0], minlength=len(groups.names))
    return np.argsort(-sizes, kind="stable")[:count]


def _window(points: np.ndarray) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Limits around all points with a margin, and height / width kept between 0.6 and 1.25."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    width, height = np.maximum(high - low, 1e-3 * max(1.0, float(np.abs(middle).max()))) * 1.1
    width = max(width, height / 1.25)
    height = max(height, width * 0.6)
    x, y = (
        (float(centre - size / 2), float(centre + size / 2))
        for centre, size in zip(middle, (width, height), strict=True)
    )
    return x, y, float(height / width)


def _point_size(count: int) -> float:
    return float(np.clip(330 / np.sqrt(count), 0.6, 26))  # points^2: dense at 200,000, visible at 50


def _opacity(count: int) -> float:
    return float(np.clip(1.25 - 0.17 * np.log10(count), 0.35, 0.9))


def _draw_points(axes: Axes, points: np.ndarray, groups: _Groups, ranks: np.ndarray) -> None:
    count = len(points)
    look: dict[str, Any] = {"s": _point_size(count), "linewidths": 0, "rasterized": True}
    outside = groups.codes < 0
    if outside.any():
        axes.scatter(points[outside, 0], points[outside, 1], color=NOISE, marker="o", zorder=1, **look)
    styles = [group_style(rank) for rank in range(len(groups.names))]
    # A fixed random order keeps a group that comes late from hiding those before it.
    order = np.random.default_rng(0).permutation(np.flatnonzero(~outside))
    markers = np.array([styles[rank][1] for rank in ranks[groups.codes[order]]])
    for marker in dict.fromkeys(style[1] for style in styles):
        rows = order[markers == marker]
        colors = [styles[rank][0] for rank in ranks[groups.codes[rows]]]
        if len(rows):
            axes.scatter(
                points[rows, 0],
                points[rows, 1],
                c=colors,
                marker=marker,
                alpha=_opacity(count),
                zorder=2,
                **look,
            )


def _spread_out(centres: np.ndarray, sizes: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Move overlapping boxes apart, up or down, in small steps; all in points, inside `area`."""
    places = centres.copy()
    for _ in range(200):
        moved = False
        for first in range(len(places)):
            for second in range(first + 1, len(places)):
                gap = places[second] - places[first]
                overlap = (sizes[first] + sizes[second]) / 2 - np.abs(gap)
                if (overlap > 0).all():
                    push = (overlap[1] / 2 + 0.1) * (1 if gap[1] >= 0 else -1)
                    places[first, 1] -= push
                    places[second, 1] += push
                    moved = True
        places = np.clip(places, sizes / 2, np.maximum(area - sizes / 2, sizes / 2))
        if not moved:
            break
    return places


def _middle(points: np.ndarray) -> np.ndarray:
    """The point nearest to the median: (2,)."""
    found: np.ndarray = points[np.square(points - np.median(points, axis=0)).sum(axis=1).argmin()]
    return found


def _short(name: str) -> str:
    return shorten(name, 110, _NAME_SIZE) or "?"


def _box(name: str) -> tuple[float, float]:
    """Width and height of a name, in points."""
    return text_width(name, _NAME_SIZE) * 1.1 + 3, _NAME_SIZE * 1.25


def _to_be_named(groups: _Groups, area: float) -> np.ndarray:
    """The largest groups whose names leave the points to be seen. area: of the map, in square points.

    Where a legend tells all groups, it is all or none.
    """
    largest = _largest(groups, _NAMED)
    covered = np.cumsum([np.prod(_box(_short(groups.names[group]))) for group in largest])
    fitting = int(np.searchsorted(covered, _COVERED * area, side="right"))
    if fitting < len(largest) == len(groups.names):
        return largest[:0]
    return largest[:fitting]


def _name_groups(
    axes: Axes, points: np.ndarray, groups: _Groups, named: np.ndarray, width: float, height: float
) -> None:
    """Write each group's name at the point nearest to the median of its points, moved a little where names would
    overlap: the median itself can lie where the group has no point at all."""
    if not len(named):
        return
    names = [_short(groups.names[group]) for group in named]
    middles = np.array([_middle(points[groups.codes == group]) for group in named])
    low = np.array([axes.get_xlim()[0], axes.get_ylim()[0]])
    scale = np.array([width * 72, height * 72]) / (np.array([axes.get_xlim()[1], axes.get_ylim()[1]]) - low)
    sizes = np.array([_box(name) for name in names])
    # On a group that is smaller than its name, the name would hide the points: it stands above them.
    extents = np.array([np.ptp(points[groups.codes == group], axis=0) for group in named]) * scale
    lift = np.where((extents < sizes).all(axis=1), _NAME_SIZE + 1, 0)
    centres = (middles - low) * scale + np.column_stack([np.zeros(len(named)), lift])
    area = np.array([width * 72, height * 72])
    places = _spread_out(centres, sizes, area) / scale + low
    for name, (x, y) in zip(names, places, strict=True):
        axes.text(
            x, y, name, ha="center", va="center", fontsize=_NAME_SIZE, fontweight="bold", color=INK,
            path_effects=halo(2.2), zorder=4, clip_on=False,
        )  # fmt: skip


def _panel(axes: Axes, points: np.ndarray, groups: _Groups, title: str, width: float, ratio: float) -> None:
    ranks = np.arange(len(groups.names))
    if len(groups.names) > _NAMED:  # the largest groups get the styles that are farthest apart
        ranks[_largest(groups, len(ranks))] = np.arange(len(ranks))
    _draw_points(axes, points, groups, ranks)
    x, y, _ = _window(points)
    axes.set(xlim=x, ylim=y, xticks=[], yticks=[])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)
    axes.set_title(title)
    named = _to_be_named(groups, (width * 72) ** 2 * ratio)
    _name_groups(axes, points, groups, named, width, width * ratio)
    notes = _notes(groups, len(named))
    if notes:
        axes.set_xlabel("\n".join(notes), fontsize=7, color=MUTED, loc="left")


def _notes(groups: _Groups, named: int) -> list[str]:
    notes = []
    if len(groups.names) > _NAMED:
        notes.append(f"the {named} largest of {len(groups.names)} groups are named; colours repeat")
    outside = int((groups.codes < 0).sum())
    if outside:
        notes.append(f"grey: {outside:,} {groups.outside}")
    return notes


def _label_legend(figure: Figure, groups: _Groups) -> None:
    """Which colour is which label: where labels mix, a name in the middle of its points does not tell."""
    if len(groups.names) > _NAMED:
        return
    names = [shorten(name, _LEGEND_NAME, 7) or "?" for name in groups.names]
    handles = []
    for rank, name in enumerate(names):
        color, marker = group_style(rank)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", markersize=5, label=name))
    widest = max(text_width(name, 7) for name in names) + 22
    columns = int(np.clip(page_width() * 72 // widest, 1, len(names)))
    figure.set_figheight(figure.get_figheight() + 0.05 + 0.145 * -(-len(names) // columns))
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, fontsize=7, handletextpad=0.1, columnspacing=1.0
    )


@styled
def cluster_and_label_map(
    points: np.ndarray, clusters: np.ndarray, labels: Sequence[str] | None, subtitle: str
) -> Figure:
    """Two maps side by side, one coloured by cluster and one by label.

    Groups carry their names in the middle of their points, unless names would cover the map; labels stand in a legend,
    too. Colours repeat with another marker; beyond twenty groups only the largest are named, and the picture says so.

    Args:
        points: (n, 2) float, the map.
        clusters: (n,) integers, -1 for noise.
        labels: n names (None, NaN or '' for none), or None to draw the clusters alone.
        subtitle: which space this is, e.g. '2-D UMAP of the 5-D UMAP projection; for looking only'.
    """
    points = np.asarray(points, dtype=np.float64)
    if labels is not None and all(map(_is_missing, labels)):
        labels = None
    panels = 1 if labels is None else 2
    beside = panels == 2 and not narrow()
    width = (page_width() - 0.2) / 2 if beside else min(4.6, page_width() - 0.1)
    if len(points) == 0:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no images, so no map")
        return figure
    *_, ratio = _window(points)
    rows = 1 if beside else panels
    figure = Figure(figsize=(page_width() if beside else width + 0.1, rows * (width * ratio + 0.35) + 0.4))
    axes = np.ravel(figure.subplots(rows, panels // rows, squeeze=False))
    by_cluster = _by_cluster(np.asarray(clusters))
    _panel(axes[0], points, by_cluster, f"By cluster (k = {len(by_cluster.names)})", width, ratio)
    if labels is not None:
        by_label = _by_label(labels)
        plural = "label" if len(by_label.names) == 1 else "labels"
        _panel(axes[1], points, by_label, f"By label ({len(by_label.names)} {plural})", width, ratio)
        _label_legend(figure, by_label)
    figure.suptitle(printable(subtitle), x=0.006, ha="left", color=MUTED)
    return figure


@styled
def named_map(points: np.ndarray, clusters: np.ndarray, names: Mapping[int, str], subtitle: str) -> Figure:
    """The map by cluster, with a legend that says what each cluster is called.

    On the map stand the clusters' numbers; the legend has them with their names, the largest clusters first where there
    are more than twenty.

    Args:
        points: (n, 2) float, the map. clusters: (n,) integers, -1 for noise.
        names: of the clusters; one without a name is shown by its number.
        subtitle: which space this is.
    """
    points, clusters = np.asarray(points, dtype=np.float64), np.asarray(clusters)
    if len(points) == 0:
        figure = Figure(figsize=(page_width(), 1.2))
        nothing_to_draw(figure.subplots(), "no images, so no map")
        return figure
    groups = _by_cluster(clusters)
    width = min(4.2, page_width() - 0.1) if narrow() else 3.9
    *_, ratio = _window(points)
    figure = Figure(figsize=(page_width(), width * ratio + 0.8))
    axes = figure.subplots()
    axes.set_anchor("NW")
    _panel(axes, points, groups, f"Named clusters (k = {len(groups.names)})", width, ratio)
    shown = np.sort(_largest(groups, _NAMED)) if len(groups.names) <= _NAMED else _largest(groups, _NAMED)
    sizes = np.bincount(groups.codes[groups.codes >= 0], minlength=len(groups.names))
    room = (page_width() if narrow() else page_width() - width - 0.4) * 72 - 46
    handles = []
    for rank, group in enumerate(shown):
        color, marker = group_style(int(group) if len(groups.names) <= _NAMED else rank)
        number = groups.names[group]
        called = f"{number}: {names[int(number)]}" if int(number) in names else number
        size = f" ({sizes[group]:,})"
        label = shorten(called, room - text_width(size, 7), 7) + size
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", markersize=5, label=label))
    place: Any = "outside lower left" if narrow() else "outside right upper"
    if narrow():
        figure.set_figheight(figure.get_figheight() + 0.05 + 0.145 * len(handles))
    else:
        figure.set_figheight(max(figure.get_figheight(), 0.5 + 0.145 * len(handles)))
    figure.legend(handles=handles, fontsize=7, handletextpad=0.1, loc=place)
    figure.suptitle(printable(subtitle), x=0.006, ha="left", color=MUTED)
    return figure
