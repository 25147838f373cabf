"""For very many rows: which of them a projection is fitted to, and where the others go."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from pipeline.geometry.neighbours import Neighbours, Progress, nearest_among
from pipeline.metrics.blocks import Array, Floats, Integers, row_blocks

_LOG = logging.getLogger(__name__)
_NEAREST = 15


def fitted_rows(n: int, max_fit: int) -> Integers:
    """The rows that are fitted: all up to max_fit, above it so many drawn at random, rising.

    The draw depends on these numbers alone, not on any seed of a run, so that runs with different seeds share what
    was computed for the sample.

    >>> fitted_rows(3, 5).tolist(), len(fitted_rows(1000, 5))
    ([0, 1, 2], 5)
    """
    if n <= max_fit:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, size=max_fit, replace=False))


def say_sampled(method: str, max_fit: int, n: int) -> None:
    """A warning that not all rows were fitted."""
    sizes = f"{max_fit:,} of {n:,} images"
    _LOG.warning("%s: fitted to a sample of %s, the others placed among them", method, sizes)


def placed_among(
    vectors: Array, fitted: Integers, coordinates: Array, progress: Progress | None = None
) -> npt.NDArray[np.float32]:
    """Coordinates (n, d') of all rows of (n, d) vectors, from those (m, d') of the fitted ones.

    A row that was not fitted goes to the mean of its 15 nearest fitted rows (fewer where there are fewer), weighted by
    1 / distance (Shepard 1968); where some are at distance 0, to the mean of those. Exact neighbours, a block of rows
    at a time.

    >>> placed_among(np.array([[0.0], [1.0], [4.0]]), np.array([0, 2]), np.array([[0.0], [8.0]])).tolist()
    [[0.0], [2.0], [8.0]]
    """
    n = len(vectors)
    result = np.empty((n, coordinates.shape[1]), dtype=np.float32)
    result[fitted] = coordinates
    others = np.setdiff1d(np.arange(n), fitted)
    sample = vectors[fitted]
    for rows in row_blocks(len(others), bytes_per_row=8 * vectors.shape[1]):
        near = nearest_among(vectors[others[rows]], sample, min(_NEAREST, len(fitted)))
        result[others[rows]] = _weighted_means(near, coordinates)
        if progress:
            progress(rows.stop, len(others))
    return result


def _weighted_means(near: Neighbours, coordinates: Array) -> Floats:
    indices, distances = near
    touching = distances == 0
    weights = np.divide(1.0, distances, out=np.ones(distances.shape), where=~touching)
    weights[touching.any(axis=1)] = 0.0
    weights[touching] = 1.0
    means: Floats = np.einsum("ij,ijk->ik", weights, coordinates[indices], dtype=np.float64)
    return means / weights.sum(axis=1, keepdims=True)
