"""Images that a data set has more than once: the same bytes, or nearly the same vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks, row_blocks, row_lengths

FEWEST_CENTRED = 10  # vectors from which their mean says something of the rest


def same_content(hashes: Sequence[str]) -> Integers:
    """Pairs (p, 2) that join all images of one hash: each with the first of them.

    >>> same_content(["x", "y", "x", "x"]).tolist()
    [[0, 2], [0, 3]]
    """
    first: dict[str, int] = {}
    pairs = [(first.setdefault(value, row), row) for row, value in enumerate(hashes)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)


def near_pairs(vectors: Array, rows: Integers, distances: Array, threshold: float) -> tuple[Integers, Floats]:
    """Pairs of rows that are nearly the same: (p, 2) with i < j, sorted, and the cosine (p,) that was compared.

    That is the smaller of two cosines in [-1, 1], higher is nearer: as the vectors are, and after the mean of all
    unit vectors is subtracted. The second alone tells images of one kind apart, whose vectors all point one way; with
    fewer than ten vectors only the first is used. vectors (n, d); rows, distances (n, k): nearest neighbours of each
    and their Euclidean distances: pairs are looked for among these. A zero vector is near none.
    """
    lengths = row_lengths(vectors)
    towards, square = _towards_the_mean(vectors, lengths)
    pairs, cosines = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for block in row_blocks(len(vectors), 64 * max(1, rows.shape[1])):
        one = np.repeat(np.arange(len(vectors))[block], rows.shape[1])
        other = np.asarray(rows[block], dtype=np.int64).ravel()
        product = lengths[one] * lengths[other]
        usable = (one != other) & (product > 0)
        one, other, product = one[usable], other[usable], product[usable]
        apart = np.asarray(distances[block], dtype=np.float64).ravel()[usable]
        cosine = (lengths[one] ** 2 + lengths[other] ** 2 - apart**2) / (2 * product)  # the law of cosines
        if len(vectors) >= FEWEST_CENTRED:
            cosine = np.minimum(cosine, _centred(cosine, towards[one], towards[other], square))
        near = cosine >= threshold
        pairs.append(np.sort(np.stack([one[near], other[near]], axis=1), axis=1))
        cosines.append(np.clip(cosine[near], -1.0, 1.0))
    every, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    return every, np.concatenate(cosines)[first]


def _towards_the_mean(vectors: Array, lengths: Floats) -> tuple[Floats, float]:
    """(n,) products of each unit vector with the mean of all, and the mean's squared length."""
    n, d = vectors.shape
    blocks = row_blocks(n, bytes_per_row=8 * d)
    mean = sum(map_blocks(lambda rows: _units(vectors, rows, lengths).sum(axis=0), blocks)) / n
    products = list(map_blocks(lambda rows: _units(vectors, rows, lengths) @ mean, blocks))
    return np.concatenate(products), float(mean @ mean)


def _units(vectors: Array, rows: slice, lengths: Floats) -> Floats:
    return np.asarray(vectors[rows], np.float64) / np.where(lengths[rows] > 0, lengths[rows], 1.0)[:, None]


def _centred(cosine: Floats, one: Floats, other: Floats, square: float) -> Floats:
    """Cosines of u - m and v - m from those of u and v, their products with m and the square of m; 1 where both are m,
    -1 where one is."""
    left, right = 1 - 2 * one + square, 1 - 2 * other + square
    exact = 1e-12  # below it a vector is the mean itself
    both = (left <= exact) & (right <= exact)
    lengths = np.sqrt(np.maximum(left, exact) * np.maximum(right, exact))
    found = (cosine - one - other + square) / lengths
    return np.where(both, 1.0, np.where((left <= exact) | (right <= exact), -1.0, found))


def joined(n: int, pairs: Integers) -> Integers:
    """Groups that pairs (p, 2) join: (n,), from 0 by falling size and then by their first row; -1: in none.

    >>> joined(6, np.array([[4, 5], [1, 2], [2, 3]])).tolist()
    [-1, 0, 0, 0, 1, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, parts = connected_components(links, directed=False)
    _, first, inverse, sizes = np.unique(parts, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    names = np.empty(len(order), np.int64)
    names[order] = np.arange(len(order))
    return np.where(sizes[inverse] > 1, names[inverse], -1)


def crossing(groups: Integers, values: Sequence[object]) -> list[int]:
    """Groups whose members have more than one of `values` (n,); None is no value.

    >>> crossing(np.array([0, 0, 1, 1, -1]), ["a", "b", "a", None, "c"])
    [0]
    """
    seen: dict[int, set[object]] = {}
    for group, value in zip(groups.tolist(), values, strict=True):
        if group >= 0 and value is not None and value == value:
            seen.setdefault(group, set()).add(value)
    return sorted(group for group, found in seen.items() if len(found) > 1)
