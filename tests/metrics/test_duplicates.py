"""Duplicates: equal contents, near vectors, and the groups they form."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.neighbours import nearest_neighbours
from pipeline.metrics.duplicates import crossing, joined, near_pairs, same_content


def by_hand(vectors: np.ndarray) -> np.ndarray:
    """(n, n) the smaller of plain and centred cosine."""

    def cosines(x: np.ndarray) -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit @ unit.T

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.minimum(cosines(vectors), cosines(unit - unit.mean(axis=0)))


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("threshold", [0.2, 0.9, 0.99])
def test_pairs_and_cosines_are_those_of_all_pairs(threshold: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(60, 12)) + 2) * scale
    vectors[30:50] = vectors[:20] + rng.normal(size=(20, 12)) * 0.05 * scale * np.arange(20)[:, None]
    pairs, cosines = near_pairs(vectors, *nearest_neighbours(vectors, 60), threshold)
    expected = by_hand(vectors)
    assert pairs.tolist() == np.argwhere(np.triu(expected >= threshold, 1)).tolist()
    assert len(pairs) > 2
    np.testing.assert_allclose(cosines, expected[pairs[:, 0], pairs[:, 1]], atol=1e-6)


def test_a_crowd_that_points_one_way_is_told_apart() -> None:
    """Every pair has a cosine over 0.99, only one is nearly the same."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 20)) + 50
    vectors[7] = vectors[3] + 0.001
    pairs, _ = near_pairs(vectors, *nearest_neighbours(vectors, 16), 0.95)
    assert pairs.tolist() == [[3, 7]]


def test_few_vectors_are_compared_as_they_are() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    pairs, cosines = near_pairs(vectors, *nearest_neighbours(vectors, 5), 0.9)
    assert pairs.tolist() == [[0, 1]]
    assert cosines[0] == pytest.approx(1 / np.sqrt(1.0001))


def test_all_equal_vectors_are_all_near() -> None:
    vectors = np.ones((30, 4), np.float32)
    pairs, cosines = near_pairs(vectors, *nearest_neighbours(vectors, 8), 0.95)
    assert joined(30, pairs).max() >= 0
    assert (cosines == 1).all()
    groups = joined(30, pairs)
    assert (groups >= 0).all()


def test_none() -> None:
    vectors = np.eye(12)
    pairs, cosines = near_pairs(vectors, *nearest_neighbours(vectors, 4), 0.95)
    assert pairs.shape == (0, 2) and cosines.shape == (0,)
    assert joined(12, pairs).tolist() == [-1] * 12
    assert same_content(["a", "b"]).shape == (0, 2)


def test_groups_join_what_several_rules_found() -> None:
    pairs = np.concatenate([same_content(["x", "y", "x", "z", "y"]), np.array([[2, 3]])])
    assert joined(5, pairs).tolist() == [0, 1, 0, 0, 1]


def test_a_missing_value_crosses_nothing() -> None:
    groups = np.array([0, 0, 1, 1, 2, 2])
    assert crossing(groups, [None, "a", "a", "a", "b", float("nan")]) == []
