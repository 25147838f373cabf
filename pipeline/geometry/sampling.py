"""For very many rows: which of them a projection is fitted to, and where the others go."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from pipeline.geometry.neighbours import Neighbours, nearest_among
from pipeline.metrics.blocks import Array, Integers, row_blocks

_LOG = logging.getLogger(__name__)


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


class KnownNeighbours:
    """Exact neighbours of the rows that are placed, in the shape in which umap-learn and openTSNE ask an index.

    `rows` of `vectors`, or of `new` ones, among the `fitted` of `vectors`, at most the nearest k: found a block of rows
    at a time.
    """

    _angular_trees = False  # umap-learn asks

    def __init__(self, vectors: Array, rows: Integers, fitted: Integers, k: int, new: Array | None = None) -> None:
        sample, placed = vectors[fitted], vectors if new is None else new
        self.n_samples = len(fitted)  # openTSNE asks
        self.indices = np.empty((len(rows), min(k, len(fitted))), dtype=np.int32)
        self.distances = np.empty(self.indices.shape, dtype=np.float32)
        for part in row_blocks(len(rows), bytes_per_row=8 * vectors.shape[1]):
            near = nearest_among(placed[rows[part]], sample, self.indices.shape[1])
            self.indices[part], self.distances[part] = near

    def query(self, data: Array, k: int, epsilon: float = 0.0) -> Neighbours:
        """The k nearest of all rows; what is asked for has been found, so `data` is not looked at."""
        return self.indices[:, :k].copy(), self.distances[:, :k].copy()


def split(n: int, max_fit: int) -> tuple[Integers, Integers]:
    """Rows that are fitted and rows that are placed among them, both rising."""
    fitted = fitted_rows(n, max_fit)
    return fitted, np.setdiff1d(np.arange(n), fitted)


def merged(fitted: Integers, found: Array, others: Integers, placed: Array) -> npt.NDArray[np.float32]:
    """Coordinates of all rows, in their order."""
    result = np.empty((len(fitted) + len(others), found.shape[1]), dtype=np.float32)
    result[fitted], result[others] = found, placed
    return result
