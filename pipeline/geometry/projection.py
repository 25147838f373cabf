"""From many dimensions to few: UMAP on exact neighbours, PCA by a full solver, and a 2-D map for looking."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.geometry.compiled_umap import import_umap
from pipeline.geometry.neighbours import Neighbours, Progress, nearest_neighbours
from pipeline.geometry.sampling import KnownNeighbours, fitted_rows, merged, say_sampled, split
from pipeline.metrics.blocks import (
    Array,
    Floats,
    map_blocks,
    mean_row,
    middle_row,
    moved_block,
    one_thread,
    product_dtype,
    row_blocks,
    tile_blocks,
)

Float32s = npt.NDArray[np.float32]
Placer = Callable[[Array], Float32s]
"""(m, d) vectors -> where they come to lie in a projection that is there."""

_LOG = logging.getLogger(__name__)
_SKETCH_DIMENSIONS = 256
_DENSE_SOLVER_UP_TO = 2048


def umap_projection(
    vectors: Array,
    n_components: int = 5,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int | None = 0,
    progress: Progress | None = None,
    neighbours: Neighbours | None = None,
    max_fit: int = 200_000,
) -> Float32s:
    """UMAP of (n, d) vectors on exact Euclidean neighbours: (n, n_components) float32.

    McInnes, Healy & Melville (2018). One rule for every n: exact neighbours are found once and given to
    umap-learn (which by itself takes approximate ones from 4,096 rows up, and another code path below). With
    a seed, one thread and the same bits on any number of cores; the order of the rows acts like a seed.
    `seed=None` uses all cores and differs each time.

    `n_neighbors` counts the row itself; above n - 1 it is lowered, with a logged warning. `neighbours`: of the
    fitted rows, as `nearest_neighbours` gives them, at least n_neighbors or all; None: found here. Above `max_fit`
    rows so many are fitted and the others placed among them by umap-learn's transform, on exact neighbours too, with a
    logged warning. `progress(done,
    total)` is called now and then with epochs. ValueError for n < n_components + 2, n_components < 1,
    n_neighbors < 2, min_dist outside [0, 1], and for values that are not finite. Where umap-learn cannot
    start from the spectrum of the graph (tiny or oddly broken graphs), it starts from the principal
    components, and a logged warning says so.
    """
    n = len(vectors)
    _check_umap(n, n_components, n_neighbors, min_dist)
    if n <= max_fit:
        return _fitted(vectors, n_components, n_neighbors, min_dist, seed, progress, neighbours)[1]
    say_sampled("UMAP", max_fit, n)
    fitted, others = split(n, max_fit)
    sample = vectors[fitted]
    model, found = _fitted(sample, n_components, n_neighbors, min_dist, seed, progress, neighbours)
    return merged(fitted, found, others, _placed(model, KnownNeighbours(vectors, others, fitted, model.n_neighbors)))


def _placed(model: Any, near: KnownNeighbours) -> Float32s:
    """Rows with these neighbours among what the model is fitted to."""
    model._knn_search_index = near
    with _quiet(), one_thread("blas"):
        return np.asarray(model.transform(np.zeros((len(near.indices), 1), dtype=np.float32)), dtype=np.float32)


def umap_placer(
    vectors: Array,
    projection: Array,
    n_components: int = 5,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int | None = 0,
    progress: Progress | None = None,
    neighbours: Neighbours | None = None,
    max_fit: int = 200_000,
) -> Placer | None:
    """What places further vectors, (m, d) -> (m, n_components) float32, in `projection`, which `umap_projection` made
    of `vectors` with these settings: it is fitted again. None where that gives other coordinates (no seed, another
    version): then nothing can be placed in it.

    umap-learn's transform on exact neighbours among the fitted rows. A row of `vectors` is placed as any other, so
    near where it is, not there. Vectors placed together move a little with each other's company.
    """
    fitted = fitted_rows(len(vectors), max_fit)
    sample = vectors if len(fitted) == len(vectors) else vectors[fitted]
    model, found = _fitted(sample, n_components, n_neighbors, min_dist, seed, progress, neighbours)
    if not np.array_equal(found, projection[fitted]):
        return None
    every = np.arange(len(sample))

    def place(new: Array) -> Float32s:
        return _placed(model, KnownNeighbours(sample, np.arange(len(new)), every, model.n_neighbors, new))

    return place


def pca_placer(vectors: Array, projection: Array) -> Placer:
    """The same for principal components, (m, d) -> (m, n_components) float32: `projection` is `pca_projection` of
    `vectors`. Exact: a component is the sum of the rows by their coordinate on it, over the squared length of that; a
    row of `vectors` comes to where it is, to rounding."""
    scores = np.asarray(projection, dtype=np.float64)
    middle, lengths = middle_row(vectors), np.square(scores).sum(axis=0)
    directions = np.zeros((scores.shape[1], vectors.shape[1]))
    blocks = row_blocks(len(vectors), bytes_per_row=8 * vectors.shape[1])
    for part in map_blocks(lambda rows: scores[rows].T @ moved_block(vectors, rows, middle), blocks):
        directions += part
    directions /= np.where(lengths > 0, lengths, 1.0)[:, None]
    origin = directions @ (mean_row(vectors) - middle)  # coordinates are counted from the mean

    def place(new: Array) -> Float32s:
        parts = row_blocks(len(new), bytes_per_row=8 * new.shape[1])
        found = map_blocks(lambda rows: moved_block(new, rows, middle) @ directions.T - origin, parts)
        return np.concatenate([np.empty((0, len(directions))), *found]).astype(np.float32)

    return place


def _fitted(
    vectors: Array, n_components: int, n_neighbors: int, min_dist: float, seed: int | None,
    progress: Progress | None, neighbours: Neighbours | None,
) -> tuple[Any, Float32s]:  # fmt: skip
    """The fitted model and its coordinates of the rows."""
    n = len(vectors)
    if n_neighbors > n - 1:
        _LOG.warning("UMAP: n_neighbors lowered from %d to %d, as there are %d rows", n_neighbors, n - 1, n)
        n_neighbors = n - 1
    indices, distances = neighbours or nearest_neighbours(vectors, n_neighbors)
    indices, distances = np.array(indices[:, :n_neighbors]), np.array(distances[:, :n_neighbors])
    umap = import_umap()
    sketch = _sketch(vectors)

    def fit(init: str | Float32s) -> tuple[Any, Float32s]:
        model = umap.UMAP(
            n_components=n_components,
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            init=init,
            random_state=seed,
            transform_seed=seed,
            n_jobs=-1 if seed is None else 1,
            precomputed_knn=(indices.copy(), distances.copy(), None),
            force_approximation_algorithm=True,
            tqdm_kwds=_tqdm_settings(progress),
        )
        with _quiet(), one_thread("blas"):
            return model, np.asarray(model.fit_transform(sketch), dtype=np.float32)

    try:
        model, result = fit("spectral")
        if np.isfinite(result).all():
            return model, result
        reason = "coordinates that are not finite"
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    _LOG.warning("UMAP: the spectral start failed (%s), started from principal components", reason)
    return fit(_principal_start(vectors, n_components, seed))


def pca_projection(vectors: Array, n_components: int) -> Float32s:
    """Coordinates of (n, d) vectors on their first principal components: (n, n_components) float32.

    Pearson (1901), by the full spectrum of the covariance matrix (d <= n) or of the Gram matrix of centred
    rows (n < d, as with raw pixels): exact, never randomised. Only where both sides exceed 2,048 a Lanczos
    solver run to machine precision takes the leading part. Sign: the coordinate that is largest in size is
    positive in every column. Directions without variance get zeros. Results do not depend on the number of
    cores.

    ValueError for n_components outside 1..min(n, d) and for values that are not finite.

    >>> pca_projection(np.array([[0, 0], [3, 4], [15, 20]]), 1).tolist()
    [[-10.0], [-5.0], [15.0]]
    """
    n, d = vectors.shape
    if not 1 <= n_components <= min(n, d):
        raise ValueError(
            f"n_components must lie between 1 and {min(n, d)}, the smaller of {n} rows and {d} dimensions, "
            f"got {n_components}"
        )
    middle = middle_row(vectors)
    if not np.isfinite(middle).all():
        raise ValueError("vectors hold values that are not finite")
    with one_thread("blas"):
        if d <= n:
            scores = _scores_by_covariance(vectors, middle, n_components)
        else:
            scores = _scores_by_gram(vectors, middle, n_components)
    largest = np.abs(scores).argmax(axis=0)
    scores *= np.where(scores[largest, np.arange(n_components)] < 0, -1.0, 1.0)
    return scores.astype(np.float32)


def flat_map(
    projection: Array,
    method: Literal["umap", "pca"] = "umap",
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int | None = 0,
    progress: Progress | None = None,
    neighbours: Neighbours | None = None,
    max_fit: int = 200_000,
) -> Float32s:
    """A 2-D map for looking at: (n, 2) float32. Two-dimensional input comes back as it is.

    `projection` (n, d') of any real type; UMAP with the given settings (`neighbours` and `max_fit` as
    there) or PCA. Too few rows for UMAP (fewer than 4) are mapped by PCA; axes that the data do not have are
    zero. ValueError for an unknown method.
    """
    if method not in ("umap", "pca"):
        raise ValueError(f"unknown method '{method}': known are umap, pca")
    n, d = projection.shape
    if d == 2:
        return np.asarray(projection, dtype=np.float32)
    if method == "umap" and n >= 4:
        return umap_projection(projection, 2, n_neighbors, min_dist, seed, progress, neighbours, max_fit)
    found = pca_projection(projection, min(2, n, d)) if n else np.zeros((0, 2), dtype=np.float32)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def _check_umap(n: int, n_components: int, n_neighbors: int, min_dist: float) -> None:
    if n_components < 1:
        raise ValueError(f"n_components must be at least 1, got {n_components}")
    if n_neighbors < 2:
        raise ValueError(f"n_neighbors must be at least 2, got {n_neighbors}")
    if not 0 <= min_dist <= 1:
        raise ValueError(f"min_dist must lie between 0 and 1, got {min_dist}")
    if n < n_components + 2:
        raise ValueError(f"UMAP to {n_components} dimensions needs at least {n_components + 2} images, got {n}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the warnings that umap-learn gives about choices made here on purpose."""
    with warnings.catch_warnings():
        for message in (
            r"precomputed_knn\[2\]",  # no search index: nothing new will be transformed
            r"(?s)Spectral initialisation failed",  # its own fall-back: a random start
            r"Graph is not fully connected",
            r".*k >= N",
        ):
            warnings.filterwarnings("ignore", message=message)
        # A broken start: its coordinates are checked afterwards.
        warnings.filterwarnings("ignore", message=r".*(divide by zero|invalid value)", category=RuntimeWarning)
        yield


class _EpochCounter:
    """A text stream for tqdm that passes 'done total' on as numbers."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> int:
        words = text.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            self._progress(int(words[0]), int(words[1]))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def _tqdm_settings(progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {"disable": True}
    return {
        "disable": False,
        "file": _EpochCounter(progress),
        "bar_format": "{n_fmt} {total_fmt}",
        "mininterval": 0.2,
    }


def _sketch(vectors: Array) -> Array:
    """What umap-learn itself gets to see of the vectors, beside their neighbours.

    It looks at them only to place the parts of a graph that falls apart, by the distances of the parts'
    means, but copies them several times as float32. Long vectors (d > 1024) are therefore shortened to 256
    fixed random directions, which keep these distances to about a tenth (Johnson & Lindenstrauss 1984).
    """
    n, d = vectors.shape
    if product_dtype(d) == np.float64:
        return np.asarray(vectors, dtype=np.float32)
    directions = np.random.default_rng(0).standard_normal((d, _SKETCH_DIMENSIONS), dtype=np.float32)
    directions /= np.float32(np.sqrt(_SKETCH_DIMENSIONS))
    middle = middle_row(vectors)
    blocks = row_blocks(n, bytes_per_row=4 * d)
    return np.concatenate(list(map_blocks(lambda rows: moved_block(vectors, rows, middle) @ directions, blocks)))


def _principal_start(vectors: Array, n_components: int, seed: int | None) -> Float32s:
    """Principal components scaled to 10, with a little noise: no axis is flat, no two rows coincide."""
    start = np.zeros((len(vectors), n_components))
    count = min(n_components, len(vectors), vectors.shape[1])
    start[:, :count] = pca_projection(vectors, count)
    start *= 10.0 / max(float(np.abs(start).max()), 1e-30)
    start += np.random.default_rng(seed).normal(scale=1e-2, size=start.shape)
    return start.astype(np.float32)


def _scores_by_covariance(vectors: Array, middle: Array, count: int) -> Floats:
    n, d = vectors.shape
    blocks = row_blocks(n, bytes_per_row=8 * d)
    offset = np.zeros(d)
    scatter = np.zeros((d, d))

    def add(rows: slice) -> tuple[Floats, Floats]:
        block = moved_block(vectors, rows, middle).astype(np.float64, copy=False)
        return block.sum(axis=0), block.T @ block

    for total, product in map_blocks(add, blocks):
        offset += total
        scatter += product
    offset /= n  # `middle` may be rounded
    scatter -= n * np.outer(offset, offset)
    values, directions = _leading(scatter, count)
    directions[:, values <= _noise_level(scatter)] = 0.0
    scores = np.empty((n, count))
    for rows in blocks:
        scores[rows] = (moved_block(vectors, rows, middle) - offset) @ directions
    return scores


def _scores_by_gram(vectors: Array, middle: Array, count: int) -> Floats:
    n, d = vectors.shape
    gram = np.empty((n, n))
    blocks = tile_blocks(n, d)

    def fill(index: int) -> None:
        left = moved_block(vectors, blocks[index], middle)
        for rows in blocks[index:]:
            right = left if rows is blocks[index] else moved_block(vectors, rows, middle)
            gram[blocks[index], rows] = left @ right.T
            gram[rows, blocks[index]] = gram[blocks[index], rows].T

    for _ in map_blocks(fill, range(len(blocks))):
        pass
    mean = gram.mean(axis=0)  # `middle` may be rounded
    gram -= mean[:, None]
    gram -= mean
    gram += mean.mean()
    values, scores = _leading(gram, count)
    values[values <= _noise_level(gram)] = 0.0
    return np.asarray(scores * np.sqrt(values), dtype=np.float64)


def _noise_level(matrix: Floats) -> float:
    """Eigenvalues of a positive matrix below this are rounding."""
    return float(np.trace(matrix)) * len(matrix) * float(np.finfo(np.float64).eps)


def _leading(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    """The largest eigenvalues (falling) of a symmetric matrix and their vectors, (count,) and (m, count)."""
    size = len(matrix)
    if size <= _DENSE_SOLVER_UP_TO or 4 * count > size:
        from scipy.linalg import eigh

        values, vectors = eigh(matrix, subset_by_index=(size - count, size - 1))
    else:
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(0).standard_normal(size)
        values, vectors = eigsh(matrix, count, which="LA", v0=start, tol=0)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]
