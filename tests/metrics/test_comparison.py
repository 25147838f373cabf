"""Agreement of clusters with labels: by hand, by oracle, under renaming."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from pipeline.metrics.comparison import agreement, contingency

# Six cats, four dogs in three clusters:   cat: 4 1 1, dog: 0 3 1
LABELS = np.array(["cat"] * 6 + ["dog"] * 4)
CLUSTERS = np.array([0, 0, 0, 0, 1, 2, 1, 1, 1, 2])


def test_contingency_by_hand() -> None:
    table, labels, clusters = contingency(LABELS, CLUSTERS)
    assert table.tolist() == [[4, 1, 1], [0, 3, 1]]
    assert labels.tolist() == ["cat", "dog"]
    assert clusters.tolist() == [0, 1, 2]


def test_agreement_by_hand() -> None:
    found = agreement(LABELS, CLUSTERS)
    assert found["accuracy"] == pytest.approx(0.7)  # cats are cluster 0 (4), dogs cluster 1 (3)
    assert found["purity"] == pytest.approx(0.8)  # 4 + 3 + 1
    # Pairs together in both: 6 + 3 = 9; in labels: 15 + 6 = 21; in clusters: 6 + 6 + 1 = 13; of 45.
    expected = 21 * 13 / 45
    assert found["ari"] == pytest.approx((9 - expected) / ((21 + 13) / 2 - expected))

    def entropy(*counts: int) -> float:
        shares = np.array(counts) / 10
        return float(-(shares * np.log(shares)).sum())

    labels, clusters, joint = entropy(6, 4), entropy(4, 4, 2), entropy(4, 1, 1, 3, 1)
    assert found["nmi"] == pytest.approx((labels + clusters - joint) / ((labels + clusters) / 2))
    assert found["ami"] == pytest.approx(oracle.adjusted_mutual_info_score(LABELS, CLUSTERS))


def test_accuracy_is_the_best_match_not_a_greedy_one() -> None:
    # Greedy takes the 5 and is left with 0; the best match is 4 + 4.
    labels = np.repeat([0, 1], [9, 4])
    clusters = np.array([0] * 5 + [1] * 4 + [0] * 4)
    assert agreement(labels, clusters)["accuracy"] == pytest.approx(8 / 13)


def test_purity_and_accuracy_of_a_split_label_differ() -> None:
    found = agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
    assert (found["accuracy"], found["purity"]) == (0.75, 1.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=40))
def test_renaming_and_order_change_nothing(pairs: list[tuple[int, int]]) -> None:
    labels, clusters = np.array(pairs).T
    before = agreement(labels, clusters)
    after = agreement(np.array(list("wxyz"))[labels][::-1], (4 - clusters)[::-1])
    assert after == pytest.approx(before, abs=1e-9)
    assert before["ari"] == pytest.approx(oracle.adjusted_rand_score(labels, clusters))


def test_equal_partitions_score_one() -> None:
    assert agreement(np.array([5, 5, 7, 9]), np.array([1, 1, 0, 2])) == pytest.approx(
        dict.fromkeys(("ari", "ami", "nmi", "accuracy", "purity"), 1.0)
    )


def test_rows_without_label_or_cluster_are_left_out() -> None:
    labels, clusters = np.array([0, 0, 1, 1, -1, 0]), np.array([0, 0, 1, 1, 1, -1])
    assert agreement(labels, clusters) == pytest.approx(agreement(labels[:4], clusters[:4]))


def test_nothing_left_is_nan() -> None:
    assert all(np.isnan(value) for value in agreement(np.array([-1, -1]), np.array([0, 1])).values())


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match=r"must both be \(n,\), got \(2,\) and \(3,\)"):
        agreement(np.zeros(2), np.zeros(3))
