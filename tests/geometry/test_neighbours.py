"""Exact neighbours: by hand, against all pairs, duplicates, ties, cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry import integer_products, neighbours
from pipeline.geometry.neighbours import nearest_among, nearest_neighbours
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


@pytest.mark.parametrize("scale", [1.0, 1e-22, 1e19])
@pytest.mark.parametrize("kind", ["spread", "nearly equal", "one far away", "far from the origin", "equal"])
@pytest.mark.parametrize("d", [5, 200])
def test_the_faster_ways_are_equal_to_all_pairs_whatever_they_can_tell(d: int, kind: str, scale: float) -> None:
    """`nearly equal`: differences that float32 products cannot see, among more rows than are candidates."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, d))
    if kind in ("nearly equal", "equal"):
        vectors[20:] = vectors[20] + (kind == "nearly equal") * 1e-6 * rng.normal(size=(60, d))
    elif kind == "one far away":
        vectors[7] *= 1e5
    elif kind == "far from the origin":
        vectors += 1e6
    expected_indices, expected_distances = _brute_force(vectors, 9)
    indices, distances = nearest_neighbours(vectors * scale, 9)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances * scale, rtol=1e-6)


@pytest.mark.parametrize(("d", "apart"), [(5, 0.0), (200, 1e-6)])
def test_all_rows_are_compared_only_where_the_faster_way_leaves_doubt(
    d: int, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, d))
    vectors[40:60] = vectors[40] + rng.normal(size=(20, d)) * apart
    again: list[int] = []
    candidates = neighbours._Search._candidates

    def counted(search: neighbours._Search, rows: np.ndarray) -> np.ndarray:
        again.extend(rows)
        return candidates(search, rows)

    monkeypatch.setattr(neighbours._Search, "_candidates", counted)
    nearest_neighbours(vectors, 9)
    assert set(range(40, 60)) <= set(again)
    assert len(again) < len(vectors)


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


def test_among_other_rows() -> None:
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(70, 9)), generator.normal(size=(25, 9))
    queries[3] = vectors[11]
    indices, distances = nearest_among(queries, vectors, 6)
    expected = np.sqrt(((queries[:, None] - vectors[None]) ** 2).sum(axis=2))
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :6], rtol=1e-6, atol=1e-12)
    assert (indices[3, 0], distances[3, 0]) == (11, 0)


def test_progress_ends_with_all_rows() -> None:
    seen: list[tuple[int, int]] = []
    nearest_neighbours(np.random.default_rng(0).normal(size=(50, 3)), 3, progress=lambda *at: seen.append(at))
    assert seen[-1] == (50, 50)


needs_integer_products = pytest.mark.skipif(not integer_products.available(), reason="no fast integer products here")


def _pixels(n: int, d: int, levels: int = 256) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, levels, (n, d), dtype=np.uint8)
    pixels[n // 2 :: 7] = pixels[3]  # duplicates
    pixels[5], pixels[6] = 0, 255  # the farthest there is
    return pixels


@needs_integer_products
@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("d", [1025, 3000])
def test_integer_products_find_what_floats_find(d: int, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two levels only: most distances tie."""
    pixels = _pixels(300, d, levels)
    found = [nearest_neighbours(pixels, 20), nearest_among(pixels[:40], pixels[100:], 20)]
    monkeypatch.setattr(integer_products, "available", lambda: False)
    floats = [nearest_neighbours(pixels, 20), nearest_among(pixels[:40], pixels[100:], 20)]
    np.testing.assert_array_equal(found[0][0], _brute_force(pixels, 20)[0])
    for integer, real in zip(found, floats, strict=True):
        np.testing.assert_array_equal(integer[1], real[1])
        if levels == 256:
            np.testing.assert_array_equal(integer[0], real[0])


@needs_integer_products
def test_integer_products_over_tiles_and_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = _pixels(90, 2000)
    expected = nearest_neighbours(pixels, 90)
    monkeypatch.setattr(integer_products, "_MOST_ROWS", 13)
    monkeypatch.setattr(integer_products, "_MOST_DIMENSIONS", 700)
    for array, wanted in zip(nearest_neighbours(pixels, 90), expected, strict=True):
        np.testing.assert_array_equal(array, wanted)
    np.testing.assert_array_equal(expected[0], _brute_force(pixels, 90)[0])


@needs_integer_products
def test_integer_products_of_the_longest_stretch_do_not_overflow() -> None:
    pixels = np.zeros((20, 140_000), dtype=np.uint8)
    pixels[10:] = 255
    _, distances = nearest_neighbours(pixels, 20)
    np.testing.assert_array_equal(distances[:, :10], 0)
    np.testing.assert_allclose(distances[:, 10:], 255 * np.sqrt(140_000), rtol=1e-6)
