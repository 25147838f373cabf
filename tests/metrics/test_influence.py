"""Intervals over images: exact where a closed form is known, near the jackknife, and covering what they should."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.distances import class_distances
from pipeline.metrics.influence import interval, probability_interval, squared_by_unit


def test_the_mean_of_numbers_has_its_textbook_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    influences = (values - values.mean()) / 4
    found = interval(values.mean(), squared_by_unit(influences, np.arange(4)), 4, -np.inf, np.inf)
    half = 3.182446305284263 * values.std(ddof=1) / 2  # t(3) at 97.5 %
    assert (found.low, found.high) == (pytest.approx(4 - half), pytest.approx(4 + half))


def test_probabilities_stay_inside_their_range() -> None:
    found = probability_interval(0.99, 0.02**2, 30)
    assert 0 < found.low < 0.99 < found.high < 1
    assert np.isnan(probability_interval(1.0, 0.0, 30).low)


def test_units_are_summed_before_they_are_squared() -> None:
    influences = np.array([[1.0, 0.0], [2.0, 1.0], [-3.0, -1.0]])
    np.testing.assert_allclose(squared_by_unit(influences, np.array([5, 5, 2])), [18, 2])
    np.testing.assert_allclose(squared_by_unit(influences, np.array([1, 5, 2])), [14, 2])


def draw(random: np.random.Generator, n: int, repeats: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes in six dimensions; `repeats` images of each 'patient', almost the same."""
    codes = np.repeat(random.integers(0, 2, n), repeats)
    patients = np.repeat(np.arange(n), repeats)
    middle = np.array([[1.2, 0, 0, 0.4, 0, 0], [0, 1.2, 0, 0.4, 0, 0]])
    vectors = middle[codes] + np.repeat(random.normal(0, 0.6, (n, 6)), repeats, axis=0)
    return vectors + random.normal(0, 0.05, vectors.shape), codes, patients


def test_near_the_jackknife_that_leaves_each_image_out() -> None:
    vectors, codes, _ = draw(np.random.default_rng(1), 70)
    found = class_distances(vectors, codes, 2).cosines
    left = [class_distances(np.delete(vectors, i, 0), np.delete(codes, i), 2).cosines for i in range(70)]

    def width(values: list[float]) -> float:
        return 2 * 1.995 * float(np.sqrt(69 / 70 * np.square(np.array(values) - np.mean(values)).sum()))

    overall = found.overall_intervals
    for of, values in (
        (overall.within, [one.overall_within.mean for one in left]),
        (overall.between, [one.overall_between.mean for one in left]),
        (overall.gap, [one.overall.gap for one in left]),
        (found.auc_interval, [one.overall.auc for one in left]),
    ):
        assert of.high - of.low == pytest.approx(width(values), rel=0.08)
    of_class = found.class_intervals
    for of, values in (
        (of_class.between, [one.others_mean[0] for one in left]),
        (of_class.gap, [one.by_class.gap[0] for one in left]),
    ):
        assert (of.high - of.low)[0] == pytest.approx(width(values), rel=0.12)


def coverage(repeats: int, grouped: bool, centered: bool = False) -> dict[str, float]:
    truth = class_distances(*draw(np.random.default_rng(0), 4000)[:2], 2, centered=True)
    view = "centered" if centered else "cosines"
    wanted, hits = getattr(truth, view), {"within": 0, "between": 0, "gap": 0, "auc": 0, "class": 0}
    times = 200
    for seed in range(times):
        vectors, codes, patients = draw(np.random.default_rng(100 + seed), 40, repeats)
        one = class_distances(vectors, codes, 2, centered=True, groups=patients if grouped else None)
        found = getattr(one, view)
        overall = found.overall_intervals
        for name, of, true in (
            ("within", overall.within, wanted.overall_within.mean),
            ("between", overall.between, wanted.overall_between.mean),
            ("gap", overall.gap, wanted.overall.gap),
            ("auc", found.auc_interval, wanted.overall.auc),
        ):
            hits[name] += of.low <= true <= of.high
        hits["class"] += found.class_intervals.gap.low[0] <= wanted.by_class.gap[0] <= found.class_intervals.gap.high[0]
    return {name: count / times for name, count in hits.items()}


def test_intervals_cover() -> None:
    for name, share in coverage(1, grouped=False).items():
        assert 0.9 <= share <= 0.995, name


def test_images_of_one_patient_count_as_one() -> None:
    """Each patient's images once would be enough: over groups the intervals cover, over images they are too narrow.

    Pairs of one patient's images are within-class pairs too, hence the few repeats."""
    grouped, single = coverage(4, grouped=True), coverage(4, grouped=False)
    assert grouped["between"] >= 0.9
    assert single["between"] < 0.75


def test_one_unit_has_no_interval() -> None:
    vectors, codes, _ = draw(np.random.default_rng(0), 12)
    found = class_distances(vectors, codes, 2, groups=np.zeros(12, dtype=int)).cosines
    assert np.isnan(found.overall_intervals.gap.low)
    assert np.isnan(found.auc_interval.low)


def test_a_sample_of_images_is_enough_for_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codes, _ = draw(np.random.default_rng(3), 600)
    exact = class_distances(vectors, codes, 2).cosines.auc_interval
    monkeypatch.setattr("pipeline.metrics.distances.SAMPLE", 128)
    sampled = class_distances(vectors, codes, 2).cosines.auc_interval
    assert sampled.high - sampled.low == pytest.approx(exact.high - exact.low, rel=0.1)
