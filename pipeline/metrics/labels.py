"""How much of the labels can be read from the vectors, and what the same measures give when labels mean nothing.

Labels are codes from 0, (n,) int64; groups (n,) int64, or None: images of one group (a patient) are no independent
evidence, so an image is never judged by others of its own group.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    Array,
    Floats,
    Integers,
    map_blocks,
    middle_row,
    moved_block,
    moved_squares,
    one_thread,
    product_dtype,
    row_blocks,
    squared_distances,
)

NEIGHBOURS = 5
FOLDS = 5
MOST_COORDINATES = 512  # principal coordinates that a probe gets
STRENGTH = 5.0  # scikit-learn's C, for features whose squares sum to 1 on average, however many there are
ITERATIONS = 100
TOLERANCE = 1e-3  # of the gradient: predicts 99 labels in 100 as a full fit does, in a fraction of its time


@dataclass(frozen=True)
class Permuted:
    """A score, and the same score after labels were permuted: mean, standard deviation (NaN below two), and
    p = (1 + permutations with at least this score) / (1 + permutations), in (0, 1]. NaN where not defined."""

    value: float
    mean: float
    sd: float
    p: float


def against_permutations(value: float, permuted: Sequence[float]) -> Permuted:
    """Compare a score (higher is better) with those of permuted labels.

    The observed labels count as one more permutation, so that p is never 0 (Phipson & Smyth 2010).

    >>> against_permutations(0.5, [0.1, 0.5, 0.3])          # one of three reaches it
    Permuted(value=0.5, mean=0.3, sd=0.2, p=0.5)
    """
    known = np.array([one for one in permuted if math.isfinite(one)])
    if not len(known) or not math.isfinite(value):
        return Permuted(value, math.nan, math.nan, math.nan)
    sd = float(np.round(known.std(ddof=1), 15)) if len(known) > 1 else math.nan
    reached = int((known >= value - 1e-12).sum())  # equal but for rounding
    return Permuted(value, float(known.mean()), sd, (1 + reached) / (1 + len(known)))


def permuted_labels(labels: Integers, groups: Integers | None, random: np.random.Generator) -> Integers:
    """Labels dealt out at random, (n,): between groups as wholes where every group has one label, else between rows.

    A permutation of rows would tear apart what the images of a patient share with each other, and call it a label.

    >>> permuted_labels(np.array([0, 0, 0, 1]), np.array([7, 7, 7, 8]), np.random.default_rng(3)).tolist()
    [1, 1, 1, 0]
    """
    if groups is None:
        return random.permutation(labels)
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    of_group = labels[first]
    return random.permutation(of_group)[place] if (of_group[place] == labels).all() else random.permutation(labels)


def repeated(labels: Integers, groups: Integers | None) -> np.ndarray:
    """Which rows have a label that can be told from others' rows: (n,) bool. A label needs two images, or images of
    two groups.

    >>> repeated(np.array([0, 0, 1, 2, 2]), None).tolist()
    [True, True, False, True, True]
    >>> repeated(np.array([0, 0, 2, 2]), np.array([1, 2, 3, 3])).tolist()
    [True, True, False, False]
    """
    if not len(labels):
        return np.zeros(0, dtype=bool)
    units = np.arange(len(labels)) if groups is None else groups
    pairs = np.unique(np.stack([labels, units], axis=1), axis=0)
    return np.asarray(np.bincount(pairs[:, 0])[labels] > 1)


def nearest_others(vectors: Array, groups: Integers | None, count: int = NEIGHBOURS) -> Integers:
    """The nearest rows of other groups (None: other rows), by Euclidean distance: (n, count) int64, nearest first, of
    equal ones the earlier row; -1 where there are no more. `vectors` (n, d) of any real type.

    >>> nearest_others(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1]), count=2).tolist()
    [[2, -1], [2, -1], [1, 0]]
    """
    n = len(vectors)
    middle = middle_row(vectors)
    moved, lengths = moved_block(vectors, slice(None), middle), moved_squares(vectors, middle)
    units = np.arange(n) if groups is None else groups
    found = np.full((n, count), -1, dtype=np.int64)

    def look(rows: slice) -> None:
        apart = squared_distances(moved[rows], lengths[rows], moved, lengths)
        apart[units[rows][:, None] == units] = np.inf
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :count]
        known = np.isfinite(np.take_along_axis(apart, nearest, axis=1))
        found[rows, : nearest.shape[1]] = np.where(known, nearest, -1)

    for _ in map_blocks(look, row_blocks(n, bytes_per_row=16 * n)):
        pass
    return found


def voted(labels: Integers, neighbours: Integers) -> Integers:
    """The label that most of a row's neighbours have, of equally frequent ones the one that the nearest of them has:
    (n,), -1 for a row without neighbours. neighbours (n, k) as `nearest_others` gives them.

    >>> voted(np.array([5, 5, 6, 6]), np.array([[1, 2, 3], [2, 0, -1]])).tolist()
    [6, 6]
    """
    votes = np.where(neighbours >= 0, labels[neighbours], -1)
    alike = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    alike[neighbours < 0] = 0
    return np.asarray(np.take_along_axis(votes, alike.argmax(axis=1)[:, None], axis=1)[:, 0])


def folds(labels: Integers, groups: Integers | None, seed: int = 0) -> Integers:
    """A fold for each row, (n,) from 0: at most 5, labels spread evenly over them, groups whole.

    Fewer folds where there are fewer groups, or no label has so many images. ValueError where not even two can be made.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    largest = int(np.bincount(labels).max(initial=0))
    count = min(FOLDS, largest, largest if groups is None else len(np.unique(groups)))
    if count < 2:
        raise ValueError("no two folds can be made: there are too few images of any label, or too few groups")
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    found = np.zeros(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rare labels are no mistake
        split = kind(count, shuffle=True, random_state=seed).split(np.zeros((len(labels), 0)), labels, groups)
        for fold, (_, held_out) in enumerate(split):
            found[held_out] = fold
    return found


def coordinates(vectors: Array) -> np.ndarray:
    """Standardised features (mean 0, variance 1; constant ones left out), turned to their first principal axes where
    there are more than 512: (n, at most 512) float32.

    A penalty on squared weights does not see a rotation, so the axes change nothing but what is left out. Labels have
    no part in any of this. `vectors` (n, d) of any real type.
    """
    n, d = vectors.shape
    mean, scale = _moments(vectors)
    kept = np.flatnonzero(scale > 1e-9 * np.abs(mean))
    if len(kept) <= MOST_COORDINATES:
        return _standardised(vectors, kept, mean, scale).astype(np.float32)
    if len(kept) <= n:
        rows = _standardised(vectors, kept, mean, scale)
        with one_thread():
            return np.asarray(rows @ _largest(rows.T @ rows)[1], dtype=np.float32)

    def products(block: slice) -> np.ndarray:
        part = _standardised(vectors, kept[block], mean, scale).astype(product_dtype(d))
        return part @ part.T

    gram = np.zeros((n, n))
    for part in map_blocks(products, row_blocks(len(kept), bytes_per_row=16 * n)):
        gram += part
    values, axes = _largest(gram)
    return np.asarray(axes * np.sqrt(np.maximum(values, 0)), dtype=np.float32)


def _moments(vectors: Array) -> tuple[Floats, Floats]:
    """Mean and standard deviation of every column, (d,) each, a block of columns at a time."""
    mean, scale = np.empty(vectors.shape[1]), np.empty(vectors.shape[1])
    for block in row_blocks(len(mean), bytes_per_row=16 * len(vectors)):
        part = np.asarray(vectors[:, block], dtype=np.float64)
        mean[block], scale[block] = part.mean(axis=0), part.std(axis=0)
    return mean, scale


def _standardised(vectors: Array, columns: Integers, mean: Floats, scale: Floats) -> Floats:
    return np.asarray((vectors[:, columns] - mean[columns]) / scale[columns])


def _largest(products: Floats) -> tuple[Floats, Floats]:
    """The largest eigenvalues of a symmetric matrix and their vectors, as columns."""
    from scipy.linalg import eigh

    size = len(products)
    with one_thread():
        values, axes = eigh(products, subset_by_index=(max(size - MOST_COORDINATES, 0), size - 1))
    return values, axes


def probed(features: Array, labels: Integers, fold: Integers) -> Integers:
    """The label that a linear probe tells for each row from the rows of other folds: (n,).

    Multinomial logistic regression with an L2 penalty (C = 5 / r), by L-BFGS until no gradient exceeds 1e-3, at most
    100 steps. features (n, r) as `coordinates` gives them, r >= 1. Where all other rows have one label, that label.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    told = np.empty(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many steps are part of the definition
        for held_out in np.unique(fold):
            shown = fold != held_out
            if (labels[shown] == labels[shown][0]).all():
                told[~shown] = labels[shown][0]
                continue
            model = LogisticRegression(C=STRENGTH / features.shape[1], max_iter=ITERATIONS, tol=TOLERANCE)
            told[~shown] = model.fit(features[shown], labels[shown]).predict(features[~shown])
    return told


def accuracy(labels: Integers, told: Integers) -> float:
    """Share of rows whose label was told right, in [0, 1]."""
    return float((labels == told).mean())


def compared(
    score: Callable[[Integers], dict[str, float]],
    labels: Integers,
    groups: Integers | None,
    permutations: int,
    seed: Sequence[int],
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Permuted]:
    """Every score of `score(labels)` beside those of permuted labels. Permutation i follows from (*seed, i) alone."""
    with one_thread():  # the same bits on any number of cores
        observed = score(labels)
        permuted: dict[str, list[float]] = {name: [] for name in observed}
        for i in range(permutations):
            for name, value in score(permuted_labels(labels, groups, np.random.default_rng([*seed, i]))).items():
                permuted[name].append(value)
            progress()
    return {name: against_permutations(value, permuted[name]) for name, value in observed.items()}
