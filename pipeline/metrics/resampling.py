"""Bootstrap intervals: rows are drawn again with replacement, those of one group (a patient) together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks
from pipeline.metrics.influence import LEVEL, Interval

_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def units(n: int, groups: Array | None) -> Integers:
    """Which rows are drawn together: (n,) int64 from 0; a row by itself where there are no groups.

    >>> units(3, np.array([7, 4, 7])).tolist(), units(2, None).tolist()
    ([1, 0, 1], [0, 1])
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def resampled(statistic: Callable[[Floats], Array], unit: Integers, resamples: int, seed: Sequence[int]) -> Floats:
    """`statistic(weights)` of `resamples` bootstrap samples: (resamples, ...) float64.

    weights (n,): how often each row was drawn, the same for all rows of a unit (`units`). Sample i follows from
    (*seed, i) alone. Source: Efron and Tibshirani (1993); groups drawn whole: Davison and Hinkley (1997), section 3.8.

    >>> resampled(lambda weights: weights.sum(), np.array([0, 1, 2]), 3, (0,)).tolist()     # as many units as there are
    [3.0, 3.0, 3.0]
    """
    count = int(unit.max(initial=-1)) + 1

    def measure(i: int) -> Array:
        drawn = np.random.default_rng([*seed, i]).integers(0, count, count)
        return np.asarray(statistic(np.bincount(drawn, minlength=count)[unit].astype(np.float64)))

    return np.array(list(map_blocks(measure, range(resamples))), dtype=np.float64)


def share_interval(value: Array, samples: Floats, counts: Array) -> Interval:
    """95 % percentile interval of shares in [0, 1]; numbers, or arrays of a share each.

    value (...): the shares; samples (resamples, ...): the same of bootstrap samples, NaN where one holds none of its
    rows; counts (...): how many units each share is of. A share of 0 or 1 is the same in every sample, which is no
    certainty: there the interval is that of Clopper and Pearson (1934) for as many units. NaN below two units.

    >>> found = share_interval(np.array(1.0), np.ones(100), np.array(20))        # 20 of 20: 0.025 ** (1 / 20) to 1
    >>> round(float(found.low), 3), float(found.high)
    (0.832, 1.0)
    """
    value, counts = np.asarray(value, dtype=np.float64), np.asarray(counts)
    low, high = percentiles(samples)
    bound = _ENDS[0] ** (1 / np.maximum(counts, 1))
    low, high = np.where(value >= 1, bound, low), np.where(value <= 0, 1 - bound, high)
    known = (counts >= 2) & np.isfinite(value)
    return Interval(np.where(known, low, np.nan)[()], np.where(known, high, np.nan)[()])


def percentiles(samples: Floats) -> tuple[Array, Array]:
    """The 2.5 % and 97.5 % quantiles over the first axis, NaN left out; NaN where there is nothing else."""
    found = np.full((2, *samples.shape[1:]), np.nan)
    known = np.isfinite(samples).any(axis=0)
    if known.any():
        found[:, known] = np.nanquantile(samples[:, known] if samples.ndim > 1 else samples[:, None], _ENDS, axis=0)
    return found[0], found[1]
