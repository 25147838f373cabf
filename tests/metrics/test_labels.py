"""Labels told from vectors and dealt out at random: by hand, by oracle, at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from pipeline.metrics import labels as metric
from pipeline.metrics.labels import (
    Permuted,
    accuracy,
    against_permutations,
    compared,
    coordinates,
    folds,
    nearest_others,
    permuted_labels,
    probed,
    repeated,
    voted,
)


def two_blobs(n: int = 60, apart: float = 6.0, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    vectors = random.normal(size=(n, d))
    vectors[:, 0] += apart * labels
    return vectors, labels


def test_p_counts_the_observed_labels_as_one_permutation() -> None:
    assert against_permutations(0.9, [0.1, 0.2, 0.3]).p == 0.25
    assert against_permutations(0.2, [0.1, 0.2, 0.3]).p == 0.75  # 0.2 and 0.3 reach it
    assert against_permutations(0.0, [0.1, 0.2, 0.3]).p == 1
    assert against_permutations(0.1 + 0.2, [0.3]).p == 1  # equal but for rounding
    found = against_permutations(0.5, [0.1, 0.3])
    assert (found.mean, found.sd) == (pytest.approx(0.2), pytest.approx(math.sqrt(0.02)))


def test_p_without_permutations_or_value() -> None:
    for value, permuted in ((0.5, []), (math.nan, [0.1]), (0.5, [math.nan])):
        found = against_permutations(value, permuted)
        assert math.isnan(found.p) and math.isnan(found.mean)
    assert math.isnan(against_permutations(0.5, [0.1]).sd)


def test_groups_of_one_label_keep_it_together() -> None:
    groups = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    labels = np.array([0, 0, 1, 1, 2, 2])[groups]
    seen = set()
    for seed in range(20):
        given = permuted_labels(labels, groups, np.random.default_rng(seed))
        of_group = [set(given[groups == group]) for group in range(6)]
        assert all(len(one) == 1 for one in of_group)
        assert sorted(label for one in of_group for label in one) == [0, 0, 1, 1, 2, 2]
        seen.add(tuple(given))
    assert len(seen) > 10


def test_mixed_groups_are_permuted_by_row() -> None:
    labels, groups = np.array([0, 1, 0, 1, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2, 3, 3])
    given = [permuted_labels(labels, groups, np.random.default_rng(seed)) for seed in range(20)]
    assert all(sorted(one) == sorted(labels) for one in given)
    assert any(one[6] != one[7] for one in given)


def test_a_label_needs_two_images_or_two_groups() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert repeated(labels, None).tolist() == [True, True, False, True, True, True]
    assert repeated(labels, np.array([7, 7, 7, 7, 7, 8])).tolist() == [False, False, False, True, True, True]
    assert repeated(np.array([], dtype=np.int64), None).tolist() == []


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_votes_are_scikit_learns_leave_one_out(kind: type) -> None:
    vectors, labels = two_blobs(apart=2.0)
    vectors = (vectors * 30 + 90).astype(kind)
    expected = cross_val_predict(KNeighborsClassifier(5), vectors.astype(float), labels, cv=LeaveOneOut())
    assert (voted(labels, nearest_others(vectors, None)) == expected).all()  # two labels: five votes never tie


def test_a_tie_goes_to_the_label_of_the_nearest() -> None:
    labels = np.array([0, 1, 1, 2, 2, 0])
    assert voted(labels, np.array([[3, 1, 4, 2, 5]])).tolist() == [2]  # 2 1 2 1 0
    assert voted(labels, np.array([[5, 1, 4, 2, 3]])).tolist() == [1]  # 0 1 2 1 2
    assert voted(labels, np.array([[5, 1, -1, -1, -1], [-1] * 5])).tolist() == [0, -1]


def test_neighbours_are_of_other_groups() -> None:
    vectors, groups = np.arange(8.0)[:, None], np.array([0, 0, 0, 1, 1, 2, 2, 2])
    near = nearest_others(vectors, groups, count=3)
    assert near.tolist()[1] == [3, 4, 5]
    assert near.tolist()[3] == [2, 1, 5]  # of equally near ones the earlier
    assert (groups[near] != groups[:, None]).all()
    assert nearest_others(vectors, np.zeros(8, dtype=int), 3).tolist() == [[-1] * 3] * 8
    assert nearest_others(vectors[:2], None, 3).tolist() == [[1, -1, -1], [0, -1, -1]]


def test_a_group_of_near_copies_cannot_vouch_for_itself() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 6)
    labels = random.integers(0, 2, 40)[groups]
    vectors = random.normal(size=(40, 8))[groups] + 0.01 * random.normal(size=(240, 8))
    alone = accuracy(labels, voted(labels, nearest_others(vectors, None)))
    by_group = accuracy(labels, voted(labels, nearest_others(vectors, groups)))
    assert alone == 1 and by_group < 0.75
    features = coordinates(vectors)
    leaked, honest = (accuracy(labels, probed(features, labels, folds(labels, of))) for of in (None, groups))
    assert leaked > honest + 0.05


def test_folds_hold_every_label_and_whole_groups() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    fold = folds(labels, None)
    assert [np.bincount(labels[fold == i]).tolist() for i in range(5)] == [[10, 6, 4]] * 5
    groups = np.arange(100) // 4
    by_group = folds(labels, groups)
    assert all(len(np.unique(by_group[groups == group])) == 1 for group in range(25))
    assert len(np.unique(by_group)) == 5


def test_fewer_folds_or_none() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert len(np.unique(folds(labels, None))) == 3
    assert len(np.unique(folds(labels, np.array([0, 0, 1, 0, 1, 1])))) == 2
    assert len(np.unique(folds(np.array([0] * 30 + [1, 1]), None))) == 5  # a rare label takes no folds from the others
    with pytest.raises(ValueError, match="no two folds"):
        folds(labels, np.zeros(6, dtype=int))


@pytest.mark.parametrize(("n", "d", "most"), [(120, 20, 512), (120, 20, 20), (30, 80, 30)])
def test_the_probe_is_scikit_learns_on_standardised_features(
    n: int, d: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features as they are; 40 of rank 20, turned by their covariance; more than rows, by the products of rows."""
    monkeypatch.setattr(metric, "MOST_COORDINATES", most)
    random = np.random.default_rng(1)
    labels = np.arange(n) % 3
    vectors = random.normal(size=(n, d)) * random.uniform(0.1, 10, d) + random.normal(size=(3, d))[labels]
    vectors = np.hstack([vectors, 3 * vectors + 1]) if most == d else vectors
    features, fold = coordinates(vectors), folds(labels, None)
    assert features.shape == (n, min(d, most))
    standard, told = StandardScaler().fit_transform(vectors), probed(features, labels, fold)
    for held_out in range(5):
        shown = fold != held_out
        model = LogisticRegression(C=5 / features.shape[1], max_iter=1000, tol=1e-6)
        expected = model.fit(standard[shown], labels[shown]).predict(standard[~shown])
        assert (told[~shown] != expected).sum() <= 1


def test_turning_keeps_what_a_penalty_on_squares_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for n, d in ((40, 12), (12, 40)):
        vectors = random.normal(size=(n, d)) * random.uniform(1, 50, d) + 100
        standard = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
        monkeypatch.setattr(metric, "MOST_COORDINATES", 11)
        made = coordinates(vectors)
        assert made.shape == (n, 11) and made.dtype == np.float32
        values = np.sort(np.linalg.svd(standard, compute_uv=False))[::-1]
        np.testing.assert_allclose(np.sort(np.linalg.norm(made, axis=0))[::-1], values[:11], rtol=1e-4)


def test_constant_features_are_left_out() -> None:
    vectors = np.column_stack([np.full(10, 0.1), np.arange(10), np.full(10, 7)])
    assert coordinates(vectors).shape == (10, 1)
    assert coordinates(np.full((10, 3), 0.3)).shape == (10, 0)


def test_a_probe_that_is_shown_one_label_tells_it() -> None:
    features, fold = np.arange(4.0)[:, None], np.array([0, 1, 0, 1])
    assert probed(features, np.array([7, 3, 7, 3]), fold).tolist() == [3, 7, 3, 7]


def test_blobs_are_told_and_permuted_labels_are_not() -> None:
    vectors, labels = two_blobs()
    near, features, fold = nearest_others(vectors, None), coordinates(vectors), folds(labels, None)

    def score(given: np.ndarray) -> dict[str, float]:
        return {"knn": accuracy(given, voted(given, near)), "probe": accuracy(given, probed(features, given, fold))}

    found = compared(score, labels, None, 20, (0,))
    for one in found.values():
        assert one.value >= 0.97
        assert 0.35 < one.mean < 0.65 and one.p == 1 / 21
    assert found == compared(score, labels, None, 20, (0,))
    fewer = compared(score, labels, None, 5, (0,))
    assert fewer["knn"].value == found["knn"].value and fewer["knn"].mean != found["knn"].mean
    assert compared(score, labels, None, 0, (0,))["knn"].p != compared(score, labels, None, 0, (0,))["knn"].p  # NaN


def test_random_labels_reach_their_permutations() -> None:
    """p is uniform where labels mean nothing: small ones are as rare as they say."""
    random = np.random.default_rng(5)
    small = 0
    for seed in range(40):
        vectors, labels = random.normal(size=(40, 3)), random.integers(0, 2, 40)
        near = nearest_others(vectors, None)
        score = lambda given, near=near: {"knn": accuracy(given, voted(given, near))}  # noqa: E731
        small += compared(score, labels, None, 19, (seed,))["knn"].p <= 0.1
    assert small <= 10  # 4 expected; more than 10 of 40 has a chance of 0.0005


def test_permuted_by_hand() -> None:
    assert against_permutations(0.4, [0.2, 0.4]) == Permuted(0.4, pytest.approx(0.3), pytest.approx(0.02**0.5), 2 / 3)
