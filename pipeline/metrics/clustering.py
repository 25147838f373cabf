"""How well clusters hold together and stand apart: silhouette, Calinski-Harabasz, Davies-Bouldin.

Clusters are integer ids; -1 is noise, and noise is left out of everything. Numbers equal scikit-learn's to
1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    map_blocks,
    mean_row,
    middle_row,
    moved_block,
    moved_squares,
    row_blocks,
    row_lengths,
    squared_distances,
    squares,
    tile_blocks,
)


def defined(clusters: Array) -> str | None:
    """Why scores of these clusters (n,) are not defined, or None where they are. Noise (-1) does not count.

    >>> defined(np.array([0, 0, 1])), defined(np.array([0, 0, -1])), defined(np.array([0, 1, 2]))
    (None, 'one cluster', 'every image is its own cluster')
    """
    kept = np.asarray(clusters)[np.asarray(clusters) >= 0]
    found = len(np.unique(kept))
    if found == 0:
        return "no clusters"
    if found == 1:
        return "one cluster"
    if found == len(kept):
        return "every image is its own cluster"
    return None


def silhouette_samples(
    vectors: Array, clusters: Array, metrics: Sequence[str] = ("euclidean", "cosine")
) -> dict[str, Floats]:
    """Silhouette of every row, in [-1, 1], higher is better: {metric: (n,) float64}.

    s = (b - a) / max(a, b) with a the mean distance to the other members of the row's cluster and b the
    smallest mean distance to another cluster (Rousseeuw 1987). `vectors` (n, d) of any real type, `clusters`
    (n,) integers. Members of clusters of one get 0, noise NaN; all are NaN where `defined` gives a reason. A
    zero vector is at cosine distance 1 from everything, as in scikit-learn.

    Euclidean distances come from one pass over the upper triangle of blocked products; memory is a few blocks
    and one (n, k) table. Cosine distances need no pairs at all: their sum over a cluster is its size minus
    the product with the sum of its unit vectors. ValueError for another metric or lengths that differ.

    >>> line = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> silhouette_samples(line, np.array([0, 0, 1, 1]), ["euclidean"])["euclidean"]
    array([0.81818182, 0.77777778, 0.77777778, 0.81818182])
    """
    sums_of = {"euclidean": _euclidean_sums, "cosine": _cosine_sums}
    for metric in metrics:
        if metric not in sums_of:
            raise ValueError(f"unknown metric '{metric}': known are {', '.join(sums_of)}")
    groups = _groups(vectors, clusters)
    result = {metric: np.full(len(vectors), np.nan) for metric in metrics}
    if defined(clusters) is None:
        for metric in metrics:
            result[metric][groups.order] = _from_sums(sums_of[metric](vectors, groups), groups)
    return result


def silhouette(samples: Floats) -> float:
    """Mean silhouette of an image, in [-1, 1], higher is better; NaN where no row has one (see `defined`).

    >>> silhouette(np.array([0.5, np.nan, 0.7]))
    0.6
    """
    known = samples[~np.isnan(samples)]
    return float(known.mean()) if len(known) else float("nan")


def calinski_harabasz(vectors: Array, clusters: Array) -> float:
    """Spread between centres over spread inside clusters, >= 0, higher is better; it grows with n.

    (B / (k - 1)) / (W / (n - k)), B and W sums of squared distances of centres to the mean and of rows to
    their centre (Calinski & Harabasz 1974). `vectors` (n, d) of any real type, `clusters` (n,) integers;
    float64 sums a block at a time. NaN where `defined` gives a reason; 1 where every row is its centre
    (scikit-learn's convention).

    >>> line = np.array([[0.0], [2.0], [10.0], [12.0]])
    >>> calinski_harabasz(line, np.array([0, 0, 1, 1]))  # B = 100, W = 4
    50.0
    """
    if defined(clusters) is not None:
        return float("nan")
    groups = _groups(vectors, clusters)
    moments = _moments(vectors, groups)
    n, k = len(groups.order), len(groups.sizes)
    mean = groups.sizes @ moments.centers / n
    between = float((groups.sizes * squares(moments.centers - mean)).sum())
    within = float(moments.square_sums.sum())
    return 1.0 if within == 0 else between * (n - k) / (within * (k - 1))


def davies_bouldin(vectors: Array, clusters: Array) -> float:
    """Mean over clusters of the worst (width_a + width_b) / distance of the centres, >= 0, lower is better.

    A width is the mean distance of the members to their centre (Davies & Bouldin 1979). `vectors` (n, d) of
    any real type, `clusters` (n,) integers; float64 sums a block at a time. NaN where `defined` gives a
    reason; two clusters with one centre are left out, and 0 where all widths or all distances are 0
    (scikit-learn's conventions).

    >>> davies_bouldin(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))     # (1 + 1) / 10
    0.2
    """
    from scipy.spatial.distance import pdist, squareform

    if defined(clusters) is not None:
        return float("nan")
    groups = _groups(vectors, clusters)
    moments = _moments(vectors, groups)
    widths = moments.length_sums / groups.sizes
    distances = squareform(pdist(moments.centers))
    if np.allclose(widths, 0) or np.allclose(distances, 0):
        return 0.0
    distances[distances == 0] = np.inf
    return float(((widths[:, None] + widths) / distances).max(axis=1).mean())


@dataclass(frozen=True)
class _Groups:
    """Rows without noise, sorted by cluster: rows, each one's cluster in 0..k-1, size of each cluster."""

    order: Integers
    codes: Integers
    sizes: Integers


@dataclass(frozen=True)
class _Moments:
    """By cluster: centre (k, d), sums of the members' squared distances and of their distances to it (k,)."""

    centers: Floats
    square_sums: Floats
    length_sums: Floats


def _groups(vectors: Array, clusters: Array) -> _Groups:
    clusters = np.asarray(clusters)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (n, d), got {vectors.ndim} dimension(s)")
    if clusters.shape != (len(vectors),):
        raise ValueError(f"clusters must be ({len(vectors)},), one for each vector, got {clusters.shape}")
    order = np.argsort(clusters, kind="stable")
    order = order[clusters[order] >= 0]
    _, codes, sizes = np.unique(clusters[order], return_inverse=True, return_counts=True)
    return _Groups(order, codes, sizes)


def _from_sums(sums: Floats, groups: _Groups) -> Floats:
    """Silhouettes from sums of distances to every cluster (n, k), in the order of the groups."""
    rows = np.arange(len(groups.codes))
    own_size = groups.sizes[groups.codes]
    own = sums[rows, groups.codes] / np.maximum(own_size - 1, 1)
    means = sums / groups.sizes
    means[rows, groups.codes] = np.inf
    other = means.min(axis=1)
    larger = np.maximum(own, other)
    values = np.divide(other - own, larger, out=np.zeros_like(own), where=larger > 0)
    return np.where(own_size > 1, values, 0.0)


def _euclidean_sums(vectors: Array, groups: _Groups) -> Floats:
    """Sums of Euclidean distances of rows, in the order of the groups, to every cluster: (n, k)."""
    middle = middle_row(vectors)
    own_squares = moved_squares(vectors, middle)[groups.order]
    blocks = tile_blocks(len(groups.order), vectors.shape[1])
    sums = np.zeros((len(groups.order), len(groups.sizes)))

    def measure(index: int) -> list[tuple[slice, Integers, Floats]]:
        return _row_of_tiles(vectors, groups, middle, own_squares, blocks, index)

    for parts in map_blocks(measure, range(len(blocks))):
        for rows, found, part in parts:
            sums[rows, found] += part
    return sums


def _row_of_tiles(
    vectors: Array, groups: _Groups, middle: Array, own_squares: Array, blocks: list[slice], index: int
) -> list[tuple[slice, Integers, Floats]]:
    """What a row of tiles adds: (rows, clusters, sums of distances), each tile for both of its sides."""
    here = blocks[index]
    left = moved_block(vectors, groups.order[here], middle)
    left_found, left_starts = np.unique(groups.codes[here], return_index=True)
    parts = []
    for block in blocks[index:]:
        if block is here:
            tile = squared_distances(left, own_squares[here], left, own_squares[here])
            np.fill_diagonal(tile, 0.0)
        else:
            right = moved_block(vectors, groups.order[block], middle)
            tile = squared_distances(left, own_squares[here], right, own_squares[block])
        np.sqrt(tile, out=tile)
        found, starts = np.unique(groups.codes[block], return_index=True)
        parts.append((here, found, np.add.reduceat(tile, starts, axis=1, dtype=np.float64)))
        if block is not here:
            parts.append((block, left_found, np.add.reduceat(tile, left_starts, axis=0, dtype=np.float64).T))
    return parts


def _cosine_sums(vectors: Array, groups: _Groups) -> Floats:
    """Sums of cosine distances of rows, in the order of the groups, to every cluster: (n, k)."""
    n, d, k = len(groups.order), vectors.shape[1], len(groups.sizes)
    lengths = row_lengths(vectors)
    blocks = row_blocks(n, bytes_per_row=16 * d)
    directions = np.zeros((k, d))

    def unit(rows: slice) -> Floats:
        members = groups.order[rows]
        length = lengths[members]
        block = np.array(vectors[members], dtype=np.float64)
        block /= np.where(length > 0, length, 1.0)[:, None]
        return block

    def add(rows: slice) -> tuple[Integers, Floats]:
        found, starts = np.unique(groups.codes[rows], return_index=True)
        return found, np.add.reduceat(unit(rows), starts, axis=0)

    for found, part in map_blocks(add, blocks):
        directions[found] += part
    sums = np.empty((n, k))

    def measure(rows: slice) -> None:
        block, own = unit(rows), groups.codes[rows]
        sums[rows] = groups.sizes - block @ directions.T
        sums[np.arange(n)[rows], own] -= 1.0 - squares(block)  # a row is at distance 0 from itself

    for _ in map_blocks(measure, blocks):
        pass
    return np.maximum(sums, 0.0)


def _moments(vectors: Array, groups: _Groups) -> _Moments:
    d, k = vectors.shape[1], len(groups.sizes)
    blocks = row_blocks(len(groups.order), bytes_per_row=16 * d)
    middle = mean_row(vectors)
    centers, square_sums, length_sums = np.zeros((k, d)), np.zeros(k), np.zeros(k)

    def add(rows: slice) -> tuple[Integers, Floats]:
        found, starts = np.unique(groups.codes[rows], return_index=True)
        return found, np.add.reduceat(vectors[groups.order[rows]] - middle, starts, axis=0)

    for found, part in map_blocks(add, blocks):
        centers[found] += part
    centers /= groups.sizes[:, None]

    def measure(rows: slice) -> tuple[Array, Array]:
        own = groups.codes[rows]
        square = squares(vectors[groups.order[rows]] - middle - centers[own])
        return np.bincount(own, square, minlength=k), np.bincount(own, np.sqrt(square), minlength=k)

    for square, length in map_blocks(measure, blocks):
        square_sums += square
        length_sums += length
    return _Moments(centers, square_sums, length_sums)
