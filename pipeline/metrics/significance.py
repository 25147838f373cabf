"""A score against the same score of clouds without clusters, and what half of the data says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOGARITHMIC = ("calinski_harabasz", "davies_bouldin")  # ratios: their logarithms are compared
LOWER_IS_BETTER = ("davies_bouldin",)
FEWEST = 2  # null values of which a spread can be told


@dataclass(frozen=True)
class Excess:
    """What a score is beyond that of a structureless cloud.

    observed, null_mean: the score and its mean over `replicates` nulls (geometric for Calinski-Harabasz and
    Davies-Bouldin), null_sd: their standard deviation (of logarithms for these two). excess: observed - null_mean, for
    these two the logarithm of the ratio, with the sign turned for Davies-Bouldin: higher always means more structure.
    p: one-sided, in [0, 1]: the chance of so large an excess if the data were one more null. NaN where not defined.
    """

    observed: float
    null_mean: float
    null_sd: float
    replicates: int
    excess: float
    p: float


def excess(name: str, observed: float, nulls: Sequence[float]) -> Excess:
    """The score `name` (last part of its key) against null values, those that are not defined left out.

    p from t = (observed - mean) / (sd sqrt(1 + 1/R)) with R - 1 degrees of freedom: the predictive distribution of one
    more value, so that few replicates are paid for by a larger p. All nulls equal: p is 0 or 1.

    >>> found = excess("silhouette", 0.5, [0.1, 0.2, 0.3])
    >>> round(found.excess, 3), round(found.p, 4)        # t = 0.3 / (0.1 sqrt(4/3)) = 2.598 on 2
    (0.3, 0.0608)
    """
    from scipy.stats import t

    logarithmic = name in LOGARITHMIC
    known = np.array([value for value in nulls if math.isfinite(value) and (value > 0 or not logarithmic)])
    mine = observed
    if logarithmic:
        mine = math.log(observed) if observed > 0 else math.nan  # of 0, where all members are at their centroid
    values = np.log(known) if logarithmic else known
    if len(values) < FEWEST or not math.isfinite(mine):
        mean = float(known.mean()) if len(known) else math.nan
        return Excess(observed, mean, math.nan, len(known), math.nan, math.nan)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    more = (mean - mine) if name in LOWER_IS_BETTER else (mine - mean)
    scale = sd * math.sqrt(1 + 1 / len(values))
    p = float(t.sf(more / scale, len(values) - 1)) if scale > 0 else float(more <= 0)
    return Excess(observed, math.exp(mean) if logarithmic else mean, sd, len(values), more, p)


@dataclass(frozen=True)
class Halves:
    """A score over half-samples: mean, standard deviation (that of the score itself, as half-samples without
    replacement spread like whole samples), and whether the score depends on how many images there are."""

    mean: float
    sd: float
    depends_on_n: bool


def halves(observed: float, values: Sequence[float]) -> Halves:
    """|mean - observed| beyond two standard deviations: what half of the images give differs from what all give.

    The half-sample as an estimate of the whole sample's spread: Shao & Wu (1989), the delete-half jackknife. No
    bootstrap: its duplicates bias silhouettes upwards.

    >>> halves(0.5, [0.4, 0.5, 0.6])
    Halves(mean=0.5, sd=0.1, depends_on_n=False)
    """
    known = np.array([value for value in values if math.isfinite(value)])
    if len(known) < FEWEST or not math.isfinite(observed):
        return Halves(float(known.mean()) if len(known) else math.nan, math.nan, False)
    mean, sd = float(known.mean()), float(np.round(known.std(ddof=1), 15))
    differs = not math.isclose(mean, observed, rel_tol=1e-9, abs_tol=1e-12)  # by more than rounding
    return Halves(mean, sd, differs and abs(mean - observed) > 2 * sd)
