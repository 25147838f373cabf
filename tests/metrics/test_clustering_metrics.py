"""Scores of clusters: four points by hand, scikit-learn as oracle, and what must not change a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from pipeline.metrics import blocks
from pipeline.metrics.clustering import (
    calinski_harabasz,
    davies_bouldin,
    defined,
    silhouette,
    silhouette_samples,
)


def _random(n: int = 150, d: int = 6, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.repeat(np.arange(k), 2), rng.integers(0, k, n - 2 * k)])
    return rng.normal(size=(n, d)) + 100 + clusters[:, None] * 0.7, clusters


def test_four_points_by_hand() -> None:
    # Unit vectors at 0, 90, 180 and 270 degrees; the first two form one cluster.
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    found = silhouette_samples(vectors, np.array([0, 0, 1, 1]))
    # Euclidean: a = sqrt 2, b = (2 + sqrt 2) / 2; cosine: a = 1, b = (2 + 1) / 2.
    root = np.sqrt(2)
    np.testing.assert_allclose(found["euclidean"], 1 - root / ((2 + root) / 2), atol=1e-12)
    np.testing.assert_allclose(found["cosine"], 1 - 1 / 1.5, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(seed: int) -> None:
    vectors, clusters = _random(seed=seed)
    found = silhouette_samples(vectors, clusters)
    for metric in ("euclidean", "cosine"):
        expected = oracle.silhouette_samples(vectors, clusters, metric=metric)
        np.testing.assert_allclose(found[metric], expected, atol=1e-6)
    assert calinski_harabasz(vectors, clusters) == pytest.approx(oracle.calinski_harabasz_score(vectors, clusters))
    assert davies_bouldin(vectors, clusters) == pytest.approx(oracle.davies_bouldin_score(vectors, clusters))


def test_over_several_tiles_equal_to_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TILE_ROWS", 37)
    vectors, clusters = _random(k=11)
    expected = oracle.silhouette_samples(vectors, clusters)
    np.testing.assert_allclose(silhouette_samples(vectors, clusters)["euclidean"], expected, atol=1e-9)


def test_many_clusterings_at_once_equal_to_scikit_learn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TILE_ROWS", 37)
    vectors, _ = _random(200)
    columns = np.stack([np.arange(200) * 7919 % 200 % k for k in range(2, 21)], axis=1)
    found = silhouette_samples(vectors, columns)
    for metric, values in found.items():
        assert values.shape == columns.shape
        for column, clusters in zip(values.T, columns.T, strict=True):
            np.testing.assert_allclose(column, oracle.silhouette_samples(vectors, clusters, metric=metric), atol=1e-9)


def test_tables_too_large_are_made_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = _random(90)
    columns = np.stack([np.arange(90) % k for k in range(2, 9)], axis=1)
    at_once = silhouette_samples(vectors, columns)
    monkeypatch.setattr("pipeline.metrics.clustering.TABLE_BYTES", 8 * 90 * 7)
    for metric, values in silhouette_samples(vectors, columns).items():
        np.testing.assert_allclose(values, at_once[metric], atol=1e-12)


def test_each_of_many_clusterings_has_its_own_noise_and_may_be_undefined() -> None:
    vectors, clusters = _random(60)
    noisy, one = clusters.copy(), np.zeros(60, dtype=int)
    noisy[[0, 7, 30]] = -1
    columns = np.stack([clusters, noisy, one, np.where(clusters == 2, -1, clusters), np.full(60, -1)], axis=1)
    together = silhouette_samples(vectors, columns)
    for place, column in enumerate(columns.T):
        alone = silhouette_samples(vectors, column)
        for metric in alone:
            np.testing.assert_allclose(together[metric][:, place], alone[metric], atol=1e-12)
    assert np.isnan(together["cosine"][:, [2, 4]]).all()
    assert silhouette_samples(vectors, columns[:, :0])["euclidean"].shape == (60, 0)


def test_integers_equal_to_scikit_learn_and_zero_vectors_as_there() -> None:
    vectors = np.random.default_rng(0).integers(0, 17, (80, 64), dtype=np.uint8)
    vectors[[3, 4, 50]] = 0
    clusters = np.arange(80) % 5
    found = silhouette_samples(vectors, clusters)
    for metric in ("euclidean", "cosine"):
        expected = oracle.silhouette_samples(vectors.astype(float), clusters, metric=metric)
        np.testing.assert_allclose(found[metric], expected, atol=1e-9)


def test_raw_pixels_equal_to_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    clusters = np.arange(40) % 2
    vectors = np.clip(rng.integers(0, 200, (40, 3000)) + 40 * clusters[:, None], 0, 255).astype(np.uint8)
    wide = vectors.astype(np.float64)
    found = silhouette_samples(vectors, clusters)
    for metric in ("euclidean", "cosine"):
        expected = oracle.silhouette_samples(wide, clusters, metric=metric)
        np.testing.assert_allclose(found[metric], expected, atol=1e-5)
    assert calinski_harabasz(vectors, clusters) == pytest.approx(oracle.calinski_harabasz_score(wide, clusters))
    assert davies_bouldin(vectors, clusters) == pytest.approx(oracle.davies_bouldin_score(wide, clusters))


def test_singletons_are_zero_and_noise_is_left_out() -> None:
    vectors, clusters = _random()
    noisy = np.concatenate([clusters, [9, -1, -1]])
    extended = np.vstack([vectors, [[500.0] * 6], [[0.0] * 6], [[1e4] * 6]])
    found = silhouette_samples(extended, noisy)
    for metric, values in found.items():
        expected = oracle.silhouette_samples(extended[:-2], noisy[:-2], metric=metric)
        np.testing.assert_allclose(values[:-2], expected, atol=1e-6)
        assert values[-3] == 0
        assert np.isnan(values[-2:]).all()
    assert calinski_harabasz(extended, noisy) == pytest.approx(calinski_harabasz(extended[:-2], noisy[:-2]))
    assert davies_bouldin(extended, noisy) == pytest.approx(davies_bouldin(extended[:-2], noisy[:-2]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rotation_and_renaming_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, clusters = _random(60, 4, 3, seed)
    turned = vectors @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    renamed = np.array([7, 2, 5])[clusters]
    before, after = silhouette_samples(vectors, clusters), silhouette_samples(turned, renamed)
    for metric in before:
        np.testing.assert_allclose(after[metric], before[metric], atol=1e-8)
    assert calinski_harabasz(turned, renamed) == pytest.approx(calinski_harabasz(vectors, clusters))
    assert davies_bouldin(turned, renamed) == pytest.approx(davies_bouldin(vectors, clusters))


def test_row_order_permutes_only() -> None:
    vectors, clusters = _random()
    order = np.random.default_rng(1).permutation(len(clusters))
    before, after = silhouette_samples(vectors, clusters), silhouette_samples(vectors[order], clusters[order])
    for metric in before:
        np.testing.assert_allclose(after[metric], before[metric][order], atol=1e-12)


def test_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, clusters = _random(1100)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(silhouette_samples(vectors, clusters))
    np.testing.assert_array_equal(found[0]["euclidean"], found[1]["euclidean"])
    np.testing.assert_array_equal(found[0]["cosine"], found[1]["cosine"])


@pytest.mark.parametrize(
    ("clusters", "reason"),
    [
        ([0, 0, 0], "one cluster"),
        ([4, 4, -1], "one cluster"),
        ([0, 1, 2], "every image is its own cluster"),
        ([-1, -1, -1], "no clusters"),
    ],
)
def test_undefined_scores_are_nan_with_a_reason(clusters: list[int], reason: str) -> None:
    vectors, ids = np.arange(6.0).reshape(3, 2), np.array(clusters)
    assert defined(ids) == reason
    assert all(np.isnan(values).all() for values in silhouette_samples(vectors, ids).values())
    assert np.isnan(silhouette(np.full(3, np.nan)))
    assert np.isnan(calinski_harabasz(vectors, ids))
    assert np.isnan(davies_bouldin(vectors, ids))


def test_identical_rows_score_as_in_scikit_learn() -> None:
    vectors, clusters = np.ones((6, 3)), np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(silhouette_samples(vectors, clusters)["euclidean"], np.zeros(6))
    assert calinski_harabasz(vectors, clusters) == oracle.calinski_harabasz_score(vectors, clusters)
    assert davies_bouldin(vectors, clusters) == oracle.davies_bouldin_score(vectors, clusters)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="unknown metric 'manhattan': known are euclidean, cosine"):
        silhouette_samples(np.ones((4, 2)), np.array([0, 0, 1, 1]), ["manhattan"])
    with pytest.raises(ValueError, match=r"clusters must be \(4,\), one for each vector, got \(3,\)"):
        silhouette_samples(np.ones((4, 2)), np.array([0, 0, 1]))


def test_vectors_of_one_direction_have_no_silhouette_but_nought() -> None:
    """What rounding leaves of distances that are 0 is no distance."""
    direction = np.random.default_rng(0).normal(size=16)
    vectors = np.outer(np.random.default_rng(1).uniform(0.5, 2, 60), direction).astype(np.float32)
    clusters = np.arange(60) % 7
    np.testing.assert_array_equal(silhouette_samples(vectors, clusters, ["cosine"])["cosine"], 0)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1, 1e6])
def test_davies_bouldin_does_not_depend_on_the_unit(scale: float) -> None:
    vectors, clusters = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    assert davies_bouldin(scale * vectors, clusters) == pytest.approx(davies_bouldin(vectors, clusters))
