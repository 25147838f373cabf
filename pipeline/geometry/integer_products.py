"""Exact neighbours of byte vectors (raw pixels) by integer matrix products: several times as fast as floats."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics import blocks
from pipeline.metrics.blocks import Array, map_blocks, row_blocks

Int64s = npt.NDArray[np.int64]

_MOST_ROWS = 4096
_MOST_DIMENSIONS = 65_536
"""Longest stretch of columns that one product may sum in int32: 65,536 * 128^2 = 2^30."""


@cache
def available() -> bool:
    """Whether this machine has fast integer products: PyTorch with oneDNN (not on Apple's processors)."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm"))


def nearest_bytes(
    queries: Array, vectors: Array, k: int, same: bool, progress: Callable[[int, int], None] | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k nearest rows of `vectors` (n, d) uint8 to each row of `queries` (m, d) uint8, exactly.

    Indices (m, k) int32 and rising Euclidean distances (m, k) float32. Squared distances are whole numbers from
    integer products, so nothing is rounded before the square root: equal distances are ordered by row number. `same`:
    queries are the vectors themselves, and every row comes first among its own neighbours. Memory: a few tiles,
    whatever n is.
    """
    m, n, d = len(queries), len(vectors), vectors.shape[1]
    indices, distances = np.empty((m, k), dtype=np.int32), np.empty((m, k), dtype=np.float32)
    right_squares = _squares(vectors)
    left_squares = right_squares if same else _squares(queries)
    done = 0
    for rows in _tiles(m, d):
        best = np.empty((rows.stop - rows.start, 0), dtype=np.int64)
        left = _moved(queries, rows)
        for columns in _tiles(n, d):
            products = _products(left, left if same and columns == rows else _moved(vectors, columns))
            own = same and columns == rows
            best = _merged(best, products, left_squares[rows], right_squares[columns], columns.start, n, k, own)
        best.sort(axis=1)
        indices[rows] = best % n
        distances[rows] = np.sqrt(np.maximum(best // n, 0))
        done += len(best)
        if progress:
            progress(done, m)
    return indices, distances


def _tiles(n: int, d: int) -> list[slice]:
    return row_blocks(n, bytes_per_row=d, limit=2 * blocks.BLOCK_BYTES, most=_MOST_ROWS)


def _moved(vectors: Array, rows: slice) -> npt.NDArray[np.int8]:
    """The chosen rows minus 128, which distances do not see: on bytes that is a flip of the highest bit."""
    return np.bitwise_xor(vectors[rows], np.uint8(128)).view(np.int8)


def _squares(vectors: Array) -> Int64s:
    """Squared lengths of all rows minus 128, (n,)."""
    result = np.empty(len(vectors), dtype=np.int64)

    def measure(rows: slice) -> None:
        block = _moved(vectors, rows).astype(np.float64)  # sums of whole numbers, exact below 2^53
        result[rows] = np.einsum("ij,ij->i", block, block).astype(np.int64)

    for _ in map_blocks(measure, row_blocks(len(vectors), bytes_per_row=8 * vectors.shape[1], limit=2**23)):
        pass
    return result


def _products(left: npt.NDArray[np.int8], right: npt.NDArray[np.int8]) -> Array:
    """Dot products (a, b) of rows of (a, d) and (b, d), whole numbers."""
    import torch

    total: Any = None
    for start in range(0, left.shape[1], _MOST_DIMENSIONS):
        part = slice(start, start + _MOST_DIMENSIONS)
        a, b = (torch.from_numpy(np.ascontiguousarray(side[:, part])) for side in (left, right))
        product = torch._int_mm(a, b.t()).numpy()
        total = product if total is None else total.astype(np.int64) + product
    return np.asarray(total)


def _merged(
    best: Int64s, products: Array, left: Int64s, right: Int64s, first: int, n: int, k: int, own: bool
) -> Int64s:
    """The k smallest keys of every row, of those kept so far and those of a tile.

    A key is squared distance * n + row number: whole numbers, none twice, in the order of neighbours. The row itself
    gets a key below all others.
    """
    kept = min(k, best.shape[1] + products.shape[1])
    result = np.empty((len(products), kept), dtype=np.int64)

    def select(rows: slice) -> None:
        keys = products[rows].astype(np.int64)
        keys *= -2
        keys += left[rows, None]
        keys += right
        keys *= n
        keys += np.arange(first, first + keys.shape[1])
        if own:
            place = np.arange(len(keys))
            keys[place, place + rows.start] = first + rows.start + place - n
        if keys.shape[1] > k:
            keys = np.partition(keys, k - 1, axis=1)[:, :k]
        together = np.concatenate([best[rows], keys], axis=1)
        if together.shape[1] > kept:
            together = np.partition(together, kept - 1, axis=1)[:, :kept]
        result[rows] = together

    for _ in map_blocks(select, row_blocks(len(products), bytes_per_row=8 * products.shape[1], limit=2**22)):
        pass
    return result
