"""Intervals for means and probabilities over *pairs* of images, when what was drawn at random are the images.

Pairs that share an image are dependent: 10,000 images make 50 million pairs, but no more than 10,000 independent
observations, so resampling or counting pairs gives intervals that are far too narrow. Here each image (or each
group of images, a patient say) is the unit. Its influence is the derivative of the statistic with respect to its
weight, where a pair weighs the product of its two images' weights; the variance is the sum of squared influences
(the infinitesimal jackknife; with groups, influences are summed within the group first). No resampling, no seed.

Held fixed: the classes (not drawn at random) and, after centring, the mean that was subtracted. 95 % intervals
covered 88 to 96 % in simulations of 40 images (tests/metrics/test_influence.py), within-class means after centring the
least. Where classes do not differ at all, the difference is a degenerate statistic and its interval wider than it need
be (97 to 99.7 %): no test that there is no difference.

Sources: Jaeckel (1972), Bell Laboratories memorandum MM 72-1215-11 (infinitesimal jackknife); Efron and Stein (1981),
Annals of Statistics 9, 586-596 (jackknife variances of such statistics); Arvesen (1969), Annals of Mathematical
Statistics 40, 2076-2100 (U-statistics); Aronow, Samii and Assenova (2015), Political Analysis 23, 564-577 (pairs that
share members).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.metrics.blocks import BLOCK_BYTES, Array, Floats, Integers, map_blocks, row_blocks

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """95 % interval; two numbers, or two arrays with one for each class. NaN with fewer than two units."""

    low: Any
    high: Any


@dataclass(frozen=True)
class MeanIntervals:
    """For mean cosines within, between, and their difference (gap)."""

    within: Interval
    between: Interval
    gap: Interval


@dataclass(frozen=True)
class Rows:
    """Unit vectors in the order of their classes.

    `block(rows)` gives some of them; `codes` (n,) are their classes, sorted; `units` (n,) which rows belong together,
    any integers; `sums` (C, d) the sum of each class; `counts` (C,).
    """

    block: Callable[[slice], Array]
    codes: Integers
    units: Integers
    sums: Floats
    counts: Integers


def interval(estimate: Any, variance: Any, units: Any, low: float = -1.0, high: float = 1.0) -> Interval:
    """estimate +- t(units - 1) standard errors, inside [low, high]. `variance` is the sum over units of squared
    influences; it is scaled by units / (units - 1), which makes it exact for a plain mean."""
    from scipy.special import stdtrit

    units = np.asarray(units, dtype=np.float64)
    enough = units > 1
    freedom = np.where(enough, units - 1, 1.0)
    half = stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(np.asarray(variance) * units / freedom)
    half = np.where(enough, half, np.nan)
    return Interval(np.clip(estimate - half, low, high)[()], np.clip(estimate + half, low, high)[()])


def probability_interval(estimate: Any, variance: Any, units: int) -> Interval:
    """The same for a probability, on the scale of its logit, so that it stays inside (0, 1); NaN at 0 and at 1."""
    if not 0 < estimate < 1:
        return Interval(np.nan, np.nan)
    logit = np.log(estimate / (1 - estimate))
    found = interval(logit, variance / (estimate * (1 - estimate)) ** 2, units, -np.inf, np.inf)
    return Interval(float(1 / (1 + np.exp(-found.low))), float(1 / (1 + np.exp(-found.high))))


def squared_by_unit(influences: Floats, units: Integers) -> Floats:
    """Sum over units of the squared sum of their rows' influences; (n,) -> number, (n, k) -> (k,).

    >>> squared_by_unit(np.array([1.0, 2.0, -3.0]), np.array([7, 7, 4]))      # 3^2 + 3^2
    np.float64(18.0)
    """
    if len(units) == 0:
        return np.zeros(influences.shape[1:])[()]
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=units[order][0] - 1))
    if len(starts) < len(units):
        influences = np.add.reduceat(influences[order], starts, axis=0)
    return np.asarray(np.square(influences).sum(axis=0))[()]


def overall_intervals(rows: Rows, within: float, between: float) -> MeanIntervals:
    """For the mean cosine over all pairs of one class, over all pairs of different classes, and their difference."""
    n = len(rows.codes)
    own, everyone = np.empty(n), np.empty(n)
    total = rows.sums.sum(axis=0)

    def measure(part: slice) -> None:
        block = rows.block(part)
        own[part] = np.einsum("ij,ij->i", block, rows.sums[rows.codes[part]])
        everyone[part] = block @ total

    for _ in map_blocks(measure, row_blocks(n, 16 * rows.sums.shape[1])):
        pass
    size = rows.counts[rows.codes]
    with np.errstate(invalid="ignore", divide="ignore"):
        of_within = (own - 1 - (size - 1) * within) / (rows.counts * (rows.counts - 1) / 2).sum()
        of_between = (everyone - own - (n - size) * between) / ((n * n - (rows.counts**2).sum()) / 2)
    units = len(np.unique(rows.units))
    of_pairs = rows.units[size > 1], of_within[size > 1]
    return MeanIntervals(
        interval(within, squared_by_unit(of_pairs[1], of_pairs[0]), len(np.unique(of_pairs[0]))),
        interval(between, squared_by_unit(of_between, rows.units), units),
        interval(within - between, squared_by_unit(of_within - of_between, rows.units), units, -2.0, 2.0),
    )


def class_intervals(rows: Rows, within: Floats, between: Floats) -> MeanIntervals:
    """The same for each class: pairs inside it, pairs of it with all others; arrays (C,)."""
    n, classes = len(rows.codes), len(rows.counts)
    variances = np.zeros((3, classes))
    for columns in row_blocks(classes, 32 * n, BLOCK_BYTES):
        variances[:, columns] = _class_variances(rows, within, between, columns)
    ends = np.searchsorted(rows.codes, np.arange(classes + 1))
    units = np.array([len(np.unique(rows.units[a:b])) for a, b in pairwise(ends)])
    return MeanIntervals(
        interval(within, variances[0], units),
        interval(between, variances[1], units),
        interval(within - between, variances[2], units, -2.0, 2.0),
    )


def _class_variances(rows: Rows, within: Floats, between: Floats, columns: slice) -> Floats:
    """Squared influences on the classes `columns`: (3, len) for within, between and their difference."""
    n, counts = len(rows.codes), rows.counts
    total = rows.sums.sum(axis=0)
    sums, size = rows.sums[columns], counts[columns]
    dots = np.empty((n, len(size)))  # of each image with each class's sum
    everyone = np.empty(n)

    def measure(part: slice) -> None:
        block = rows.block(part)
        dots[part] = block @ sums.T
        everyone[part] = block @ total

    for _ in map_blocks(measure, row_blocks(n, 16 * rows.sums.shape[1])):
        pass
    place = np.arange(columns.start, columns.stop)
    member = rows.codes[:, None] == place
    with np.errstate(invalid="ignore", divide="ignore"):
        of_within = np.where(member, dots - 1 - (size - 1) * within[columns], 0.0) / (size * (size - 1) / 2)
        others = np.where(member, everyone[:, None] - dots, dots) - np.where(member, n - size, size) * between[columns]
        of_between = others / (size * (n - size))
    return np.stack([squared_by_unit(part, rows.units) for part in (of_within, of_between, of_within - of_between)])
