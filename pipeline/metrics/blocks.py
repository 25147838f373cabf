"""Work on big arrays a block of rows at a time: bounded memory, and the same bits on any number of cores."""

from __future__ import annotations

import functools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BLOCK_BYTES = 64 * 2**20
"""How much one block may hold; the working memory of a function is a few blocks for each core."""

TILE_ROWS = 512
"""Most rows on a side of a tile of pairwise products: 512 x 512 float64 values stay in a core's own cache."""

_EXACT_DIMENSIONS = 1024

Item = TypeVar("Item")
Result = TypeVar("Result")


def row_blocks(n: int, bytes_per_row: int, limit: int = BLOCK_BYTES, most: int | None = None) -> list[slice]:
    """Cut n rows into consecutive blocks of at most `limit` bytes (at least one row each) and `most` rows.

    The cut depends only on these numbers, never on the machine.

    >>> row_blocks(5, bytes_per_row=8, limit=16)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, limit // max(1, bytes_per_row))
    if most is not None:
        rows = min(rows, most)
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def tile_blocks(n: int, d: int, limit: int = BLOCK_BYTES) -> list[slice]:
    """Blocks of rows of n vectors of d values for tiles of pairwise products (a tile is block x block)."""
    return row_blocks(n, bytes_per_row=d * product_dtype(d).itemsize, limit=limit, most=TILE_ROWS)


def workers() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_blocks(function: Callable[[Item], Result], blocks: Sequence[Item]) -> Iterator[Result]:
    """Yield function(block) for every block, in their order, computed by a thread for each core.

    Matrix products inside use one thread each, so that a result does not depend on the number of cores. At
    most one result more than there are workers is held at a time. An error in the function is raised here, at
    its turn.

    >>> list(map_blocks(lambda block: block.stop, row_blocks(5, bytes_per_row=8, limit=16)))
    [2, 4, 5]
    """
    count = min(workers(), len(blocks))
    with one_thread("blas"):
        if count <= 1:
            yield from map(function, blocks)
            return
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(count) as pool:
            try:
                for block in blocks:
                    if len(pending) > count:
                        yield pending.popleft().result()
                    pending.append(pool.submit(function, block))
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def one_thread(kind: Literal["blas"] | None = None) -> AbstractContextManager[Any]:
    """threadpoolctl's limit of one thread, for matrix products alone or for all native libraries.

    Looking for these reads the list of everything that the process has loaded, 3 ms: done again only when a module was
    imported meanwhile.
    """
    controller = _controller(len(sys.modules))
    limited: AbstractContextManager[Any] = controller.limit(limits=1, user_api=kind)
    return limited


@functools.lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def product_dtype(d: int) -> np.dtype[Any]:
    """The float type of products of vectors of d values, the one rule for every measure.

    float64 up to d = 1024: sums of products of integers stay exact up to 2^53, cosines are good to about
    1e-15. float32 above (raw pixels: d = 50,176), for speed and memory: cosines and squared distances are
    good to about 1e-6 of the product of the lengths. Sums over pairs are float64 everywhere.

    >>> product_dtype(512), product_dtype(50_176)
    (dtype('float64'), dtype('float32'))
    """
    return np.dtype(np.float64 if d <= _EXACT_DIMENSIONS else np.float32)


def row_lengths(vectors: Array) -> Floats:
    """Euclidean length of every row of (n, d) vectors: (n,) float64, a block at a time."""
    n, d = vectors.shape
    lengths = np.empty(n)

    def measure(rows: slice) -> None:
        block = np.asarray(vectors[rows], dtype=np.float64)
        lengths[rows] = np.sqrt(np.einsum("ij,ij->i", block, block))

    for _ in map_blocks(measure, row_blocks(n, bytes_per_row=8 * d)):
        pass
    return lengths


def unit_block(vectors: Array, rows: slice | Integers, lengths: Floats) -> Array:
    """The chosen rows scaled to length 1, in product dtype; zero rows stay zero. `lengths` (n,) of all."""
    dtype = product_dtype(vectors.shape[1])
    length = lengths[rows]
    block = np.array(vectors[rows], dtype=dtype)
    block /= np.where(length > 0, length, 1.0)[:, None].astype(dtype)
    return block


def unit_rows(vectors: Array) -> Array:
    """All rows of (n, d) vectors scaled to length 1, in product dtype; zero rows stay zero.

    >>> unit_rows(np.array([[3, 4], [0, 0]], dtype=np.uint8))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    n, d = vectors.shape
    lengths = row_lengths(vectors)
    result = np.empty((n, d), dtype=product_dtype(d))
    for rows in row_blocks(n, bytes_per_row=8 * d):
        result[rows] = unit_block(vectors, rows, lengths)
    return result


def mean_row(vectors: Array) -> Floats:
    """The mean of (n, d) vectors as (d,) float64; sums in float64 a block at a time. n must be at least 1.

    A value that is not finite makes its column's mean not finite, without a warning.
    """
    n, d = vectors.shape
    total = np.zeros(d)

    def add(rows: slice) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray(vectors[rows].sum(axis=0, dtype=np.float64))

    for part in map_blocks(add, row_blocks(n, bytes_per_row=8 * d)):
        with np.errstate(invalid="ignore"):
            total += part
    return total / n


def middle_row(vectors: Array) -> Array:
    """A point to measure from, in product dtype, so that squared distances lose no digits to a far origin.

    The mean; for integer vectors the mean rounded to integers, so that products of integers stay exact.
    """
    middle = mean_row(vectors)
    if np.issubdtype(vectors.dtype, np.integer) or vectors.dtype == np.bool_:
        middle = np.rint(middle)
    return middle.astype(product_dtype(vectors.shape[1]))


def moved_block(vectors: Array, rows: slice | Integers, middle: Array) -> Array:
    """The chosen rows minus `middle` (d,), in product dtype."""
    return np.subtract(vectors[rows], middle, dtype=middle.dtype, casting="unsafe")


def squared_distances(left: Array, left_squares: Array, right: Array, right_squares: Array) -> Array:
    """Squared Euclidean distances of (a, d) against (b, d) as an (a, b) array of their dtype, none below 0.

    By products, so they are good to rounding of the largest square: centre the vectors first (`moved_block`).
    `left_squares` (a,) and `right_squares` (b,) are the rows' own squared lengths (`squares`).
    """
    tile: Array = left @ right.T
    tile *= -2
    tile += left_squares[:, None]
    tile += right_squares
    return np.maximum(tile, 0, out=tile)


def squares(block: Array) -> Array:
    """Squared length of every row of a block, in its own dtype."""
    return np.asarray(np.einsum("ij,ij->i", block, block))


def moved_squares(vectors: Array, middle: Array) -> Array:
    """Squared distance of every row to `middle`, (n,) in product dtype, as `squared_distances` wants them."""
    result = np.empty(len(vectors), dtype=middle.dtype)

    def measure(rows: slice) -> None:
        result[rows] = squares(moved_block(vectors, rows, middle))

    for _ in map_blocks(measure, row_blocks(len(vectors), bytes_per_row=middle.nbytes)):
        pass
    return result
