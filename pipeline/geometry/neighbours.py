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

_SHORT = 8
"""Dimensions up to which a tree finds candidates faster than products."""

_LONG = 128
"""Dimensions from which products are most of the work, so that float32 pays."""

_LARGEST = 1e37
"""Squared lengths up to which squared distances stay inside float32."""


def nearest_neighbours(
    vectors: Array, k: int, metric: str = "euclidean", progress: Progress | None = None
) -> Neighbours:
    """The k nearest rows of every row, itself first: indices (n, k) int32, rising distances (n, k) float32.

    Candidates come from a tree (up to eight dimensions) or from blocked products of centred vectors (from 128
    dimensions in float32 where that is certain to leave none out); their distances are then taken again by
    subtraction in product dtype, so that equal rows are at distance exactly 0 and equal distances are ordered by
    row number.
    Long byte vectors (raw pixels, d > 1024) are compared in whole numbers instead, by integer products where the
    machine has fast ones, with the same result. The result does not depend on the number of cores. Memory: a
    few blocks for each core.

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
    first: _First | None

    @classmethod
    def of(cls, queries: Array, vectors: Array, k: int, same: bool) -> _Search:
        middle = middle_row(vectors)
        if not (np.isfinite(middle).all() and (same or np.isfinite(middle_row(queries)).all())):
            raise ValueError("vectors hold values that are not finite")
        squares = moved_squares(vectors, middle)
        query_squares = squares if same else moved_squares(queries, middle)
        first = None
        if middle.dtype == np.float64 and max(query_squares.max(initial=0.0), squares.max()) < _LARGEST:
            first = (
                _by_tree(vectors, middle) if len(middle) <= _SHORT else _by_float32 if len(middle) >= _LONG else None
            )
        return cls(queries, vectors, middle, query_squares, squares, k, same, first)

    def near(self, rows: Integers) -> tuple[Integers, Array]:
        """For some queries (b,): at least the k nearest rows, (b, c) in no order, and their distances by subtraction.

        Where there is a faster way for such vectors, it goes first; queries for which its rounding might have left out
        a neighbour are compared again with all rows.
        """
        if self.first is None:
            found = self._candidates(rows)
            return found, self._measured(rows, found)
        found, limits, dtype = self.first(self, rows)
        exact = self._measured(rows, found)
        unsure = np.flatnonzero(~self._complete(rows, exact, limits, dtype))
        if len(unsure):
            found[unsure] = self._candidates(rows[unsure])
            exact[unsure] = self._measured(rows[unsure], found[unsure])
        return found, exact

    @property
    def count(self) -> int:
        """How many candidates are taken."""
        return min(len(self.vectors), self.k + _SPARE)

    def _complete(self, rows: Integers, exact: Array, limits: Array, dtype: npt.DTypeLike) -> Array:
        """Whether each query's k nearest rows are certainly among its candidates (b,): limits (b,) are the smallest
        squared distances, as found in `dtype`, that any other row can have.

        Squared distances of d values are off by at most d + 16 roundings of the sum of both squared lengths (Higham
        2002, section 3.1). A row whose length differs by more than the k-th distance is farther away whatever was
        found, so that one far outlier does not make all others unsure.
        """
        if self.count == len(self.vectors):
            return np.ones(len(rows), dtype=bool)
        farthest = np.maximum(np.partition(exact, self.k - 1, axis=1)[:, self.k - 1], 0.0)
        squares = self.query_squares[rows]
        others = np.minimum((np.sqrt(squares) + farthest) ** 2, self.vector_squares.max())
        kind = np.finfo(dtype)
        rounding = (len(self.middle) + 16) * (kind.eps / 2 * (squares + others) + kind.tiny)
        return np.asarray(farthest**2 < limits - rounding)

    def _candidates(self, rows: Integers) -> Integers:
        """The k and some more rows nearest to queries up to rounding of the products (b, c), ties by row number."""
        approximate, count = self.squared_distances(rows, self.middle.dtype), self.count
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

    def squared_distances(self, rows: Integers, dtype: np.dtype[Any]) -> Array:
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


_First = Callable[[_Search, Integers], tuple[Integers, Array, npt.DTypeLike]]
"""Candidates for some queries (b, c), squared distances (b,) that no other row's is below, and the type of these."""


def _by_float32(search: _Search, rows: Integers) -> tuple[Integers, Array, npt.DTypeLike]:
    """By products, at half the cost of float64."""
    approximate = search.squared_distances(rows, np.dtype(np.float32))
    found = np.argpartition(approximate, search.count - 1, axis=1)[:, : search.count]
    limits = np.take_along_axis(approximate, found[:, -1:], axis=1)[:, 0]
    return found, limits.astype(np.float64), np.float32


def _by_tree(vectors: Array, middle: Array) -> _First:
    """By a tree of the vectors, which visits few of them for each query."""
    from scipy.spatial import cKDTree

    tree = cKDTree(moved_block(vectors, slice(None), middle))

    def find(search: _Search, rows: Integers) -> tuple[Integers, Array, npt.DTypeLike]:
        queries = moved_block(search.queries, rows, middle)
        distances, found = tree.query(queries, k=np.arange(1, search.count + 1))
        return found, distances[:, -1] ** 2, np.float64

    return find


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
