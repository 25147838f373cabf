"""AUC, overlap and d' of two histograms: worked by hand, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.metrics.separation import auc, d_prime, overlap, win_tables


def test_auc_by_hand() -> None:
    # within in bins 1 1 3, between in bins 0 1: (won both) 1 - 1 tie, so (1 + .5) twice and 2: 5 of 6
    area, error = auc(np.array([0, 2, 0, 1]), np.array([1, 1, 0, 0]))
    assert area == pytest.approx(5 / 6)
    assert error == pytest.approx(1 / 6)  # both ties could be won, 6 of 6, or lost, 4 of 6


def test_auc_is_scikit_learns_on_binned_values() -> None:
    random = np.random.default_rng(0)
    within, between = random.integers(3, 12, 200), random.integers(0, 9, 300)
    area, _ = auc(np.bincount(within, minlength=12), np.bincount(between, minlength=12))
    truth = np.repeat([1, 0], [200, 300])
    assert area == pytest.approx(roc_auc_score(truth, np.concatenate([within, between])))


def test_ends() -> None:
    low, high = np.array([5, 0, 0]), np.array([0, 0, 7])
    assert auc(high, low) == (1, 0)
    assert auc(low, high) == (0, 0)
    assert auc(low, low) == (0.5, 0.5)
    assert overlap(low, high) == 0
    assert overlap(low, 3 * low) == 1
    assert np.isnan(auc(low, np.zeros(3))[0])
    assert np.isnan(overlap(np.zeros(3), low))


def test_a_row_for_each_class() -> None:
    within, between = np.array([[0, 1, 1], [5, 0, 0]]), np.array([[1, 1, 0], [0, 0, 7]])
    np.testing.assert_allclose(auc(within, between)[0], [0.875, 0])
    np.testing.assert_allclose(overlap(within, between), [0.5, 0])


def test_d_prime_by_hand() -> None:
    assert d_prime(0.8, 0.1, 0.3, 0.7) == pytest.approx(0.5 / np.sqrt((0.01 + 0.49) / 2))
    assert d_prime(0.3, 0.7, 0.8, 0.1) == pytest.approx(-1)
    np.testing.assert_allclose(d_prime([1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]), [1, np.nan])


def test_win_tables_make_up_the_auc() -> None:
    within, between = np.array([0, 1, 4, 2]), np.array([3, 1, 1, 0])
    of_within, of_between = win_tables(within, between)
    area, _ = auc(within, between)
    assert (within * of_within).sum() / within.sum() == pytest.approx(area)
    assert (between * of_between).sum() / between.sum() == pytest.approx(area)
