"""Half-samples, and how much of each cluster is found again in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.metrics.blocks import Array, Integers


def half_samples(n: int, groups: Sequence[object] | None, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """`count` random halves of n rows without replacement: (count, n) bool.

    groups (n,): rows of one group go together (None: a row by itself); groups are taken in random order as long as
    they bring the number of rows nearer to half. ValueError where halves of whole groups cannot be had: one would hold
    less than a quarter of the rows, or more than three.

    >>> half_samples(6, ["a", "a", "b", "b", "c", "c"], 2, (0,)).sum(axis=1).tolist()
    [2, 2]
    """
    names = (
        list(range(n)) if groups is None else [row if g is None or g != g else ("", g) for row, g in enumerate(groups)]
    )
    known = {name: place for place, name in enumerate(dict.fromkeys(names))}
    codes = np.array([known[name] for name in names], dtype=np.int64)
    sizes = np.bincount(codes, minlength=len(known))
    found = np.zeros((count, n), dtype=bool)
    for i in range(count):
        chosen = _half(sizes, n // 2, np.random.default_rng([*seed, i]))
        found[i] = chosen[codes]
    taken = found.sum(axis=1)
    if count and (n < 4 or not ((4 * taken >= n) & (4 * taken <= 3 * n)).all()):
        raise ValueError(f"{len(known)} groups cannot be halved")
    return found


def _half(sizes: Integers, wanted: int, random: np.random.Generator) -> np.ndarray:
    chosen, taken = np.zeros(len(sizes), dtype=bool), 0
    for group in random.permutation(len(sizes)):
        if abs(taken + sizes[group] - wanted) < abs(taken - wanted):
            chosen[group], taken = True, taken + sizes[group]
        if taken >= wanted:
            break
    return chosen


def jaccard(clusters: Array, again: Array) -> np.ndarray:
    """For each cluster of `clusters` (n,) the largest Jaccard index with one of `again` (n,): (k,) in [0, 1], higher
    is more stable; in the order of the ids. -1 is no cluster. A cluster without rows here: NaN.

    Hennig (2007), cluster-wise stability: 0.75 and more is called stable there. Stability alone is no evidence of
    clusters: an elongated cloud is cut at the same places again and again.

    >>> jaccard(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 7])).round(3).tolist()
    [0.667, 0.5]
    """
    ids, others = np.arange(clusters.max(initial=-1) + 1), np.unique(again[again >= 0])
    best = np.full(len(ids), np.nan)
    for place, cluster in enumerate(ids):
        members = clusters == cluster
        if not members.any():
            continue
        values = [np.sum(members & (again == other)) / np.sum(members | (again == other)) for other in others]
        best[place] = max(values, default=0.0)
    return best
