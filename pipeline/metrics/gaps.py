"""Whether there is a gap between neighbouring clusters, or one cloud was cut up.

Clusters cut out of one cloud are also apart, also stable and, if the cloud is no Gaussian, also better than a
Gaussian's. What they are not is separated by a region with few images.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import Array, Floats, row_blocks

REAL, NONE = 0.7, 0.85  # at most: a gap; at least: none
FEWEST = 4  # members that a cluster needs in all, so that each half has two
_GRID = np.linspace(0.0, 1.0, 101)
_MIDDLE = len(_GRID) // 2
_BANDWIDTH = 1.06  # Scott's rule
_SIMULATED = 80  # flat densities, of which the middle one is taken
_LEAST = 1e-6  # valley of an even density of so few points, or so narrow a kernel, that it says no more
_MOST = 1.5  # what is above 1 says the same, by however much: no gap
_STEP = 1.15  # sizes and bandwidths are rounded to powers of it, so that few have to be simulated


@dataclass(frozen=True)
class Gap:
    """Between a cluster and its nearest other, which has the smallest distance of centroids.

    value: density in the valley over the lower peak, in [0, 1.5]: about 1 or more without a gap, near 0 with a wide
    one; NaN where a cluster has too few members to tell.
    """

    cluster: int
    nearest: int
    value: float


def gaps(vectors: Array, clusters: Array, seed: int = 0) -> list[Gap]:
    """A gap for each cluster of (n, d) vectors, in the order of the ids. Empty for fewer than two.

    Noise (-1) counts with the cluster whose centroid is nearest: a clusterer that leaves out what lies between its
    clusters would else make the gap that is looked for.

    The members of both clusters are halved at random. One half shows the direction between the centroids, the other
    is projected onto it, so that the direction cannot fit itself to chance; then the halves change places. Both
    projections together, with the centroids at 0 and 1, give a kernel density between these (Gaussian kernel, Scott's
    bandwidth from the spread within the clusters): the valley between its highest points on either side of the
    middle, over the lower of these. Because a density of few points dips by chance, that is divided by the same
    of an even density of as many points.
    """
    ids = np.unique(clusters[clusters >= 0])
    if len(ids) < 2:
        return []
    centres = np.stack([np.asarray(vectors[clusters == i], dtype=np.float64).mean(axis=0) for i in ids])
    noise = _noise(vectors, clusters, ids, centres)
    apart = np.stack([((centres - centre) ** 2).sum(axis=1) for centre in centres])
    np.fill_diagonal(apart, np.inf)
    nearest = ids[apart.argmin(axis=1)]
    known: dict[tuple[int, int], float] = {}
    for one, other in zip(ids.tolist(), nearest.tolist(), strict=True):
        pair = (min(one, other), max(one, other))
        if pair not in known:
            known[pair] = _between(vectors, clusters, noise, pair, np.random.default_rng([seed, *pair]))
    return [
        Gap(one, other, known[min(one, other), max(one, other)])
        for one, other in zip(ids.tolist(), nearest.tolist(), strict=True)
    ]


def _noise(vectors: Array, clusters: Array, ids: Array, centres: Floats) -> Array:
    """(n,) for noise the cluster whose centroid is nearest, -1 for all other rows."""
    nearest = np.full(len(clusters), -1, dtype=np.int64)
    rows = np.flatnonzero(clusters < 0)
    middle = centres.mean(axis=0)  # else products lose the digits of far origins
    moved = centres - middle
    for block in row_blocks(len(rows), bytes_per_row=16 * vectors.shape[1]):
        apart = (moved**2).sum(axis=1) - 2 * (vectors[rows[block]] - middle) @ moved.T
        nearest[rows[block]] = ids[apart.argmin(axis=1)]
    return nearest


def median_gap(found: list[Gap]) -> float:
    """Of the clusters that have one; NaN where none has."""
    known = [gap.value for gap in found if math.isfinite(gap.value)]
    return float(np.median(known)) if known else math.nan


def _between(
    vectors: Array, clusters: Array, noise: Array, pair: tuple[int, int], random: np.random.Generator
) -> float:
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for cluster in pair:
        members = random.permutation(np.flatnonzero(clusters == cluster))
        if len(members) < FEWEST:
            return math.nan
        for half, rows in zip(halves, (members[::2], members[1::2]), strict=True):
            half.append(rows)
    others = random.permutation(np.flatnonzero(np.isin(noise, pair)))
    places, spreads = [], []
    for shown, projected, between in ((*halves, others[1::2]), (*halves[::-1], others[::2])):
        start, end = (np.asarray(vectors[rows], dtype=np.float64).mean(axis=0) for rows in shown)
        axis = end - start
        length = float(axis @ axis)
        if length == 0:
            return 1.0
        for rows in (*projected, between):
            places.append((np.asarray(vectors[rows], dtype=np.float64) - start) @ axis / length)
        spreads += [along.var() for along in places[-3:-1]]
    points = np.concatenate(places)
    width = _BANDWIDTH * math.sqrt(float(np.mean(spreads))) * len(points) ** -0.2
    if width <= 1e-6:  # two points, with nothing between them
        return 0.0
    even = max(_by_chance(_rounded(len(points)), _rounded(width)), _LEAST)
    return min(_valley(_density(points, width)) / even, _MOST)


def _density(points: Floats, width: float) -> Floats:
    near = points[(points > -8 * width) & (points < 1 + 8 * width)]
    return np.asarray(np.exp(-0.5 * ((_GRID[:, None] - near[None]) / width) ** 2).sum(axis=1))


def _valley(density: Floats) -> float:
    """The lowest point between the highest on either side of the middle, over the lower of these."""
    left = int(np.argmax(density[: _MIDDLE + 1]))
    right = _MIDDLE + int(np.argmax(density[_MIDDLE:]))
    lower = min(density[left], density[right])
    return float(density[left : right + 1].min() / lower) if lower > 0 else 0.0


def _rounded(value: float) -> float:
    return float(_STEP ** round(math.log(value, _STEP)))


@functools.lru_cache(maxsize=4096)
def _by_chance(count: float, width: float) -> float:
    """The middle of the valleys that so many points of an even density have, in [0, 1]."""
    random = np.random.default_rng(0)
    found = [_valley(_density(random.uniform(-0.5, 1.5, round(count)), width)) for _ in range(_SIMULATED)]
    return float(np.median(found))
