"""Nearest neighbours by an index: for so many vectors that comparing all pairs would take hours."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.neighbours import Neighbours, Progress
from pipeline.metrics.blocks import Array, row_blocks

_TRAINED_ON = 64  # vectors for each cell
_PROBED = 16  # cells that are looked into for each vector
_STEP = 8192  # vectors at a time


def approximate_neighbours(vectors: Array, k: int, seed: int = 0, progress: Progress | None = None) -> Neighbours:
    """The k nearest rows of every row, most of them: indices (n, k) int32, Euclidean distances (n, k) float32.

    Faiss' inverted file: vectors are sorted into about 4 sqrt(n) cells by k-means, and the nearest cells of each are
    searched. What is very near lies in the same cell or the next, so near duplicates are found nearly always; a far
    neighbour may be missed. Where fewer than k are found a row stands for itself. The vectors may be a memory map;
    the index holds a float32 copy of them. Equal calls give equal results.
    """
    import faiss

    n, d = vectors.shape
    cells = min(max(1, n // _TRAINED_ON), round(4 * math.sqrt(n)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, cells)
    index.cp.seed = seed
    sample = np.sort(np.random.default_rng(seed).permutation(n)[: cells * _TRAINED_ON])
    index.train(np.asarray(vectors[sample], np.float32))
    for rows in row_blocks(n, 1, _STEP):
        index.add(np.asarray(vectors[rows], np.float32))
    index.nprobe = min(_PROBED, cells)
    indices, distances = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    for rows in row_blocks(n, 1, _STEP):
        block = np.asarray(vectors[rows], np.float32)
        _, found = index.search(block, k)
        own = np.arange(rows.start, rows.stop)[:, None]
        indices[rows] = np.where(found >= 0, found, own)
        distances[rows] = _apart(block, vectors, indices[rows])
        if progress:
            progress(rows.stop, n)
    return indices, distances


def _apart(block: Array, vectors: Array, found: Array) -> Array:
    """By subtraction: products lose what is very near."""
    apart = [np.asarray(vectors[column], np.float32) - block for column in found.T]
    return np.sqrt(np.stack([np.einsum("ij,ij->i", left, left) for left in apart], axis=1))
