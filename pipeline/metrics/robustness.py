"""What becomes of images whose pixels were perturbed: do they keep their cluster, their direction and their class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    mean_row,
    one_thread,
    row_blocks,
    row_lengths,
    squares,
    unit_block,
    unit_rows,
)
from pipeline.metrics.influence import Interval
from pipeline.metrics.resampling import resampled, share_interval


def nearest_centre(vectors: Array, centres: Array) -> Integers:
    """(n,) int64: the row of `centres` (k, d) nearest to each of (n, d) vectors, of equal ones the first.

    Squared Euclidean distances in float64, counted from the mean of the centres.

    >>> nearest_centre(np.array([[0.0], [2.0], [9.0]]), np.array([[0.0], [4.0]])).tolist()
    [0, 0, 1]
    """
    middle = mean_row(centres)
    moved = np.asarray(centres, dtype=np.float64) - middle
    found = np.empty(len(vectors), np.int64)
    with one_thread("blas"):
        for rows in row_blocks(len(vectors), bytes_per_row=8 * vectors.shape[1]):
            block = np.asarray(vectors[rows], dtype=np.float64) - middle
            found[rows] = (squares(moved) - 2 * block @ moved.T).argmin(axis=1)
    return found


def cosines(vectors: Array, others: Array) -> Floats:
    """(n,) the cosine of each row with the same row of the other, in [-1, 1]; NaN where one of them is all zeros, and
    exactly 1 where they are equal.

    >>> cosines(np.array([[1, 0], [1, 1], [0, 0]]), np.array([[0, 2], [1, 1], [1, 0]])).tolist()
    [0.0, 1.0, nan]
    """
    found = np.full(len(vectors), np.nan)
    for rows in row_blocks(len(vectors), bytes_per_row=16 * vectors.shape[1]):
        one, other = (np.asarray(some[rows], dtype=np.float64) for some in (vectors, others))
        lengths = np.sqrt(squares(one) * squares(other))
        products = np.einsum("ij,ij->i", one, other)
        products[(one == other).all(axis=1)] = lengths[(one == other).all(axis=1)]
        np.divide(products, lengths, out=found[rows], where=lengths > 0)
    return np.clip(found, -1.0, 1.0)


class ClassCentres:
    """The mean direction of each class, and which of them is nearest to an image that has no part in it.

    embeddings (n, d); codes (n,) the class of each, -1 for none; units (n,) which images belong together: those of an
    image's own unit are taken out of all centres when it is judged, else it would find itself.
    """

    def __init__(self, embeddings: Array, codes: Integers, units: Integers) -> None:
        self.embeddings, self.codes, self.lengths = embeddings, codes, row_lengths(embeddings)
        self.order = np.argsort(units, kind="stable")
        self.units = units
        self.sorted = units[self.order]
        self.sums = np.zeros((int(codes.max(initial=-1)) + 1, embeddings.shape[1]))
        known = np.flatnonzero(codes >= 0)
        for part in row_blocks(len(known), bytes_per_row=8 * embeddings.shape[1]):
            np.add.at(self.sums, codes[known[part]], unit_block(embeddings, known[part], self.lengths))
        self.counts = np.bincount(codes[known], minlength=len(self.sums))

    def nearest(self, vectors: Array, rows: Integers) -> Integers:
        """(m,) the class whose centre has the largest cosine with each of (m, d) vectors, of images `rows` of the
        embeddings; -1 for a vector of zeros, and where no class has other images."""
        directions, found = unit_rows(vectors), np.full(len(vectors), -1, np.int64)
        lengths = np.sqrt(squares(self.sums))
        with one_thread("blas"):
            products = directions.astype(np.float64) @ self.sums.T
            for i, row in enumerate(rows):
                scores = self._scores(directions[i].astype(np.float64), products[i], lengths.copy(), int(row))
                if directions[i].any() and np.isfinite(scores).any():
                    found[i] = scores.argmax()
        return found

    def _scores(self, direction: Floats, products: Floats, lengths: Floats, row: int) -> Floats:
        """Cosines with all centres, without the images of the row's own unit."""
        start, end = (np.searchsorted(self.sorted, self.units[row], side=side) for side in ("left", "right"))
        own = self.order[start:end]
        own = own[self.codes[own] >= 0]
        left = self.counts - np.bincount(self.codes[own], minlength=len(self.counts))
        for code in np.unique(self.codes[own]):
            members = own[self.codes[own] == code]
            centre = self.sums[code] - unit_block(self.embeddings, members, self.lengths).sum(axis=0, dtype=np.float64)
            products[code], lengths[code] = direction @ centre, np.sqrt(centre @ centre)
        good = (left > 0) & (lengths > 0)
        return np.divide(products, lengths, out=np.full(len(products), -np.inf), where=good)


@dataclass(frozen=True)
class Shares:
    """value, and interval.low and interval.high: (c,) shares in [0, 1], NaN where nothing is known."""

    value: Floats
    interval: Interval


def shares(events: Floats, unit: Integers, resamples: int, seed: tuple[int, ...]) -> Shares:
    """The mean of each column of events (m, c), 0, 1 or NaN (not known), with a 95 % bootstrap interval.

    unit (m,): rows that are drawn together (pipeline.metrics.resampling.units); all columns share the draws, so they
    can be compared.

    >>> shares(np.array([[1, 0], [0, np.nan], [1, 0]]), np.arange(3), 100, (0,)).value.round(3).tolist()
    [0.667, 0.0]
    """
    known = ~np.isnan(events)
    happened = np.where(known, events, 0.0)

    def mean(weights: Floats) -> Floats:
        total = weights @ known
        return np.divide(weights @ happened, total, out=np.full(len(total), np.nan), where=total > 0)

    value = mean(np.ones(len(events)))
    counts = np.array([len(np.unique(unit[column])) for column in known.T])
    with one_thread("blas"):
        return Shares(value, share_interval(value, resampled(mean, unit, resamples, seed), counts))


def agreement(clean: Integers, perturbed: Integers) -> float:
    """Adjusted Rand index of two clusterings of the same images, at most 1; noise (-1) counts as a cluster. NaN for
    none."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(clean, perturbed)) if len(clean) else float("nan")
