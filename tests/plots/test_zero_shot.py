from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.zero_shot import calibration, class_scores, confusion_matrix, coverage
from pipeline.plots.heat_maps import category_lift, confusion, image_text_similarity
from pipeline.plots.style import look
from pipeline.plots.zero_shot import Answer, answers, class_bars, coverage_curve, reliability
from tests.plots.drawing import NASTY, inside_the_picture, png, texts

DIGIT = np.zeros((8, 8, 3), dtype=np.uint8)
PHOTO = np.zeros((120, 200, 3), dtype=np.uint8)
SIZES = pytest.mark.parametrize(("count", "width"), [(2, 85), (2, 180), (10, 85), (60, 85), (60, 180), (70, 180)])


def told(count: int, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, count, n)
    return truth, np.where(random.random(n) < 0.7, truth, random.integers(0, count, n)), random.random(n)


def named(count: int) -> list[str]:
    return [f"class {i}" if i % 3 else f"a class with a name of many words, number {i}" for i in range(count)]


def test_confusion_colours_the_share_of_the_class_and_writes_counts() -> None:
    figure = confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"])
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {"3", "1", "cat", "dog"} <= set(texts(figure))


def test_of_many_classes_those_with_errors_are_shown() -> None:
    counts = np.diag(np.full(80, 5))
    counts[77, 78] = 2
    figure = confusion(counts, [f"c{i}" for i in range(80)])
    assert figure.axes[0].images[0].get_array().shape == (60, 60)
    assert np.isclose(figure.axes[0].images[0].get_array(), 2 / 7).any()
    assert any("the 60 of 80 classes with the most errors" in text.replace("\n", " ") for text in texts(figure))


@SIZES
def test_heat_maps_of_any_size(count: int, width: int) -> None:
    truth, predicted, _ = told(count)
    matrix = np.random.default_rng(0).normal(0.2, 0.05, (count, count))
    matrix[0] = np.nan
    with look(width):
        for figure in (
            confusion(confusion_matrix(truth, predicted, count), named(count)),
            image_text_similarity(matrix, named(count), named(count), "a photo of {}"),
            category_lift(matrix[:, : count // 2 + 1], named(count), named(count // 2 + 1), "tags of clusters"),
        ):
            inside_the_picture(figure)


def test_the_nearest_text_of_a_row_is_framed() -> None:
    matrix = np.array([[0.2, 0.3], [np.nan, np.nan]])
    figure = image_text_similarity(matrix, ["a", "b"], ["a", "b"], "a photo of {}")
    assert [patch.get_xy() for patch in figure.axes[0].patches] == [(0.5, -0.5)]
    assert {"0.20", "0.30", "no images"} <= set(texts(figure))
    assert "nan" not in texts(figure)


def test_lift_is_signed_and_few_tags_are_hatched() -> None:
    figure = category_lift(np.array([[1.5, -0.01], [np.nan, -2.0]]), ["0", "1"], ["a.txt", "b.txt"], "tags")
    written = texts(figure)
    assert {"+1.5", "+0.0", "-2.0", "too few"} <= set(written)
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == (-2, 2)


def test_nothing_to_compare() -> None:
    for figure in (
        confusion(np.zeros((0, 0)), []),
        image_text_similarity(np.zeros((0, 2)), [], ["a", "b"], "s"),
        category_lift(np.zeros((2, 0)), ["a", "b"], [], "s"),
    ):
        assert "nothing to compare" in texts(figure)


@pytest.mark.parametrize("width", [85, 180])
def test_reliability_says_the_error_and_counts_images(width: int) -> None:
    _, _, confidence = told(5)
    found = calibration(confidence, confidence > 0.5, None, 100)
    with look(width):
        figure = reliability(found.edges, found.counts, found.confidence, found.accuracy, found.ece,
                             (found.ece_interval.low, found.ece_interval.high), found.calibrated_high)  # fmt: skip
        inside_the_picture(figure)
    assert any(f"ECE {found.ece:.3f}" in text for text in texts(figure))
    heights = [patch.get_height() for patch in figure.axes[1].patches]
    assert heights == found.counts.tolist()
    empty = calibration(np.zeros(0), np.zeros(0), None, 100)
    nothing = reliability(empty.edges, empty.counts, empty.confidence, empty.accuracy, empty.ece, (np.nan,) * 2, np.nan)
    assert "no image has a label to compare with" in texts(nothing)


@SIZES
def test_bars_of_any_number_of_classes(count: int, width: int) -> None:
    truth, predicted, _ = told(count)
    found = class_scores(truth, predicted, count, None, 100)
    span = (found.recall_interval.low, found.recall_interval.high)
    with look(width):
        figure = class_bars(named(count), found.recall, span, found.precision, found.images, 1 / count)
        inside_the_picture(figure)
    assert len(figure.axes[0].patches) == min(count, 60)
    if count > 60:
        assert "the 30 best and worst of 70 classes" in texts(figure)


def test_bars_of_classes_that_are_not_defined() -> None:
    unknown = np.full(2, np.nan)
    assert png(class_bars(["a", "b"], unknown, (unknown, unknown), unknown, np.zeros(2, int), 0.5))
    assert "no classes" in texts(class_bars([], unknown[:0], (unknown[:0],) * 2, unknown[:0], np.zeros(0, int), 0.5))


@pytest.mark.parametrize("width", [85, 180])
def test_coverage_marks_the_threshold_in_use(width: int) -> None:
    truth, predicted, confidence = told(5)
    found = coverage(confidence, truth == predicted, np.array([0.2, 0.4]))
    with look(width):
        figure = coverage_curve(
            found.coverage, found.accuracy, found.named_outside, found.threshold, "probability", 0.5
        )
        inside_the_picture(figure)
    assert {"threshold 0.5", "of other things: named all the same"} <= set(texts(figure))
    few = coverage(np.array([0.9, 0.9]), np.array([True, False]))
    alone = coverage_curve(few.coverage, few.accuracy, few.named_outside, few.threshold, "cosine", 2.0)
    assert "of other things: named all the same" not in texts(alone)
    none = coverage(np.zeros(0), np.zeros(0))
    nothing = coverage_curve(none.coverage, none.accuracy, none.named_outside, none.threshold, "cosine")
    assert "no image has a label to compare with" in texts(nothing)


@pytest.mark.parametrize("width", [85, 180])
def test_answers_show_bars_as_long_as_the_probabilities(width: int) -> None:
    shown = [
        Answer(PHOTO, "photo.jpg", ["cat", "dog"], [0.75, 0.25], 1, "true: dog"),
        Answer(None, NASTY[-1] * 3, NASTY[:5], [0.5, 0.2, 0.1, 0.1, 0.0], -1, ""),
        Answer(DIGIT, "8.png", named(8), [0.3] * 8, 0, "true: " + named(1)[0]),
    ]
    with look(width):
        figure = answers(shown, "single images")
        inside_the_picture(figure)
    written = texts(figure)
    assert {"cat", "✓ dog", "0.75", "photo.jpg · true: dog"} <= set(written)
    assert any("✓: the true class" in text for text in written)
    bars = [patch for patch in figure.axes[0].patches if np.isclose(patch.get_height(), 0.11)]
    assert bars[1].get_width() == pytest.approx(3 * bars[3].get_width())
    assert bars[1].get_facecolor() != bars[3].get_facecolor()
    assert "no images" in texts(answers([], "single images"))
