"""The vectors with the largest cosines to a query, exactly: by fast products in float32, made certain in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.metrics.blocks import BLOCK_BYTES, Array, Floats, Integers, map_blocks, row_blocks

Found = tuple[Integers, npt.NDArray[np.float32]]
"""Rows (m, k) and their cosines (m, k), falling; equal ones by row number."""

Candidates = Callable[[Array, int], tuple[Integers, Floats]]
"""(m, d) unit queries and a number -> so many rows for each (m, c), and the largest product (m,) of any other row."""

SPARE = 8
"""Candidates beyond k, so that rounding of products cannot push a true neighbour out."""

_QUERIES = 2048  # at a time
_VECTORS = 4096
_PAIRS = 4_000_000  # of a query and a candidate, at a time


def exact_search(vectors: Array, queries: Array, k: int) -> Found:
    """The k rows of (n, d) vectors with the largest cosines to each query (m, d); k is lowered to n.

    Rows (m, k) int64, cosines (m, k) float32 falling, equal ones by row; a zero vector's are 0. Candidates come from
    products in float32, a block of vectors at a time, so that these may be a memory map; their cosines are then taken
    in float64 and rounded to float32. Where rounding could have left a row out, more candidates are looked at. Neither
    the number of cores nor the other queries change a bit. ValueError for another d, k < 1, no vectors, and values
    that are not finite.

    >>> rows, cosines = exact_search(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 4.0]]), np.array([[1.0, 2.0]]), k=5)
    >>> rows.tolist(), cosines.round(2).tolist()
    ([[0, 2, 1]], [[1.0, 1.0, 0.800000011920929]])
    """
    k = checked_k(queries, k, *vectors.shape)
    return certain(by_blocks(vectors), vectors, queries, k)


def checked_k(queries: Array, k: int, n: int, d: int) -> int:
    """k lowered to n. ValueError for queries or a k that nothing can be searched by."""
    if queries.ndim != 2 or queries.shape[1] != d:
        raise ValueError(f"queries must be (m, {d}), got {queries.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if not n:
        raise ValueError("there is nothing to search in")
    if not np.isfinite(queries).all():
        raise ValueError("queries hold values that are not finite")
    return min(k, n)


def certain(find: Candidates, vectors: Array, queries: Array, k: int) -> Found:
    """The true k nearest, from a way to find candidates by products in float32, whose order and bits do not matter."""
    n, d = vectors.shape
    rows, cosines = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    left, count = np.arange(len(queries)), k + SPARE
    # Of float32 products of d values, and of scaling both vectors to length 1 (Higham 2002, section 3.1).
    rounding = (d + 16) * 2.0**-23
    while len(left):
        count = min(count, n)
        unsure = []
        for part in row_blocks(len(left), 1, most=max(1, min(_QUERIES, _PAIRS // count))):
            here = left[part]
            found, limits = find(unit_float32(queries[here]), count)
            rows[here], cosines[here] = _ranked_by_blocks(queries[here], vectors, found, k)
            unsure.append(here[(count < n) & (cosines[here, -1] <= limits + rounding)])
        left, count = np.concatenate(unsure), 8 * count
    return rows, cosines


def by_blocks(vectors: Array, are_unit: bool = False) -> Candidates:
    """Candidates among (n, d) vectors. are_unit: they are float32 of length 1 already.

    By NumPy's products: Faiss brings its own, which may be several times slower on a processor that they do not know.
    """

    def find(queries: Array, count: int) -> tuple[Integers, Floats]:
        def within(block: slice) -> tuple[Integers, Array]:
            part = vectors[block] if are_unit else unit_float32(vectors[block])
            return _largest(queries @ part.T, count, np.int64(block.start))

        best = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        for rows, products in map_blocks(within, row_blocks(len(vectors), 1, most=_VECTORS)):
            best = _largest(np.hstack([best[1], products]), count, np.hstack([best[0], rows]))
        return best[0], best[1].min(axis=1).astype(np.float64)

    return find


def _largest(products: Array, count: int, rows: Integers | np.int64) -> tuple[Integers, Array]:
    """Of products (m, b) the `count` largest, in no order, and their rows: given, or the number of the first one."""
    m, b = products.shape
    if b <= count:
        kept = np.broadcast_to(np.arange(b), (m, b))
    else:
        kept = np.argpartition(products, b - count, axis=1)[:, b - count :]
    found = kept + rows if isinstance(rows, np.int64) else np.take_along_axis(rows, kept, axis=1)
    return found, np.take_along_axis(products, kept, axis=1)


def _ranked_by_blocks(queries: Array, vectors: Array, found: Integers, k: int) -> Found:
    rows, cosines = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

    def rank(block: slice) -> None:
        rows[block], cosines[block] = ranked(queries[block], vectors, found[block], k)

    for _ in map_blocks(rank, row_blocks(len(queries), 24 * vectors.shape[1] * found.shape[1], BLOCK_BYTES // 4)):
        pass
    return rows, cosines


def ranked(queries: Array, vectors: Array, found: Integers, k: int) -> Found:
    """The k best of candidates (m, c), -1 for none, by their cosines in float64, rounded to float32."""
    flat, cosines = found.ravel(), np.empty(found.size, np.float32)
    for pairs in row_blocks(len(flat), 24 * vectors.shape[1], BLOCK_BYTES // 4):
        rows = flat[pairs]
        left = np.asarray(queries[np.arange(pairs.start, pairs.stop) // found.shape[1]], np.float64)
        right = np.asarray(vectors[np.maximum(rows, 0)], np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right))
        products = np.einsum("ij,ij->i", left, right)
        cosines[pairs] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return ordered(found, cosines.reshape(found.shape), k)


def ordered(found: Integers, cosines: Array, k: int) -> Found:
    """The k best of candidates (m, c), -1 for none (the last), equal cosines by row."""
    cosines = np.where(found >= 0, cosines, np.float32(-np.inf))
    order = np.lexsort((found, -cosines), axis=1)[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def unit_float32(vectors: Array) -> npt.NDArray[np.float32]:
    """(n, d) vectors scaled to length 1, zero rows stay zero. ValueError for values that are not finite."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    if not np.isfinite(lengths).all():
        raise ValueError("vectors hold values that are not finite")
    return np.ascontiguousarray(wide / np.where(lengths > 0, lengths, 1.0)[:, None], np.float32)
