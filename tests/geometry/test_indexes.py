"""Indexes: the rule of choice, the wanted recall, the same bits anywhere, files, damage, no row missing."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipeline.errors import CallError
from pipeline.geometry import indexes
from pipeline.geometry.cosine_search import exact_search
from pipeline.geometry.index_choice import Choice, choose
from pipeline.metrics import blocks
from pipeline.run_dir import FaissIndex

GB = 10**9
N, D = 10_000, 32
KINDS = {  # wishes for N vectors of D values -> what is chosen
    "exact": (GB, 100.0),
    "ivf_flat": (GB, 0.012),
    "hnsw": (10 * 10**6, 0.0),
    "ivf_pq": (10**6, 100.0),
}


@functools.cache
def _vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(100, D))
    return (centers[rng.integers(0, 100, N)] + 0.5 * rng.normal(size=(N, D))).astype(np.float32)


def _choice(kind: str, recall: float = 0.9) -> Choice:
    if kind == "hnsw":  # by rule never the fastest for so few vectors
        return Choice("hnsw", N, D, 0, D, 0, 0.0, recall, "")
    chosen = choose(N, D, *KINDS[kind], recall)
    assert chosen.kind == kind
    return chosen


@functools.cache
def _built(kind: str) -> Any:
    return indexes.build(_vectors(), _choice(kind), seed=3)


approximate = pytest.mark.parametrize("kind", ["ivf_flat", "hnsw", "ivf_pq"])
every = pytest.mark.parametrize("kind", list(KINDS))


@pytest.mark.parametrize(
    ("n", "d", "memory", "query_ms", "recall", "kind"),
    [
        (1_797, 64, 4 * GB, 20, 0.95, "exact"),
        (70_000, 512, 4 * GB, 20, 0.95, "exact"),
        (1_000_000, 512, 4 * GB, 20, 0.95, "ivf_flat"),
        (1_000_000, 512, 4 * GB, 4, 0.95, "hnsw"),
        (1_000_000, 512, GB // 2, 20, 0.95, "ivf_pq"),
        (1_000_000, 512, 4 * GB, 20, 1, "exact"),
        (999, 50_176, 4 * GB, 0.001, 0.9, "exact"),
    ],
)
def test_choice(n: int, d: int, memory: int, query_ms: float, recall: float, kind: str) -> None:
    chosen = choose(n, d, memory, query_ms, recall)
    assert (chosen.kind, chosen.n, chosen.d, chosen.recall) == (kind, n, d, recall)
    assert chosen.bytes <= memory
    assert chosen == choose(n, d, memory, query_ms, recall)


def test_choice_says_why() -> None:
    chosen = choose(1_000_000, 512, GB // 2, 20, 0.95)
    assert chosen.explanation == (
        "ivf_pq of 256 dimensions: 81.8 MB fits into 0.50 GB and one query takes about 0.74 ms; exact would take "
        "2.05 GB; ivf_flat would take 2.06 GB; hnsw would take 2.32 GB"
    )
    assert "more than 0.001 ms, but nothing that fits is faster" in choose(10**6, 512, 4 * GB, 0.001, 0.9).explanation


def test_choice_keeps_fewer_dimensions_where_memory_is_short() -> None:
    kept = [choose(10**6, 512, memory, 20, 0.9).kept for memory in (100 * 10**6, 60 * 10**6, 30 * 10**6)]
    assert kept == [256, 128, 64]


def test_nothing_fits() -> None:
    with pytest.raises(ValueError, match=r"no index of 1,000,000 vectors of 512 values fits into 1.0 MB: the smallest"):
        choose(10**6, 512, 10**6, 20, 0.9)
    with pytest.raises(
        ValueError, match=r"recall 1 takes exact search: no index .* the smallest, exact, takes 2.05 GB"
    ):
        choose(10**6, 512, GB, 20, 1)


@approximate
def test_recall_is_reached_by_the_smallest_number_that_does(kind: str) -> None:
    vectors, choice = _vectors(), _choice(kind)
    queries = indexes.perturbed(vectors, 300, seed=1)
    index = indexes.build(vectors, choice, queries=queries, k=5)
    truth = exact_search(vectors, queries, 5)[0]

    def found() -> float:
        rows = indexes.search(index, queries, 5, vectors)[0]
        return float(np.mean([np.isin(right, row).mean() for right, row in zip(truth, rows, strict=True)]))

    assert found() >= 0.9
    number = indexes.probed(index)
    assert number > 1
    indexes._probe(index, number - 1)
    assert found() < 0.9


@every
def test_equal_calls_give_equal_bits_on_any_number_of_cores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    monkeypatch.setattr(blocks, "workers", lambda: 3)
    try:
        again = indexes.build(_vectors(), _choice(kind), seed=3)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(faiss.serialize_index(again), faiss.serialize_index(_built(kind)))


@every
def test_progress_ends_with_all_vectors(kind: str) -> None:
    seen: list[tuple[int, int]] = []
    indexes.build(_vectors(), _choice(kind), progress=lambda *at: seen.append(at))
    assert seen[-1] == (N, N)


@every
def test_through_a_file(kind: str, tmp_path: Path) -> None:
    index, queries = _built(kind), indexes.perturbed(_vectors(), 50, seed=2)
    artifact = FaissIndex("text_index/text ä")
    artifact.save(index, tmp_path)
    read = artifact.load(tmp_path)
    indexes.check(read, N, D)
    assert (indexes.kind(read), indexes.probed(read)) == (kind, indexes.probed(index))
    for vectors in (_vectors(), None):
        for before, after in zip(
            indexes.search(index, queries, 7, vectors), indexes.search(read, queries, 7, vectors), strict=True
        ):
            np.testing.assert_array_equal(before, after)
    size = (tmp_path / artifact.files()[0]).stat().st_size
    assert indexes.stored_bytes(index) == size
    assert indexes.stored_bytes(read) == size


def test_bytes_are_about_what_the_choice_says() -> None:
    for kind in KINDS:
        if kind != "hnsw":
            assert indexes.stored_bytes(_built(kind)) == pytest.approx(_choice(kind).bytes, rel=0.05)


@every
def test_no_row_is_missing(kind: str) -> None:
    vectors, queries = _vectors(), indexes.perturbed(_vectors(), 3, seed=2)
    index = faiss.clone_index(_built(kind))
    if kind != "exact":
        indexes._probe(index, 1)
    for given in (vectors, None):
        rows, cosines = indexes.search(index, queries, N + 5, given)
        assert rows.shape == cosines.shape == (3, N)
        np.testing.assert_array_equal(np.sort(rows, axis=1), np.arange(N)[None].repeat(3, axis=0))
        assert np.isfinite(cosines).all()
        assert (np.diff(cosines, axis=1) <= 0).all()


def test_cells_that_hold_too_few_are_made_up_for() -> None:
    vectors, queries = _vectors(), indexes.perturbed(_vectors(), 20, seed=2)
    index = faiss.clone_index(_built("ivf_flat"))
    indexes._probe(index, 1)
    wanted = 200  # a cell holds about 40
    for given in (vectors, None):
        rows, _ = indexes.search(index, queries, wanted, given)
        np.testing.assert_array_equal(rows, exact_search(vectors, queries, wanted)[0])


def test_exact_index_equals_exact_search_for_vectors_of_any_length() -> None:
    vectors = _vectors() * np.linspace(0.1, 9, N, dtype=np.float32)[:, None]
    queries = indexes.perturbed(vectors, 30, seed=5) * 7
    index = indexes.build(vectors, _choice("exact"))
    for found, expected in zip(
        indexes.search(index, queries, 9, vectors), exact_search(vectors, queries, 9), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_compressed_candidates_are_put_in_order_by_the_vectors() -> None:
    vectors, queries = _vectors(), indexes.perturbed(_vectors(), 200, seed=5)
    truth = exact_search(vectors, queries, 5)[0]
    hits = [
        np.mean(
            [np.isin(a, b) for a, b in zip(truth, indexes.search(_built("ivf_pq"), queries, 5, given)[0], strict=True)]
        )
        for given in (vectors, None)
    ]
    assert hits[0] > hits[1] + 0.2


@every
def test_quality_is_what_a_count_gives(kind: str) -> None:
    vectors, queries = _vectors(), indexes.perturbed(_vectors(), 100, seed=8)
    quality = indexes.measure(_built(kind), vectors, queries, 10)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    truth = np.argsort(-(queries @ unit.T), axis=1)[:, :10]
    rows = indexes.search(_built(kind), queries, 10, vectors)[0]
    counted = np.mean([np.isin(right, row).mean() for right, row in zip(truth, rows, strict=True)])
    assert quality.recall == pytest.approx(counted)
    assert (quality.kind, quality.n, quality.d, quality.k, quality.queries) == (kind, N, D, 10, 100)
    assert quality.recall == 1 if kind == "exact" else 0.8 < quality.recall < 1
    assert min(quality.batch_query_ms, quality.query_ms) > 0
    assert quality.bytes == len(faiss.serialize_index(_built(kind)))


def test_perturbed_queries_are_near_entries_and_none_of_them() -> None:
    best = exact_search(_vectors(), indexes.perturbed(_vectors(), 100, cosine=0.9), 1)[1]
    assert best.max() < 0.99
    assert np.median(best) > 0.8
    np.testing.assert_array_equal(indexes.perturbed(_vectors(), 9, seed=4), indexes.perturbed(_vectors(), 9, seed=4))


@every
def test_wrong_calls(kind: str) -> None:
    index, vectors = _built(kind), _vectors()
    with pytest.raises(ValueError, match="queries hold values that are not finite"):
        indexes.search(index, np.full((2, D), np.nan), 3, vectors)
    with pytest.raises(ValueError, match=r"queries must be \(m, 32\), got \(2, 31\)"):
        indexes.search(index, np.ones((2, D - 1)), 3, vectors)
    with pytest.raises(ValueError, match="k must be at least 1"):
        indexes.search(index, vectors[:2], 0, vectors)
    with pytest.raises(ValueError, match=r"the index is of \(10000, 32\) vectors, got \(9999, 32\)"):
        indexes.search(index, vectors[:2], 3, vectors[1:])
    with pytest.raises(ValueError, match=r"chosen for \(10000, 32\) vectors, got \(3, 32\)"):
        indexes.build(vectors[:3], _choice(kind))
    broken = vectors.copy()
    broken[-1, 0] = np.inf
    with pytest.raises(ValueError, match="vectors hold values that are not finite"):
        indexes.build(broken, _choice(kind))


def test_recall_out_of_reach_is_said(caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    index = indexes.build(noise, _choice("ivf_pq", recall=0.95))
    assert "ivf_pq finds less than 0.95 of the true nearest" in caplog.text
    assert indexes.measure(index, noise, indexes.perturbed(noise, 100, seed=2), 10).recall < 0.95


@every
def test_another_index(kind: str) -> None:
    index = _built(kind)
    indexes.check(index, N, D)
    with pytest.raises(ValueError, match="vectors of 32 values, not 512: it belongs to another encoder"):
        indexes.check(index, N, 512)
    with pytest.raises(ValueError, match="of 10,000 vectors, not 7: it belongs to other entries"):
        indexes.check(index, 7, D)


def test_an_index_by_distance_is_refused() -> None:
    index = faiss.IndexFlatL2(D)
    index.add(_vectors())
    with pytest.raises(ValueError, match="not by inner product"):
        indexes.check(index, N, D)


@every
def test_a_cut_file(kind: str, tmp_path: Path) -> None:
    artifact = FaissIndex("cut")
    whole = faiss.serialize_index(_built(kind)).tobytes()
    for length in (0, 3, 40, len(whole) // 3, len(whole) - 1):
        (tmp_path / "cut.index").write_bytes(whole[:length])
        with pytest.raises(CallError, match="damaged: not a Faiss index"):
            artifact.load(tmp_path)


def test_damage_that_a_search_would_follow_is_found() -> None:
    graph = faiss.clone_index(_built("hnsw"))
    links = faiss.rev_swig_ptr(graph.hnsw.neighbors.data(), graph.hnsw.neighbors.size())
    links[5] = N + 10
    cells = faiss.clone_index(_built("ivf_flat"))
    cell = next(cell for cell in range(cells.nlist) if cells.invlists.list_size(cell))
    faiss.rev_swig_ptr(cells.invlists.get_ids(cell), 1)[0] = N
    codes = faiss.clone_index(_built("ivf_pq"))
    faiss.downcast_index(faiss.extract_index_ivf(codes)).M2 += 2
    for damaged in (graph, cells, codes):
        with pytest.raises(ValueError, match="damaged: build it anew"):
            indexes.check(damaged, N, D)


class _LikeAGpu:
    """Finds what a GPU might: products with other rounding, equal ones in another order."""

    def __init__(self, resources: Any, d: int, settings: Any) -> None:
        self.d, self.metric_type, self.is_trained = d, faiss.METRIC_INNER_PRODUCT, True
        self.vectors, self.device = np.empty((0, d), np.float32), settings.device

    @property
    def ntotal(self) -> int:
        return len(self.vectors)

    def add(self, vectors: np.ndarray) -> None:
        self.vectors = np.vstack([self.vectors, vectors])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        assert k <= 2048
        products = queries @ self.vectors.T
        products += np.random.default_rng(0).uniform(-1e-6, 1e-6, products.shape).astype(np.float32)
        order = np.argsort(-products, axis=1)[:, :k]
        return np.take_along_axis(products, order, axis=1), order


def test_a_gpu_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _vectors().copy()
    vectors[100:3000] = vectors[100]  # more equal ones than a GPU finds neighbours
    queries = np.vstack([indexes.perturbed(vectors, 20, seed=1), vectors[[100]]])
    index = indexes.build(vectors, _choice("exact"))
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", _LikeAGpu, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatConfig", type("Config", (), {}), raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    moved = indexes.on_device(index, "cuda:1")
    assert (moved.device, indexes.kind(moved), moved.ntotal) == (1, "exact", N)
    for found, expected in zip(
        indexes.search(moved, queries, 5, vectors), indexes.search(index, queries, 5, vectors), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="'cuda' searches exactly, and the index is hnsw"):
        indexes.on_device(_built("hnsw"), "cuda")
    with pytest.raises(ValueError, match="Faiss sees 2 GPUs"):
        indexes.check_device("cuda:2")


@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="no GPU that this Faiss can use")
def test_a_real_gpu_gives_the_same_bits() -> None:
    vectors, queries = _vectors(), indexes.perturbed(_vectors(), 200, seed=1)
    index = indexes.build(vectors, _choice("exact"))
    moved = indexes.on_device(index, "cuda")
    for found, expected in zip(
        indexes.search(moved, queries, 10, vectors), indexes.search(index, queries, 10, vectors), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_devices_that_cannot_be_used() -> None:
    index = _built("exact")
    assert indexes.on_device(index, "cpu") is index
    for device in ("gpu", "cuda:x", "cuda:-1"):
        with pytest.raises(ValueError, match=f"device '{device}': must be cpu, cuda or cuda:<number>"):
            indexes.check_device(device)
    if not hasattr(faiss, "GpuIndexFlatIP"):
        with pytest.raises(ValueError, match="searches on the CPU alone: install requirements-gpu"):
            indexes.check_device("cuda")
    assert choose(10**6, 512, 4 * GB, 5, 0.9, device="cuda").kind == "exact"
