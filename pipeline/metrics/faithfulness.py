"""How faithfully a projection keeps the neighbourhoods of the embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    map_blocks,
    middle_row,
    moved_block,
    moved_squares,
    row_blocks,
    squared_distances,
    tile_blocks,
)


def projection_quality(
    embeddings: Array,
    projection: Array,
    neighbours: int = 15,
    anchors: int = 500,
    all_up_to: int = 5000,
    seed: int = 0,
    nearest: Array | None = None,
) -> dict[str, float]:
    """Trustworthiness, continuity and share of neighbours kept, all in [0, 1], higher is better.

    trustworthiness = 1 - 2 / (m k (2n - 3k - 1)) * sum over anchors and over their k nearest rows in the
    projection that are not among the k nearest in the embedding of (rank in the embedding - k); continuity is
    the same with the two spaces exchanged (Venna & Kaski 2001). neighbours_kept: mean share of a row's k
    nearest in the projection that are among its k nearest in the embedding. Distances are Euclidean, ranks
    are exact over all n rows, and a tie takes the smallest rank, so that it never counts as a fault.

    `embeddings` (n, d) and `projection` (n, d') of any real type. Up to `all_up_to` rows, every row is an
    anchor; above, `anchors` rows drawn with `seed`. `neighbours` is k, lowered to stay below n / 2 as the
    formula needs. `nearest` (n, K): every row's nearest rows in the embedding, itself first, where they are known
    already (`geometry.neighbours`) and K > k; they spare a search. The result also holds the `neighbours` and
    `anchors` that were used; with fewer than 4 rows the scores are NaN.
    ValueError for numbers of rows that differ, and for neighbours or anchors below 1.

    >>> line = np.arange(8.0)[:, None]
    >>> projection_quality(line, -2 * line, neighbours=2)["trustworthiness"]
    1.0
    """
    n = len(embeddings)
    if embeddings.ndim != 2 or projection.ndim != 2 or len(projection) != n:
        shapes = f"{embeddings.shape} and {projection.shape}"
        raise ValueError(f"embeddings and projection must be (n, d) and (n, d'), got {shapes}")
    if neighbours < 1 or anchors < 1:
        raise ValueError(f"neighbours and anchors must be at least 1, got {neighbours} and {anchors}")
    k = max(0, min(neighbours, (n - 1) // 2))
    chosen = _anchors(n, anchors, all_up_to, seed)
    scores = dict.fromkeys(("trustworthiness", "continuity", "neighbours_kept"), float("nan"))
    if n >= 4:
        strangers, torn, kept = _faults(embeddings, projection, chosen, k, nearest)
        unit = 2.0 / (len(chosen) * k * (2 * n - 3 * k - 1))
        scores["trustworthiness"] = 1.0 - unit * strangers
        scores["continuity"] = 1.0 - unit * torn
        scores["neighbours_kept"] = kept / (len(chosen) * k)
    return {**scores, "neighbours": float(k), "anchors": float(len(chosen))}


def _anchors(n: int, anchors: int, all_up_to: int, seed: int) -> Integers:
    if n <= max(all_up_to, anchors):
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=anchors, replace=False))


@dataclass(frozen=True)
class _Space:
    """Vectors (n, d), the point that they are measured from (d,), and their squared distances to it (n,)."""

    vectors: Array
    middle: Array
    squares: Array

    @classmethod
    def of(cls, vectors: Array) -> _Space:
        middle = middle_row(vectors)
        return cls(vectors, middle, moved_squares(vectors, middle))


def _faults(
    embeddings: Array, projection: Array, chosen: Integers, k: int, nearest: Array | None
) -> tuple[float, float, float]:
    """Sums over anchors: excess ranks in the embedding, excess ranks in the projection, neighbours kept."""
    spaces = [_Space.of(embeddings), _Space.of(projection)]

    def measure(rows: slice) -> Floats:
        here, there = (_distances(space, chosen[rows]) for space in spaces)
        strangers = _ranks(here, _nearest(there, k))
        near = _nearest(here, k) if nearest is None or nearest.shape[1] <= k else nearest[chosen[rows], 1 : k + 1]
        torn = _ranks(there, near)
        return np.array([_excess(strangers, k), _excess(torn, k), np.count_nonzero(strangers <= k)])

    # Two spaces, each with its distances and their sorted copy.
    parts = list(map_blocks(measure, row_blocks(len(chosen), bytes_per_row=32 * max(embeddings.shape))))
    strangers, torn, kept = np.sum(parts, axis=0)
    return float(strangers), float(torn), float(kept)


def _excess(ranks: Floats, k: int) -> float:
    """Sum of how far ranks lie beyond k."""
    return float(np.maximum(ranks - k, 0).sum())


def _distances(space: _Space, anchors: Integers) -> Array:
    """Squared distances of anchors to all rows (m, n); infinite to themselves."""
    left = moved_block(space.vectors, anchors, space.middle)
    result = np.empty((len(anchors), len(space.vectors)), dtype=left.dtype)
    for rows in tile_blocks(*space.vectors.shape):
        right = moved_block(space.vectors, rows, space.middle)
        result[:, rows] = squared_distances(left, space.squares[anchors], right, space.squares[rows])
    result[np.arange(len(anchors)), anchors] = np.inf
    return result


def _nearest(distances: Array, k: int) -> Integers:
    """The k nearest rows of every anchor (m, k), ties by row number."""
    limits = np.partition(distances, k - 1, axis=1)[:, k - 1]
    nearest = np.empty((len(distances), k), dtype=np.int64)
    for row, (values, limit) in enumerate(zip(distances, limits, strict=True)):
        close = np.flatnonzero(values <= limit)
        nearest[row] = close[np.argsort(values[close], kind="stable")[:k]]
    return nearest


def _ranks(distances: Array, columns: Integers) -> Floats:
    """Rank, from 1, of chosen columns in every row of distances: 1 + how many are strictly closer, (m, k)."""
    ordered = np.sort(distances, axis=1)
    wanted = np.take_along_axis(distances, columns, axis=1)
    ranks = np.empty(columns.shape)
    for row in range(len(columns)):
        ranks[row] = 1 + np.searchsorted(ordered[row], wanted[row], side="left")
    return ranks
