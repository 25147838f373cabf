"""The knee by hand, what each criterion suggests, and who agrees with whom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.k_selection import (
    CRITERIA,
    LABELS,
    agreeing,
    distinct_rows,
    in_words,
    knee,
    suggestions,
    total_inertia,
)


def test_knee_by_hand() -> None:
    # Scaled: x 0, .25, .5, .75, 1; y 1, .4, .2, .1, 0; below the chord 1 - x: 0, .35, .3, .15, 0.
    assert knee([1, 2, 3, 4, 5], [100, 40, 20, 10, 0]) == (2, 0.35)
    # x 0, 1/3, 2/3, 1; y 1, 2/3 - 0.5, 1/3 - 0.2, 0.
    found = knee([4, 5, 6, 7], [10 + 60, 10 + 60 * (2 / 3 - 0.5), 10 + 60 * (1 / 3 - 0.2), 10])
    assert found is not None and found[0] == 5
    assert found[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "values",
    [
        [5, 4, 3, 2, 1],  # a straight line
        [5, 4.9, 4.5, 3, 1],  # above the chord
        [1, 2, 3, 4, 5],  # rising
        [2, 2, 2, 2, 2],  # flat
        [3, 1, 3, 1, 3],  # no fall from end to end
    ],
)
def test_curves_without_a_knee(values: list[float]) -> None:
    assert knee([1, 2, 3, 4, 5], values) is None
    assert knee([1, 2], values[:2]) is None
    assert knee([], []) is None


def test_of_two_equal_knees_the_first() -> None:
    assert knee([0, 1, 2, 3], [3, 1.5, 0.5, 0]) == (1, pytest.approx(1 / 6))


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.integers(0, 1000), min_size=3, max_size=20),
    factor=st.sampled_from([0.25, 2.0, 1024.0]),
    shift=st.integers(-100, 100),
)
def test_scale_and_origin_do_not_move_the_knee(values: list[int], factor: float, shift: int) -> None:
    ks = list(range(1, len(values) + 1))
    before = knee(ks, values)
    after = knee([k + 5 for k in ks], [value * factor + shift for value in values])
    if before is None:
        assert after is None
    else:
        assert after == (before[0] + 5, pytest.approx(before[1]))


def test_wrong_lengths() -> None:
    with pytest.raises(ValueError, match="3 numbers of clusters, but 2 values"):
        knee([1, 2, 3], [1, 2])


def test_suggestions_of_every_criterion() -> None:
    nan = float("nan")
    scores = {
        "k": [1, 2, 3, 4, 5],
        "inertia_projection": [100, 40, 20, 10, 0],
        "silhouette_projection": [nan, 0.5, 0.7, 0.7, 0.6],
        "calinski_harabasz_projection": [nan, 10, 20, 30, 40],
        "davies_bouldin_projection": [nan, 0.9, 0.5, 0.2, 0.3],
        "silhouette_embedding": [nan, 0.1, 0.05, 0.0, -0.1],
    }
    found = {one.criterion.name: (one.k, one.value, one.at_end) for one in suggestions(scores)}
    assert found == {
        "silhouette": (3, 0.7, False),  # of equal ones the smaller k
        "calinski_harabasz": (5, 40.0, True),
        "davies_bouldin": (4, 0.2, False),
        "knee": (2, 0.35, False),
        "silhouette_cosine": (2, 0.1, True),
    }
    assert set(LABELS) == set(found)
    assert len(set(LABELS.values())) == len(CRITERIA)


def test_what_is_not_defined_suggests_nothing() -> None:
    nan = float("nan")
    assert suggestions({"k": [1], "inertia_projection": [0.0], "silhouette_projection": [nan]}) == []
    assert suggestions({"k": []} | {criterion.column: [] for criterion in CRITERIA}) == []


def test_agreement() -> None:
    assert agreeing({}) == []
    assert agreeing({"a": 4}) == [("a",)]
    assert agreeing({"a": 4, "b": 5, "c": 6}) == [("a", "b"), ("b", "c")]
    assert agreeing({"a": 4, "b": 5, "c": 5}) == [("a", "b", "c")]
    assert agreeing({"a": 9, "b": 2, "c": 5}) == [("b",), ("c",), ("a",)]


def test_sentences() -> None:
    assert in_words({"a": 3, "b": 3}) == "A (3) and b (3) agree within 1."
    assert in_words({"a": 3, "b": 9}) == "No two agree within 1: a (3) and b (9)."
    assert (
        in_words({"a": 3, "b": 4, "c": 9, "d": 20}) == "A (3) and b (4) agree within 1. C (9) and d (20) stand alone."
    )
    assert in_words({"a": 3}) == "A (3) stands alone."
    assert in_words({}) == "No criterion suggests a number of clusters."


def test_total_inertia_is_one_cluster_of_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    vectors = np.random.default_rng(0).normal(size=(50, 3)) + 100
    assert total_inertia(vectors) == pytest.approx(KMeans(1, n_init=1).fit(vectors).inertia_)
    assert total_inertia(np.array([[200, 0], [100, 0]], dtype=np.uint8)) == 5000


def test_distinct_rows() -> None:
    assert distinct_rows(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0]]), most=9) == 2
    assert distinct_rows(np.arange(100, dtype=np.uint8)[:, None], most=7) == 7
    assert distinct_rows(np.ones((5, 2), dtype=np.float32), most=7) == 1
