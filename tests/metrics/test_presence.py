"""Scores of one label of several: against a count of every pair, and what must not change them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.metrics.presence import BINS, presence


def vectors(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + 0.4


def by_every_pair(x: np.ndarray, present: np.ndarray, absent: np.ndarray) -> dict[str, float]:
    """The same, by loops."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    within = np.array([unit[i] @ unit[j] for i, j in itertools.combinations(present, 2)])
    between = np.array([unit[i] @ unit[j] for i in present for j in absent])
    shares = []
    judged = [*present, *absent]
    for i in present:
        others = sorted((j for j in judged if j != i), key=lambda j: -(unit[i] @ unit[j]))
        shares.append(np.mean([j in present for j in others[:5]]))
    wins = (within[:, None] > between[None, :]).mean()
    return {"within": within.mean(), "between": between.mean(), "auc": wins, "precision": float(np.mean(shares))}


@pytest.mark.parametrize(("p", "n"), [(2, 5), (7, 20), (30, 3), (40, 61)])
def test_equal_to_a_count_of_every_pair(p: int, n: int) -> None:
    x = vectors(p + n + 10)
    order = np.random.default_rng(1).permutation(len(x))
    present, absent = order[:p], order[p : p + n]
    found, wanted = presence(x, present, absent), by_every_pair(x, present, absent)
    assert found.within == pytest.approx(wanted["within"], abs=1e-12)
    assert found.between == pytest.approx(wanted["between"], abs=1e-12)
    assert found.gap == pytest.approx(found.within - found.between)
    assert abs(found.auc - wanted["auc"]) <= found.auc_error + 1e-12
    assert found.auc_error < 20 / BINS
    assert found.precision == pytest.approx(wanted["precision"])
    assert found.chance == pytest.approx((p - 1) / (p + n - 1))
    assert found.gap_interval.low < found.gap < found.gap_interval.high


def test_blocks_rotation_scale_and_order_do_not_matter() -> None:
    x = vectors(700, 8)
    present, absent = np.arange(0, 300), np.arange(300, 650)
    whole = presence(x, present, absent)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))
    scale = np.random.default_rng(3).uniform(0.1, 9, (700, 1))
    for other in (
        presence(x, present, absent, block_bytes=4096),
        presence(x @ turn * scale, present, absent),
        presence(x, present[::-1], np.roll(absent, 17)),
    ):
        assert other.gap == pytest.approx(whole.gap, abs=1e-12)
        assert other.auc == pytest.approx(whole.auc, abs=whole.auc_error + 1e-9)
        assert other.precision == pytest.approx(whole.precision)
        assert other.gap_interval.low == pytest.approx(whole.gap_interval.low)


def test_worked_by_hand() -> None:
    # four images on the first axis show it, three on the second do not
    x = np.array([[1.0, 0]] * 4 + [[0, 1.0]] * 3)
    found = presence(x, np.arange(4), np.arange(4, 7))
    assert (found.within, found.between, found.auc) == (1.0, 0.0, 1.0)
    assert found.precision == pytest.approx(3 / 5)  # there are only three others that show it
    assert found.chance == pytest.approx(3 / 6)


def test_equally_near_images_that_do_not_show_it_count_first() -> None:
    found = presence(np.ones((10, 2)), np.arange(5), np.arange(5, 10))
    assert found.precision == 0.0
    assert found.auc == 0.5


def test_chance_on_noise() -> None:
    x = np.random.default_rng(5).normal(size=(2000, 16))
    found = presence(x, np.arange(500), np.arange(500, 2000))
    assert abs(found.auc - 0.5) < 0.01
    assert abs(found.precision - found.chance) < 0.03
    assert found.gap_interval.low < 0 < found.gap_interval.high


def test_groups_widen_the_interval() -> None:
    x = np.repeat(vectors(20), 5, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 6))
    groups = np.repeat(np.arange(20), 5)
    alone, grouped = (
        presence(x, np.arange(50), np.arange(50, 100)),
        presence(x, np.arange(50), np.arange(50, 100), groups),
    )
    assert grouped.gap == alone.gap
    assert grouped.gap_interval.high - grouped.gap_interval.low > 1.5 * (
        alone.gap_interval.high - alone.gap_interval.low
    )


def test_too_few_neighbours_or_images() -> None:
    assert np.isnan(presence(vectors(5), np.arange(2), np.arange(2, 5)).precision)
    assert np.isfinite(presence(vectors(6), np.arange(2), np.arange(2, 6)).precision)
    for present, absent in ((np.arange(1), np.arange(1, 5)), (np.arange(5), np.arange(0))):
        with pytest.raises(ValueError, match="2 rows present and 1 absent are needed"):
            presence(vectors(5), present, absent)
