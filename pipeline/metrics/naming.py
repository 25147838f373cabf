"""Which entries (words, texts) set a group of images apart: difference of mean cosine inside the group and outside.

Codes are groups from 0, (n,) int64, -1 for none (noise): such images are among the others of every group. Entries are
(m, d) of unit length. The mean cosine of some images with an entry is the product of the mean of their unit vectors
with it, so all m differences of a group take one product.

**What is and is not shown.** The best of a million entries looks good in the images that chose it, so names are chosen
in one half of the images and measured in the other, both ways (groups of images are never torn apart). The permutation
check asks whether *some* entry sets a group apart more than one would a random set of images. Clusters pass it nearly
always, for parts of any cloud differ from random sets: it says that the group has a direction that words can name, not
that it is a cluster, and not that this name is the best. How much better it is than other names say `worse` (share of
all entries that set the group apart less) and `margin` (how much nearer the group is to the name than the group that is
next to it). A margin of 0 or below: the name fits another group as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    map_blocks,
    one_thread,
    product_dtype,
    row_blocks,
    row_lengths,
    unit_block,
)
from pipeline.metrics.influence import interval, squared_by_unit
from pipeline.metrics.labels import Permuted, against_permutations, permuted_labels
from pipeline.metrics.resampling import units

NEAR = 0.95  # cosine of two entries from which they say the same
_POOL = 20  # best entries that are looked through for each name wanted
_DRAWS = 64  # permutations that are done at a time, at most
_CODES = 2**26  # of permuted codes that are held at a time
_VALUES = 2**25  # of cosines with names that are held at a time

Texts = Sequence[str] | Callable[[Integers], Sequence[str]]
"""Of all entries, or a function that gives those of some rows."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Name:
    """An entry that sets a group apart; `rank` from 1, the best first.

    halves: in how many of the two halves (1 or 2) it was chosen: 1 is a sign of chance or of near rivals. All numbers
    are of the other half than the one that chose it, averaged where both did: difference of the mean cosines inside the
    group and outside, in [-2, 2], with its 95 % interval over groups of images (normal theory, Student's t); effect:
    the difference in pooled standard deviations of the cosines; mean: mean cosine inside the group; worse: share of all
    entries with a smaller difference, in [0, 1]; margin: mean less that of the other group with the largest, whose
    number is runner_up (-1: there is no other).
    """

    group: int
    rank: int
    entry: int
    halves: int
    difference: float
    low: float
    high: float
    effect: float
    mean: float
    worse: float
    margin: float
    runner_up: int


def halves(codes: Integers, groups: Array | None, seed: Sequence[int]) -> np.ndarray:
    """Which images are in the first half: (n,) bool. groups (n,) stay whole; each goes with the code that most of its
    images have, and those of one code are dealt out in turn, in random order.

    >>> codes = np.array([0, 0, 1, 1, 1, 1])
    >>> np.bincount(codes[halves(codes, None, (0,))]).tolist()
    [1, 2]
    """
    unit = units(len(codes), groups)
    pairs, times = np.unique(np.stack([unit, codes], axis=1), axis=0, return_counts=True)
    pairs = pairs[np.lexsort([pairs[:, 1], -times, pairs[:, 0]])]
    main = pairs[np.unique(pairs[:, 0], return_index=True)[1], 1]
    order = np.random.default_rng([*seed]).permutation(len(main))
    order = order[np.argsort(main[order], kind="stable")]
    first = np.zeros(len(main), dtype=bool)
    first[order[::2]] = True
    return np.asarray(first[unit])


def group_names(
    images: Array, codes: Integers, entries: Array, texts: Texts, groups: Array | None = None, count: int = 5,
    seed: Sequence[int] = (0,),
) -> list[Name]:  # fmt: skip
    """Up to `count` names for each group, in the order of groups and ranks; fewer where too many entries say the same.

    Names that both halves chose come first, then by their places there. Of entries that say nearly the same
    (`distinct`) one is named. A group that has not two units (images, or groups of images) in each half, with as many
    others, gets no name.

    Args:
        images: (n, d) of any lengths. codes: (n,). entries: (m, d), unit length.
        groups: (n,), images that belong together, or None.
    """
    codes = np.asarray(codes, np.int64)
    lengths, first, unit = row_lengths(images), halves(codes, groups, seed), units(len(codes), groups)
    parts = [_Half(images, lengths, codes, unit, np.flatnonzero(half)) for half in (first, ~first)]
    known = [g for g in range(int(codes.max(initial=-1)) + 1) if all(part.enough(g) for part in parts)]
    if not known or not len(entries):
        return []
    pools = [largest_rows(part.differences(known), entries, _POOL * count) for part in parts]
    chosen = [[distinct(rows, entries, texts, count) for rows in pool] for pool in pools]
    measured = [_measured(part, known, lists, entries) for part, lists in zip(parts, chosen[::-1], strict=True)]
    names = []
    for place, group in enumerate(known):
        lists = [half[place] for half in chosen]
        for rank, (entry, votes) in enumerate(_agreed(lists, entries, texts, count), start=1):
            found = [half[group, entry] for half in measured if (group, entry) in half]
            names.append(_name(group, rank, entry, votes, found))
    return names


class _Half:
    """Half of the images: sums of unit vectors of each group."""

    def __init__(self, images: Array, lengths: Floats, codes: Integers, unit: Integers, rows: Integers) -> None:
        self.images, self.lengths, self.rows = images, lengths, rows
        self.codes, self.unit = codes[rows], unit[rows]
        self.groups = int(codes.max(initial=-1)) + 1
        self.counts = np.bincount(self.codes[self.codes >= 0], minlength=self.groups)
        self.sums = _sums(self.block, self.codes[None], self.groups, images.shape[1])[0]
        self.others = len(rows) - self.counts

    def block(self, part: slice) -> Array:
        return unit_block(self.images, self.rows[part], self.lengths)

    def units_of(self, group: int) -> tuple[int, int]:
        """How many units the group and all others are of."""
        inside = self.codes == group
        return len(np.unique(self.unit[inside])), len(np.unique(self.unit[~inside]))

    def enough(self, group: int) -> bool:
        return min(self.units_of(group)) > 1

    def differences(self, known: list[int]) -> Floats:
        """Mean unit vector of each of these groups less that of all other images: (len(known), d)."""
        return _differences(self.sums, self.counts, len(self.rows))[known]

    def means(self) -> Floats:
        """(K, d); NaN for a group without images."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.sums[:-1] / self.counts[:, None])

    def cosines(self, vectors: Array) -> Floats:
        """Of all its images with (c, d) unit vectors: (rows, c)."""
        found = np.empty((len(self.rows), len(vectors)))

        def measure(part: slice) -> None:
            found[part] = self.block(part) @ vectors.T

        for _ in map_blocks(measure, row_blocks(len(self.rows), 16 * vectors.shape[1])):
            pass
        return found


@dataclass(frozen=True)
class _Measured:
    """One name in one half: the variance of its difference as a sum of squared influences, over so many units."""

    difference: float
    variance: float
    units: int
    effect: float
    means: Floats  # of all groups
    worse: float


def _measured(
    half: _Half, known: list[int], lists: Sequence[Integers], entries: Array
) -> dict[tuple[int, int], _Measured]:
    """For each group the names that the other half chose, by (group, entry)."""
    means, found = half.means(), {}
    kind = product_dtype(entries.shape[1])
    values = [np.asarray(entries[rows], kind) @ part for rows, part in zip(lists, half.differences(known), strict=True)]
    worse = _smaller(half.differences(known), entries, values)
    at_once = max(1, _VALUES // max(1, len(half.rows) * max(map(len, lists))))  # groups, so that images are read once
    for place, (group, rows) in enumerate(zip(known, lists, strict=True)):
        if place % at_once == 0:
            some = lists[place : place + at_once]
            batch = half.cosines(np.asarray(entries[np.concatenate(some)], kind))
            parts = np.split(batch, np.cumsum([len(one) for one in some])[:-1], axis=1)
        vectors, cosines = np.asarray(entries[rows], kind), parts[place % at_once]
        inside, of_units = half.codes == group, min(half.units_of(group))
        sides = [cosines[inside], cosines[~inside]]
        middle = [side.mean(axis=0) for side in sides]
        influence = np.where(
            inside[:, None], (cosines - middle[0]) / len(sides[0]), (middle[1] - cosines) / len(sides[1])
        )
        variance = squared_by_unit(influence, half.unit)
        squares = sum(np.square(side - mean).sum(axis=0) for side, mean in zip(sides, middle, strict=True))
        spread = np.sqrt(squares / (len(cosines) - 2))
        gap, of_groups = middle[0] - middle[1], vectors @ means.T
        for i, row in enumerate(rows):
            effect = gap[i] / spread[i] if spread[i] > 1e-12 else np.nan
            found[group, int(row)] = _Measured(
                float(gap[i]),
                float(variance[i]),
                of_units,
                float(effect),
                of_groups[i],
                worse[place][i],
            )
    return found


def _name(group: int, rank: int, entry: int, votes: int, found: list[_Measured]) -> Name:
    """What the halves say, averaged: they share no unit."""
    difference = float(np.mean([one.difference for one in found]))
    variance = sum(one.variance for one in found) / len(found) ** 2
    span = interval(difference, variance, sum(one.units for one in found) - len(found) + 1, -2.0, 2.0)
    means = np.mean([one.means for one in found], axis=0)
    own, means[group] = means[group], np.nan
    runner_up = int(np.nanargmax(means)) if np.isfinite(means).any() else -1
    return Name(
        group=group,
        rank=rank,
        entry=entry,
        halves=votes,
        difference=difference,
        low=float(span.low),
        high=float(span.high),
        effect=float(np.mean([one.effect for one in found])),
        mean=float(own),
        worse=float(np.mean([one.worse for one in found])),
        margin=float(own - means[runner_up]) if runner_up >= 0 else np.nan,
        runner_up=runner_up,
    )


def _agreed(lists: Sequence[Integers], entries: Array, texts: Texts, count: int) -> list[tuple[int, int]]:
    """Names of both halves as (entry, in how many it or one that says the same was chosen), the best first."""
    rows = np.array(list(dict.fromkeys(int(row) for half in lists for row in half)), np.int64)
    alike = _alike(rows, entries, texts)
    chosen = np.array([np.isin(rows, half) for half in lists])
    votes = (chosen.astype(np.int64) @ alike > 0).sum(axis=0)
    places = [[list(half).index(row) if row in half else len(half) for row in rows] for half in lists]
    order = np.lexsort([np.arange(len(rows)), np.sum(places, axis=0), -votes])
    return [(int(rows[i]), int(votes[i])) for i in _kept(alike, order, count)]


def distinct(rows: Integers, entries: Array, texts: Texts, count: int) -> Integers:
    """The first `count` of some entries, without those that say nearly the same as an earlier one: their cosine is
    above 0.95, or the words of one stand in a row in the other ('cat' in 'a black cat').

    >>> apart = np.eye(3)
    >>> distinct(np.array([1, 0, 2]), apart, ["cat", "a black cat", "category"], 5).tolist()
    [1, 2]
    """
    rows = np.asarray(rows, np.int64)
    return rows[_kept(_alike(rows, entries, texts), range(len(rows)), count)]


def _kept(alike: np.ndarray, order: Sequence[int] | Integers, count: int) -> list[int]:
    kept: list[int] = []
    for place in order:
        if len(kept) < count and not alike[place, kept].any():
            kept.append(int(place))
    return kept


def _alike(rows: Integers, entries: Array, texts: Texts) -> np.ndarray:
    """Which entries say nearly the same: (r, r) bool."""
    vectors = np.asarray(entries[rows], product_dtype(entries.shape[1]))
    with one_thread("blas"):
        alike = vectors @ vectors.T > NEAR
    given = texts(rows) if callable(texts) else [texts[row] for row in rows]
    words = [f" {' '.join(_WORD.findall(text.casefold()))} " for text in given]
    contained = np.array([[a in b and a.strip() != "" for b in words] for a in words], bool).reshape(alike.shape)
    return np.asarray(alike | contained | contained.T | np.eye(len(rows), dtype=bool))


def largest_rows(directions: Floats, entries: Array, count: int) -> Integers:
    """For each of (K, d) directions the entries with the largest products, largest first, of equal ones the earlier:
    (K, min(count, m)) int64. Entries (m, d) are read a block at a time.

    >>> largest_rows(np.array([[1.0, 0.0]]), np.array([[0.1, 1.0], [0.3, 0.0], [0.3, 9.0]]), 2).tolist()
    [[1, 2]]
    """
    count = min(count, len(entries))
    best = np.full((len(directions), 0), -np.inf)
    rows = np.zeros((len(directions), 0), np.int64)
    for block, products in _products(directions, entries):
        values = np.concatenate([best, products], axis=1)
        places = np.concatenate([rows, np.broadcast_to(np.arange(block.start, block.stop), products.shape)], axis=1)
        if values.shape[1] > count:
            kept = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)  # keeps the order of rows
            values, places = (np.take_along_axis(part, kept, axis=1) for part in (values, places))
        order = np.lexsort([places, -values], axis=1)
        best, rows = (np.take_along_axis(part, order, axis=1) for part in (values, places))
    return rows


def _products(directions: Floats, entries: Array) -> Iterator[tuple[slice, Floats]]:
    """(K, b) products with each block of entries."""
    kind = product_dtype(entries.shape[1])
    blocks = row_blocks(len(entries), kind.itemsize * (entries.shape[1] + 4 * len(directions)))
    moved = directions.astype(kind)
    found = map_blocks(lambda block: moved @ np.asarray(entries[block], kind).T, blocks)
    return zip(blocks, found, strict=True)


def _smaller(directions: Floats, entries: Array, values: Sequence[Floats]) -> list[Floats]:
    """For each direction and each of its values the share of entries whose product is smaller."""
    counts = [np.zeros(len(one)) for one in values]
    for _, products in _products(directions, entries):
        for count, value, row in zip(counts, values, products, strict=True):
            count += [np.count_nonzero(row < one - 1e-12) for one in value]  # by more than rounding
    return [count / len(entries) for count in counts]


def _sums(block: Callable[[slice], Array], codes: Integers, groups: int, d: int) -> Floats:
    """Sums of unit vectors by group for each of p codings (p, n): (p, groups + 1, d), the last of all rows."""
    p, n = codes.shape
    columns = np.arange(p)[:, None] * groups

    def add(rows: slice) -> Floats:
        vectors, some = block(rows), codes[:, rows]
        member = np.zeros((rows.stop - rows.start, p * groups), vectors.dtype)
        coding, row = np.nonzero(some >= 0)
        member[row, (columns + some)[coding, row]] = 1
        return np.concatenate([member.T @ vectors, vectors.sum(axis=0, dtype=np.float64)[None]])

    total = np.zeros((p * groups + 1, d))
    for part in map_blocks(add, row_blocks(n, 8 * (2 * d + p * groups))):
        total += part
    every = np.broadcast_to(total[-1], (p, 1, d))
    return np.concatenate([total[:-1].reshape(p, groups, d), every], axis=1)


def _differences(sums: Floats, counts: Integers, n: int) -> Floats:
    """Mean inside less mean outside of sums (..., K + 1, d), the last of all: (..., K, d); 0 where either is empty."""
    inside, outside = sums[..., :-1, :], sums[..., -1:, :] - sums[..., :-1, :]
    size = counts[:, None]
    both = (size > 0) & (size < n)
    return np.where(both, inside / np.maximum(size, 1) - outside / np.maximum(n - size, 1), 0.0)


def largest_differences(
    images: Array, codes: Integers, entries: Array, groups: Array | None = None, permutations: int = 200,
    seed: Sequence[int] = (0,), progress: Callable[[int], None] = lambda done: None,
) -> list[Permuted]:  # fmt: skip
    """For each group the largest difference over all entries, in all images, beside what it is after codes were
    permuted (between groups of images as wholes where each has one code; `permuted_labels`): a `Permuted` each, with
    p = (1 + b) / (1 + permutations). What it shows and what not: above. NaN for a group that holds no image or all.

    progress: told how many permutations are done. Permutation i follows from (*seed, i) alone.
    """
    codes = np.asarray(codes, np.int64)
    n, count = len(codes), int(codes.max(initial=-1)) + 1
    lengths, sizes = row_lengths(images), np.bincount(codes[codes >= 0], minlength=count)

    def largest(codings: Integers) -> Floats:
        sums = _sums(lambda rows: unit_block(images, rows, lengths), codings, count, images.shape[1])
        found = np.full(len(codings) * count, -np.inf)
        for _, products in _products(_differences(sums, sizes, n).reshape(-1, images.shape[1]), entries):
            found = np.maximum(found, products.max(axis=1))
        return np.where((sizes > 0) & (sizes < n), found.reshape(len(codings), count), np.nan)

    observed = largest(codes[None])[0]
    drawn = np.empty((permutations, count))
    step = int(np.clip(_CODES // max(n, 1), 1, _DRAWS))
    for start in range(0, permutations, step):
        some = range(start, min(start + step, permutations))
        permuted = [permuted_labels(codes, groups, np.random.default_rng([*seed, i])) for i in some]
        drawn[start : some.stop] = largest(np.array(permuted))
        progress(some.stop)
    return [against_permutations(float(observed[g]), drawn[:, g].tolist()) for g in range(count)]
