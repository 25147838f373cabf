"""Exact nearest neighbours by blocked products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.geometry import integer_products
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

Neighbours = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Indices (n, k) and distances (n, k), the nearest first."""

Progress = Callable[[int, int], None]

_SPARE = 8
"""Candidates beyond k, so that rounding of the products cannot push a true neighbour out."""


def nearest_neighbours(
    vectors: Array, k: int, metric: str = "euclidean", progress: Progress | None = None
) -> Neighbours:
    """The k nearest rows of every row, itself first: indices (n, k) int32, rising distances (n, k) float32.

    Candidates come from blocked products of centred vectors; their distances are then taken again by
    subtraction in product dtype, so that equal rows are at distance exactly 0 and equal distances are ordered
    by row number. Long byte vectors (raw pixels, d > 1024) are compared in whole numbers instead, by integer
    products where the machine has fast ones, with the same result. The result does not depend on the number of
    cores. Memory: a few blocks for each core.

    `vectors` (n, d) of any real type, also a read-only memory map; 1 <= k <= n, k counts the row itself.
    `progress(done, total)` is called now and then with rows. ValueError for another k or metric, and for values
    that are not finite.

    >>> indices, distances = nearest_neighbours(np.array([[0.0], [3.0], [1.0]]), k=2)
    >>> indices.tolist(), distances.tolist()
    ([[0, 2], [1, 2], [2, 0]], [[0.0, 1.0], [0.0, 2.0], [0.0, 1.0]])
    """
    if metric != "euclidean":
        raise ValueError(f"unknown metric '{metric}': known is euclidean")
    return _nearest(vectors, vectors, k, progress)


def nearest_among(queries: Array, vectors: Array, k: int, progress: Progress | None = None) -> Neighbours:
    """The k nearest rows of `vectors` (n, d) to every row of `queries` (m, d), as `nearest_neighbours` finds them.

    Indices (m, k) into `vectors`, rising distances (m, k). No row is taken for itself.

    >>> nearest_among(np.array([[2.0]]), np.array([[0.0], [3.0], [1.0]]), k=2)[0].tolist()
    [[1, 2]]
    """
    return _nearest(queries, vectors, k, progress)


def _nearest(queries: Array, vectors: Array, k: int, progress: Progress | None) -> Neighbours:
    same = queries is vectors
    n, d = vectors.shape
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the number of rows, {n}, got {k}")
    if queries.dtype == vectors.dtype == np.uint8 and product_dtype(d) == np.float32 and integer_products.available():
        return integer_products.nearest_bytes(queries, vectors, k, same, progress)
    middle = middle_row(vectors)
    if not (np.isfinite(middle).all() and (same or np.isfinite(middle_row(queries)).all())):
        raise ValueError("vectors hold values that are not finite")
    right_squares = moved_squares(vectors, middle)
    left_squares = right_squares if same else moved_squares(queries, middle)
    indices = np.empty((len(queries), k), dtype=np.int32)
    distances = np.empty((len(queries), k), dtype=np.float32)

    def search(rows: slice) -> int:
        left = moved_block(queries, rows, middle)
        found = _candidates(left, left_squares[rows], vectors, right_squares, middle, rows.start if same else None, k)
        exact = _direct_distances(queries[rows], vectors, found)
        if same:
            exact[found == np.arange(n)[rows, None]] = -1.0  # the row itself first, also among its duplicates
        order = np.lexsort((found, exact), axis=1)[:, :k]
        indices[rows] = np.take_along_axis(found, order, axis=1)
        distances[rows] = np.maximum(np.take_along_axis(exact, order, axis=1), 0.0)
        return rows.stop

    for done in map_blocks(search, row_blocks(len(queries), bytes_per_row=max(n, d) * middle.dtype.itemsize)):
        if progress:
            progress(done, len(queries))
    return indices, distances


def _candidates(
    left: Array, left_squares: Array, vectors: Array, right_squares: Array, middle: Array, first: int | None, k: int
) -> Integers:
    """The k and some more rows nearest to each row of `left` up to rounding of the products, ties by row number.
    first: where `left` stands among the vectors, None if it does not."""
    n, d = vectors.shape
    count = min(n, k + _SPARE)
    approximate = np.empty((len(left), n), dtype=middle.dtype)
    for block in tile_blocks(n, d):
        right = moved_block(vectors, block, middle)
        approximate[:, block] = squared_distances(left, left_squares, right, right_squares[block])
    if first is not None:
        own = np.arange(len(left))
        approximate[own, first + own] = -1.0
    # Rounding may put equal rows slightly apart: below this, they are ordered by row number.
    noise = 8 * np.finfo(middle.dtype).eps * (left_squares + right_squares.max())
    found = np.argpartition(approximate, count - 1, axis=1)[:, :count]
    limits = np.take_along_axis(approximate, found, axis=1).max(axis=1)
    limits = np.maximum(limits, noise)
    crowded = np.flatnonzero(np.count_nonzero(approximate <= limits[:, None], axis=1) > count)
    for row in crowded:
        close = np.flatnonzero(approximate[row] <= limits[row])
        keys = np.where(approximate[row, close] <= noise[row], 0.0, approximate[row, close])
        if first is not None:
            keys[close == first + row] = -1.0
        found[row] = close[np.argsort(keys, kind="stable")[:count]]
    return found


def _direct_distances(queries: Array, vectors: Array, found: Integers) -> Array:
    """Euclidean distances (b, c) of (b, d) queries to the rows found for them, by subtraction; in whole numbers
    exactly."""
    count, d = found.shape[1], vectors.shape[1]
    exact = np.issubdtype(vectors.dtype, np.integer) and np.issubdtype(queries.dtype, np.integer)
    dtype = np.dtype(np.float64) if exact else product_dtype(d)
    result = np.empty(found.shape, dtype=dtype)
    for part in row_blocks(len(found), bytes_per_row=16 * d * count, limit=BLOCK_BYTES // 8):
        here = np.asarray(queries[part], dtype=dtype)
        difference = np.subtract(vectors[found[part]], here[:, None, :], dtype=dtype)
        result[part] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    return result
