"""How close images are within a class and between classes: cosines over pairs, class centres and radii."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.metrics.blocks import (
    BLOCK_BYTES,
    Array,
    Floats,
    Integers,
    map_blocks,
    product_dtype,
    row_blocks,
    row_lengths,
    squares,
    tile_blocks,
    unit_block,
)
from pipeline.metrics.influence import (
    Interval,
    MeanIntervals,
    Rows,
    class_intervals,
    overall_intervals,
    probability_interval,
    squared_by_unit,
)
from pipeline.metrics.separation import Separation, auc, d_prime, overlap, win_tables

FINE = 50  # each bin of a histogram is counted in so many, for the AUC
FINE_CELLS = 2**20  # at most so many bins over all classes; each bin of a histogram has at least one
SAMPLE = 1024  # images from which the weights of the AUC's interval are taken
TILE = 384  # most rows on a side of a tile: several tables of that size are in work at once
NO_DIRECTION = 1e-6  # of an image's unit vector to the mean: nearer, what is left is rounding
_UP = 1e-14  # a cosine so little below a bin's left edge is rounding, and counts in the bin

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
class Cosines:
    """Cosines over pairs of images of C classes; NaN where nothing is defined (one member, one class).

    Every unordered pair of different images counts exactly once, and sd is the population standard deviation over
    pairs. `within_*` (C,) are cosines of pairs inside a class, `between_*` (C, C) of pairs of two classes
    (symmetric, NaN diagonal), `others_*` (C,) of pairs of a class and all others, `overall_*` over all such pairs.
    Cosines lie in [-1, 1]; higher is closer. `center_cosine` (C, C) are cosines of the centres.

    `within_counts` and `between_counts` (bins,) count pairs by cosine between `edges` (bins + 1,) over [-1, 1]; a
    bin holds its left edge, the last one also its right.

    `by_class` holds arrays (C,), pairs of the class against pairs of it with all others; `overall` numbers.
    `nearest` (C,) is the other class with the highest mean cosine, -1 without another. `class_intervals` and
    `overall_intervals` are 95 % intervals of mean within, mean between and gap over images (`metrics.influence`),
    `auc_interval` of the overall AUC.
    """

    within_mean: Floats
    within_sd: Floats
    within_min: Floats
    within_max: Floats
    between_mean: Floats
    between_sd: Floats
    between_min: Floats
    between_max: Floats
    others_mean: Floats
    others_sd: Floats
    overall_within: Spread
    overall_between: Spread
    center_cosine: Floats
    edges: Floats
    within_counts: Integers
    between_counts: Integers
    by_class: Separation
    overall: Separation
    nearest: Integers
    class_intervals: MeanIntervals
    overall_intervals: MeanIntervals
    auc_interval: Interval


@dataclass(frozen=True)
class ClassDistances:
    """Cosines and distances of C classes; NaN where nothing is defined (no members).

    `centers` (C, d) are means of the members' unit vectors, not scaled to length 1 again: the length of a centre,
    in [0, 1], says how much the members agree. `mean_length`, in [0, 1], is the length of the mean of all unit
    vectors: near 1 where they lie in a narrow cone. `radius_*` (C,) are Euclidean distances, in [0, 2], of the
    members' unit vectors to their centre, `center_distance` (C, C) those of centres; `nearest_center` (C,) is the
    other class with the nearest centre, -1 without another.

    `cosines` are those of the vectors as they are. `centered` are those of v_i = (u_i - m) / |u_i - m|, where u_i
    are the unit vectors and m is their mean over all images: exactly what this function finds for the vectors v_i.
    None if it was not asked for, or an image lies at the mean and so has no direction from it.
    """

    counts: Integers
    centers: Floats
    mean_length: float
    radius_max: Floats
    radius_mean: Floats
    radius_p95: Floats
    center_distance: Floats
    nearest_center: Integers
    cosines: Cosines
    centered: Cosines | None


def class_distances(
    embeddings: Array,
    codes: Array,
    n_classes: int,
    bins: int = 200,
    block_bytes: int = BLOCK_BYTES,
    centered: bool = False,
    groups: Array | None = None,
) -> ClassDistances:
    """Measure every class and every pair of classes over all pairs of images, exactly.

    `embeddings` (n, d) of any real type, also a read-only memory map; only directions count. `codes` (n,)
    integers in [0, n_classes). `groups` (n,) integers: images with the same number belong together (a patient), and
    intervals are over groups; None: over images. Memory: a few blocks of `block_bytes` for each core and a few
    (C, C) tables, never (n, n). Products are taken in `product_dtype(d)`, sums in float64. ValueError names rows
    without a direction (all zeros, or not finite), codes out of range, and arrays whose lengths differ.

    With `centered` one product serves both: with w = u - m, the cosine before is w_i.w_j + u_i.m + u_j.m - m.m, and
    after w_i.w_j / (|w_i| |w_j|).

    Protocol: clip2classdist's numbers over unordered pairs, without self pairs. Centring: Mu and Viswanath (2018);
    Ethayarajh (2019) on the cone.

    >>> found = class_distances(np.array([[2, 0], [0, 1], [3, 0]]), np.array([0, 0, 1]), n_classes=2)
    >>> found.cosines.within_mean, found.cosines.between_mean[0, 1]     # (2,0), (0,1) orthogonal; (3,0) meets both
    (array([ 0., nan]), np.float64(0.5))
    >>> found.centers[0]
    array([0.5, 0.5])
    """
    codes = _checked_codes(embeddings, codes, n_classes, bins)
    lengths = row_lengths(embeddings)
    _refuse_without_direction(lengths)
    order = np.argsort(codes, kind="stable")
    units = np.arange(len(codes)) if groups is None else np.asarray(groups)[order]
    members = _Members(embeddings, lengths, order, codes[order], units, np.bincount(codes, minlength=n_classes))
    centers = _centers(members, members.unit, block_bytes)
    radii = _radii(members, centers, block_bytes)
    mean = _mean(members, centers)
    views = [_View(members.unit, centers, bins)]
    if centered and len(codes):
        views = _both_views(members, centers, mean, bins, block_bytes) or views
    found = _all_pairs(members, views, bins, block_bytes)
    distance = _center_distance(centers)
    return ClassDistances(
        counts=members.counts,
        centers=centers,
        mean_length=float(np.linalg.norm(mean)),
        radius_max=radii[0],
        radius_mean=radii[1],
        radius_p95=radii[2],
        center_distance=distance,
        nearest_center=_best(-distance),
        cosines=_cosines(members, views[0], found[0], bins),
        centered=_cosines(members, views[1], found[1], bins) if len(views) > 1 else None,
    )


def pair_blocks(counts: Sequence[int] | Array) -> list[tuple[int, int, int, int]]:
    """Where `write_pairs` puts the pairs of classes a <= b: (a, b, start, number), by the numbers of their members.

    >>> pair_blocks([2, 3])
    [(0, 0, 0, 1), (0, 1, 1, 6), (1, 1, 7, 3)]
    """
    found, start = [], 0
    for a, of_a in enumerate(map(int, counts)):
        for b, of_b in enumerate(map(int, counts[a:]), start=a):
            number = of_a * (of_a - 1) // 2 if a == b else of_a * of_b
            found.append((a, b, start, number))
            start += number
    return found


def write_pairs(embeddings: Array, codes: Array, n_classes: int, out: Array, block_bytes: int = BLOCK_BYTES) -> None:
    """The cosine of every unordered pair into `out` (n (n - 1) / 2,), class pair after class pair (`pair_blocks`).

    Members of a class stand in the order of their rows. Inside a class: as scipy's `pdist` has them, (0, 1), (0, 2),
    ..., (1, 2), ...; of two classes: all of b for the first of a, then for the second, ... Errors as `class_distances`.
    """
    codes = _checked_codes(embeddings, codes, n_classes, 1)
    lengths = row_lengths(embeddings)
    _refuse_without_direction(lengths)
    rows_of = [np.flatnonzero(codes == code) for code in range(n_classes)]
    for a, b, start, number in pair_blocks([len(rows) for rows in rows_of]):
        _write_class_pair(embeddings, lengths, rows_of[a], rows_of[b], out[start : start + number], a == b, block_bytes)


def _write_class_pair(
    embeddings: Array, lengths: Floats, left: Integers, right: Integers, out: Array, same: bool, block_bytes: int
) -> None:
    size = len(right)
    blocks = tile_blocks(size, embeddings.shape[1], block_bytes)

    def first(row: int) -> int:
        """Where the pairs of a row begin, less the column of the first of them."""
        return row * size - (row * (row + 1)) // 2 - row - 1 if same else row * size

    def write(rows: slice) -> None:
        block = unit_block(embeddings, left[rows], lengths)
        for columns in blocks:
            if same and columns.stop <= rows.start + 1:
                continue
            tile = np.clip(block @ unit_block(embeddings, right[columns], lengths).T, -1.0, 1.0)
            for place, row in enumerate(range(rows.start, rows.stop)):
                begin = max(columns.start, row + 1) if same else columns.start
                if begin < columns.stop:
                    out[first(row) + begin : first(row) + columns.stop] = tile[place, begin - columns.start :]

    for _ in map_blocks(write, tile_blocks(len(left), embeddings.shape[1], block_bytes)):
        pass


@dataclass(frozen=True)
class _Members:
    """Embeddings (n, d) and their lengths (n,) as given; row numbers, classes and units (n,) sorted by class."""

    embeddings: Array
    lengths: Floats
    order: Integers
    codes: Integers
    units: Integers
    counts: Integers

    def unit(self, rows: slice | Integers) -> Array:
        """Unit vectors of some of the sorted rows."""
        return unit_block(self.embeddings, self.order[rows], self.lengths)

    def classes(self, rows: slice) -> _Side:
        """The classes of a stretch of the sorted rows, and where in the stretch each starts."""
        found, starts = np.unique(self.codes[rows], return_index=True)
        return found, starts


class _View:
    """A way to see the pairs: as they are, or after centring.

    `block(rows)` gives the unit vectors whose cosines these are, `centers` (C, d) their means by class. `of(products,
    left, right)` makes a tile of cosines from one of products of what `factors(rows)` gives.
    """

    def __init__(
        self,
        block: Callable[[Any], Array],
        centers: Floats,
        bins: int,
        factors: Callable[[Any], Array] | None = None,
        of: Callable[[Array, slice, slice], Array] | None = None,
    ) -> None:
        self.block, self.centers = block, centers
        self.factors = factors or block
        self.of = of or (lambda products, left, right: products)
        self.fine = bins * max(1, min(FINE, FINE_CELLS // (bins * max(1, len(centers)))))


def _both_views(members: _Members, centers: Floats, mean: Floats, bins: int, block_bytes: int) -> list[_View] | None:
    """The cosines as they are and after centring, both from products of u - m; None where one has no direction."""
    n, d = members.embeddings.shape
    dtype = product_dtype(d)
    origin = mean.astype(dtype)
    shift, length = np.empty(n, dtype=dtype), np.empty(n)

    def moved(rows: Any) -> Array:
        block = members.unit(rows)
        block -= origin
        return block

    def measure(rows: slice) -> None:
        block = moved(rows)
        shift[rows] = block @ origin + (mean @ mean) / 2  # u.m - m.m / 2
        length[rows] = np.sqrt(squares(block))

    for _ in map_blocks(measure, row_blocks(n, 16 * d, block_bytes)):
        pass
    if (length < NO_DIRECTION).any():
        return None
    scale = (1 / length).astype(dtype)

    def centered_block(rows: Any) -> Array:
        block = moved(rows)
        block *= scale[rows][:, None]
        return block

    def plain(products: Array, left: slice, right: slice) -> Array:
        tile = products + shift[left][:, None]
        tile += shift[right]
        return tile

    def centered(products: Array, left: slice, right: slice) -> Array:
        tile = products * scale[left][:, None]
        tile *= scale[right]
        return tile

    return [
        _View(members.unit, centers, bins, moved, plain),
        _View(centered_block, _centers(members, centered_block, block_bytes), bins, moved, centered),
    ]


@dataclass
class _Pairs:
    """Cosines over pairs of images by pair of classes, (C, C) and symmetric; the diagonal is within.

    `within_counts`, `touching_counts` (C, fine): pairs inside each class, and ends of pairs in each class.
    `wins` (n,): what each image's pairs add to the AUC, by the `tables` (`win_tables` of a sample).
    """

    number: Floats
    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    within_counts: Integers
    touching_counts: Integers
    tables: tuple[Floats, Floats]
    wins: Floats


class _Sums:
    """What one block of rows adds: its classes (rows) against all classes (columns)."""

    def __init__(self, classes: Integers, n_classes: int, fine: int, n: int) -> None:
        size = (len(classes), n_classes)
        self.classes = classes
        self.shift, self.square = np.zeros(size), np.zeros(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self.within_counts = np.zeros((n_classes, fine), dtype=np.int64)
        self.touching_counts = np.zeros((n_classes, fine), dtype=np.int64)
        self.wins = np.zeros(n)


@dataclass(frozen=True)
class _Tile:
    """Cosines of some rows with others. `keep` marks those that count (None: all): on the diagonal, the upper half."""

    cosines: Array
    rows: slice
    columns: slice
    left: _Side
    right: _Side
    keep: Array | None

    def left_parts(self) -> Iterator[tuple[int, slice]]:
        """Classes of the rows and where each stands."""
        return zip(self.left[0], _segments(self.left[1], self.cosines.shape[0]), strict=True)

    def right_parts(self) -> Iterator[tuple[int, slice]]:
        """Classes of the columns and where each stands."""
        return zip(self.right[0], _segments(self.right[1], self.cosines.shape[1]), strict=True)

    def same_class(self) -> Iterator[tuple[int, tuple[slice, slice]]]:
        """Where rows and columns are of one class."""
        columns = dict(self.right_parts())
        return ((code, (rows, columns[code])) for code, rows in self.left_parts() if code in columns)


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


def _centers(members: _Members, block: Callable[[Any], Array], block_bytes: int) -> Floats:
    """Mean of the members' unit vectors (C, d); NaN for a class without members."""
    n, d = members.embeddings.shape
    sums = np.zeros((len(members.counts), d))

    def add(rows: slice) -> tuple[Integers, Floats]:
        classes, starts = members.classes(rows)
        return classes, np.add.reduceat(block(rows), starts, axis=0, dtype=np.float64)

    for classes, part in map_blocks(add, row_blocks(n, 8 * d, block_bytes)):
        sums[classes] += part
    with np.errstate(invalid="ignore"):
        return sums / members.counts[:, None]


def _mean(members: _Members, centers: Floats) -> Floats:
    """Mean of all unit vectors (d,): every image weighs the same, so a large class more than a small one."""
    return np.asarray(members.counts @ np.nan_to_num(centers)) / max(1, len(members.codes))


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


def _all_pairs(members: _Members, views: list[_View], bins: int, block_bytes: int) -> list[_Pairs]:
    """Visit every unordered pair once: rows sorted by class, tiles on and above the diagonal."""
    n, d = members.embeddings.shape
    classes = len(members.counts)
    blocks = row_blocks(n, d * product_dtype(d).itemsize, block_bytes, most=TILE)
    expected = [_expected_means(members.counts, view.centers) for view in views]
    tables = [_sampled_tables(members, view) for view in views]
    number = _pair_numbers(members.counts)
    sizes = np.trace(number), np.triu(number, 1).sum()
    lookups = [
        tuple(np.append(np.nan_to_num(table) / max(1, size), 0.0) for table, size in zip(pair, sizes, strict=True))
        for pair in tables
    ]
    totals = [_Sums(np.arange(classes), classes, view.fine, n) for view in views]

    factors = _at_hand(views[0].factors, members.embeddings.shape, block_bytes)

    def measure(index: int) -> list[_Sums]:
        return _row_of_tiles(members, views, factors, expected, lookups, blocks[index:])

    for parts in map_blocks(measure, range(len(blocks))):
        for total, part in zip(totals, parts, strict=True):
            _add_sums(total, part)
    return [_pairs(total, number, means, table) for total, means, table in zip(totals, expected, tables, strict=True)]


def _at_hand(factors: Callable[[Any], Array], shape: tuple[int, ...], block_bytes: int) -> Callable[[Any], Array]:
    """All factors made once, where one block holds them; else made anew for every tile."""
    n, d = shape
    dtype = product_dtype(d)
    if n * d * dtype.itemsize > block_bytes:
        return factors
    whole = np.empty(shape, dtype=dtype)
    for rows in row_blocks(n, dtype.itemsize * d, block_bytes // 16):
        whole[rows] = factors(rows)
    return lambda rows: whole[rows]


def _add_sums(total: _Sums, part: _Sums) -> None:
    total.shift[part.classes] += part.shift
    total.square[part.classes] += part.square
    total.low[part.classes] = np.minimum(total.low[part.classes], part.low)
    total.high[part.classes] = np.maximum(total.high[part.classes], part.high)
    total.within_counts += part.within_counts
    total.touching_counts += part.touching_counts
    total.wins += part.wins


def _pairs(total: _Sums, number: Floats, expected: Floats, tables: tuple[Floats, Floats]) -> _Pairs:
    # Only class a <= class b was filled, as rows are sorted by class.
    shift, square = (np.triu(part) + np.triu(part, 1).T for part in (total.shift, total.square))
    low, high = np.minimum(total.low, total.low.T), np.maximum(total.high, total.high.T)
    known = number > 0
    moved = np.divide(shift, number, out=np.full(number.shape, np.nan), where=known)
    variance = np.divide(square, number, out=np.full(number.shape, np.nan), where=known) - moved**2
    return _Pairs(
        number=number,
        mean=np.clip(expected + moved, -1.0, 1.0),
        sd=np.sqrt(np.maximum(variance, 0.0)),
        low=np.where(known, np.clip(low, -1.0, 1.0), np.nan),
        high=np.where(known, np.clip(high, -1.0, 1.0), np.nan),
        within_counts=total.within_counts,
        touching_counts=total.touching_counts,
        tables=tables,
        wins=total.wins,
    )


def _sampled_tables(members: _Members, view: _View) -> tuple[Floats, Floats]:
    """`win_tables` of a sample of images, spread evenly over the sorted rows, each with the one that follows it (so
    that small classes have pairs too). All images up to SAMPLE. Only the width of the AUC's interval uses it."""
    n = len(members.codes)
    if n <= SAMPLE:
        rows = np.arange(n)
    else:
        starts = np.linspace(0, n - 2, SAMPLE // 2).astype(np.intp)
        rows = np.unique(np.concatenate([starts, starts + 1]))
    block = view.block(rows)
    places = _places(block @ block.T, view.fine)
    upper = np.triu(np.ones(places.shape, dtype=bool), 1)
    same = members.codes[rows][:, None] == members.codes[rows]
    within, between = (np.bincount(places[upper & kind], minlength=view.fine) for kind in (same, ~same))
    return win_tables(within, between)


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


def _row_of_tiles(
    members: _Members,
    views: list[_View],
    factors: Callable[[Any], Array],
    expected: list[Floats],
    lookups: list[Any],
    blocks: list[slice],
) -> list[_Sums]:
    """Measure the pairs of the first block's rows with one another and with those of the blocks after it."""
    n, classes = len(members.codes), len(members.counts)
    rows, left, own = blocks[0], members.classes(blocks[0]), factors(blocks[0])
    sums = [_Sums(left[0], classes, view.fine, n) for view in views]
    for columns in blocks:
        diagonal = columns is blocks[0]
        products = own @ (own if diagonal else factors(columns)).T
        keep = np.triu(np.ones(products.shape, dtype=bool), 1) if diagonal else None
        right = members.classes(columns)
        for view, means, lookup, of in zip(views, expected, lookups, sums, strict=True):
            tile = _Tile(view.of(products, rows, columns), rows, columns, left, right, keep)
            places = _places(tile.cosines, view.fine)
            if keep is not None:
                places[~keep] = view.fine  # a bin beyond the last: pairs that another place counts
            _add_counts(of, tile, places, view.fine)
            _add_wins(of, tile, places, lookup)
            _add_ends(of, tile)
            _add_moments(of, tile, means, members.codes)  # uses the tile up
    return sums


def _places(cosines: Array, bins: int) -> Integers:
    """In which of `bins` bins over [-1, 1] each cosine falls."""
    scaled = cosines + (1.0 + _UP)
    scaled *= bins / 2.0
    places = scaled.astype(np.intp)
    return np.minimum(places, bins - 1, out=places)  # just below -1 is cut towards 0 already


def _add_counts(row: _Sums, tile: _Tile, places: Integers, fine: int) -> None:
    """Count the tile's pairs by cosine: for each class those inside it, and the ends that it has of any."""

    def count(some: Integers) -> Integers:
        return np.bincount(some.ravel(), minlength=fine + 1)[:fine]

    if len(tile.right[0]) == 1:
        by_left = {code: count(places[rows]) for code, rows in tile.left_parts()}
        by_right = {int(tile.right[0][0]): np.sum([*by_left.values()], axis=0)}
    else:
        by_right = {code: count(places[:, columns]) for code, columns in tile.right_parts()}
        many = len(tile.left[0]) > 1
        by_left = {
            code: count(places[rows]) if many else np.sum([*by_right.values()], axis=0)
            for code, rows in tile.left_parts()
        }
    for side in (by_left, by_right):
        for code, counts in side.items():
            row.touching_counts[code] += counts
    for code, cells in tile.same_class():
        whole = len(by_left) == len(by_right) == 1
        row.within_counts[code] += by_left[code] if whole else count(places[cells])


def _add_wins(row: _Sums, tile: _Tile, places: Integers, lookup: Any) -> None:
    """Add what each pair contributes to the AUC to both of its images."""
    of_within, of_between = lookup
    same = list(tile.same_class())
    whole = len(tile.left[0]) == len(tile.right[0]) == 1 and same
    values = (of_within if whole else of_between).take(places, mode="clip")  # unchecked, so twice as fast
    for _, cells in same if not whole else ():
        values[cells] = of_within[places[cells]]
    row.wins[tile.rows] += values.sum(axis=1)
    row.wins[tile.columns] += values.sum(axis=0)


def _add_ends(row: _Sums, tile: _Tile) -> None:
    """Widen the smallest and the largest cosine of every pair of classes."""
    columns = (slice(None), tile.right[0])
    low = high = tile.cosines
    if tile.keep is not None:
        low, high = np.where(tile.keep, low, np.inf), np.where(tile.keep, high, -np.inf)
    row.low[columns] = np.minimum(row.low[columns], _reduce(np.minimum, low, tile.left, tile.right))
    row.high[columns] = np.maximum(row.high[columns], _reduce(np.maximum, high, tile.left, tile.right))


def _add_moments(row: _Sums, tile: _Tile, expected: Floats, codes: Integers) -> None:
    """Add the deviations in the tile and their squares, in place."""
    deviations = tile.cosines
    for code, rows in tile.left_parts():
        if len(tile.right[0]) == 1:
            deviations[rows] -= expected[code, tile.right[0][0]]
        else:
            deviations[rows] -= expected[code, codes[tile.columns]]
    if tile.keep is not None:
        deviations *= tile.keep
    columns = (slice(None), tile.right[0])
    row.shift[columns] += _reduce(np.add, deviations, tile.left, tile.right)
    np.square(deviations, out=deviations)
    row.square[columns] += _reduce(np.add, deviations, tile.left, tile.right)


def _reduce(operation: np.ufunc, tile: Array, left: _Side, right: _Side) -> Floats:
    """Reduce a tile by its segments, first along rows of memory (fast), in float64."""
    if len(left[1]) == len(right[1]) == 1:  # the same, several times faster
        return np.array([[operation.reduce(tile, axis=None, dtype=np.float64)]])
    narrow = operation.reduceat(tile, right[1], axis=1, dtype=np.float64)
    result: Floats = operation.reduceat(narrow, left[1], axis=0)
    return result


def _segments(starts: Integers, size: int) -> Iterator[slice]:
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        yield slice(int(start), int(stop))


def _cosines(members: _Members, view: _View, pairs: _Pairs, bins: int) -> Cosines:
    """All that is said of one view's pairs."""
    classes = len(members.counts)
    between_counts = pairs.touching_counts - 2 * pairs.within_counts
    within, between = _overall(pairs, np.eye(classes, dtype=bool)), _overall(pairs, _above(classes))
    others_mean, others_sd = _others(pairs)
    within_mean, within_sd = np.diag(pairs.mean).copy(), np.diag(pairs.sd).copy()
    within_mean[np.diag(pairs.number) == 0] = np.nan
    total_within = pairs.within_counts.sum(axis=0)
    total_between = between_counts.sum(axis=0) // 2
    of_all = _separation(total_within, total_between, bins, (within.mean, within.sd), (between.mean, between.sd))
    rows = Rows(
        view.block, members.codes, members.units, np.nan_to_num(view.centers) * members.counts[:, None], members.counts
    )
    mean = _off_diagonal(pairs.mean)
    return Cosines(
        within_mean=within_mean,
        within_sd=within_sd,
        within_min=np.diag(pairs.low).copy(),
        within_max=np.diag(pairs.high).copy(),
        between_mean=mean,
        between_sd=_off_diagonal(pairs.sd),
        between_min=_off_diagonal(pairs.low),
        between_max=_off_diagonal(pairs.high),
        others_mean=others_mean,
        others_sd=others_sd,
        overall_within=within,
        overall_between=between,
        center_cosine=_center_cosine(view.centers),
        edges=np.linspace(-1.0, 1.0, bins + 1),
        within_counts=_coarse(total_within, bins),
        between_counts=_coarse(total_between, bins),
        by_class=_separation(
            pairs.within_counts, between_counts, bins, (within_mean, within_sd), (others_mean, others_sd)
        ),
        overall=of_all,
        nearest=_best(mean),
        class_intervals=class_intervals(rows, within_mean, others_mean),
        overall_intervals=overall_intervals(rows, within.mean, between.mean),
        auc_interval=_auc_interval(members, pairs, (total_within, total_between), of_all.auc),
    )


def _separation(
    within: Integers, between: Integers, bins: int, of_within: tuple[Any, Any], of_between: tuple[Any, Any]
) -> Separation:
    area, error = auc(within, between)
    return Separation(
        gap=of_within[0] - of_between[0],
        d_prime=d_prime(*of_within, *of_between),
        overlap=overlap(_coarse(within, bins), _coarse(between, bins)),
        auc=area,
        auc_error=error,
    )


def _auc_interval(members: _Members, pairs: _Pairs, counts: tuple[Integers, Integers], estimate: Any) -> Interval:
    """An image's influence is what its pairs add to the AUC above the mean of as many such pairs."""
    sizes = [float(count.sum()) for count in counts]
    if not all(sizes) or np.isnan(pairs.tables).any():
        return Interval(np.nan, np.nan)
    own = members.counts[members.codes]
    means = [count @ table / size / size for count, table, size in zip(counts, pairs.tables, sizes, strict=True)]
    influences = pairs.wins - (own - 1) * means[0] - (len(own) - own) * means[1]
    units = len(np.unique(members.units))
    return probability_interval(estimate, squared_by_unit(influences, members.units), units)


def _coarse(counts: Integers, bins: int) -> Integers:
    """Histograms (..., fine) in fewer bins."""
    return np.asarray(counts.reshape(*counts.shape[:-1], bins, -1).sum(axis=-1))


def _above(classes: int) -> Array:
    return np.triu(np.ones((classes, classes), dtype=bool), 1)


def _others(pairs: _Pairs) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the cosines of each class with all others, (C,) each."""
    number = pairs.number.copy()
    np.fill_diagonal(number, 0)
    mean, sd = (np.where(number > 0, table, 0.0) for table in (pairs.mean, pairs.sd))
    with np.errstate(invalid="ignore"):
        pooled = (number * mean).sum(axis=1) / number.sum(axis=1)
        variance = (number * (sd**2 + (mean - pooled[:, None]) ** 2)).sum(axis=1) / number.sum(axis=1)
    return pooled, np.sqrt(variance)


def _best(table: Floats) -> Integers:
    """Column of each row's largest value beside the diagonal; -1 where there is none."""
    values = np.where(np.isnan(table) | np.eye(len(table), dtype=bool), -np.inf, table)
    if not values.size:
        return np.zeros(0, dtype=np.int64)
    return np.where(np.isfinite(values).any(axis=1), np.argmax(values, axis=1), -1)


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
