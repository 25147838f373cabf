"""The picture of label scores: what is drawn, of how many, with any name, on a page and in a column."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.plots.labels import MOST, label_scores
from pipeline.plots.style import look
from tests.plots.drawing import NASTY, inside_the_picture, png, texts


def picture(names: list[str], verified: bool = True) -> Figure:
    values, counts = np.linspace(1, 0, len(names)), np.arange(len(names)) + 2000
    return label_scores(names, values, values / 2, values / 4, counts, counts, np.full(len(names), verified))


def test_bars_are_the_scores() -> None:
    figure = picture(["a", "b", "c"], verified=False)
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [1.0, 0.5, 0.0]
    assert [bar.get_width() for bar in right.patches] == [0.5, 0.25, 0.0]
    written = texts(figure)
    assert "a *  2,000 / 2,000" in written
    assert any("never" in text for text in written)
    assert not any("never" in text for text in texts(picture(["a", "b"])))


@pytest.mark.parametrize("count", [1, 7, MOST, 300])
@pytest.mark.parametrize("width", [180, 85])
def test_any_number_of_labels_on_a_page_and_in_a_column(count: int, width: int) -> None:
    with look(width):
        figure = picture([f"label {i}" for i in range(count)])
        inside_the_picture(figure)
    shown = [bar.get_width() for bar in figure.axes[0].patches]
    assert len(shown) == min(count, MOST)
    assert shown == sorted(shown, reverse=True)
    assert any(f"of {count} labels" in text for text in texts(figure)) == (count > MOST)


def test_nasty_names_and_scores_that_are_not_defined() -> None:
    assert png(picture(NASTY))
    nothing = np.full(2, np.nan)
    assert png(label_scores(["a", "b"], nothing, nothing, nothing, np.ones(2, int), np.ones(2, int), np.ones(2, bool)))
