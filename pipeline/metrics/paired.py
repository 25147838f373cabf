"""The difference of two scores of the same images, and how far chance moves it: what varies with the images varies in
both, and cancels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import Array, Integers
from pipeline.metrics.influence import LEVEL
from pipeline.metrics.resampling import percentiles, resampled

FEWEST = 2  # half-samples of which a spread can be told


@dataclass(frozen=True)
class Paired:
    """value: first less second; low, high: its 95 % interval, NaN where there is none; count: half-samples, or images,
    that it rests on."""

    value: float
    low: float
    high: float
    count: int


def over_halves(difference: float, halves: Sequence[float], errors: Sequence[tuple[float, int]] = ()) -> Paired:
    """difference -+ t(df) sqrt(s^2 + sum e^2).

    halves: the same difference of each half-sample that both scores are known of; s: their standard deviation. Drawn
    without replacement, a half varies about the whole as the whole does about the truth: Shao & Wu (1989), the
    delete-half jackknife. errors: standard errors of what else the difference is made of (the mean of each one's
    clouds), and of how many values each is. df: the least of all these numbers, less 1, which is on the safe side.

    >>> found = over_halves(0.2, [0.1, 0.2, 0.3])                        # t(0.975, 2) = 4.303, s = 0.1
    >>> round(found.low, 3), round(found.high, 3), found.count
    (-0.23, 0.63, 3)
    """
    from scipy.stats import t

    known = np.array([value for value in halves if math.isfinite(value)], dtype=float)
    counts = [len(known), *(count for _, count in errors)]
    if min(counts) < FEWEST or not math.isfinite(difference):
        return Paired(difference, math.nan, math.nan, len(known))
    spread = math.sqrt(float(known.var(ddof=1)) + sum(error**2 for error, _ in errors))
    reach = float(t.ppf((1 + LEVEL) / 2, min(counts) - 1)) * spread
    return Paired(difference, difference - reach, difference + reach, len(known))


def over_images(first: Array, second: Array, unit: Integers, resamples: int, seed: int) -> Paired:
    """The difference of two shares, of the same images: first, second (n,) bool, whether each is right.

    Bootstrap percentiles; `unit` (n,): images that are drawn together (`resampling.units`). No interval where there are
    fewer than two units.

    >>> found = over_images(np.array([True] * 6), np.array([True, False] * 3), np.arange(6), 200, 0)
    >>> found.value, 0 <= found.low < 0.5 < found.high <= 1
    (0.5, True)
    """
    apart = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not len(apart):
        return Paired(math.nan, math.nan, math.nan, 0)
    value = float(apart.mean())
    if len(np.unique(unit)) < 2:
        return Paired(value, math.nan, math.nan, len(apart))
    samples = resampled(lambda weights: np.array([weights @ apart / weights.sum()]), unit, resamples, (seed,))
    low, high = percentiles(samples)
    return Paired(value, float(low[0]), float(high[0]), len(apart))
