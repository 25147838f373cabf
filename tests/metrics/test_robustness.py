"""Clusters, classes and directions before and after, against plain code."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pipeline.metrics.robustness import ClassCentres, agreement, cosines, nearest_centre, shares


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nearest_centre_is_that_of_a_plain_loop(dtype: type) -> None:
    random = np.random.default_rng(0)
    vectors, centres = random.integers(0, 256, (60, 9)).astype(dtype), random.normal(128, 60, (5, 9))
    expected = [np.square(centres - vector).sum(axis=1).argmin() for vector in vectors.astype(float)]
    assert nearest_centre(vectors, centres).tolist() == expected
    far = nearest_centre(vectors.astype(float) + 1e9, centres + 1e9)  # no digits are lost to a far origin
    assert far.tolist() == expected


def test_cosines() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 40, 7)).astype(np.float32)
    expected = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosines(a, b), expected, rtol=1e-5)
    assert (cosines(a, a) == 1).all()
    assert cosines(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("grouped", [False, True])
def test_class_centres_leave_out_the_images_own_unit(grouped: bool) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 6)).astype(np.float32)
    codes = random.integers(-1, 3, 40)
    units = random.integers(0, 15, 40) if grouped else np.arange(40)
    rows = np.array([0, 3, 7, 21, 39])
    new = vectors[rows] + random.normal(size=(5, 6)).astype(np.float32)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = []
    for vector, row in zip(new, rows, strict=True):
        centres = [directions[(codes == code) & (units != units[row])].sum(axis=0) for code in range(3)]
        expected.append(int(np.argmax([vector @ centre / np.linalg.norm(centre) for centre in centres])))
    assert ClassCentres(vectors, codes, units).nearest(new, rows).tolist() == expected


def test_a_class_without_other_images_is_no_choice() -> None:
    vectors = np.array([[1.0, 0], [0, 1], [0.1, 1]])
    judge = ClassCentres(vectors, np.array([0, 1, 1]), np.arange(3))
    assert judge.nearest(np.array([[1.0, 0], [0, 0]]), np.array([0, 1])).tolist() == [
        1,
        -1,
    ]  # its own, alone; no direction
    alone = ClassCentres(vectors[:1], np.array([0]), np.arange(1))
    assert alone.nearest(vectors[:1], np.array([0])).tolist() == [-1]


def test_shares_and_their_intervals() -> None:
    random = np.random.default_rng(0)
    events = np.column_stack([np.zeros(200), random.random(200) < 0.3, np.full(200, np.nan)])
    events[:50, 1] = np.nan
    found = shares(events, np.arange(200), 500, (0,))
    assert found.value[0] == 0 and found.value[1] == np.nanmean(events[:, 1]) and np.isnan(found.value[2])
    error = np.sqrt(found.value[1] * (1 - found.value[1]) / 150)
    assert found.interval.high[1] - found.interval.low[1] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert (found.interval.low[0], found.interval.high[0]) == pytest.approx((0, 1 - 0.025 ** (1 / 200)))
    assert np.isnan([found.interval.low[2], found.interval.high[2]]).all()
    whole = shares(np.repeat(events[50:, 1:2], 10, axis=0), np.repeat(np.arange(150), 10), 500, (0,))
    width = whole.interval.high[0] - whole.interval.low[0]  # ten times the images, but no more of what was drawn
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_agreement_counts_noise_as_a_cluster() -> None:
    before, after = np.array([0, 0, 1, 1, -1, -1]), np.array([5, 5, 2, 2, -1, 0])
    assert agreement(before, after) == adjusted_rand_score(before, after) < 1
    assert agreement(before, before) == 1 and np.isnan(agreement(before[:0], after[:0]))
