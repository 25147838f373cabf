from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import skew

from pipeline.metrics import hubness as metric
from pipeline.metrics.blocks import row_blocks, unit_rows
from pipeline.metrics.hubness import corrected, hubness, surroundings


def test_skewness_is_scipys() -> None:
    tags = np.random.default_rng(0).geometric(0.1, (300, 5)) - 1
    count = int(tags.max()) + 4
    found = hubness(tags, count)
    times = np.bincount(tags.ravel(), minlength=count)
    assert found.skewness == pytest.approx(skew(times))
    assert (found.top, found.top_share, found.unused) == (times.argmax(), times.max() / 1500, (times == 0).mean())


def test_places_without_a_tag_do_not_count() -> None:
    assert hubness(np.array([[0, -1], [0, 1]]), 2).top_share == pytest.approx(2 / 3)
    none = hubness(np.full((3, 2), -1), 4)
    assert (none.top, none.unused) == (-1, 1.0) and math.isnan(none.skewness)
    assert math.isnan(hubness(np.array([[0], [1]]), 2).skewness)  # all equally frequent


@pytest.mark.parametrize("rows", [3, 512])
def test_surroundings_are_the_nearest_of_all(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "tile_blocks", lambda n, d: row_blocks(n, 1, rows))
    random = np.random.default_rng(0)
    one, other = random.normal(size=(20, 6)), random.normal(size=(50, 6)).astype(np.float32)
    cosines = np.sort(unit_rows(one) @ unit_rows(other).T, axis=1)
    np.testing.assert_allclose(surroundings(one, other), cosines[:, -10:].mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(surroundings(one, other[:4], 10), (unit_rows(one) @ unit_rows(other[:4]).T).mean(axis=1))
    with pytest.raises(ValueError, match="nothing around"):
        surroundings(one, other[:0])


def test_the_correction_is_csls_and_flattens_hubs() -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(600, 64)) + 1  # in a cone, to whose middle entries are near to different degrees
    entries = random.normal(size=(400, 64)) + random.uniform(0, 1, (400, 1))
    cosines = unit_rows(images) @ unit_rows(entries).T
    rows = np.argsort(-cosines, axis=1)[:, :100]
    of_images, of_entries = surroundings(images, entries), surroundings(entries, images)
    best, score, near = corrected(rows, np.take_along_axis(cosines, rows, axis=1), of_images, of_entries, 5)
    csls = 2 * cosines - of_images[:, None] - of_entries
    np.testing.assert_allclose(score, np.take_along_axis(csls, best, axis=1), atol=1e-12)
    np.testing.assert_allclose(near, np.take_along_axis(cosines, best, axis=1), atol=1e-12)
    assert (np.diff(score, axis=1) <= 0).all()
    before, after = hubness(rows[:, :5], 400), hubness(best, 400)
    assert after.skewness < 0.75 * before.skewness
    assert after.top_share < 0.75 * before.top_share and after.unused < 0.75 * before.unused


def test_missing_candidates_stay_last_and_ties_go_to_the_earlier_entry() -> None:
    rows, cosines = np.array([[2, 1, -1]]), np.array([[0.5, 0.5, 9.0]])
    best, score, _ = corrected(rows, cosines, np.zeros(1), np.zeros(3), 3)
    assert best.tolist() == [[1, 2, -1]] and score[0, 2] == -np.inf
