"""t-SNE is tested by what it keeps, never by coordinates; and rows beyond the fitted sample."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from pipeline.geometry.neighbours import nearest_neighbours
from pipeline.geometry.projection import umap_projection
from pipeline.geometry.sampling import KnownNeighbours, fitted_rows, split
from pipeline.geometry.tsne import neighbours_for, tsne_projection
from pipeline.metrics import blocks
from pipeline.metrics.clustering import silhouette, silhouette_samples
from pipeline.metrics.faithfulness import projection_quality


def _blobs(n: int = 80, d: int = 6, distance: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 2
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32) + distance * labels[:, None], labels


def _apart(found: np.ndarray, labels: np.ndarray) -> float:
    return silhouette(silhouette_samples(found, labels, ["euclidean"])["euclidean"])


def test_it_keeps_two_blobs_apart_and_neighbours_together() -> None:
    vectors, labels = _blobs()
    seen: list[tuple[int, int]] = []
    found = tsne_projection(vectors, 10, progress=lambda done, total: seen.append((done, total)))
    assert (found.shape, found.dtype) == ((80, 2), np.float32)
    assert _apart(found, labels) > 0.5
    assert projection_quality(vectors, found)["trustworthiness"] > 0.85
    assert seen[-1] == (750, 750)
    assert seen == sorted(seen)


def test_same_seed_same_bits_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = _blobs(distance=1.0)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(tsne_projection(vectors, seed=7, perplexity=10, n_iter=50))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], tsne_projection(vectors, seed=8, perplexity=10, n_iter=50))
    assert _apart(tsne_projection(_blobs()[0], 10, seed=None), _blobs()[1]) > 0.5


def test_neighbours_that_are_given_change_nothing() -> None:
    vectors, _ = _blobs(distance=1.0)
    near = nearest_neighbours(vectors, 64)
    for array in near:
        array.flags.writeable = False
    np.testing.assert_array_equal(tsne_projection(vectors, 10), tsne_projection(vectors, 10, neighbours=near))
    np.testing.assert_array_equal(umap_projection(vectors), umap_projection(vectors, neighbours=near))
    assert projection_quality(vectors, vectors[:, :2], nearest=near[0]) == projection_quality(vectors, vectors[:, :2])


@pytest.mark.parametrize(("n", "to"), [(4, "1"), (12, "3.667"), (90, "29.67")])
def test_perplexity_is_lowered_and_it_says_to_what(n: int, to: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = tsne_projection(_blobs(n)[0], n_iter=50)
    assert np.isfinite(found).all()
    assert f"perplexity lowered from 30 to {to}, as there are {n} rows" in caplog.text


def test_identical_vectors_and_a_single_dimension() -> None:
    assert np.isfinite(tsne_projection(np.ones((50, 5)), 5)).all()
    assert np.isfinite(tsne_projection(np.arange(50.0)[:, None], 5)).all()


@pytest.mark.parametrize(
    ("n", "settings", "message"),
    [
        (3, {}, "t-SNE needs at least 4 images, got 3"),
        (1, {}, "t-SNE needs at least 4 images, got 1"),
        (9, {"perplexity": 0.5}, "perplexity must be at least 1, got 0.5"),
        (9, {"n_iter": 0}, "n_iter must be at least 1, got 0"),
    ],
)
def test_wrong_calls(n: int, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tsne_projection(np.ones((n, 3)), **settings)


def test_values_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        tsne_projection(np.full((9, 3), np.nan), 2)


def test_three_neighbours_for_each_unit_of_perplexity_and_the_row_itself() -> None:
    assert neighbours_for(30) == 91
    assert neighbours_for(3.5) == 11


@pytest.mark.parametrize("method", [tsne_projection, umap_projection])
def test_above_a_limit_a_sample_is_fitted_and_the_others_placed(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels = _blobs(300)
    settings = {"perplexity": 10} if method is tsne_projection else {"n_components": 2}
    with caplog.at_level(logging.WARNING):
        found = method(vectors, max_fit=100, **settings)
    assert "fitted to a sample of 100 of 300 images, the others placed among them" in caplog.text
    chosen = fitted_rows(300, 100)
    np.testing.assert_array_equal(found[chosen], method(vectors[chosen], **settings))
    near = nearest_neighbours(vectors[chosen], 40)
    np.testing.assert_array_equal(found, method(vectors, max_fit=100, neighbours=near, **settings))
    assert _apart(found, labels) > 0.5


def test_the_sample_is_the_same_each_time() -> None:
    np.testing.assert_array_equal(fitted_rows(1000, 30), fitted_rows(1000, 30))
    assert (np.diff(fitted_rows(1000, 30)) > 0).all()
    np.testing.assert_array_equal(fitted_rows(30, 30), np.arange(30))


@pytest.mark.parametrize("method", [tsne_projection, umap_projection])
def test_rows_that_are_placed_land_with_their_kind_and_repeat(method: Any) -> None:
    vectors, labels = _blobs(300)
    settings = {"perplexity": 10} if method is tsne_projection else {"n_components": 2}
    found = method(vectors, max_fit=100, **settings)
    chosen, others = split(300, 100)
    middles = np.stack([np.median(found[chosen][labels[chosen] == label], axis=0) for label in range(labels.max() + 1)])
    nearest = np.linalg.norm(found[others][:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == labels[others]).mean() > 0.95
    np.testing.assert_array_equal(found, method(vectors, max_fit=100, **settings))


def test_neighbours_of_placed_rows_are_exact() -> None:
    vectors = np.array([[0.0, 0], [3, 4], [6, 8], [0, 0], [3, 0]])
    known = KnownNeighbours(vectors, np.array([1, 3, 4]), np.array([0, 2]), 2)
    indices, distances = known.query(None, 2)
    assert indices.tolist() == [[0, 1], [0, 1], [0, 1]]
    np.testing.assert_allclose(distances, [[5, 5], [0, 10], [3, np.sqrt(73)]], rtol=1e-6)
