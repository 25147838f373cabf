"""Zero-shot scores: by hand, by oracle, at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from inference.probability import Rule
from pipeline.metrics import blocks
from pipeline.metrics import zero_shot as metric
from pipeline.metrics.resampling import resampled, share_interval, units
from pipeline.metrics.zero_shot import (
    at_threshold,
    calibration,
    class_scores,
    classified,
    confusions,
    coverage,
    ensembled,
    scores,
)


def random_task(n: int = 300, classes: int = 8, d: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    targets, truth = random.normal(size=(classes, d)), random.integers(-1, classes, n)
    images = targets[truth] + 1.5 * random.normal(size=(n, d))
    return images * random.uniform(0.1, 9, (n, 1)), targets, truth


def test_templates_are_averaged_as_unit_vectors() -> None:
    templates = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    unit = templates.astype(float) / np.linalg.norm(templates.astype(float), axis=2, keepdims=True)
    mean = unit.mean(axis=1)
    np.testing.assert_allclose(ensembled(templates), mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-12)
    scaled = templates * np.arange(1, 8, dtype=np.float32)[:, None]  # lengths do not matter
    np.testing.assert_allclose(ensembled(scaled), ensembled(templates), atol=1e-6)


@pytest.mark.parametrize("rule", [Rule(100.0), Rule(10.0, -5.0)])
def test_classes_are_those_of_the_whole_product(rule: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets, truth = random_task()
    whole = classified(images, targets, truth, rule)
    cut = blocks.row_blocks
    monkeypatch.setattr(metric, "row_blocks", lambda n, bytes_per_row: cut(n, 1, 37))
    found = classified(images, targets, truth, rule)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images, targets)]
    cosines = unit[0] @ unit[1].T
    order = np.argsort(-cosines, axis=1)
    assert (found.classes == order[:, :5]).all() and (whole.classes == found.classes).all()
    np.testing.assert_allclose(found.cosines, np.take_along_axis(cosines, order[:, :5], axis=1), atol=1e-12)
    likely = np.take_along_axis(rule(cosines), order[:, :5], axis=1)
    np.testing.assert_allclose(found.probabilities, likely, atol=1e-10)
    known = truth >= 0
    assert (np.take_along_axis(order, found.rank[:, None], axis=1)[known, 0] == truth[known]).all()
    np.testing.assert_allclose(found.true_cosine[known], cosines[known, truth[known]], atol=1e-12)
    assert (found.rank[~known] == -1).all() and np.isnan(found.true_probability[~known]).all()


def test_of_equal_classes_the_lower_one_wins() -> None:
    targets = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    found = classified(np.array([[1.0, 0.0], [0.0, 0.0]]), targets, np.array([2, 1]), Rule(100.0), top=9)
    assert found.classes.tolist() == [[1, 2, 0], [0, 1, 2]]  # zeros are equally near to all
    assert found.rank.tolist() == [1, 1]


def test_what_cannot_be_classified() -> None:
    rule = Rule(1.0)
    with pytest.raises(ValueError, match="no classes"):
        classified(np.ones((1, 2)), np.ones((0, 2)), np.array([-1]), rule)
    with pytest.raises(ValueError, match="not finite"):
        classified(np.array([[np.nan, 1]]), np.ones((2, 2)), np.array([-1]), rule)
    nothing = classified(np.ones((0, 2)), np.ones((2, 2)), np.zeros(0, int), rule)
    assert nothing.classes.shape == (0, 2)


def test_scores_are_scikit_learns() -> None:
    images, targets, truth = random_task()
    found = classified(images, targets, truth, Rule(10.0), top=8)
    known, told = truth >= 0, found.classes[:, 0]
    one = scores(truth, found.rank, 8, None, 100)
    every = np.zeros((len(truth), 8))
    np.put_along_axis(every, found.classes, found.cosines, axis=1)
    assert one.top1 == pytest.approx((told == truth)[known].mean())
    assert one.top5 == pytest.approx(top_k_accuracy_score(truth[known], every[known], k=5))
    assert one.macro == pytest.approx(balanced_accuracy_score(truth[known], told[known]))
    assert (one.images, one.unscored, one.chance1, one.chance5) == (known.sum(), (~known).sum(), 1 / 8, 5 / 8)
    assert one.majority == np.bincount(truth[known]).max() / known.sum()
    assert one.top1_interval.low < one.top1 < one.top1_interval.high
    each = class_scores(truth, told, 8, None, 100)
    oracle = precision_recall_fscore_support(truth[known], told[known], labels=range(8))
    for value, expected in zip((each.precision, each.recall, each.f1, each.images), oracle, strict=True):
        np.testing.assert_allclose(value, expected)
    assert (metric.confusion_matrix(truth, told, 8) == confusion_matrix(truth[known], told[known])).all()
    pairs, counts = confusions(truth, told)
    assert counts.sum() == known.sum() and (np.diff(counts) <= 0).all()
    assert (metric.confusion_matrix(truth, told, 8)[tuple(pairs.T)] == counts).all()


def test_five_classes_have_no_top_five_and_no_image_no_score() -> None:
    few = scores(np.array([0, 1]), np.array([0, 4]), 5, None, 100)
    assert math.isnan(few.top5) and math.isnan(few.chance5) and math.isnan(few.top5_interval.low)
    none = scores(np.array([-1, -1]), np.array([-1, -1]), 9, None, 100)
    assert (none.images, none.unscored) == (0, 2)
    assert math.isnan(none.top1) and math.isnan(none.majority) and math.isnan(none.macro_interval.low)
    each = class_scores(np.array([0, 0]), np.array([0, 0]), 2, None, 100)
    assert math.isnan(each.recall[1]) and math.isnan(each.precision[1]) and math.isnan(each.f1[1])
    assert each.recall_interval.low[0] == pytest.approx(0.025 ** (1 / 2)) and math.isnan(each.recall_interval.low[1])


def test_intervals_of_groups_are_as_wide_as_few_groups_warrant() -> None:
    """12 patients of 25 images that are all right or all wrong are 12 observations, not 300."""
    hits = {True: 0, False: 0}
    for trial in range(60):
        random = np.random.default_rng(trial)
        groups = np.repeat(np.arange(12), 25)
        rank = (random.random(12) < 0.4).astype(int)[groups]
        truth = np.zeros(300, int)
        for by_group in hits:
            span = scores(truth, rank, 2, groups if by_group else None, 200, (trial,)).top1_interval
            hits[by_group] += span.low <= 0.6 <= span.high
    assert hits[True] >= 50  # of 60; 57 expected
    assert hits[False] <= 35


def test_a_share_of_one_is_no_certainty() -> None:
    found = scores(np.zeros(20, int), np.zeros(20, int), 2, np.arange(20) // 2, 100)
    assert found.top1 == 1 and found.top1_interval.high == 1
    assert found.top1_interval.low == pytest.approx(0.025 ** (1 / 10))  # ten groups
    wrong = share_interval(np.array([0.0, 0.5]), np.array([[0.0, 0.4], [0.0, 0.6]]), np.array([20, 1]))
    assert wrong.high[0] == pytest.approx(1 - 0.025 ** (1 / 20)) and math.isnan(wrong.low[1])


def test_samples_draw_whole_groups_and_follow_from_the_seed() -> None:
    unit = units(6, np.array(["a", "a", "b", "b", "c", "c"]))
    drawn = resampled(lambda weights: weights, unit, 50, (3,))
    assert (drawn[:, ::2] == drawn[:, 1::2]).all() and (drawn.sum(axis=1) == 6).all()
    assert (resampled(lambda weights: weights, unit, 20, (3,)) == drawn[:20]).all()
    assert len(np.unique(drawn, axis=0)) > 5


def test_calibration_by_hand() -> None:
    confidence = np.array([1.0, 0.9, 0.8, 0.3, 1 / 15, 0.0])
    right = np.array([True, True, False, False, False, False])
    found = calibration(confidence, right, None, 100)
    assert found.counts.tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1]  # 1/15 is closed above
    assert found.ece == pytest.approx((0 + 0.1 + 0.8 + 0.3 + 1 / 15 + 0) / 6)
    assert found.accuracy[11] == 0 and found.confidence[11] == 0.8 and math.isnan(found.accuracy[1])
    assert found.confident == pytest.approx((1 + 0.9 + 0.8 + 0.3 + 1 / 15) / 6 - 2 / 6)
    shuffled = np.random.default_rng(0).permutation(6)
    again = calibration(confidence[shuffled], right[shuffled], None, 100)
    assert (again.ece, again.adaptive_ece) == (pytest.approx(found.ece), pytest.approx(found.adaptive_ece))


def test_calibrated_and_overconfident_models() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.3, 1, 1500)
    honest = calibration(confidence, random.random(1500) < confidence, None, 200)
    assert honest.ece < honest.calibrated_high and honest.ece_interval.low == 0
    proud = calibration(confidence, random.random(1500) < confidence - 0.2, None, 200)
    assert proud.ece == pytest.approx(0.2, abs=0.03) and proud.adaptive_ece == pytest.approx(0.2, abs=0.03)
    assert proud.ece_interval.low > proud.calibrated_high > proud.calibrated_ece > 0
    assert proud.ece_interval.low < 0.2 < proud.ece_interval.high and proud.confident > 0.15


def test_calibration_of_nothing_and_of_one_confidence() -> None:
    none = calibration(np.zeros(0), np.zeros(0, bool), None, 100)
    assert none.counts.sum() == 0 and math.isnan(none.ece) and math.isnan(none.ece_interval.low)
    equal = calibration(np.ones(4), np.array([True, True, True, False]), None, 100)
    assert equal.ece == equal.adaptive_ece == 0.25


def test_coverage_rises_to_all_and_ends_at_the_accuracy() -> None:
    random = np.random.default_rng(0)
    score = random.random(1000)
    right = random.random(1000) < score
    found = coverage(score, right, np.array([0.1, 0.5]))
    assert len(found.threshold) == 201 and found.coverage[-1] == 1
    assert (np.diff(found.threshold) < 0).all() and (np.diff(found.coverage) > 0).all()
    assert found.accuracy[-1] == pytest.approx(right.mean())
    for place in (0, 50, 200):
        one = at_threshold(score, right, found.threshold[place], np.array([0.1, 0.5]))
        for name in ("coverage", "accuracy", "named_outside"):
            assert getattr(one, name)[0] == pytest.approx(getattr(found, name)[place])
    nothing = at_threshold(score, right, 2.0)
    assert nothing.coverage[0] == 0 and math.isnan(nothing.accuracy[0]) and math.isnan(nothing.named_outside[0])
    assert len(coverage(np.zeros(0), np.zeros(0)).threshold) == 0
