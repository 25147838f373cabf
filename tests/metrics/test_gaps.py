"""Gaps between clusters: none in one cloud that was cut, wide ones between two, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics import gaps as module
from pipeline.metrics.gaps import FEWEST, Gap, gaps, median_gap


def cut(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One Gaussian, cut in the middle of its longest axis."""
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    vectors[:, 0] *= 2
    return vectors, (vectors[:, 0] > 0).astype(int)


def two(n: int, d: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    clusters = np.arange(n) % 2
    vectors[:, 0] += apart * clusters
    return vectors, clusters


@pytest.mark.parametrize(("n", "d"), [(60, 3), (300, 3), (300, 50), (100, 200)])
def test_one_cloud_cut_up_has_no_gap(n: int, d: int) -> None:
    values = [gaps(*cut(n, d, seed))[0].value for seed in range(12)]
    assert np.mean(values) >= 0.8


@pytest.mark.parametrize("d", [2, 60])
def test_far_gaussians_have_a_wide_one(d: int) -> None:
    for gap in gaps(*two(200, d, 12.0)):
        assert gap.value < 0.02
    middle = gaps(*two(400, d, 4.0))[0].value
    assert 0.05 < middle < 0.7
    assert gaps(*two(400, d, 6.0))[0].value < middle < gaps(*two(400, d, 2.5))[0].value


def test_what_a_gap_is_by_hand() -> None:
    """Three peaks on a grid of densities: the valley between the highest of either side over the lower one."""
    density = np.interp(np.linspace(0, 1, 101), [0, 0.2, 0.5, 0.8, 1], [0.1, 0.8, 0.2, 0.4, 0.05])
    assert module._valley(density) == pytest.approx(0.5)
    assert module._valley(np.linspace(1, 2, 101)) == pytest.approx(1)  # rising: the left peak is in the middle
    assert module._valley(np.ones(101)) == 1
    assert module._valley(np.zeros(101)) == 0


def test_even_densities_give_one() -> None:
    """A slab cut in two: what a chance dip of so few points is, is divided out."""
    values = []
    for seed in range(30):
        vectors = np.random.default_rng(seed).uniform(size=(80, 2)) * [4, 1]
        values.append(gaps(vectors, (vectors[:, 0] > 2).astype(int))[0].value)
    assert np.mean(values) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("apart", [0.0, 3.0, 6.0])
def test_rotation_shift_and_scale_change_nothing(apart: float) -> None:
    vectors, clusters = two(120, 5, apart)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    before = [gap.value for gap in gaps(vectors, clusters)]
    for moved in (
        vectors @ turn,
        vectors + 50,
        vectors * 1e-3,
        vectors * 1e4,
        np.hstack([vectors, np.zeros((120, 3))]),
    ):
        assert [gap.value for gap in gaps(moved, clusters)] == pytest.approx(before, rel=1e-6)


def test_other_names_of_clusters_change_a_gap_by_the_draw_of_halves_only() -> None:
    """Names enter the seed. The run's are by size, so that they are no choice; the draw moves a gap by little."""
    vectors, clusters = two(400, 4, 4.0)
    values = [gaps(vectors, np.array(names)[clusters])[0].value for names in ([0, 1], [1, 0], [3, 7], [9, 2])]
    assert np.ptp(values) < 0.1
    draws = [gaps(vectors, clusters, seed)[0].value for seed in range(10)]
    assert np.ptp(draws) < 0.15
    assert gaps(vectors, clusters, 3) == gaps(vectors, clusters, 3)


def test_the_nearest_has_the_nearest_centroid_and_pairs_agree() -> None:
    vectors, clusters = np.random.default_rng(0).normal(size=(90, 2)), np.repeat([0, 1, 2], 30)
    vectors[:, 0] += np.array([0.0, 10, 30])[clusters]
    found = gaps(vectors, clusters)
    assert [(gap.cluster, gap.nearest) for gap in found] == [(0, 1), (1, 0), (2, 1)]
    assert found[0].value == found[1].value


def test_noise_fills_gaps_and_ids_may_have_holes() -> None:
    """What lies between is the evidence against a gap, even where a clusterer left it out."""
    vectors, clusters = two(100, 3, 8.0)
    between = np.random.default_rng(0).normal([4, 0, 0], [1.5, 1, 1], (100, 3))
    ids = np.concatenate([np.where(clusters == 0, 2, 5), np.full(100, -1)])
    found = gaps(np.vstack([vectors, between]), ids)
    assert [(gap.cluster, gap.nearest) for gap in found] == [(2, 5), (5, 2)]
    assert gaps(vectors, ids[:100])[0].value < 0.1 < 0.5 < found[0].value


def test_noise_far_away_changes_nothing() -> None:
    vectors, clusters = two(100, 3, 8.0)
    far = np.tile([[-30.0, 0, 0], [38.0, 0, 0]], (10, 1))
    assert gaps(np.vstack([vectors, far]), np.append(clusters, np.full(20, -1)))[0].value < 0.1


def test_fewer_than_two_clusters() -> None:
    vectors = np.ones((5, 2))
    assert gaps(vectors, np.zeros(5, dtype=int)) == gaps(vectors, np.full(5, -1)) == []
    assert np.isnan(median_gap([]))


def test_too_few_members() -> None:
    vectors, clusters = two(40, 2, 9.0)
    few = np.where(np.cumsum(clusters == 1) > FEWEST - 1, np.where(clusters == 1, -1, clusters), clusters)
    assert (few == 1).sum() == FEWEST - 1
    found = gaps(vectors, few)
    assert all(np.isnan(gap.value) for gap in found)
    assert np.isnan(median_gap(found))
    enough = np.where(np.cumsum(clusters == 1) > FEWEST, np.where(clusters == 1, -1, clusters), clusters)
    assert all(np.isfinite(gap.value) for gap in gaps(vectors, enough))


def test_equal_vectors_and_copies() -> None:
    same = np.ones((20, 3))
    assert [gap.value for gap in gaps(same, np.arange(20) % 2)] == [1, 1]  # at one place: no gap
    places = np.where(np.arange(20)[:, None] % 2, [1.0, 0, 0], [0, 1.0, 0])
    assert [gap.value for gap in gaps(places, np.arange(20) % 2)] == [0, 0]  # at two places, with nothing between


def test_the_median_leaves_out_what_cannot_be_told() -> None:
    assert median_gap([Gap(0, 1, 0.2), Gap(1, 0, np.nan), Gap(2, 1, 0.6)]) == pytest.approx(0.4)


def test_many_clusters_in_many_dimensions_take_little_memory() -> None:
    import tracemalloc

    vectors = np.random.default_rng(0).normal(size=(1600, 300))
    tracemalloc.start()
    found = gaps(vectors, np.arange(1600) // 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 400
    assert peak < 60e6  # all differences of centroids at once: 400 x 400 x 300 x 8 = 384 MB


def test_one_cloud_of_many_numbers_and_few_points() -> None:
    """An even density of so few points under so narrow a kernel has a valley of (nearly) nothing to be divided by."""
    vectors = np.random.default_rng(0).normal(size=(100, 20_000)).astype(np.float32)
    values = [gap.value for gap in gaps(vectors, np.arange(100) % 3)]
    assert values == [module._MOST] * 3
    module._by_chance.cache_clear()
    assert module._by_chance(8, 1e-4) < 1e-6
    apart = np.concatenate([np.full((4, 2), 0.0), np.full((4, 2), 1.0)]) + np.arange(8)[:, None] * 1e-4
    assert gaps(apart, np.arange(8) // 4)[0].value < 1e-6, "two points, nearly"
