"""Which categories of entries (the files that they stand in) describe which groups of images.

Groups are codes (n,) from 0 to K - 1, -1 for none; categories are codes from 0 to Q - 1.
"""

from __future__ import annotations

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
    unit_block,
)

FLOOR = 5.0  # tags that are there or to be expected, below which a lift says nothing
_ROUND = 0.5  # added to counts, so that none is no minus infinity


@dataclass(frozen=True)
class Lift:
    """(K, Q) each. counts: tags of the group's images from the category; shares: of the group's tags, in [0, 1] (NaN
    without tags); expected: the counts if the group's tags were as all images' are; lift: log2 of (count + 0.5) over
    (expected + 0.5), 1 is twice as many; NaN where count and expected are both below 5."""

    counts: Integers
    shares: Floats
    expected: Floats
    lift: Floats


def lift(tags: Integers, category: Integers, categories: int, codes: Integers, groups: int) -> Lift:
    """Compare the categories of the groups' tags with those of all images' tags.

    tags: (n, k) rows of entries, -1 for none; category: (m,) of the entries; codes: (n,). Images of no group count
    among all.

    >>> tags = np.repeat([[0], [1]], 10, axis=0)
    >>> found = lift(tags, np.array([0, 1]), 2, np.repeat([0, 1], 10), 2)
    >>> found.shares.tolist(), found.lift.round(2).tolist()                   # 10.5 / 5.5, 0.5 / 5.5
    ([[1.0, 0.0], [0.0, 1.0]], [[0.93, -3.46], [-3.46, 0.93]])
    """
    of_tags = np.where(tags >= 0, category[np.maximum(tags, 0)], -1)
    known = of_tags >= 0
    overall = np.bincount(of_tags[known], minlength=categories)
    known &= (codes >= 0)[:, None]
    of_groups = np.broadcast_to(codes[:, None], tags.shape)[known]
    counts = np.bincount(of_groups * categories + of_tags[known], minlength=groups * categories)
    counts = counts.reshape(groups, categories)
    totals = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = counts / totals
    expected = totals * (overall / max(1, overall.sum()))
    ratio = np.log2((counts + _ROUND) / (expected + _ROUND))
    return Lift(counts, shares, expected, np.where(np.maximum(counts, expected) >= FLOOR, ratio, np.nan))


def best_similarity(
    images: Array, entries: Array, category: Integers, categories: int, codes: Integers, groups: int
) -> Floats:
    """How near the nearest entry of each category is to an image, averaged over each group: (K, Q) cosines, NaN for a
    group without images or a category without entries. Larger categories are nearer by their number alone.

    images: (n, d) of any lengths; entries: (m, d), unit length. Takes every product (n x m): a sample of the images is
    enough for means. Never (n, m) in memory.

    >>> best_similarity(np.eye(2), np.eye(2), np.array([0, 1]), 2, np.array([0, 0]), 1).tolist()
    [[0.5, 0.5]]
    """
    order = np.argsort(category, kind="stable")
    kind = product_dtype(images.shape[1])
    lengths, sizes = row_lengths(images), np.bincount(codes[codes >= 0], minlength=groups)
    blocks = row_blocks(len(order), kind.itemsize * images.shape[1])
    members = np.flatnonzero(codes >= 0)

    def measure(rows: slice) -> Floats:
        some = members[rows]
        block, best = unit_block(images, some, lengths), np.full((len(some), categories), -np.inf)
        for part in blocks:
            of = category[order[part]]
            start = np.flatnonzero(np.diff(of, prepend=-1))
            nearest = np.maximum.reduceat(block @ np.asarray(entries[order[part]], kind).T, start, axis=1)
            best[:, of[start]] = np.maximum(best[:, of[start]], nearest)
        total = np.zeros((groups, categories))
        np.add.at(total, codes[some], best)
        return total

    total = np.zeros((groups, categories))
    for part in map_blocks(measure, row_blocks(len(members), 8 * max(1, min(len(order), 16_384)), most=512)):
        total += part
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / sizes[:, None]
    return np.where(np.isfinite(means), means, np.nan)
