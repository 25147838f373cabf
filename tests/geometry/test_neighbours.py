"""Exact neighbours: by hand, against all pairs, duplicates, ties, cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry.neighbours import nearest_neighbours
from pipeline.metrics import blocks


def _brute_force(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    wide = vectors.astype(np.float64)
    distances = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, -1.0)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.maximum(np.take_along_axis(distances, order, axis=1), 0)


@pytest.mark.parametrize("kind", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_equal_to_all_pairs(kind: str, k: int) -> None:
    vectors = (np.random.default_rng(0).normal(size=(90, 12)) * 20 + 100).astype(kind)
    indices, distances = nearest_neighbours(vectors, k)
    expected_indices, expected_distances = _brute_force(vectors, k)
    assert (indices.dtype, distances.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)


def test_over_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TILE_ROWS", 13)
    vectors = np.random.default_rng(0).normal(size=(100, 5)) + 1000
    np.testing.assert_array_equal(nearest_neighbours(vectors, 9)[0], _brute_force(vectors, 9)[0])


def test_ties_come_by_row_number() -> None:
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2).astype(np.uint8)
    np.testing.assert_array_equal(nearest_neighbours(grid, 6)[0], _brute_force(grid, 6)[0])


def test_more_duplicates_than_neighbours() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32) + 50
    vectors[10:50] = vectors[10]
    indices, distances = nearest_neighbours(vectors, 5)
    np.testing.assert_array_equal(distances[10:50], 0)
    np.testing.assert_array_equal(indices[30], [30, 10, 11, 12, 13])
    np.testing.assert_array_equal(indices[:, 0], np.arange(60))


def test_duplicates_far_from_the_origin_are_at_distance_zero() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32) + 1e5
    vectors[20:] = vectors[:20]
    indices, distances = nearest_neighbours(vectors, 2)
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(indices[:, 1], (np.arange(40) + 20) % 40)


def test_raw_pixels_from_a_read_only_memory_map(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3000), dtype=np.uint8)
    pixels[7] = pixels[31]
    np.save(tmp_path / "pixels.npy", pixels)
    indices, distances = nearest_neighbours(np.load(tmp_path / "pixels.npy", mmap_mode="r"), 8)
    expected_indices, expected_distances = _brute_force(pixels, 8)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)
    assert distances[7, 1] == 0


def test_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 10))
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(nearest_neighbours(vectors, 15))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="k must lie between 1 and the number of rows, 3, got 4"):
        nearest_neighbours(np.ones((3, 2)), 4)
    with pytest.raises(ValueError, match="unknown metric 'cosine': known is euclidean"):
        nearest_neighbours(np.ones((3, 2)), 2, metric="cosine")
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            nearest_neighbours(np.array([[1.0], [bad], [-bad]]), 2)
