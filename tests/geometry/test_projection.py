"""Projections are tested by what they keep, never by golden coordinates of UMAP."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pipeline.geometry import projection as module
from pipeline.geometry.projection import flat_map, pca_projection, umap_projection
from pipeline.metrics import blocks
from pipeline.metrics.clustering import silhouette, silhouette_samples
from pipeline.metrics.faithfulness import projection_quality


def _blobs(n: int = 80, d: int = 6, distance: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 2
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32) + distance * labels[:, None], labels


def test_umap_keeps_two_blobs_apart_and_neighbours_together() -> None:
    vectors, labels = _blobs()
    found = umap_projection(vectors, n_components=3)
    assert (found.shape, found.dtype) == ((80, 3), np.float32)
    assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.5
    assert projection_quality(vectors, found)["trustworthiness"] > 0.85


def test_umap_same_seed_same_bits_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = _blobs(distance=1.0)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(umap_projection(vectors, seed=7))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], umap_projection(vectors, seed=8))


def test_umap_without_a_seed() -> None:
    vectors, labels = _blobs()
    found = umap_projection(vectors, n_components=2, seed=None)
    assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.5


def test_umap_leaves_its_input_and_the_global_seed_alone() -> None:
    vectors, _ = _blobs(40)
    before = vectors.copy()
    vectors.flags.writeable = False
    state = np.random.get_state()[1].copy()
    umap_projection(vectors, 2)
    np.testing.assert_array_equal(vectors, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_umap_lowers_neighbours_and_says_to_what(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = umap_projection(_blobs(12)[0], n_components=2)
    assert found.shape == (12, 2)
    assert "n_neighbors lowered from 15 to 11, as there are 12 rows" in caplog.text


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_umap_of_very_few_rows(n_components: int) -> None:
    for n in (n_components + 2, n_components + 3, 2 * n_components + 3):
        found = umap_projection(_blobs(n)[0], n_components)
        assert found.shape == (n, n_components)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("groups", [3, 14])
@pytest.mark.parametrize("size", [6, 11])
def test_umap_of_a_graph_that_falls_apart(groups: int, size: int) -> None:
    """Groups too far apart to be neighbours, also more of them than twice the dimensions."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(groups, 8)) * 1000, size, axis=0) + rng.normal(size=(groups * size, 8))
    found = umap_projection(vectors, n_components=5, n_neighbors=4)
    assert np.isfinite(found).all()
    labels = np.repeat(np.arange(groups), size)
    assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.3


@pytest.mark.parametrize("outcome", ["an error", "no numbers"])
def test_umap_starts_from_principal_components_where_the_spectrum_fails(
    outcome: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from umap import umap_

    def broken(data: np.ndarray, graph: Any, dim: int, *_: Any, **__: Any) -> np.ndarray:
        if outcome == "an error":
            raise ValueError("zero-size array to reduction operation\nsecond line")
        return np.full((graph.shape[0], dim), np.nan)

    monkeypatch.setattr(umap_, "spectral_layout", broken)
    vectors, labels = _blobs()
    with caplog.at_level(logging.WARNING):
        found = umap_projection(vectors, n_components=8)  # more than the vectors have
    assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.5
    assert "the spectral start failed" in caplog.text
    assert "second line" not in caplog.text


@pytest.mark.parametrize("kind", ["all equal", "many duplicates"])
def test_umap_of_duplicates(kind: str) -> None:
    vectors = np.random.default_rng(0).integers(0, 17, (60, 9)).astype(np.uint8)
    vectors[: 60 if kind == "all equal" else 30] = vectors[0]
    assert np.isfinite(umap_projection(vectors, 2)).all()


def test_umap_of_long_vectors_keeps_two_blobs_apart() -> None:
    labels = np.arange(40) % 2
    pixels = np.random.default_rng(0).integers(0, 100, (40, 2000)) + 100 * labels[:, None]
    found = umap_projection(pixels.astype(np.uint8), 2, n_neighbors=5)
    assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.5


def test_umap_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    umap_projection(_blobs(30)[0], 2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (500, 500)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 5}, "UMAP to 5 dimensions needs at least 7 images, got 6"),
        ({"n_components": 0}, "n_components must be at least 1, got 0"),
        ({"n_components": 2, "n_neighbors": 1}, "n_neighbors must be at least 2, got 1"),
        ({"n_components": 2, "min_dist": 1.5}, "min_dist must lie between 0 and 1, got 1.5"),
    ],
)
def test_umap_wrong_calls(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        umap_projection(np.ones((6, 3)), **settings)


def test_umap_refuses_values_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        umap_projection(np.full((9, 3), np.nan), 2)


@pytest.mark.parametrize(("n", "d"), [(40, 7), (12, 30), (9, 9)])
def test_pca_equal_to_scikit_learn(n: int, d: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n, d)) * np.arange(1, d + 1) + 5
    found = pca_projection(vectors, 4)
    expected = PCA(4, svd_solver="full").fit_transform(vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("d", [60, 3000])
def test_pca_of_pixels_equal_to_scikit_learn(d: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, d), dtype=np.uint8)
    expected = PCA(3, svd_solver="full").fit_transform(pixels.astype(float))
    np.testing.assert_allclose(np.abs(pca_projection(pixels, 3)), np.abs(expected), rtol=1e-2, atol=0.05)


def test_pca_by_lanczos_equal_to_the_dense_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(70, 50))
    dense = pca_projection(vectors, 3)
    monkeypatch.setattr(module, "_DENSE_SOLVER_UP_TO", 10)
    np.testing.assert_allclose(pca_projection(vectors, 3), dense, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 5), (6, 40)])
def test_pca_sign_and_order_of_rows(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).normal(size=shape)
    found = pca_projection(vectors, 3)
    columns = np.arange(3)
    assert (found[np.abs(found).argmax(axis=0), columns] > 0).all()
    assert (np.diff(found.var(axis=0)) <= 0).all()
    order = np.random.default_rng(1).permutation(len(vectors))
    np.testing.assert_allclose(pca_projection(vectors[order], 3), found[order], atol=1e-5)


def test_pca_gives_zeros_where_there_is_no_variance() -> None:
    line = np.outer(np.arange(10.0), [1, 2, 2])
    found = pca_projection(line, 3)
    np.testing.assert_allclose(found[:, 0], 3 * (np.arange(10) - 4.5) * np.sign(found[-1, 0]), atol=1e-4)
    np.testing.assert_array_equal(found[:, 1:], 0)
    np.testing.assert_array_equal(pca_projection(np.ones((4, 9)), 2), 0)


def test_pca_wrong_calls() -> None:
    with pytest.raises(ValueError, match="between 1 and 3, the smaller of 8 rows and 3 dimensions, got 5"):
        pca_projection(np.ones((8, 3)), 5)
    with pytest.raises(ValueError, match="not finite"):
        pca_projection(np.array([[1.0, np.inf], [2.0, 0.0]]), 1)


def test_flat_map_takes_two_dimensions_as_they_are() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_array_equal(flat_map(vectors), vectors.astype(np.float32))


@pytest.mark.parametrize("method", ["umap", "pca"])
def test_flat_map_has_two_axes_for_any_number_of_rows(method: Any) -> None:
    for n in (0, 1, 2, 3, 4, 20):
        found = flat_map(_blobs(n, 5)[0], method)
        assert (found.shape, found.dtype) == ((n, 2), np.float32)
        assert np.isfinite(found).all()
    assert (flat_map(np.arange(6.0)[:, None], "pca")[:, 1] == 0).all()


def test_flat_map_keeps_two_blobs_apart() -> None:
    vectors, labels = _blobs()
    for method in ("umap", "pca"):
        found = flat_map(vectors, method)
        assert silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"]) > 0.5


def test_flat_map_unknown_method() -> None:
    with pytest.raises(ValueError, match="unknown method 'tsne': known are umap, pca"):
        flat_map(np.ones((3, 3)), "tsne")  # type: ignore[arg-type]
