"""Blocks cover every row once, results keep their order, and products keep their digits."""

from __future__ import annotations

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from pipeline.metrics import blocks


@pytest.mark.parametrize(("n", "limit", "most"), [(0, 10, None), (1, 1, None), (10, 24, None), (10, 10**9, 3)])
def test_blocks_cover_every_row_once(n: int, limit: int, most: int | None) -> None:
    cut = blocks.row_blocks(n, bytes_per_row=8, limit=limit, most=most)
    assert [row for block in cut for row in range(n)[block]] == list(range(n))
    assert all(block.stop - block.start <= max(1, limit // 8) for block in cut)
    assert most is None or all(block.stop - block.start <= most for block in cut)


def test_results_keep_their_order_whoever_finishes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "workers", lambda: 3)

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return item

    assert list(blocks.map_blocks(slow_first, range(9))) == list(range(9))


def test_few_results_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "workers", lambda: 2)
    started: list[int] = []
    results = blocks.map_blocks(started.append, range(50))
    next(results)
    time.sleep(0.05)
    assert len(started) <= 4
    results.close()


def test_an_error_in_a_block_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "workers", lambda: 2)

    def fail(item: int) -> int:
        if item == 2:
            raise ValueError("block 2")
        return item

    with pytest.raises(ValueError, match="block 2"):
        list(blocks.map_blocks(fail, range(5)))


def test_products_inside_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "workers", lambda: 2)

    def threads(_: int) -> list[int]:
        ours = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "faiss" not in pool["filepath"]]
        return [pool["num_threads"] for pool in ours]  # Faiss brings a BLAS of its own, which NumPy never calls

    assert all(count == 1 for counts in blocks.map_blocks(threads, range(4)) for count in counts)


def test_integer_squares_are_exact_up_to_1024_dimensions() -> None:
    vectors = np.random.default_rng(0).integers(0, 256, (40, 1024), dtype=np.uint8)
    middle = blocks.middle_row(vectors)
    own = blocks.moved_squares(vectors, middle)
    block = blocks.moved_block(vectors, slice(0, 40), middle)
    wide = vectors.astype(np.int64)
    expected = ((wide[:, None] - wide[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(blocks.squared_distances(block, own, block, own), expected)


def test_unit_rows_of_long_vectors_stay_float32_and_zero_rows_zero() -> None:
    vectors = np.random.default_rng(0).integers(0, 256, (5, 2000), dtype=np.uint8)
    vectors[3] = 0
    unit = blocks.unit_rows(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), [1, 1, 1, 0, 1], atol=1e-6)
