"""How well clusters hold together and stand apart: silhouette, Calinski-Harabasz, Davies-Bouldin.

Clusters are integer ids; -1 is noise, and noise is left out of everything. Numbers equal scikit-learn's to
1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.metrics.blocks import (
    BLOCK_BYTES,
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

ROUNDING = 1e-12
"""Mean cosine distances below are rounding: vectors of one direction are at distance 0 from each other."""

TABLE_BYTES = 4 * BLOCK_BYTES
"""How large a table of sums over all clusters may be: 100,000 images and 2 to 20 clusters need 160 MB."""


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
    """Silhouette of every row, in [-1, 1], higher is better: {metric: array of the shape of `clusters`, float64}.

    s = (b - a) / max(a, b) with a the mean distance to the other members of the row's cluster and b the
    smallest mean distance to another cluster (Rousseeuw 1987). `vectors` (n, d) of any real type, `clusters`
    (n,) integers, or (n, m): a clustering in each column, all scored from one pass over the distances.
    Members of clusters of one get 0, noise NaN; all of a clustering are NaN where `defined` gives a reason. A
    zero vector is at cosine distance 1 from everything, as in scikit-learn.

    Sums of distances to all clusters are products of blocks of distances with the indicators of the clusters.
    Euclidean distances come from one pass over the upper triangle; memory is a few blocks and one table of n by
    the number of all clusters (where that exceeds `TABLE_BYTES`, several passes). Cosine distances need no pairs at
    all: their sum over a cluster is its size minus the product with the sum of its unit vectors. ValueError for
    another metric or lengths that differ.

    >>> line = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> silhouette_samples(line, np.array([0, 0, 1, 1]), ["euclidean"])["euclidean"]
    array([0.81818182, 0.77777778, 0.77777778, 0.81818182])
    """
    sums_of = {"euclidean": _euclidean_sums, "cosine": _cosine_sums}
    for metric in metrics:
        if metric not in sums_of:
            raise ValueError(f"unknown metric '{metric}': known are {', '.join(sums_of)}")
    clusters = np.asarray(clusters)
    _must_fit(vectors, clusters, dimensions=(1, 2))
    columns = clusters[:, None] if clusters.ndim == 1 else clusters
    scored = [column for column in range(columns.shape[1]) if defined(columns[:, column]) is None]
    result = {metric: np.full(columns.shape, np.nan) for metric in metrics}
    for batch in _batches(columns, scored):
        indicators = _indicators(columns[:, batch])
        for metric in metrics:
            values = _from_sums(sums_of[metric](vectors, indicators), indicators)
            result[metric][indicators.order[:, None], batch] = values
    return {metric: values.reshape(clusters.shape) for metric, values in result.items()}


def silhouette(samples: Floats) -> float:
    """Mean silhouette of an image, in [-1, 1], higher is better; NaN where no row has one (see `defined`).

    >>> silhouette(np.array([0.5, np.nan, 0.7]))
    0.6
    """
    known = samples[~np.isnan(samples)]
    return float(known.mean()) if len(known) else float("nan")


class Separation(NamedTuple):
    """Scores of one clustering from its centres; what they are: `calinski_harabasz`, `davies_bouldin`."""

    calinski_harabasz: float
    davies_bouldin: float


def separation(vectors: Array, clusters: Array) -> Separation:
    """Calinski-Harabasz and Davies-Bouldin of clusters (n,) of vectors (n, d), from one pass for both.

    >>> separation(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))
    Separation(calinski_harabasz=50.0, davies_bouldin=0.2)
    """
    groups = _groups(vectors, clusters)
    if defined(clusters) is not None:
        return Separation(float("nan"), float("nan"))
    moments = _moments(vectors, groups)
    return Separation(_calinski_harabasz(groups, moments), _davies_bouldin(groups, moments))


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
    return separation(vectors, clusters).calinski_harabasz


def davies_bouldin(vectors: Array, clusters: Array) -> float:
    """Mean over clusters of the worst (width_a + width_b) / distance of the centres, >= 0, lower is better.

    A width is the mean distance of the members to their centre (Davies & Bouldin 1979). `vectors` (n, d) of
    any real type, `clusters` (n,) integers; float64 sums a block at a time. NaN where `defined` gives a
    reason; two clusters with one centre are left out, and 0 where all widths or all distances are 0, to 1e-8 of the
    coordinates (scikit-learn's conventions, but for coordinates below 1, whose scale it does not heed).

    >>> davies_bouldin(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]))     # (1 + 1) / 10
    0.2
    """
    return separation(vectors, clusters).davies_bouldin


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


@dataclass(frozen=True)
class _Indicators:
    """The clusters of m clusterings side by side, as the columns of one table of zeros and ones.

    order: rows that are not noise in all of them, sorted so that few columns meet in a block. codes (rows, m): the
    column of each one's cluster, -1 noise. sizes: of every column. spans: the columns of each clustering.
    """

    order: Integers
    codes: Integers
    sizes: Integers
    spans: list[slice]

    def of(self, rows: slice) -> tuple[Integers, Floats]:
        """The columns that these rows meet, and their part of the table."""
        codes = self.codes[rows]
        found = np.unique(codes[codes >= 0])
        table = np.zeros((len(codes), len(found)))
        row, clustering = np.nonzero(codes >= 0)
        table[row, np.searchsorted(found, codes[row, clustering])] = 1
        return found, table


def _indicators(columns: Array) -> _Indicators:
    """Of clusterings (n, m), each with at least two clusters."""
    codes = np.full(columns.shape, -1, dtype=np.int64)
    sizes: list[Integers] = []
    spans: list[slice] = []
    for place, column in enumerate(columns.T):
        kept = column >= 0
        ids, found, counts = np.unique(column[kept], return_inverse=True, return_counts=True)
        start = spans[-1].stop if spans else 0
        codes[kept, place] = found + start
        sizes.append(counts)
        spans.append(slice(start, start + len(ids)))
    finest_last = np.argsort([len(of) for of in sizes], kind="stable")
    order = np.lexsort(codes.T[finest_last])
    order = order[(codes[order] >= 0).any(axis=1)]
    return _Indicators(order, codes[order], np.concatenate(sizes), spans)


def _batches(columns: Array, scored: list[int]) -> list[list[int]]:
    """Clusterings whose tables of sums fit into `TABLE_BYTES` together, at least one each time."""
    room = TABLE_BYTES // (8 * max(1, len(columns)))
    batches: list[list[int]] = []
    used = 0
    for column in scored:
        width = len(np.unique(columns[:, column]))
        if not batches or used + width > room:
            batches.append([])
            used = 0
        batches[-1].append(column)
        used += width
    return batches


def _must_fit(vectors: Array, clusters: Array, dimensions: tuple[int, ...]) -> None:
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (n, d), got {vectors.ndim} dimension(s)")
    if clusters.ndim not in dimensions or len(clusters) != len(vectors):
        raise ValueError(f"clusters must be ({len(vectors)},), one for each vector, got {clusters.shape}")


def _groups(vectors: Array, clusters: Array) -> _Groups:
    clusters = np.asarray(clusters)
    _must_fit(vectors, clusters, dimensions=(1,))
    order = np.argsort(clusters, kind="stable")
    order = order[clusters[order] >= 0]
    _, codes, sizes = np.unique(clusters[order], return_inverse=True, return_counts=True)
    return _Groups(order, codes, sizes)


def _calinski_harabasz(groups: _Groups, moments: _Moments) -> float:
    n, k = len(groups.order), len(groups.sizes)
    mean = groups.sizes @ moments.centers / n
    between = float((groups.sizes * squares(moments.centers - mean)).sum())
    within = float(moments.square_sums.sum())
    return 1.0 if within == 0 else between * (n - k) / (within * (k - 1))


def _davies_bouldin(groups: _Groups, moments: _Moments) -> float:
    from scipy.spatial.distance import pdist, squareform

    widths = moments.length_sums / groups.sizes
    distances = squareform(pdist(moments.centers))
    nothing = 1e-8 * min(1.0, float(np.abs(moments.centers).max()))
    if np.allclose(widths, 0, atol=nothing) or np.allclose(distances, 0, atol=nothing):
        return 0.0
    distances[distances == 0] = np.inf
    return float(((widths[:, None] + widths) / distances).max(axis=1).mean())


def _from_sums(sums: Floats, indicators: _Indicators) -> Floats:
    """Silhouettes (rows, m) from sums of distances to every cluster, in the order of the indicators."""
    values = np.full(indicators.codes.shape, np.nan)
    for place, span in enumerate(indicators.spans):
        kept = np.flatnonzero(indicators.codes[:, place] >= 0)
        own_codes = indicators.codes[kept, place] - span.start
        values[kept, place] = _of_one(sums[kept, span], own_codes, indicators.sizes[span])
    return values


def _of_one(sums: Floats, codes: Integers, sizes: Integers) -> Floats:
    """Silhouettes of one clustering from sums of distances to its clusters (rows, k)."""
    rows = np.arange(len(codes))
    own_size = sizes[codes]
    own = sums[rows, codes] / np.maximum(own_size - 1, 1)
    means = sums / sizes
    means[rows, codes] = np.inf
    other = means.min(axis=1)
    larger = np.maximum(own, other)
    values = np.divide(other - own, larger, out=np.zeros_like(own), where=larger > 0)
    return np.where(own_size > 1, values, 0.0)


_TILES = 32  # in one piece of work: bounds what a piece brings home


def _euclidean_sums(vectors: Array, indicators: _Indicators) -> Floats:
    """Sums of Euclidean distances of rows, in the order of the indicators, to every cluster."""
    order = indicators.order
    middle = middle_row(vectors)
    own_squares = moved_squares(vectors, middle)[order]
    blocks = tile_blocks(len(order), vectors.shape[1])
    members = [indicators.of(block) for block in blocks]
    sums = np.zeros((len(order), len(indicators.sizes)))

    def measure(piece: tuple[int, range]) -> list[tuple[slice, Integers | slice, Floats]]:
        """What some tiles of a row add: (rows, columns, sums), each tile for both of its sides."""
        index, others = piece
        here = blocks[index]
        left, (left_found, left_table) = moved_block(vectors, order[here], middle), members[index]
        own = np.zeros((len(left), sums.shape[1]))
        parts: list[tuple[slice, Integers | slice, Floats]] = [(here, slice(None), own)]
        for other in others:
            block, (found, table) = blocks[other], members[other]
            right = left if other == index else moved_block(vectors, order[block], middle)
            tile = squared_distances(left, own_squares[here], right, own_squares[block])
            if other == index:
                np.fill_diagonal(tile, 0.0)
            tile = np.sqrt(tile, out=tile).astype(np.float64, copy=False)
            own[:, found] += tile @ table
            if other != index:
                parts.append((block, left_found, tile.T @ left_table))
        return parts

    count = len(blocks)
    pieces = [(i, range(j, min(j + _TILES, count))) for i in range(count) for j in range(i, count, _TILES)]
    for parts in map_blocks(measure, pieces):
        for rows, found, part in parts:
            sums[rows, found] += part
    return sums


def _cosine_sums(vectors: Array, indicators: _Indicators) -> Floats:
    """Sums of cosine distances of rows, in the order of the indicators, to every cluster."""
    n, d, count = len(indicators.order), vectors.shape[1], len(indicators.sizes)
    lengths = row_lengths(vectors)
    blocks = row_blocks(n, bytes_per_row=16 * (d + count))
    directions = np.zeros((count, d))

    def unit(rows: slice) -> Floats:
        members = indicators.order[rows]
        length = lengths[members]
        block = np.array(vectors[members], dtype=np.float64)
        block /= np.where(length > 0, length, 1.0)[:, None]
        return block

    def add(rows: slice) -> tuple[Integers, Floats]:
        found, table = indicators.of(rows)
        return found, table.T @ unit(rows)

    for found, part in map_blocks(add, blocks):
        directions[found] += part
    sums = np.empty((n, count))

    def measure(rows: slice) -> None:
        block, codes = unit(rows), indicators.codes[rows]
        part = indicators.sizes - block @ directions.T
        row, clustering = np.nonzero(codes >= 0)
        part[row, codes[row, clustering]] -= (1.0 - squares(block))[row]  # a row is at distance 0 from itself
        sums[rows] = np.where(part > ROUNDING * indicators.sizes, part, 0.0)

    for _ in map_blocks(measure, blocks):
        pass
    return sums


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
