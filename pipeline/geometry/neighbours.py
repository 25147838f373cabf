"""Exact nearest neighbours by blocked products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

_LONG = 128
"""Dimensions from which products are most of the work."""

_FLOAT32_SQUARE = 1e37
"""Squared lengths up to which squared distances stay inside float32."""


def nearest_neighbours(
    vectors: Array, k: int, metric: str = "euclidean", progress: Progress | None = None
) -> Neighbours:
    """The k nearest rows of every row, itself first: indices (n, k) int32, rising distances (n, k) float32.

    Candidates come from blocked products of centred vectors (in float32 where that provably leaves none out);
    their distances are then taken again by subtraction in product dtype, so that equal rows are at distance
    exactly 0 and equal distances are ordered by row number. Long byte vectors (raw pixels, d > 1024) are compared
    in whole numbers instead, by integer products where the machine has fast ones, with the same result. The result
    does not depend on the number of cores. Memory: a few blocks for each core.

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
    search = _Search.of(queries, vectors, k, same)
    indices = np.empty((len(queries), k), dtype=np.int32)
    distances = np.empty((len(queries), k), dtype=np.float32)

    def fill(rows: slice) -> int:
        found, exact = search.near(np.arange(rows.start, rows.stop))
        order = np.lexsort((found, exact), axis=1)[:, :k]
        indices[rows] = np.take_along_axis(found, order, axis=1)
        distances[rows] = np.maximum(np.take_along_axis(exact, order, axis=1), 0.0)
        return rows.stop

    for done in map_blocks(fill, row_blocks(len(queries), bytes_per_row=max(n, d) * search.middle.itemsize)):
        if progress:
            progress(done, len(queries))
    return indices, distances


@dataclass(frozen=True)
class _Search:
    """Queries (m, d) and vectors (n, d), the point that both are measured from, and their squared distances to it.

    same: queries are the vectors, and each row is at distance -1 from itself: before its duplicates.
    """

    queries: Array
    vectors: Array
    middle: Array
    query_squares: Array
    vector_squares: Array
    k: int
    same: bool

    @classmethod
    def of(cls, queries: Array, vectors: Array, k: int, same: bool) -> _Search:
        middle = middle_row(vectors)
        if not (np.isfinite(middle).all() and (same or np.isfinite(middle_row(queries)).all())):
            raise ValueError("vectors hold values that are not finite")
        squares = moved_squares(vectors, middle)
        return cls(queries, vectors, middle, squares if same else moved_squares(queries, middle), squares, k, same)

    def near(self, rows: Integers) -> tuple[Integers, Array]:
        """For some queries (b,): at least the k nearest rows, (b, c) in no order, and their distances by subtraction.

        Long vectors are first compared in float32, at half the cost of float64; queries for which rounding might
        have left out a neighbour are compared again in float64.
        """
        if not self._float32_first():
            found = self._candidates(rows)
            return found, self._measured(rows, found)
        found, limits = self._float32_candidates(rows)
        exact = self._measured(rows, found)
        unsure = np.flatnonzero(~self._complete(rows, exact, limits))
        if len(unsure):
            found[unsure] = self._candidates(rows[unsure])
            exact[unsure] = self._measured(rows[unsure], found[unsure])
        return found, exact

    def _float32_first(self) -> bool:
        largest = max(self.query_squares.max(initial=0.0), self.vector_squares.max())
        return bool(self.middle.dtype == np.float64 and len(self.middle) >= _LONG and largest < _FLOAT32_SQUARE)

    def _float32_candidates(self, rows: Integers) -> tuple[Integers, Array]:
        """The k and some more rows nearest to queries by float32 products (b, c), and the largest of these squared
        distances (b,): no other row has a smaller one. Infinite where there is no other row."""
        n = len(self.vectors)
        count = min(n, self.k + _SPARE)
        approximate = self._squared_distances(rows, np.dtype(np.float32))
        found = np.argpartition(approximate, count - 1, axis=1)[:, :count]
        if count == n:
            return found, np.full(len(rows), np.inf)
        return found, np.take_along_axis(approximate, found[:, -1:], axis=1)[:, 0].astype(np.float64)

    def _complete(self, rows: Integers, exact: Array, limits: Array) -> Array:
        """Whether each query's k nearest rows are certainly among its candidates (b,).

        Squared distances by float32 products of d values are off by at most (d + 16) / 2^24 times the sum of both
        squared lengths (Higham 2002, section 3.1). A row whose length differs by more than the k-th distance is
        farther away whatever its product says, so that one far outlier does not make all others unsure.
        """
        farthest = np.maximum(np.partition(exact, self.k - 1, axis=1)[:, self.k - 1], 0.0)
        squares = self.query_squares[rows]
        others = np.minimum((np.sqrt(squares) + farthest) ** 2, self.vector_squares.max())
        single = np.finfo(np.float32)
        rounding = (len(self.middle) + 16) * (single.eps / 2 * (squares + others) + single.tiny)
        return np.asarray(farthest**2 < limits - rounding)

    def _candidates(self, rows: Integers) -> Integers:
        """The k and some more rows nearest to queries up to rounding of the products (b, c), ties by row number."""
        approximate = self._squared_distances(rows, self.middle.dtype)
        count = min(len(self.vectors), self.k + _SPARE)
        # Rounding may put equal rows slightly apart: below this, they are ordered by row number.
        noise = 8 * np.finfo(self.middle.dtype).eps * (self.query_squares[rows] + self.vector_squares.max())
        found = np.argpartition(approximate, count - 1, axis=1)[:, :count]
        limits = np.take_along_axis(approximate, found, axis=1).max(axis=1)
        limits = np.maximum(limits, noise)
        crowded = np.flatnonzero(np.count_nonzero(approximate <= limits[:, None], axis=1) > count)
        for place in crowded:
            close = np.flatnonzero(approximate[place] <= limits[place])
            keys = np.where(approximate[place, close] <= noise[place], 0.0, approximate[place, close])
            if self.same:
                keys[close == rows[place]] = -1.0
            found[place] = close[np.argsort(keys, kind="stable")[:count]]
        return found

    def _squared_distances(self, rows: Integers, dtype: np.dtype[Any]) -> Array:
        """Squared distances of queries (b,) to all vectors (b, n), by products in `dtype`."""
        n, d = self.vectors.shape
        left = moved_block(self.queries, rows, self.middle).astype(dtype, copy=False)
        left_squares, right_squares = (
            squares.astype(dtype, copy=False) for squares in (self.query_squares[rows], self.vector_squares)
        )
        result = np.empty((len(rows), n), dtype=dtype)
        for block in tile_blocks(n, d):
            right = moved_block(self.vectors, block, self.middle).astype(dtype, copy=False)
            result[:, block] = squared_distances(left, left_squares, right, right_squares[block])
        if self.same:
            result[np.arange(len(rows)), rows] = -1.0
        return result

    def _measured(self, rows: Integers, found: Integers) -> Array:
        exact = _direct_distances(self.queries[rows], self.vectors, found)
        if self.same:
            exact[found == rows[:, None]] = -1.0
        return exact


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
