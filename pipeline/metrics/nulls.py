"""Clouds without clusters that look like the data in every other way: what a score has to be compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.metrics.blocks import Array, Floats, one_thread

UNIT = 1e-3  # by which lengths may differ from 1


def isometric(vectors: Array) -> Floats:
    """(n, d) vectors in coordinates of their own: (n, min(n, d)) float64 with the same distances, lengths and cosines.

    Fewer numbers where d > n (raw pixels): a rotation into the space that the rows span, zeros where that is smaller
    still. Else a copy.
    """
    n, d = vectors.shape
    rows = np.asarray(vectors, dtype=np.float64)
    if d <= n:
        return rows.copy() if rows is vectors else rows
    with one_thread():  # the same bits on any number of cores
        values, turned = np.linalg.eigh(rows @ rows.T)
    values[values <= abs(values[-1]) * n * np.finfo(np.float64).eps] = 0  # rounding
    return np.asarray(turned * np.sqrt(values))


def is_unit(vectors: Array) -> bool:
    """Whether all rows have length 1, or 0."""
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)
    return bool((np.abs(lengths[lengths > 0] - 1) <= UNIT).all())


Draw = Callable[[np.random.Generator], Floats]
"""A cloud from its random numbers: as many rows as the vectors that it was prepared for, float64."""


def gaussian(vectors: Array) -> Draw:
    """One Gaussian with the mean and covariance of the (n, d) vectors.

    n <= d: mean + Z (X - mean) / sqrt(n - 1), Z (n, n) of standard normals, whose rows have just that covariance;
    else by its eigenvectors. Sigclust's null (Liu et al. 2008) without its shrinking.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    n, d = rows.shape
    mean = rows.mean(axis=0)
    centred = rows - mean
    if n <= d:
        return lambda random: np.asarray(mean + random.standard_normal((n, n)) @ centred / np.sqrt(n - 1))
    spread, axes = _principal(centred)
    return lambda random: np.asarray(mean + (random.standard_normal((n, d)) * spread) @ axes)


def same_radii(vectors: Array) -> Draw:
    """The Gaussian with its rows moved along their rays, so that distances to the mean, measured by the covariance,
    are those of the data in random order: heavy tails without clusters. Needs n > d; else as `gaussian`."""
    rows = np.asarray(vectors, dtype=np.float64)
    n, d = rows.shape
    if n <= d:
        return gaussian(vectors)
    mean = rows.mean(axis=0)
    spread, axes = _principal(rows - mean)
    used = spread > spread.max() * 1e-9
    if not used.any():  # all rows are the same
        return lambda random: rows.copy()
    lengths = np.linalg.norm((rows - mean) @ axes.T[:, used] / spread[used], axis=1)

    def draw(random: np.random.Generator) -> Floats:
        rays = random.standard_normal((n, int(used.sum())))
        rays *= (random.permutation(lengths) / np.linalg.norm(rays, axis=1))[:, None]
        return np.asarray(mean + (rays * spread[used]) @ axes[used])

    return draw


def principal_box(vectors: Array) -> Draw:
    """Uniform in the box of the data along their principal axes: the null of the gap statistic (Tibshirani, Walther &
    Hastie 2001, its version b)."""
    rows = np.asarray(vectors, dtype=np.float64)
    mean = rows.mean(axis=0)
    _, axes = _principal(rows - mean)
    places = (rows - mean) @ axes.T
    low, high = places.min(axis=0), places.max(axis=0)
    return lambda random: np.asarray(mean + random.uniform(low, high, places.shape) @ axes)


def shuffled_features(vectors: Array) -> Draw:
    """Each column in an order of its own: every feature keeps its values, no two go together. Weak: data whose
    features go together differ from it without any clusters."""
    return lambda random: np.asarray(random.permuted(np.asarray(vectors, dtype=np.float64), axis=0))


def isotropic(vectors: Array) -> Draw:
    """A round Gaussian with the mean and the total variance of the data. Weak: any elongated cloud differs from it."""
    rows = np.asarray(vectors, dtype=np.float64)
    mean, scale = rows.mean(axis=0), np.sqrt(rows.var(axis=0).mean())
    return lambda random: np.asarray(mean + random.standard_normal(rows.shape) * scale)


NULLS: dict[str, Callable[[Array], Draw]] = {
    "gaussian": gaussian,
    "radii": same_radii,
    "box": principal_box,
    "features": shuffled_features,
    "isotropic": isotropic,
}
WEAK = ("features", "isotropic")


def null_drawer(vectors: Array, kind: str, seed: int) -> Callable[[int], Floats]:
    """What draws, from the number of a replicate, a cloud (n, min(n, d)) float64, of features (n, d), of NULLS[kind]
    for these vectors, scaled to length 1 if they are.

    seed: of the run: a cloud has the same values whichever others are drawn. Features are shuffled as they are; all
    others depend on distances only and are drawn in `isometric` coordinates.
    """
    unit, place = is_unit(vectors), sorted(NULLS).index(kind)
    with one_thread():
        made_of = NULLS[kind](vectors if kind == "features" else isometric(vectors))

    def draw(number: int) -> Floats:
        with one_thread():
            made = made_of(np.random.default_rng([seed, number, place]))
        if not unit:
            return made
        lengths = np.linalg.norm(made, axis=1, keepdims=True)
        return np.asarray(made / np.where(lengths > 0, lengths, 1.0))

    return draw


def draw_null(vectors: Array, kind: str, seed: tuple[int, int]) -> Floats:
    """One cloud of `null_drawer`; seed: of the run, and its number."""
    return null_drawer(vectors, kind, seed[0])(seed[1])


def _principal(centred: Floats) -> tuple[Floats, Floats]:
    """Standard deviations (r,) and directions (r, d) of the principal axes."""
    n, d = centred.shape
    if d <= n:
        values, axes = np.linalg.eigh(centred.T @ centred / (n - 1))
        return np.sqrt(np.maximum(values, 0.0)), axes.T
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    return scale / np.sqrt(n - 1), axes
