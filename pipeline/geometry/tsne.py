"""t-SNE to two dimensions, on exact neighbours."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from pipeline.geometry.neighbours import Neighbours, Progress, nearest_neighbours
from pipeline.geometry.projection import Float32s, Placer, pca_projection
from pipeline.geometry.sampling import KnownNeighbours, fitted_rows, merged, say_sampled, split
from pipeline.metrics.blocks import Array, one_thread

_LOG = logging.getLogger(__name__)

SMALLEST = 4
"""Fewest rows: the lowest perplexity is 1, and takes three neighbours."""

_MANY = 5000
_EXAGGERATED = 250
_START = 1e-4
PLACED = 5  # perplexity of rows that are placed: openTSNE's own default


def neighbours_for(perplexity: float) -> int:
    """How many neighbours t-SNE looks at for a perplexity: three times as many, and the row itself.

    >>> neighbours_for(30)
    91
    """
    return int(3 * perplexity) + 1


def tsne_projection(
    vectors: Array,
    perplexity: float = 30.0,
    n_iter: int = 500,
    seed: int | None = 0,
    progress: Progress | None = None,
    neighbours: Neighbours | None = None,
    max_fit: int = 200_000,
) -> Float32s:
    """t-SNE of (n, d) vectors on exact Euclidean neighbours: (n, 2) float32.

    van der Maaten & Hinton (2008), by openTSNE (Policar, Strazar & Zupan 2024) with its defaults: 250 iterations with
    exaggeration 12, then `n_iter` without; learning rate n / 12 at least 200. It starts from the first two principal
    components scaled to a standard deviation of 0.0001, with a hundredth of that as noise drawn by `seed`. With a
    seed, one thread and the same bits on any number of cores; `seed=None` differs each time, and uses all cores from
    5,000 rows (below, threads would wait for each other more than they work).

    A perplexity above (n - 1) / 3 is lowered to that, with a logged warning. `neighbours`: of the fitted rows, as
    `nearest_neighbours` gives them, at least `neighbours_for(perplexity)` or all; None: found here. Above `max_fit`
    rows so many are fitted and the others placed among them by openTSNE's transform with its perplexity of 5, on exact
    neighbours too, with a logged warning. `progress(done,
    total)` is called now and then with iterations. ValueError for n < 4, perplexity < 1, n_iter < 1, and for values
    that are not finite.
    """
    n = len(vectors)
    _check(n, perplexity, n_iter)
    if n <= max_fit:
        return np.asarray(_fitted(vectors, perplexity, n_iter, seed, progress, neighbours), dtype=np.float32)
    say_sampled("t-SNE", max_fit, n)
    fitted, others = split(n, max_fit)
    found = _fitted(vectors[fitted], perplexity, n_iter, seed, progress, neighbours)
    coordinates = np.array(found)
    placed = _placed(found, coordinates, KnownNeighbours(vectors, others, fitted, 3 * PLACED))
    return merged(fitted, coordinates, others, placed)


def _placed(found: Any, coordinates: Array, near: KnownNeighbours) -> Array:
    """Rows with these neighbours among the fitted ones, which lie at `coordinates`."""
    found.affinities.knn_index = near
    perplexity = min(PLACED, (len(coordinates) - 1) / 3)
    with one_thread("blas"):
        placed = found.transform(np.zeros((len(near.indices), 1)), perplexity=perplexity)
    return np.asarray(placed + (coordinates[0] - np.asarray(found)[0]))  # `transform` moves all to another middle


def tsne_placer(
    vectors: Array,
    projection: Array,
    perplexity: float = 30.0,
    n_iter: int = 500,
    seed: int | None = 0,
    progress: Progress | None = None,
    neighbours: Neighbours | None = None,
    max_fit: int = 200_000,
) -> Placer | None:
    """What places further vectors, (m, d) -> (m, 2) float32, in `projection`, which `tsne_projection` made of `vectors`
    with these settings: it is fitted again. None where that gives other coordinates (no seed, another version).

    openTSNE's transform with its perplexity of 5, on exact neighbours among the fitted rows. A row of `vectors` is
    placed as any other, so near where it is, not there.
    """
    fitted = fitted_rows(len(vectors), max_fit)
    sample = vectors if len(fitted) == len(vectors) else vectors[fitted]
    found = _fitted(sample, perplexity, n_iter, seed, progress, neighbours)
    coordinates = np.array(found)
    if not np.array_equal(coordinates.astype(np.float32), projection[fitted]):
        return None
    every = np.arange(len(sample))

    def place(new: Array) -> Float32s:
        near = KnownNeighbours(sample, np.arange(len(new)), every, 3 * PLACED, new)
        return _placed(found, coordinates, near).astype(np.float32)

    return place


def _fitted(
    vectors: Array, perplexity: float, n_iter: int, seed: int | None, progress: Progress | None,
    neighbours: Neighbours | None,
) -> Any:  # fmt: skip
    """openTSNE's embedding, an array with what is needed to place further rows."""
    n = len(vectors)
    if perplexity > (n - 1) / 3:
        _LOG.warning("t-SNE: perplexity lowered from %g to %.4g, as there are %d rows", perplexity, (n - 1) / 3, n)
        perplexity = (n - 1) / 3
    count = neighbours_for(perplexity)
    indices, distances = neighbours or nearest_neighbours(vectors, count)
    if not np.isfinite(distances).all():
        raise ValueError("vectors hold values that are not finite")
    start = _start(vectors, seed)
    jobs = -1 if seed is None and n >= _MANY else 1
    return _optimised(indices[:, 1:count], distances[:, 1:count], start, perplexity, n_iter, jobs, progress)


def _check(n: int, perplexity: float, n_iter: int) -> None:
    if n < SMALLEST:
        raise ValueError(f"t-SNE needs at least {SMALLEST} images, got {n}")
    if perplexity < 1:
        raise ValueError(f"perplexity must be at least 1, got {perplexity:g}")
    if n_iter < 1:
        raise ValueError(f"n_iter must be at least 1, got {n_iter}")


def _start(vectors: Array, seed: int | None) -> Array:
    count = min(2, *vectors.shape)
    start = np.zeros((len(vectors), 2))
    start[:, :count] = pca_projection(vectors, count)
    start *= _START / max(float(start[:, 0].std()), 1e-30)
    start += np.random.default_rng(seed).normal(scale=_START / 100, size=start.shape)
    return start


def _optimised(
    indices: Array, distances: Array, start: Array, perplexity: float, n_iter: int, jobs: int,
    progress: Progress | None,
) -> Any:  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # while it is imported
        import openTSNE
        from openTSNE.affinity import PerplexityBasedNN
        from openTSNE.nearest_neighbors import PrecomputedNeighbors

    known = PrecomputedNeighbors(indices.astype(np.int64), distances.astype(np.float64))
    seen = 0

    def tell(iteration: int, error: float, embedding: Array) -> None:
        nonlocal seen
        seen += 10
        if progress:
            progress(min(seen, _EXAGGERATED + n_iter), _EXAGGERATED + n_iter)

    with one_thread("blas"):
        model = openTSNE.TSNE(
            initialization=start,
            early_exaggeration_iter=_EXAGGERATED,
            n_iter=n_iter,
            n_jobs=jobs,
            callbacks=tell,
            callbacks_every_iters=10,
        )
        return model.fit(affinities=PerplexityBasedNN(perplexity=perplexity, n_jobs=jobs, knn_index=known))
