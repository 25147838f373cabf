from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics import categories as metric
from pipeline.metrics.blocks import row_blocks, unit_rows
from pipeline.metrics.categories import best_similarity, lift


def test_lift_by_hand() -> None:
    tags = np.array([[0, 1], [0, -1], [2, 1], [2, 2]] * 5)
    codes = np.array([0, 0, 1, -1] * 5)
    found = lift(tags, np.array([0, 0, 1]), 2, codes, 3)
    assert found.counts.tolist() == [[15, 0], [5, 5], [0, 0]]
    np.testing.assert_allclose(found.shares[:2], [[1, 0], [0.5, 0.5]])
    overall = 20 / 35  # of category 0, noise included
    np.testing.assert_allclose(found.expected[:2, 0], [15 * overall, 10 * overall])
    assert found.lift[0, 0] == pytest.approx(np.log2(15.5 / (15 * overall + 0.5)))
    assert found.lift[0, 1] == pytest.approx(np.log2(0.5 / (15 * (1 - overall) + 0.5)))
    assert np.isnan(found.shares[2]).all() and np.isnan(found.lift[2]).all()  # a group without tags


def test_few_tags_have_no_lift() -> None:
    found = lift(np.array([[0], [1]] * 4), np.array([0, 1]), 2, np.array([0, 1] * 4), 2)
    assert np.isnan(found.lift).all() and found.counts.tolist() == [[4, 0], [0, 4]]


def test_groups_that_are_tagged_alike_have_no_lift_to_speak_of() -> None:
    random = np.random.default_rng(0)
    found = lift(random.integers(0, 30, (3000, 5)), np.arange(30) % 3, 3, random.integers(0, 4, 3000), 4)
    assert (np.abs(found.lift) < 0.15).all()


@pytest.mark.parametrize("rows", [3, 10**9])
def test_best_similarity_is_that_of_the_whole_product(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "row_blocks", lambda n, bytes_per_row, most=None: row_blocks(n, 1, rows))
    random = np.random.default_rng(0)
    images, entries = random.normal(size=(30, 5)), unit_rows(random.normal(size=(40, 5)))
    category, codes = random.integers(0, 4, 40), random.integers(-1, 3, 30)
    cosines = unit_rows(images) @ entries.T
    found = best_similarity(images, entries, category, 5, codes, 4)
    for group in range(3):
        for one in range(4):
            expected = cosines[codes == group][:, category == one].max(axis=1).mean()
            assert found[group, one] == pytest.approx(expected)
    assert np.isnan(found[3]).all() and np.isnan(found[:, 4]).all()
