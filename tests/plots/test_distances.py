from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.distances import class_similarity, within_between
from pipeline.plots.style import look
from tests.plots.drawing import NASTY, inside_the_picture, png, texts


def matrix(count: int) -> np.ndarray:
    return np.eye(count) * 0.5 + 0.25


def test_numbers_stand_in_the_cells_up_to_fifteen_classes() -> None:
    assert texts(class_similarity(matrix(3), ["a", "b", "c"])).count("0.75") == 3
    names = [f"class {number}" for number in range(16)]
    assert not [text for text in class_similarity(matrix(16), names).axes[0].texts if text.get_text() == "0.75"]


def test_undefined_cells_are_hatched_and_explained() -> None:
    values = matrix(2)
    values[1, 1] = np.nan
    figure = class_similarity(values, ["a", "b"])
    assert "not defined" in texts(figure)
    assert figure.axes[0].patch.get_hatch()
    assert "nan" not in texts(figure)
    assert "not defined" not in texts(class_similarity(matrix(2), ["a", "b"]))


@pytest.mark.parametrize("count", [0, 1, 2, 40, 130])
def test_any_number_of_classes(count: int) -> None:
    values = np.full((count, count), np.nan) if count == 1 else matrix(count)
    assert png(class_similarity(values, [f"class number {number}" for number in range(count)]))


def test_equal_values_and_nasty_names() -> None:
    count = len(NASTY)
    written = texts(class_similarity(np.full((count, count), 0.5), NASTY))
    assert "$100" in written
    assert any(text.endswith("…") for text in written)


def histogram(counts: dict[int, int]) -> np.ndarray:
    values = np.zeros(200, dtype=np.int64)
    for place, count in counts.items():
        values[place] = count
    return values


EDGES = np.linspace(-1, 1, 201)


def test_histograms_are_densities_with_counts_and_means() -> None:
    figure = within_between(EDGES, histogram({180: 3, 181: 1}), histogram({150: 1000}), "raw pixels")
    written = " | ".join(texts(figure))
    # by hand: the middles are 0.805 (3 times) and 0.815, so the mean is 0.8075
    assert "within a class: 4 pairs, mean 0.807" in written or "within a class: 4 pairs, mean 0.808" in written
    assert "between classes: 1,000 pairs, mean 0.505" in written
    assert "raw pixels" in written
    filled = [patch for patch in figure.axes[0].patches if patch.get_data().values.sum() > 0]
    for steps in filled:
        assert (steps.get_data().values * np.diff(steps.get_data().edges)).sum() == pytest.approx(1)


def test_the_empty_range_is_trimmed() -> None:
    figure = within_between(EDGES, histogram({180: 3}), histogram({150: 2}), "s")
    low, high = figure.axes[0].get_xlim()
    assert 0.45 < low < 0.5
    assert 0.81 < high < 0.85


def test_exact_means_are_taken_where_given() -> None:
    written = texts(within_between(EDGES, histogram({180: 3}), histogram({150: 2}), "s", (0.801, 0.509)))
    assert any("mean 0.801" in text for text in written)


@pytest.mark.parametrize("within", [{}, {199: 5}])
def test_no_pairs(within: dict[int, int]) -> None:
    written = texts(within_between(EDGES, histogram(within), histogram({}), "s"))
    assert any("between classes: no pairs" in text for text in written)


@pytest.mark.parametrize("width", [85, 180])
def test_long_names_leave_nothing_outside(width: int) -> None:
    names = [f"{number:02d} a name of about forty characters, as is usual" for number in range(20)]
    with look(width, "okabe_ito"):
        figure = class_similarity(matrix(20), names, "cosine in the embedding space, seen from the mean of all images")
    inside_the_picture(figure)
