"""Exact nearest neighbours by blocked products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.metrics.blocks import (
    BLOCK_BYTES,
    Array,
    Integers,
    map_blocks,
    middle_row,
    moved_block,
    moved_squares,
    product_dtype,
    row_blocks,
    squared_distances,
    tile_blocks,
)

_SPARE = 8
"""Candidates beyond k, so that rounding of the products cannot push a true neighbour out."""


def nearest_neighbours(
    vectors: Array, k: int, metric: str = "euclidean"
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k nearest rows of every row, itself first: indices (n, k) int32, rising distances (n, k) float32.

    Candidates come from blocked products of centred vectors; their distances are then taken again by
    subtraction in product dtype, so that equal rows are at distance exactly 0 and equal distances are ordered
    by row number. The result does not depend on the number of cores. Memory: a few blocks for each core.

    `vectors` (n, d) of any real type, also a read-only memory map; 1 <= k <= n, k counts the row itself.
    ValueError for another k or metric, and for values that are not finite.

    >>> indices, distances = nearest_neighbours(np.array([[0.0], [3.0], [1.0]]), k=2)
    >>> indices.tolist(), distances.tolist()
    ([[0, 2], [1, 2], [2, 0]], [[0.0, 1.0], [0.0, 2.0], [0.0, 1.0]])
    """
    n, d = vectors.shape
    if metric != "euclidean":
        raise ValueError(f"unknown metric '{metric}': known is euclidean")
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the number of rows, {n}, got {k}")
    middle = middle_row(vectors)
    if not np.isfinite(middle).all():
        raise ValueError("vectors hold values that are not finite")
    own_squares = moved_squares(vectors, middle)
    indices = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float32)

    def search(rows: slice) -> None:
        found = _candidates(vectors, middle, own_squares, rows, min(n, k + _SPARE))
        exact = _direct_distances(vectors, rows, found)
        exact[found == np.arange(n)[rows, None]] = -1.0  # the row itself first, also among its duplicates
        order = np.lexsort((found, exact), axis=1)[:, :k]
        indices[rows] = np.take_along_axis(found, order, axis=1)
        distances[rows] = np.maximum(np.take_along_axis(exact, order, axis=1), 0.0)

    for _ in map_blocks(search, row_blocks(n, bytes_per_row=max(n, d) * middle.dtype.itemsize)):
        pass
    return indices, distances


def _candidates(vectors: Array, middle: Array, own_squares: Array, rows: slice, count: int) -> Integers:
    """The `count` rows nearest to each chosen row up to rounding of the products, ties by row number."""
    n, d = vectors.shape
    left = moved_block(vectors, rows, middle)
    approximate = np.empty((len(left), n), dtype=middle.dtype)
    for block in tile_blocks(n, d):
        right = moved_block(vectors, block, middle)
        approximate[:, block] = squared_distances(left, own_squares[rows], right, own_squares[block])
    own = np.arange(len(left))
    approximate[own, np.arange(n)[rows]] = -1.0
    # Rounding may put equal rows slightly apart: below this, they are ordered by row number.
    noise = 8 * np.finfo(middle.dtype).eps * (own_squares[rows] + own_squares.max())
    found = np.argpartition(approximate, count - 1, axis=1)[:, :count]
    limits = np.take_along_axis(approximate, found, axis=1).max(axis=1)
    limits = np.maximum(limits, noise)
    crowded = np.flatnonzero(np.count_nonzero(approximate <= limits[:, None], axis=1) > count)
    for row in crowded:
        close = np.flatnonzero(approximate[row] <= limits[row])
        keys = np.where(approximate[row, close] <= noise[row], 0.0, approximate[row, close])
        keys[close == rows.start + row] = -1.0
        found[row] = close[np.argsort(keys, kind="stable")[:count]]
    return found


def _direct_distances(vectors: Array, rows: slice, found: Integers) -> Array:
    """Euclidean distances (b, c) of the chosen rows to the rows found for them, by subtraction."""
    count, d = found.shape[1], vectors.shape[1]
    dtype = product_dtype(d)
    result = np.empty(found.shape, dtype=dtype)
    for part in row_blocks(len(found), bytes_per_row=16 * d * count, limit=BLOCK_BYTES // 8):
        here = np.asarray(vectors[rows][part], dtype=dtype)
        difference = np.subtract(vectors[found[part]], here[:, None, :], dtype=dtype)
        result[part] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    return result
