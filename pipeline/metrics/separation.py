"""How well two distributions of similarities stand apart: within a class against between classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.metrics.blocks import Array, Floats


@dataclass(frozen=True)
class Separation:
    """Within against between. A number each, or an array with one for each class; NaN where not defined.

    gap: mean within less mean between, in [-2, 2]. d_prime: the gap in standard deviations (`d_prime`). overlap:
    in [0, 1], lower is better (`overlap`). auc: in [0, 1], 0.5 is chance, higher is better, with auc_error, the
    most by which counting in bins can have moved it (`auc`).
    """

    gap: Any
    d_prime: Any
    overlap: Any
    auc: Any
    auc_error: Any


def auc(within: Array, between: Array) -> tuple[Floats, Floats]:
    """Probability that a pair within is closer than a pair between, and how wrong the bins can make it.

    `within`, `between` (..., bins): counts of pairs by increasing similarity. Pairs in one bin count half, as ties
    do. The bound is half the probability that both fall into one bin: all of those could be decided either way.
    NaN where either is empty. Source: Hanley and McNeil (1982); the area is the Mann-Whitney statistic over its
    largest value.

    >>> auc(np.array([0, 1, 1]), np.array([1, 1, 0]))     # 3 of 4 comparisons won, one tied
    (np.float64(0.875), np.float64(0.125))
    """
    within, between = np.asarray(within, dtype=np.float64), np.asarray(between, dtype=np.float64)
    below = np.cumsum(between, axis=-1) - between
    ties = (within * between).sum(axis=-1)
    wins = (within * below).sum(axis=-1)
    comparisons = within.sum(axis=-1) * between.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((wins + ties / 2) / comparisons)[()], np.asarray(ties / 2 / comparisons)[()]


def overlap(within: Array, between: Array) -> Floats:
    """Overlap coefficient of two histograms (..., bins): the area that both densities share, in [0, 1].

    0: no bin holds both. 1: equal. It depends on the bins. NaN where either is empty. Source: Weitzman (1970);
    Inman and Bradley (1989).

    >>> overlap(np.array([0, 1, 3]), np.array([1, 1, 0]))     # shares 0, 1/4, 3/4 and 1/2, 1/2, 0
    np.float64(0.25)
    """
    within, between = np.asarray(within, dtype=np.float64), np.asarray(between, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        shares = [counts / counts.sum(axis=-1, keepdims=True) for counts in (within, between)]
    return np.asarray(np.minimum(*shares).sum(axis=-1))[()]


def d_prime(mean_w: Any, sd_w: Any, mean_b: Any, sd_b: Any) -> Floats:
    """Distance of two means in units of the root mean square of the standard deviations.

    (mean_w - mean_b) / sqrt((sd_w^2 + sd_b^2) / 2), any real number, higher is better; NaN where nothing spreads.
    Source: Green and Swets (1966); Simpson and Fitter (1973) for unequal variances (d_a).

    >>> d_prime(2.0, 1.0, 0.0, 1.0)       # 2 / sqrt((1 + 1) / 2)
    np.float64(2.0)
    """
    spread = np.sqrt((np.square(sd_w) + np.square(sd_b)) / 2)
    gap = np.subtract(mean_w, mean_b)
    enough = spread > 1e-12  # what rounding leaves of no spread at all
    return np.asarray(np.divide(gap, spread, out=np.full(np.shape(spread), np.nan), where=enough))[()]


def win_tables(within: Array, between: Array) -> tuple[Floats, Floats]:
    """What a pair in each bin adds to the AUC: as a pair within, the share of pairs between that lie below it; as a
    pair between, the share of pairs within that lie above it; ties half. Both (bins,), NaN where there are none."""
    shares = []
    with np.errstate(invalid="ignore"):
        for counts in (between, within):
            counts = np.asarray(counts, dtype=np.float64)
            shares.append((np.cumsum(counts) - counts / 2) / counts.sum())
    return shares[0], 1 - shares[1]
