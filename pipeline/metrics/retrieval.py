"""Captions found by their images and images by their captions.

Captions are occurrences: caption j has the text `text_of[j]` and belongs to the image `image_of[j]`. An image may have
several captions, and several images the same text.

Two ways to say what is right. *Shared*: an equal caption of another image is right for each of them (a text finds any
image that has it; texts are candidates once each). *Strict*: only an image's own captions and a caption's own image are
right, so of a text that two images share one copy is always wrong. A rank is 1 + the number of wrong candidates that
are at least as near as the nearest right one: of equal cosines (less than 1e-9 apart, 1e-5 above 1024 dimensions) the
wrong ones come first.
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
    product_dtype,
    row_blocks,
    row_lengths,
    tile_blocks,
    unit_block,
)
from pipeline.metrics.influence import Interval
from pipeline.metrics.resampling import percentiles, resampled, share_interval, units

AT = (1, 5, 10)
"""The k of recall@k."""

_PAIRS = 4096  # captions of one tile that are compared at a time


@dataclass(frozen=True)
class Ranks:
    """Of each query from 1. shared, strict: (q,) int64; right_shared, right_strict: (q,) numbers of right candidates;
    candidates_shared, candidates_strict: how many are searched."""

    shared: Integers
    strict: Integers
    right_shared: Integers
    right_strict: Integers
    candidates_shared: int
    candidates_strict: int


@dataclass(frozen=True)
class _Pairs:
    """Which image has which text, each pair once, sorted by image then text: rows, columns (p,), and how many captions
    of the image have that text, times (p,)."""

    rows: Integers
    columns: Integers
    times: Integers

    def inside(self, rows: slice, columns: slice) -> tuple[Integers, Integers, Integers]:
        """Places in the tile, and times, of the pairs in it."""
        start, stop = np.searchsorted(self.rows, [rows.start, rows.stop])
        within = (self.columns[start:stop] >= columns.start) & (self.columns[start:stop] < columns.stop)
        found = np.flatnonzero(within) + start
        return self.rows[found] - rows.start, self.columns[found] - columns.start, self.times[found]


def _pairs(rows: Integers, columns: Integers) -> _Pairs:
    pairs, times = np.unique(np.stack([rows, columns], axis=1), axis=0, return_counts=True)
    return _Pairs(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), times)


class _Cosines:
    """Products of (n, d) and (u, d) vectors of any lengths, by tiles."""

    def __init__(self, left: Array, right: Array) -> None:
        self.left, self.right = left, right
        self.lengths = row_lengths(left), row_lengths(right)
        self.columns = tile_blocks(len(right), right.shape[1])
        self.near = 1e-9 if product_dtype(left.shape[1]) == np.float64 else 1e-5

    def rows(self, rows: slice) -> Array:
        return unit_block(self.left, rows, self.lengths[0])

    def tile(self, block: Array, columns: slice) -> Array:
        return block @ unit_block(self.right, columns, self.lengths[1]).T

    def of_pairs(self, rows: Integers, columns: Integers) -> Floats:
        """The cosine of each pair: (p,)."""
        found = np.empty(len(rows))
        for part in row_blocks(len(rows), 32 * self.left.shape[1]):
            one = unit_block(self.left, rows[part], self.lengths[0])
            found[part] = np.einsum("ij,ij->i", one, unit_block(self.right, columns[part], self.lengths[1]))
        return found


def image_ranks(images: Array, texts: Array, image_of: Integers, text_of: Integers) -> tuple[Integers, Ranks]:
    """For every image that has a caption, the rank of the nearest of them: the images' rows (q,), and their ranks.

    images (n, d), texts (u, d): vectors of any lengths; image_of, text_of: (m,) int64. Never (n, u) in memory.

    >>> images, texts = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [0.8, 0.6]])
    >>> image_ranks(images, texts, np.array([0, 1]), np.array([0, 1]))[1].shared.tolist()    # the other's is nearer
    [2, 2]
    """
    pairs = _pairs(image_of, text_of)
    queries, first = np.unique(pairs.rows, return_index=True)
    cosines = _Cosines(images[queries], texts)
    pairs = _Pairs(np.searchsorted(queries, pairs.rows), pairs.columns, pairs.times)
    copies = np.bincount(text_of, minlength=len(texts))
    used = copies > 0  # a text without a caption is no candidate
    best = np.maximum.reduceat(cosines.of_pairs(pairs.rows, pairs.columns), first) - cosines.near
    shared, strict = np.ones(len(queries), np.int64), np.ones(len(queries), np.int64)

    def count(rows: slice) -> None:
        block = cosines.rows(rows)
        for columns in cosines.columns:
            nearer = cosines.tile(block, columns) >= best[rows, None]
            own, text, times = pairs.inside(rows, columns)
            strict[rows] += (nearer @ copies[columns].astype(np.float64)).astype(np.int64)
            np.subtract.at(strict, own + rows.start, times * nearer[own, text])
            nearer[own, text] = False
            shared[rows] += np.count_nonzero(nearer & used[columns], axis=1)

    for _ in map_blocks(count, tile_blocks(len(queries), images.shape[1])):
        pass
    right = np.add.reduceat(np.stack([np.ones_like(pairs.times), pairs.times]), first, axis=1)
    return queries, Ranks(shared, strict, right[0], right[1], int(used.sum()), len(text_of))


def caption_ranks(images: Array, texts: Array, image_of: Integers, text_of: Integers) -> Ranks:
    """For every caption the rank of its image, shared: of the nearest image with that text; (m,) each.

    Images without a caption are candidates, too.
    """
    pairs = _pairs(text_of, image_of)
    cosines = _Cosines(texts, images)
    order = np.argsort(text_of, kind="stable")
    asked = text_of[order]
    own = cosines.of_pairs(asked, image_of[order]) - cosines.near
    best = np.full(len(texts), -np.inf)
    np.maximum.at(best, asked, own)
    shared, strict = np.ones(len(texts), np.int64), np.zeros(len(asked), np.int64)  # the own image counts itself

    def count(rows: slice) -> None:
        block = cosines.rows(rows)
        start, stop = np.searchsorted(asked, [rows.start, rows.stop])
        for columns in cosines.columns:
            tile = cosines.tile(block, columns)
            for part in row_blocks(stop - start, 1, _PAIRS):
                some = slice(start + part.start, start + part.stop)
                strict[some] += (tile[asked[some] - rows.start] >= own[some, None]).sum(axis=1)
            nearer = tile >= best[rows, None]
            text, image, _ = pairs.inside(rows, columns)
            nearer[text, image] = False
            shared[rows] += nearer.sum(axis=1)

    for _ in map_blocks(count, tile_blocks(len(texts), images.shape[1])):
        pass
    of_captions = np.empty(len(asked), np.int64)
    of_captions[order] = strict
    images_with = np.bincount(pairs.rows, minlength=len(texts))
    ones = np.ones(len(text_of), np.int64)
    return Ranks(shared[text_of], of_captions, images_with[text_of], ones, len(images), len(images))


@dataclass(frozen=True)
class Recall:
    """queries; candidates; at: (3,) k = 1, 5, 10; recall: (3,) shares of queries with a right answer among the k
    nearest, in [0, 1], higher is better, with 95 % bootstrap intervals; chance: (3,) the same of a random order;
    median, mean: of the ranks, from 1, lower is better; median_interval: 95 %."""

    queries: int
    candidates: int
    at: Integers
    recall: Floats
    interval: Interval
    chance: Floats
    median: float
    median_interval: Interval
    mean: float


def recall(
    ranks: Integers, right: Integers, candidates: int, groups: Array | None, resamples: int = 1000,
    seed: Sequence[int] = (0,),
) -> Recall:  # fmt: skip
    """Sum up ranks (q,) of queries that have `right` (q,) right candidates each. groups (q,): queries that belong
    together; for captions at least the image, whose captions are no independent evidence. q = 0: NaN.

    >>> found = recall(np.array([1, 3, 7, 1]), np.ones(4, int), 10, None, 100)
    >>> found.recall.tolist(), found.chance.round(3).tolist(), found.median, found.mean
    ([0.5, 0.75, 1.0], [0.1, 0.5, 1.0], 2.0, 3.0)
    """
    at = np.array(AT)
    count, unit = len(ranks), units(len(ranks), groups)
    order = np.argsort(ranks, kind="stable")
    found, rising = (ranks[:, None] <= at).astype(np.float64), ranks[order]
    drawn = int(unit.max(initial=-1)) + 1

    def measure(weights: Floats) -> Floats:
        total = weights.sum()
        shares = weights @ found / total if total else np.full(3, np.nan)
        return np.array([*shares, _median(rising, weights[order])])

    value = measure(np.ones(count))
    samples = resampled(measure, unit, resamples, seed) if drawn > 1 else np.full((1, 4), np.nan)
    low, high = percentiles(samples[:, 3])
    return Recall(
        queries=count,
        candidates=candidates,
        at=at,
        recall=value[:3],
        interval=share_interval(value[:3], samples[:, :3], np.full(3, drawn)),
        chance=chance(right, candidates),
        median=float(value[3]),
        median_interval=Interval(float(low), float(high)),
        mean=float(ranks.mean()) if count else np.nan,
    )


def chance(right: Integers, candidates: int, at: Sequence[int] | Integers = AT) -> Floats:
    """Recall at each k of a random order: 1 - C(N - r, k) / C(N, k) for r right of N candidates, averaged over queries.

    >>> chance(np.array([1, 2]), 4).round(3).tolist()                          # 1/4 and 2/4; five of four is all
    [0.375, 1.0, 1.0]
    """
    from scipy.special import gammaln

    if not len(right):
        return np.full(len(at), np.nan)
    numbers, times = np.unique(right, return_counts=True)
    taken, wrong = np.asarray(at)[:, None], candidates - numbers
    enough = wrong >= taken  # else every draw holds a right one
    ways = gammaln(wrong + 1) - gammaln(np.where(enough, wrong - taken, 0) + 1)
    ways += gammaln(np.where(enough, candidates - taken, 0) + 1) - gammaln(candidates + 1)
    return np.asarray(1 - np.where(enough, np.exp(ways), 0.0) @ times / len(right))


def curve(ranks: Integers, right: Integers, candidates: int) -> tuple[Integers, Floats, Floats]:
    """Recall over k, from 1 to the number of candidates, at most 200 values of k, evenly spaced on a logarithmic scale:
    k, recall, and that of a random order.

    >>> k, found, by_chance = curve(np.array([1, 3]), np.ones(2, int), 4)
    >>> k.tolist(), found.tolist(), by_chance.round(2).tolist()
    ([1, 2, 3, 4], [0.5, 0.5, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0])
    """
    k = np.unique(np.geomspace(1, max(candidates, 1), 200).round().astype(np.int64))
    found = np.searchsorted(np.sort(ranks), k, side="right") / max(1, len(ranks))
    return k, found, chance(right, candidates, k)


def _median(rising: Integers, weights: Floats) -> float:
    """The median of values in rising order that occur `weights` times each."""
    below = np.cumsum(weights)
    if not len(below) or below[-1] == 0:
        return np.nan
    middle = below[-1] / 2
    at = np.searchsorted(below, middle, side="left"), np.searchsorted(below, middle, side="right")
    return float(rising[list(at)].mean()) if below[at[0]] == middle else float(rising[at[0]])
