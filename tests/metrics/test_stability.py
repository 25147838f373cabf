"""Half-samples and Jaccard indices, by hand and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.stability import half_samples, jaccard


@pytest.mark.parametrize("n", [4, 5, 10, 101])
def test_halves_are_halves(n: int) -> None:
    found = half_samples(n, None, 7, (0, 1))
    assert found.shape == (7, n) and found.dtype == bool
    assert (found.sum(axis=1) == n // 2).all()
    assert len({tuple(row) for row in found}) > 1
    np.testing.assert_array_equal(found, half_samples(n, None, 7, (0, 1)))
    np.testing.assert_array_equal(found[:3], half_samples(n, None, 3, (0, 1)))  # more of them change none
    assert (found != half_samples(n, None, 7, (0, 2))).any()


def test_every_row_is_as_likely() -> None:
    counts = half_samples(20, None, 400, (5,)).sum(axis=0)
    assert counts.min() > 150 and counts.max() < 250


def test_groups_go_together() -> None:
    groups = [f"p{i // 3}" for i in range(30)]
    found = half_samples(30, groups, 20, (0,))
    assert (found.reshape(20, 10, 3).sum(axis=2) % 3 == 0).all()
    assert (found.sum(axis=1) == 15).all()


def test_rows_without_a_group_stand_alone() -> None:
    groups = ["a"] * 4 + [None, float("nan"), None, None]
    found = half_samples(8, groups, 40, (0,))
    assert (found[:, :4].sum(axis=1) % 4 == 0).all()
    assert set(found.sum(axis=1)) <= {4, 5}
    assert any(0 < row[4:].sum() < 4 for row in found)


def test_a_number_is_not_taken_for_a_row() -> None:
    """Groups that are called 0, 1, ... beside rows without one."""
    found = half_samples(8, [None, None, None, None, 0, 0, 0, 0], 20, (0,))
    assert (found[:, 4:].sum(axis=1) % 4 == 0).all()


def test_groups_of_unequal_size_come_near_half() -> None:
    groups = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).tolist()
    sizes = half_samples(78, groups, 50, (0,)).sum(axis=1)
    assert abs(sizes - 39).max() <= 6


@pytest.mark.parametrize(
    ("groups", "counted"), [(["a"] * 10, 1), (["a"] * 95 + ["b"] * 5, 2), (["a"] * 90 + list("bcdefghijk"), 11)]
)
def test_groups_that_cannot_be_halved(groups: list[str], counted: int) -> None:
    """One group, or one that is nearly everything: nine tenths are no half."""
    with pytest.raises(ValueError, match=f"{counted} groups cannot be halved"):
        half_samples(len(groups), groups, 5, (0,))
    assert half_samples(len(groups), groups, 0, (0,)).shape == (0, len(groups))


def test_two_groups_are_two_halves() -> None:
    found = half_samples(10, ["a"] * 4 + ["b"] * 6, 20, (0,))
    assert {tuple(row) for row in found} == {(True,) * 4 + (False,) * 6, (False,) * 4 + (True,) * 6}


def test_too_few_rows() -> None:
    for n in (0, 1, 2, 3):
        with pytest.raises(ValueError, match="cannot be halved"):
            half_samples(n, None, 1, (0,))


def test_jaccard_by_hand() -> None:
    #                    0  0  0  1  1  2 noise
    clusters = np.array([0, 0, 0, 1, 1, 2, -1])
    again = np.array([4, 4, 1, 1, 1, -1, 4])
    # 0: with 4 2/4, with 1 1/5; 1: with 1 2/3; 2: none has its row.
    assert jaccard(clusters, again).tolist() == [0.5, pytest.approx(2 / 3), 0]


def test_a_cluster_without_rows_has_none() -> None:
    found = jaccard(np.array([0, 0, 2]), np.array([0, 0, 1]))
    assert found[0] == found[2] == 1 and np.isnan(found[1])
    assert jaccard(np.array([-1, -1]), np.array([0, 0])).shape == (0,)
    assert jaccard(np.array([0, 0, 1]), np.array([-1, -1, -1])).tolist() == [0, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 4)), min_size=1, max_size=40))
def test_names_and_order_of_the_other_side_change_nothing(pairs: list[tuple[int, int]]) -> None:
    clusters, again = np.array(pairs).T
    before = jaccard(clusters, again)
    renamed = np.where(again < 0, -1, 9 - again)
    np.testing.assert_array_equal(before, jaccard(clusters[::-1], renamed[::-1]))
    known = before[~np.isnan(before)]
    assert ((known >= 0) & (known <= 1)).all()
    same = jaccard(clusters, clusters)
    assert (same[~np.isnan(same)] == 1).all()
