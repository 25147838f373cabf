"""Exact search by cosine: against all pairs, ties, rounding, types, cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry import cosine_search
from pipeline.geometry.cosine_search import exact_search
from pipeline.metrics import blocks


def _all_pairs(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    cosines = np.divide(left @ right.T, lengths, out=np.zeros((len(left), len(right))), where=lengths > 0)
    cosines = cosines.astype(np.float32)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_equal_to_all_pairs(kind: str, k: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(500, 20)) * 3).astype(kind), rng.normal(size=(40, 20))
    np.save(tmp_path / "vectors.npy", vectors)
    rows, cosines = exact_search(np.load(tmp_path / "vectors.npy", mmap_mode="r"), queries, k)
    expected_rows, expected = _all_pairs(vectors, queries, k)
    assert (rows.dtype, cosines.dtype, rows.shape) == (np.int64, np.float32, (40, min(k, 500)))
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(cosines, expected, atol=1e-7)


def test_ties_come_by_row_also_where_more_are_equal_than_are_candidates() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 16))
    vectors[100:1900] = vectors[100]
    rows, cosines = exact_search(vectors, vectors[[100, 5]], 6)
    assert rows[0].tolist() == [100, 101, 102, 103, 104, 105]
    np.testing.assert_array_equal(cosines[0], 1.0)
    np.testing.assert_array_equal(rows[1], _all_pairs(vectors, vectors[[5]], 6)[0][0])


def test_what_float32_products_cannot_tell_apart_is_in_order() -> None:
    rng = np.random.default_rng(0)
    middle = rng.normal(size=300)
    vectors = middle + 1e-3 * rng.normal(size=(400, 300))  # cosines differ by about 1e-7
    rows, cosines = exact_search(vectors, middle[None], 12)
    expected_rows, expected = _all_pairs(vectors, middle[None], 12)
    np.testing.assert_array_equal(cosines, expected)
    np.testing.assert_array_equal(rows, expected_rows)


def test_neither_cores_nor_other_queries_nor_blocks_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(3000, 64)).astype(np.float32), rng.normal(size=(70, 64)).astype(np.float32)
    once = exact_search(vectors, queries, 9)
    alone = [exact_search(vectors, queries[i : i + 1], 9) for i in range(len(queries))]
    np.testing.assert_array_equal(once[0], np.concatenate([rows for rows, _ in alone]))
    np.testing.assert_array_equal(once[1], np.concatenate([cosines for _, cosines in alone]))
    monkeypatch.setattr(blocks, "workers", lambda: 3)
    monkeypatch.setattr(cosine_search, "_VECTORS", 250)
    monkeypatch.setattr(cosine_search, "_QUERIES", 11)
    again = exact_search(vectors, queries, 9)
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])


def test_zero_vectors_are_near_to_nothing() -> None:
    vectors = np.array([[0.0, 0], [1, 0], [-1, 0]])
    rows, cosines = exact_search(vectors, np.array([[2.0, 0], [0, 0]]), 3)
    assert rows.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert cosines.tolist() == [[1, 0, -1], [0, 0, 0]]


def test_no_queries() -> None:
    rows, cosines = exact_search(np.ones((3, 2)), np.ones((0, 2)), 2)
    assert rows.shape == cosines.shape == (0, 2)


def test_wrong_calls() -> None:
    vectors = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"queries must be \(m, 2\), got \(1, 5\)"):
        exact_search(vectors, np.ones((1, 5)), 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        exact_search(vectors, vectors, 0)
    with pytest.raises(ValueError, match="there is nothing to search in"):
        exact_search(vectors[:0], vectors, 1)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="queries hold values that are not finite"):
            exact_search(vectors, np.array([[1, bad]]), 1)
        with pytest.raises(ValueError, match="vectors hold values that are not finite"):
            exact_search(np.array([[1.0, 2], [1, bad]]), np.ones((1, 2)), 1)
