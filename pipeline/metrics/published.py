"""A published score against runs of the same protocol with other seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["inside", "outside", "one run", "nothing published"]

FEWEST = 2  # values of which a spread can be told


@dataclass(frozen=True)
class Repeated:
    """A score over runs that differ in their seeds. mean, sd: of `count` values, sd with n - 1; low, high: where 95 %
    of single runs lie, as far as so few can tell. NaN where not defined."""

    mean: float
    sd: float
    low: float
    high: float
    count: int


def repeated(values: Sequence[float]) -> Repeated:
    """Mean, standard deviation and the 95 % interval for one more run: mean -+ t sd sqrt(1 + 1/n), Student's t with
    n - 1 degrees of freedom.

    A published score is one run, so it is compared with where one more run would lie, not with the interval of the
    mean, which single runs leave if only there are enough of them. Values that are not finite are left out.

    >>> found = repeated([0.1, 0.2, 0.3])                # t(0.975, 2) = 4.303, sd = 0.1, sqrt(4/3) = 1.155
    >>> round(found.mean, 3), round(found.sd, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.1, -0.297, 0.697)
    """
    from scipy.stats import t

    known = np.array([value for value in values if math.isfinite(value)], dtype=float)
    n = len(known)
    if n < FEWEST:
        return Repeated(float(known[0]) if n else math.nan, math.nan, math.nan, math.nan, n)
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    if known.min() == known.max():  # of which the mean and the spread would be rounding
        mean, sd = float(known[0]), 0.0
    reach = float(t.ppf(0.975, n - 1)) * sd * math.sqrt(1 + 1 / n)
    return Repeated(mean, sd, mean - reach, mean + reach, n)


def verdict(published: float, low: float, high: float, decimals: int) -> Verdict:
    """Whether a published value, known to so many decimals, lies in an interval.

    >>> verdict(0.087, 0.0868, 0.0874, 3), verdict(0.087, 0.0876, 0.0879, 3), verdict(0.087, 0.0874, 0.0879, 3)
    ('inside', 'outside', 'inside')
    """
    if math.isnan(published):
        return "nothing published"
    if math.isnan(low) or math.isnan(high):
        return "one run"
    half = 0.5 * 10.0**-decimals  # what was published was rounded
    return "inside" if low - half <= published <= high + half else "outside"
