"""Clouds without clusters: the moments that they must have, what is kept exactly, what repeats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from pipeline.metrics import nulls
from pipeline.metrics.nulls import NULLS, draw_null, gaussian, is_unit, isometric, principal_box, same_radii


def skewed(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Correlated, skewed, far from the origin."""
    random = np.random.default_rng(seed)
    return random.exponential(size=(n, d)) @ random.normal(size=(d, d)) + random.normal(size=d) * 5


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "d"), [(400, 6), (25, 40)])
@pytest.mark.parametrize("kind", ["gaussian", "radii"])
def test_mean_and_covariance_are_those_of_the_data(n: int, d: int, kind: str) -> None:
    """Over 200 clouds to four standard errors, in every direction."""
    vectors = skewed(n, d)
    mean, covariance = vectors.mean(axis=0), np.cov(vectors.T)
    clouds = [NULLS[kind](vectors)(np.random.default_rng(i)) for i in range(200)]
    means = np.array([cloud.mean(axis=0) for cloud in clouds])
    error = np.sqrt(np.diag(covariance) / n / 200)
    assert (np.abs(means.mean(axis=0) - mean) < 4.5 * error).all()
    found = np.mean([np.cov(cloud.T) for cloud in clouds], axis=0)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((found - covariance) / scale).max() < 4.5 * np.sqrt(2 / n / 200) * (1.6 if kind == "radii" else 1)


@pytest.mark.parametrize(("n", "d"), [(200, 4), (20, 30)])
def test_the_gaussian_is_one(n: int, d: int) -> None:
    """Along any direction its fourth moment is a normal's, which that of the data is not."""
    vectors = skewed(n, d)
    direction = np.random.default_rng(1).normal(size=d)

    def kurtosis(values: np.ndarray) -> float:
        return float(((values - values.mean()) ** 4).mean() / values.var() ** 2)

    made = np.concatenate([gaussian(vectors)(np.random.default_rng(i)) for i in range(100)])
    assert kurtosis(made @ direction) == pytest.approx(3, abs=0.3)


def test_radii_are_kept() -> None:
    vectors = np.random.default_rng(0).standard_t(3, size=(300, 5)) @ np.diag([1, 2, 3, 4, 5])
    made = same_radii(vectors)(np.random.default_rng(1))
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(vectors.T))).T
    before, after = (np.linalg.norm((rows - vectors.mean(axis=0)) @ whiten, axis=1) for rows in (vectors, made))
    np.testing.assert_allclose(np.sort(after), np.sort(before), rtol=1e-9)
    assert np.corrcoef(before, after)[0, 1] < 0.3  # in random order


def test_radii_with_a_flat_direction() -> None:
    vectors = skewed(50, 3) @ np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1.0]])
    made = same_radii(vectors)(np.random.default_rng(0))
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made[:, 3], made[:, :3].sum(axis=1), atol=1e-8)


def test_the_box_is_that_of_the_principal_axes() -> None:
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    vectors = (random.normal(size=(500, 3)) * [10, 3, 1]) @ turn + 7
    axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2]
    made = np.concatenate([principal_box(vectors)(np.random.default_rng(i)) for i in range(20)])
    places = (vectors - vectors.mean(axis=0)) @ axes.T
    inside = (made - vectors.mean(axis=0)) @ axes.T
    assert (inside >= places.min(axis=0) - 1e-9).all() and (inside <= places.max(axis=0) + 1e-9).all()
    shares = (inside - places.min(axis=0)) / np.ptp(places, axis=0)
    np.testing.assert_allclose([np.quantile(column, [0.25, 0.5, 0.75]) for column in shares.T], [[0.25, 0.5, 0.75]] * 3,
                               atol=0.02)  # fmt: skip


def test_shuffled_features_keep_their_values_and_lose_each_other() -> None:
    vectors = skewed(400, 3)
    made = draw_null(vectors, "features", (0, 0))
    np.testing.assert_array_equal(np.sort(made, axis=0), np.sort(vectors, axis=0))
    assert np.abs(np.corrcoef(made.T)[np.triu_indices(3, 1)]).max() < 0.2


def test_the_isotropic_one_has_the_total_variance_in_every_direction() -> None:
    vectors = skewed(2000, 4)
    made = draw_null(vectors, "isotropic", (0, 0))
    assert np.linalg.eigvalsh(np.cov(made.T)) == pytest.approx([vectors.var(axis=0).mean()] * 4, rel=0.15)


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("shape", [(60, 5), (20, 90)])
def test_clouds_of_unit_vectors_are_of_unit_vectors(kind: str, shape: tuple[int, int]) -> None:
    vectors = unit(skewed(*shape)).astype(np.float32)
    assert np.linalg.norm(draw_null(vectors, kind, (0, 1)), axis=1) == pytest.approx(np.ones(shape[0]), abs=1e-9)
    longer = draw_null(vectors * 3, kind, (0, 1))
    assert np.ptp(np.linalg.norm(longer, axis=1)) > 0.01


def test_is_unit() -> None:
    assert is_unit(unit(skewed(9, 3)).astype(np.float16))
    assert is_unit(np.array([[0.0, 0], [0, 1]])) and is_unit(np.zeros((3, 2)))
    assert not is_unit(np.array([[0.0, 1.01], [0, 1]])) and not is_unit(np.array([[255, 3]], dtype=np.uint8))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8])
def test_isometric_keeps_distances_lengths_and_cosines(kind: type) -> None:
    vectors = np.random.default_rng(0).integers(0, 256, (12, 300)).astype(kind)
    made, given = isometric(vectors), vectors.astype(float)
    assert made.shape == (12, 12) and made.dtype == np.float64
    for metric in ("euclidean", "cosine"):
        np.testing.assert_allclose(pdist(made, metric), pdist(given, metric), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), np.linalg.norm(given, axis=1), rtol=1e-9)


def test_isometric_of_few_dimensions_is_a_copy() -> None:
    vectors = skewed(20, 20)
    made = isometric(vectors)
    np.testing.assert_array_equal(made, vectors)
    assert not np.shares_memory(made, vectors)


def test_isometric_drops_what_the_rows_do_not_span() -> None:
    twice = np.vstack([skewed(4, 50)] * 3)
    made = isometric(twice)
    assert made.shape == (12, 12) and np.any(made, axis=0).sum() == 4
    np.testing.assert_allclose(pdist(made), pdist(twice), atol=1e-5)
    assert not isometric(np.zeros((3, 9))).any()


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("vectors", [np.full((6, 3), 0.3), np.zeros((6, 3)), np.zeros((4, 9)), np.full((4, 9), 2.0)])
def test_equal_vectors_have_equal_clouds(kind: str, vectors: np.ndarray) -> None:
    made = draw_null(vectors, kind, (0, 0))
    assert len(made) == len(vectors) and np.isfinite(made).all()
    assert np.abs(made - made[:1]).max(initial=0) < 1e-6


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("shape", [(40, 5), (15, 60)])
def test_a_cloud_follows_from_seed_and_number(kind: str, shape: tuple[int, int]) -> None:
    vectors = skewed(*shape)
    one = draw_null(vectors, kind, (3, 1))
    np.testing.assert_array_equal(one, draw_null(vectors.copy(), kind, (3, 1)))
    for other in ((3, 2), (4, 1)):
        assert np.abs(one - draw_null(vectors, kind, other)).max() > 0.1


def test_the_same_bits_on_one_thread_and_on_two() -> None:
    vectors = unit(skewed(600, 700)).astype(np.float32)
    with threadpool_limits(limits=1):
        one = draw_null(vectors, "gaussian", (0, 0))
    with threadpool_limits(limits=2):
        np.testing.assert_array_equal(draw_null(vectors, "gaussian", (0, 0)), one)


def test_kinds_draw_apart_and_weak_ones_are_known() -> None:
    assert set(nulls.WEAK) < set(NULLS)
    vectors = np.random.default_rng(0).normal(size=(50, 2))
    gaussians = draw_null(vectors, "gaussian", (0, 0)), draw_null(vectors, "isotropic", (0, 0))
    assert abs(np.corrcoef(gaussians[0][:, 0], gaussians[1][:, 0])[0, 1]) < 0.5
