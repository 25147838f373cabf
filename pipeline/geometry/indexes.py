"""Indexes of directions by Faiss: chosen by a rule, built the same on any machine, measured, searched.

An index here is Faiss' own object over (n, d) unit vectors, by inner product; what holds for vectors of other lengths
is their cosine. Nothing of ours is in it, so it goes to a file and back by Faiss' own functions, with its hints
(`probed`).
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.geometry.cosine_search import (
    SPARE,
    Candidates,
    Found,
    by_blocks,
    certain,
    checked_k,
    exact_search,
    ordered,
    ranked,
    unit_float32,
)
from pipeline.geometry.faiss_threads import one_faiss_thread
from pipeline.geometry.index_choice import LEAST_COMPRESSED, LINKS, TRAINED_ON, Choice
from pipeline.geometry.neighbours import Progress
from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks, row_blocks

_LOG = logging.getLogger(__name__)

GPU_HELP = "install requirements-gpu.txt instead of requirements.txt (make setup GPU=1)"

_ITERATIONS = 10  # of k-means for the cells
_ADDED = 8192  # vectors at a time: a part of what an index is, since a graph depends on the order
_MOST_WIDTH = 4096  # of a search in a graph
_REFINED = (10, 100)  # compressed: candidates for each wanted, and at least, whose cosines are taken exactly
_MOST_ON_GPU = 2048  # neighbours that Faiss finds on a GPU
_SEARCHED = 256  # queries at a time


def build(
    vectors: Array,
    choice: Choice,
    seed: int = 0,
    queries: Array | None = None,
    k: int = 10,
    progress: Progress | None = None,
) -> Any:
    """Faiss' index of (n, d) vectors, which may be a memory map, read a block at a time; they are scaled to length 1.

    Cells and codes are learned from a seeded sample. How many cells, or how much of a graph, a search looks into is
    the smallest number that finds `choice.recall` of the true k nearest of `queries` (m, d) (`perturbed` vectors where
    none are given); all of it where no number does. On one thread, since bits and graphs would depend on how many
    there are: n cores would build up to n times as fast. `progress(done, total)` counts vectors. ValueError for
    vectors that are not finite or not those chosen for.
    """
    if vectors.shape != (choice.n, choice.d):
        raise ValueError(f"the index was chosen for ({choice.n}, {choice.d}) vectors, got {vectors.shape}")
    with one_faiss_thread():
        index = _empty(choice, seed)
        if choice.cells:
            order, wanted = np.random.default_rng(seed).permutation(choice.n), choice.cells * TRAINED_ON
            sample = np.sort(order[: max(wanted, LEAST_COMPRESSED)])
            index.train(unit_float32(vectors[sample]))
        if choice.kind == "exact":
            _reserve(index, choice.n)
        for rows in row_blocks(choice.n, 1, most=_ADDED):
            if choice.kind == "exact":
                _stored(index)[rows] = unit_float32(vectors[rows])
            else:
                index.add(unit_float32(vectors[rows]))
            if progress:
                progress(rows.stop, choice.n)
    if choice.kind != "exact":
        _tune(index, vectors, perturbed(vectors, 500, seed) if queries is None else queries, k, choice.recall)
    return index


def _empty(choice: Choice, seed: int) -> Any:
    import faiss

    factory = {
        "exact": "Flat",
        "ivf_flat": f"IVF{choice.cells},Flat",
        "hnsw": f"HNSW{LINKS},Flat",
        "ivf_pq": f"PCAR{choice.kept},IVF{choice.cells},PQ{choice.kept // 2}x4fs",
    }
    index = faiss.index_factory(choice.d, factory[choice.kind], faiss.METRIC_INNER_PRODUCT)
    if choice.cells:
        inverted = _inverted(index)
        inverted.cp.seed, inverted.cp.niter, inverted.cp.min_points_per_centroid = seed, _ITERATIONS, 1
        if choice.kind == "ivf_pq":
            inverted.pq.cp.seed = seed
    return index


def _reserve(index: Any, n: int) -> None:
    """Room for n vectors in an exact index at once: adding them by and by would take up to three times the memory."""
    index.codes.resize(n * index.code_size)
    index.ntotal = n


def look_further(index: Any, vectors: Array, queries: Array, k: int, recall: float) -> None:
    """Let an index that is not exact look into as much more as finds `recall` of the true k nearest among `vectors` of
    these `queries` (m, d); never into less. Its hints change, not its file. A warning where nothing reaches it."""
    _tune(index, vectors, queries, k, recall, least=probed(index))


def _tune(index: Any, vectors: Array, queries: Array, k: int, recall: float, least: int = 1) -> None:
    """The smallest number that reaches the recall: doubled until it does, then halved in between. So many cells at
    least that they hold about twice as many entries as are wanted: where one finds too few, all entries are looked at.
    """
    truth = exact_search(vectors, queries, k)[1]

    def reached(number: int) -> bool:
        _probe(index, number)
        return _recall(search(index, queries, k, vectors)[1], truth) >= recall

    most = _most_probed(index)
    inverted = _inverted(index)
    if inverted is not None:
        least = max(least, math.ceil(2 * (k + SPARE) * inverted.nlist / index.ntotal))
    low, high = least - 1, min(least, most)  # low does not reach it
    while high < most and not reached(high):
        low, high = high, min(2 * high, most)
    if high == most and not reached(most):
        low = most
        _LOG.warning("index: %s finds less than %g of the true nearest: give it more memory", kind(index), recall)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    _probe(index, high)


def recall_of(index: Any, vectors: Array, queries: Array, k: int) -> float:
    """Share of the true k nearest among `vectors` (n, d), as indexed, of `queries` (m, d) that a search finds."""
    return _recall(search(index, queries, k, vectors)[1], exact_search(vectors, queries, k)[1])


def _recall(scores: Array, truth: Array) -> float:
    """Found rows are different ones, so each that is as near as the k-th true neighbour is one of them, or as good."""
    return float((scores >= truth[:, -1:]).mean())


def perturbed(vectors: Array, count: int, seed: int = 0, cosine: float = 0.8) -> npt.NDArray[np.float32]:
    """Unit queries (m, d) near `vectors` (n, d) that are none of them, where no likely queries are at hand: at most
    `count` rows drawn without repetition, each turned in a random direction to about this cosine with itself."""
    rng = np.random.default_rng(seed)
    chosen = unit_float32(vectors[np.sort(rng.permutation(len(vectors))[:count])])
    aside = unit_float32(rng.normal(size=chosen.shape))
    return unit_float32(cosine * chosen + math.sqrt(1 - cosine**2) * aside)


def kind(index: Any) -> str:
    """exact, ivf_flat, hnsw or ivf_pq; `other` for an index that was not built here."""
    import faiss

    if _on_gpu(index) or isinstance(_down(index), faiss.IndexFlat):
        return "exact"
    if isinstance(_down(index), faiss.IndexHNSWFlat):
        return "hnsw"
    if isinstance(_down(index), faiss.IndexIVFFlat):
        return "ivf_flat"
    return "ivf_pq" if isinstance(_inverted(index), faiss.IndexIVFPQFastScan | faiss.IndexIVFPQ) else "other"


def probed(index: Any) -> int:
    """How many cells a search looks into, or how wide it is in a graph (Faiss' nprobe, efSearch); 0: it sees all."""
    if (inverted := _inverted(index)) is not None:
        return int(inverted.nprobe)
    return int(_down(index).hnsw.efSearch) if kind(index) == "hnsw" else 0


def _probe(index: Any, number: int) -> None:
    if (inverted := _inverted(index)) is not None:
        inverted.nprobe = number
    else:
        _down(index).hnsw.efSearch = number


def _most_probed(index: Any) -> int:
    inverted = _inverted(index)
    return int(inverted.nlist) if inverted is not None else min(_MOST_WIDTH, index.ntotal)


def _down(index: Any) -> Any:
    """By its own class; the object given must be kept, since it owns what this one looks at."""
    import faiss

    return index if _on_gpu(index) else faiss.downcast_index(index)


def _inverted(index: Any) -> Any:
    """The inverted file in an index; None where there is none."""
    import faiss

    found = None if _on_gpu(index) else faiss.try_extract_index_ivf(index)
    return None if found is None else faiss.downcast_index(found)


def check(index: Any, n: int, d: int) -> None:
    """ValueError, in words, for an index that is not over n vectors of d values by inner product, or whose inside is
    damaged so that a search would leave it. To be asked once for an index read from a file."""
    import faiss

    if index.d != d:
        raise ValueError(f"the index is of vectors of {index.d} values, not {d}: it belongs to another encoder")
    if index.ntotal != n:
        raise ValueError(f"the index is of {index.ntotal:,} vectors, not {n:,}: it belongs to other entries")
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError("the index is not by inner product, so its scores are no cosines")
    if not index.is_trained or not _sound(index):
        raise ValueError("the index is damaged: build it anew")


def _sound(index: Any) -> bool:
    if (inverted := _inverted(index)) is not None:
        return _sound_shapes(index, inverted) and _sound_cells(inverted, index.ntotal)
    return kind(index) != "hnsw" or _sound_graph(_down(index), index.ntotal)


def _sound_shapes(index: Any, inverted: Any) -> bool:
    """Sizes inside fit each other: Faiss reads and writes by them."""
    import faiss

    lists: Any = faiss.downcast_InvertedLists(inverted.invlists)
    quantizer = inverted.quantizer
    sound = inverted.nlist == lists.nlist == quantizer.ntotal and quantizer.d == inverted.d
    sound = sound and inverted.ntotal == index.ntotal and 1 <= inverted.nprobe <= inverted.nlist
    outer = _down(index)
    if isinstance(outer, faiss.IndexPreTransform):
        chain: Any = outer.chain
        for number in range(chain.size()):
            step: Any = faiss.downcast_VectorTransform(chain.at(number))
            first, last = number == 0, number == chain.size() - 1
            sound = sound and (not first or step.d_in == index.d) and (not last or step.d_out == inverted.d)
            if isinstance(step, faiss.LinearTransform):
                sound = sound and step.A.size() >= step.d_in * step.d_out
                sound = sound and (not step.have_bias or step.b.size() == step.d_out)
    elif inverted.d != index.d:
        return False
    if isinstance(inverted, faiss.IndexIVFFlat):
        return bool(sound and lists.code_size == inverted.code_size == 4 * inverted.d)
    if isinstance(inverted, faiss.IndexIVFPQFastScan):
        pq = inverted.pq
        sound = sound and pq.nbits == inverted.nbits == 4 and pq.ksub == inverted.ksub == 16
        sound = sound and pq.M == inverted.M and inverted.M2 == pq.M + pq.M % 2 and inverted.bbs == lists.n_per_block
        sound = sound and inverted.bbs % 32 == 0 and lists.block_size == inverted.bbs * inverted.M2 // 2
    if isinstance(inverted, faiss.IndexIVFPQFastScan | faiss.IndexIVFPQ):
        pq = inverted.pq
        sound = sound and pq.d == inverted.d == pq.M * pq.dsub and pq.centroids.size() == pq.ksub * pq.d
    return bool(sound)


def _sound_cells(inverted: Any, n: int) -> bool:
    """Every entry is in one cell."""
    import faiss

    lists, seen = inverted.invlists, np.zeros(n, bool)
    sizes = [lists.list_size(cell) for cell in range(inverted.nlist)]
    if sum(sizes) != n:
        return False
    for cell, size in enumerate(sizes):
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            if ids.min() < 0 or ids.max() >= n:
                return False
            seen[ids] = True
    return bool(seen.all())


def _sound_graph(index: Any, n: int) -> bool:
    """Levels, offsets and links fit each other and lead to entries."""
    import faiss

    graph = index.hnsw
    offsets, levels = faiss.vector_to_array(graph.offsets), faiss.vector_to_array(graph.levels)
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    per_level = faiss.vector_to_array(graph.cum_nneighbor_per_level)
    return bool(
        index.storage.ntotal == n == len(levels) == len(offsets) - 1
        and levels.min() >= 1
        and levels.max() < len(per_level)
        and graph.max_level == levels.max() - 1
        and 0 <= graph.entry_point < n
        and levels[graph.entry_point] == levels.max()
        and offsets[0] == 0
        and np.array_equal(np.diff(offsets.astype(np.int64)), per_level[levels])
        and offsets[-1] == len(links)
        and links.min() >= -1
        and links.max() < n
    )


def on_device(index: Any, device: str) -> Any:
    """The index where it is searched. `cpu`: as it is. `cuda`, `cuda:1`: an exact one on that GPU (Faiss'
    GpuIndexFlatIP); a search there with the vectors gives the CPU's rows and cosines to the bit.

    ValueError for a device that cannot be used (`check_device`), and for an index that is not exact.
    """
    check_device(device)
    if device == "cpu":
        return index
    if kind(index) != "exact":
        raise ValueError(f"device '{device}' searches exactly, and the index is {kind(index)}: build an exact one")
    import faiss

    settings = faiss.GpuIndexFlatConfig()
    settings.device = _number(device)
    resources = faiss.StandardGpuResources()
    moved = faiss.GpuIndexFlatIP(resources, index.d, settings)
    for rows in row_blocks(index.ntotal, 1, most=_ADDED):
        moved.add(_stored(index)[rows])
    return moved


def check_device(device: str) -> None:
    """ValueError, in words, for a device that Faiss cannot use here: neither `cpu` nor `cuda`, `cuda:0`, ..."""
    import faiss

    if device == "cpu":
        return
    name, _, number = device.partition(":")
    if name != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"device '{device}': must be cpu, cuda or cuda:<number>")
    if not hasattr(faiss, "GpuIndexFlatIP"):
        raise ValueError(f"device '{device}': this Faiss searches on the CPU alone: {GPU_HELP}")
    if _number(device) >= faiss.get_num_gpus():
        raise ValueError(f"device '{device}': Faiss sees {faiss.get_num_gpus()} GPUs; their driver must fit CUDA 12")


def _number(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def _on_gpu(index: Any) -> bool:
    import faiss

    return hasattr(faiss, "GpuIndexFlatIP") and isinstance(index, faiss.GpuIndexFlatIP)


def search(index: Any, queries: Array, k: int, exact_vectors: Array | None = None) -> Found:
    """The k entries nearest to each query (m, d): rows (m, k) int64, cosines (m, k) float32 falling, equal ones by row.

    k is lowered to n, and no row is ever missing: what an approximate index leaves empty is found by looking at all
    entries. exact_vectors (n, d), as indexed, also a memory map: cosines are taken from them in float64, and the best
    candidates of a compressed index are put in order by them; without them its cosines are approximate. An exact
    index gives what `exact_search` gives. ValueError for another d, k < 1, and values that are not finite.
    """
    if exact_vectors is not None and exact_vectors.shape != (index.ntotal, index.d):
        raise ValueError(f"the index is of {(index.ntotal, index.d)} vectors, got {exact_vectors.shape}")
    k = checked_k(queries, k, index.ntotal, index.d)
    of = kind(index)
    if of != "exact":
        vectors = _stored(index) if exact_vectors is None and of == "hnsw" else exact_vectors
        return _approximate(index, queries, k, vectors, compressed=of in ("ivf_pq", "other"))
    if not _on_gpu(index):
        stored = _stored(index)
        vectors = stored if exact_vectors is None else exact_vectors
        return certain(by_blocks(stored, are_unit=True), vectors, queries, k)
    if exact_vectors is None:
        raise ValueError("a search on a GPU needs the vectors, so that it gives the CPU's result")
    return certain(_by_gpu(index, exact_vectors), exact_vectors, queries, k)


def _by_gpu(index: Any, vectors: Array) -> Candidates:
    on_cpu = by_blocks(vectors)

    def find(queries: Array, count: int) -> tuple[Integers, Floats]:
        if count > _MOST_ON_GPU:
            return on_cpu(queries, count)
        products, rows = index.search(queries, count)
        return rows, products.min(axis=1).astype(np.float64)

    return find


def _approximate(index: Any, queries: Array, k: int, vectors: Array | None, compressed: bool) -> Found:
    count = max(_REFINED[0] * k, _REFINED[1]) if compressed and vectors is not None else k + SPARE
    count = min(index.ntotal, count)
    rows, cosines = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

    def near(block: slice) -> None:
        with one_faiss_thread():
            products, found = index.search(unit_float32(queries[block]), count)
        best = ordered(found, products, k) if vectors is None else ranked(queries[block], vectors, found, k)
        rows[block], cosines[block] = best

    for _ in map_blocks(near, row_blocks(len(queries), 1, most=_SEARCHED)):
        pass
    short = np.flatnonzero((rows < 0).any(axis=1))
    if len(short):
        missing = queries[short]
        whole = _exhaustive(index, missing, k) if vectors is None else exact_search(vectors, missing, k)
        rows[short], cosines[short] = whole
    return rows, cosines


def _exhaustive(index: Any, queries: Array, k: int) -> Found:
    """All cells of an inverted file."""
    import faiss

    if (inverted := _inverted(index)) is None:
        raise ValueError("the index did not find k entries for each query: give the vectors too")
    every: Any = faiss.SearchParametersIVF()
    every.nprobe = inverted.nlist
    if isinstance(_down(index), faiss.IndexPreTransform):
        inner, every = every, faiss.SearchParametersPreTransform()
        every.index_params = inner
    with one_faiss_thread():
        products, found = index.search(unit_float32(queries), k, params=every)
    return ordered(found, products, k)


def _stored(index: Any) -> Array:
    """The (n, d) vectors inside an exact index or a graph, without a copy; the index must be kept."""
    import faiss

    inner = _down(index)
    flat: Any = faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner
    stored: Array = faiss.rev_swig_ptr(flat.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return stored


@dataclass(frozen=True)
class Quality:
    """How an index does on queries that are not in it. recall: share of the true k nearest that it finds, by a fresh
    exact search. query_ms: one query by itself, median; batch_query_ms: of all queries together, for each. bytes: of
    its file. probed: see `probed`."""

    kind: str
    n: int
    d: int
    k: int
    queries: int
    recall: float
    query_ms: float
    batch_query_ms: float
    bytes: int
    probed: int


def measure(index: Any, vectors: Array, queries: Array, k: int) -> Quality:
    """Recall against exact search among `vectors` (n, d), as indexed; and times, on this machine as it is now.

    `queries` (m, d) should be likely ones and no entries, nor those that `build` was given: an entry finds itself
    easily. k is lowered to n.
    """
    k = min(k, index.ntotal)
    truth = exact_search(vectors, queries, k)[1]
    search(index, queries[:1], k, vectors)
    start = time.perf_counter()
    scores = search(index, queries, k, vectors)[1]
    batch = (time.perf_counter() - start) / len(queries)
    alone = []
    for row in range(min(50, len(queries))):
        start = time.perf_counter()
        search(index, queries[row : row + 1], k, vectors)
        alone.append(time.perf_counter() - start)
    return Quality(
        kind(index), index.ntotal, index.d, k, len(queries), _recall(scores, truth),
        1e3 * float(np.median(alone)), 1e3 * batch, stored_bytes(index), probed(index),
    )  # fmt: skip


def stored_bytes(index: Any) -> int:
    """Of its file, without writing one."""
    import faiss

    if (inverted := _inverted(index)) is not None:
        lists: Any = faiss.downcast_InvertedLists(inverted.invlists)
        if isinstance(lists, faiss.OnDiskInvertedLists):  # mapped: only where they lie would be written
            return int(lists.totsize)
    size = 0

    def count(part: bytes) -> None:
        nonlocal size
        size += len(part)

    writer = faiss.PyCallbackIOWriter(count)  # type: ignore[attr-defined]
    faiss.write_index(faiss.index_gpu_to_cpu(index) if _on_gpu(index) else index, writer)
    return size
