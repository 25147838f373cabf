"""How close images are within a class and between classes: cosines over pairs, class centres and radii."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    BLOCK_BYTES,
    Array,
    Floats,
    Integers,
    map_blocks,
    row_blocks,
    row_lengths,
    squares,
    tile_blocks,
    unit_block,
)

_Side = tuple[Integers, Integers]
"""Classes along a side of a tile, and where each starts."""


@dataclass(frozen=True)
class Spread:
    """Cosines over a set of pairs: mean, population standard deviation, ends (NaN without pairs), number."""

    mean: float
    sd: float
    min: float
    max: float
    pairs: int


@dataclass(frozen=True)
class ClassDistances:
    """Cosines and distances of C classes; NaN where nothing is defined (one member, no members, one class).

    Every unordered pair of different images counts exactly once, and sd is the population standard deviation
    over pairs. `within_*` (C,) are cosines of pairs inside a class, `between_*` (C, C) of pairs of two
    classes (symmetric, NaN diagonal), `overall_*` over all such pairs. Cosines lie in [-1, 1]; higher is
    closer.

    `centers` (C, d) are means of the members' unit vectors, not scaled to length 1 again: the length of a
    centre, in [0, 1], says how much the members agree. `radius_*` (C,) are Euclidean distances, in [0, 2], of
    the members' unit vectors to their centre. `center_cosine` (C, C) are cosines of centres,
    `center_distance` (C, C) their Euclidean distances. `within_counts` and `between_counts` (bins,) count
    pairs by cosine between `edges` (bins + 1,) over [-1, 1]; a bin holds its left edge, the last one also its
    right.
    """

    counts: Integers
    centers: Floats
    radius_max: Floats
    radius_mean: Floats
    radius_p95: Floats
    within_mean: Floats
    within_sd: Floats
    within_min: Floats
    within_max: Floats
    between_mean: Floats
    between_sd: Floats
    between_min: Floats
    between_max: Floats
    overall_within: Spread
    overall_between: Spread
    center_cosine: Floats
    center_distance: Floats
    edges: Floats
    within_counts: Integers
    between_counts: Integers


def class_distances(
    embeddings: Array, codes: Array, n_classes: int, bins: int = 200, block_bytes: int = BLOCK_BYTES
) -> ClassDistances:
    """Measure every class and every pair of classes over all pairs of images, exactly.

    `embeddings` (n, d) of any real type, also a read-only memory map; only directions count. `codes` (n,)
    integers in [0, n_classes). Memory: a few blocks of `block_bytes` for each core and a few (C, C) tables,
    never (n, n). Products are taken in `product_dtype(d)`, sums in float64. ValueError names rows without a
    direction (all zeros, or not finite), codes out of range, and arrays whose lengths differ.

    Protocol: clip2classdist's numbers over unordered pairs, without self pairs.

    >>> found = class_distances(np.array([[2, 0], [0, 1], [3, 0]]), np.array([0, 0, 1]), n_classes=2)
    >>> found.within_mean, found.between_mean[0, 1]     # (2,0) and (0,1) are orthogonal; (3,0) meets both
    (array([ 0., nan]), np.float64(0.5))
    >>> found.centers[0]
    array([0.5, 0.5])
    """
    codes = _checked_codes(embeddings, codes, n_classes, bins)
    lengths = row_lengths(embeddings)
    _refuse_without_direction(lengths)
    order = np.argsort(codes, kind="stable")
    members = _Members(embeddings, lengths, order, codes[order])
    counts = np.bincount(codes, minlength=n_classes)
    centers = _centers(members, counts, block_bytes)
    radii = _radii(members, centers, block_bytes)
    pairs = _all_pairs(members, counts, centers, bins, block_bytes)
    return ClassDistances(
        counts=counts,
        centers=centers,
        radius_max=radii[0],
        radius_mean=radii[1],
        radius_p95=radii[2],
        within_mean=np.diag(pairs.mean).copy(),
        within_sd=np.diag(pairs.sd).copy(),
        within_min=np.diag(pairs.low).copy(),
        within_max=np.diag(pairs.high).copy(),
        between_mean=_off_diagonal(pairs.mean),
        between_sd=_off_diagonal(pairs.sd),
        between_min=_off_diagonal(pairs.low),
        between_max=_off_diagonal(pairs.high),
        overall_within=_overall(pairs, np.eye(n_classes, dtype=bool)),
        overall_between=_overall(pairs, np.triu(np.ones((n_classes, n_classes), dtype=bool), 1)),
        center_cosine=_center_cosine(centers),
        center_distance=_center_distance(centers),
        edges=np.linspace(-1.0, 1.0, bins + 1),
        within_counts=pairs.within_counts,
        between_counts=pairs.between_counts,
    )


@dataclass(frozen=True)
class _Members:
    """Embeddings (n, d) and their lengths (n,) as given; row numbers and classes (n,) sorted by class."""

    embeddings: Array
    lengths: Floats
    order: Integers
    codes: Integers

    def unit(self, rows: slice) -> Array:
        """Unit vectors of a stretch of the sorted rows."""
        return unit_block(self.embeddings, self.order[rows], self.lengths)

    def classes(self, rows: slice) -> _Side:
        """The classes of a stretch of the sorted rows, and where in the stretch each starts."""
        found, starts = np.unique(self.codes[rows], return_index=True)
        return found, starts


@dataclass
class _Pairs:
    """Cosines over pairs of images by pair of classes, (C, C) and symmetric; the diagonal is within."""

    number: Floats
    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    within_counts: Integers
    between_counts: Integers


@dataclass
class _RowOfTiles:
    """What one block of rows adds: tables of its classes (rows) against all classes (columns)."""

    classes: Integers
    shift: Floats
    square: Floats
    low: Floats
    high: Floats
    within_counts: Integers
    between_counts: Integers


def _checked_codes(embeddings: Array, codes: Array, n_classes: int, bins: int) -> Integers:
    codes = np.asarray(codes)
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (n, d), got {embeddings.ndim} dimension(s)")
    if codes.shape != (len(embeddings),):
        raise ValueError(f"codes must be ({len(embeddings)},), one for each embedding, got {codes.shape}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if len(codes) and not (codes.min() >= 0 and codes.max() < n_classes):
        raise ValueError(f"codes must lie in [0, {n_classes}), got {codes.min()} to {codes.max()}")
    return codes.astype(np.int64)


def _refuse_without_direction(lengths: Floats) -> None:
    faulty = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(faulty):
        shown = ", ".join(map(str, faulty[:10])) + (", ..." if len(faulty) > 10 else "")
        raise ValueError(
            f"{len(faulty)} vector(s) have no direction (all zeros, or values that are not finite): row(s) {shown}"
        )


def _centers(members: _Members, counts: Integers, block_bytes: int) -> Floats:
    """Mean of the members' unit vectors (C, d); NaN for a class without members."""
    n, d = members.embeddings.shape
    sums = np.zeros((len(counts), d))

    def add(rows: slice) -> tuple[Integers, Floats]:
        classes, starts = members.classes(rows)
        return classes, np.add.reduceat(members.unit(rows), starts, axis=0, dtype=np.float64)

    for classes, part in map_blocks(add, row_blocks(n, 8 * d, block_bytes)):
        sums[classes] += part
    with np.errstate(invalid="ignore"):
        return sums / counts[:, None]


def _radii(members: _Members, centers: Floats, block_bytes: int) -> tuple[Floats, Floats, Floats]:
    """Largest, mean and 95th percentile of the members' distances to their centre, (C,) each."""
    n, d = members.embeddings.shape
    distances = np.empty(n)

    def measure(rows: slice) -> None:
        distances[rows] = np.sqrt(squares(members.unit(rows) - centers[members.codes[rows]]))

    for _ in map_blocks(measure, row_blocks(n, 16 * d, block_bytes)):
        pass
    largest, mean, p95 = np.full((3, len(centers)), np.nan)
    classes, starts = members.classes(slice(0, n))
    for code, rows in zip(classes, _segments(starts, n), strict=True):
        own = distances[rows]
        largest[code], mean[code], p95[code] = np.max(own), np.mean(own), np.percentile(own, 95)
    return largest, mean, p95


def _all_pairs(members: _Members, counts: Integers, centers: Floats, bins: int, block_bytes: int) -> _Pairs:
    """Visit every unordered pair once: rows sorted by class, tiles on and above the diagonal."""
    number = _pair_numbers(counts)
    expected = _expected_means(counts, centers)
    n, d = members.embeddings.shape
    blocks = tile_blocks(n, d, block_bytes)
    shape = expected.shape
    shift, square = np.zeros(shape), np.zeros(shape)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    within_counts, between_counts = np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64)

    def measure(index: int) -> _RowOfTiles:
        return _row_of_tiles(members, expected, bins, blocks[index:])

    for part in map_blocks(measure, range(len(blocks))):
        shift[part.classes] += part.shift
        square[part.classes] += part.square
        low[part.classes] = np.minimum(low[part.classes], part.low)
        high[part.classes] = np.maximum(high[part.classes], part.high)
        within_counts += part.within_counts
        between_counts += part.between_counts

    # Only class a <= class b was filled, as rows are sorted by class.
    shift, square = np.triu(shift) + np.triu(shift, 1).T, np.triu(square) + np.triu(square, 1).T
    low, high = np.minimum(low, low.T), np.maximum(high, high.T)
    known = number > 0
    moved = np.divide(shift, number, out=np.full(shape, np.nan), where=known)
    variance = np.divide(square, number, out=np.full(shape, np.nan), where=known) - moved**2
    return _Pairs(
        number=number,
        mean=np.clip(expected + moved, -1.0, 1.0),
        sd=np.sqrt(np.maximum(variance, 0.0)),
        low=np.where(known, np.clip(low, -1.0, 1.0), np.nan),
        high=np.where(known, np.clip(high, -1.0, 1.0), np.nan),
        within_counts=within_counts,
        between_counts=between_counts,
    )


def _pair_numbers(counts: Integers) -> Floats:
    """How many unordered pairs there are of each two classes; on the diagonal n (n - 1) / 2."""
    number = np.outer(counts, counts).astype(np.float64)
    np.fill_diagonal(number, counts * (counts - 1) / 2)
    return number


def _expected_means(counts: Integers, centers: Floats) -> Floats:
    """The means of cosines as the centres give them, (C, C), 0 where undefined.

    Mean of dot products = dot product of means; inside a class the self pairs (cosine 1) come off. Deviations
    are summed from here, so that a narrow distribution keeps its digits (sums of raw squares would cancel).
    """
    means = np.nan_to_num(centers @ centers.T)
    inside = np.zeros(len(counts))
    many = counts > 1
    inside[many] = (counts[many] * np.diag(means)[many] - 1.0) / (counts[many] - 1)
    np.fill_diagonal(means, inside)
    return means


def _row_of_tiles(members: _Members, expected: Floats, bins: int, blocks: list[slice]) -> _RowOfTiles:
    """Measure the pairs of the first block's rows with one another and with those of the blocks after it."""
    left, left_side = members.unit(blocks[0]), members.classes(blocks[0])
    row = _empty_row(left_side[0], len(expected), bins)
    for block in blocks:
        diagonal = block is blocks[0]
        tile = left @ (left if diagonal else members.unit(block)).T
        keep = np.triu(np.ones(tile.shape, dtype=bool), 1) if diagonal else None
        right_side = members.classes(block)
        _add_counts(row, tile, keep, left_side, right_side)
        _add_ends(row, tile, keep, left_side, right_side)
        for code, rows in zip(left_side[0], _segments(left_side[1], len(tile)), strict=True):
            tile[rows] -= expected[code, members.codes[block]]
        _add_moments(row, tile, keep, left_side, right_side)  # uses the tile up
    return row


def _empty_row(classes: Integers, n_classes: int, bins: int) -> _RowOfTiles:
    size = (len(classes), n_classes)
    return _RowOfTiles(
        classes=classes,
        shift=np.zeros(size),
        square=np.zeros(size),
        low=np.full(size, np.inf),
        high=np.full(size, -np.inf),
        within_counts=np.zeros(bins, dtype=np.int64),
        between_counts=np.zeros(bins, dtype=np.int64),
    )


def _add_ends(row: _RowOfTiles, tile: Array, keep: Array | None, left: _Side, right: _Side) -> None:
    """Widen the smallest and the largest cosine of every pair of classes."""
    columns = (slice(None), right[0])
    low = tile if keep is None else np.where(keep, tile, np.inf)
    high = tile if keep is None else np.where(keep, tile, -np.inf)
    row.low[columns] = np.minimum(row.low[columns], _reduce(np.minimum, low, left, right))
    row.high[columns] = np.maximum(row.high[columns], _reduce(np.maximum, high, left, right))


def _add_moments(row: _RowOfTiles, tile: Array, keep: Array | None, left: _Side, right: _Side) -> None:
    """Add the deviations in the tile and their squares, in place."""
    columns = (slice(None), right[0])
    if keep is not None:
        tile *= keep
    row.shift[columns] += _reduce(np.add, tile, left, right)
    np.square(tile, out=tile)
    row.square[columns] += _reduce(np.add, tile, left, right)


def _reduce(operation: np.ufunc, tile: Array, left: _Side, right: _Side) -> Floats:
    """Reduce a tile by its segments, first along rows of memory (fast), in float64."""
    narrow = operation.reduceat(tile, right[1], axis=1, dtype=np.float64)
    result: Floats = operation.reduceat(narrow, left[1], axis=0)
    return result


def _segments(starts: Integers, size: int) -> Iterator[slice]:
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        yield slice(int(start), int(stop))


def _add_counts(row: _RowOfTiles, tile: Array, keep: Array | None, left: _Side, right: _Side) -> None:
    """Add a tile's cosines to the two histograms: between is all pairs less those of one class."""
    bins = len(row.within_counts)
    places = ((tile + 1.0) * (bins / 2.0)).astype(np.intp)
    np.clip(places, 0, bins - 1, out=places)
    if keep is not None:
        places[~keep] = bins  # a bin beyond the last: pairs that another place counts
    everything = np.bincount(places.ravel(), minlength=bins + 1)[:bins]
    within = np.zeros_like(everything)
    columns = dict(zip(right[0], _segments(right[1], tile.shape[1]), strict=True))
    for code, rows in zip(left[0], _segments(left[1], tile.shape[0]), strict=True):
        if code in columns:
            within += np.bincount(places[rows, columns[code]].ravel(), minlength=bins + 1)[:bins]
    row.within_counts += within
    row.between_counts += everything - within


def _off_diagonal(table: Floats) -> Floats:
    result = table.copy()
    np.fill_diagonal(result, np.nan)
    return result


def _overall(pairs: _Pairs, chosen: Array) -> Spread:
    """Pool the spreads of the chosen cells: exact, by numbers, means and variances."""
    chosen = chosen & (pairs.number > 0)
    number = pairs.number[chosen]
    total = number.sum()
    if total == 0:
        return Spread(np.nan, np.nan, np.nan, np.nan, 0)
    mean = (number * pairs.mean[chosen]).sum() / total
    variance = (number * (pairs.sd[chosen] ** 2 + (pairs.mean[chosen] - mean) ** 2)).sum() / total
    low, high = np.min(pairs.low[chosen]), np.max(pairs.high[chosen])
    return Spread(float(mean), float(np.sqrt(variance)), float(low), float(high), int(total))


def _center_cosine(centers: Floats) -> Floats:
    """Cosines of centres (C, C); NaN for a centre without a direction."""
    lengths = np.linalg.norm(centers, axis=1)
    unit = np.divide(centers, lengths[:, None], out=np.full_like(centers, np.nan), where=lengths[:, None] > 0)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def _center_distance(centers: Floats) -> Floats:
    """Euclidean distances of centres (C, C), by subtraction: exactly 0 between equal ones."""
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(centers)), dtype=np.float64)
