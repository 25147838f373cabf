from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.significance import MOST, Score, gaps, k_choice, observed_against_null
from pipeline.plots.style import look
from tests.plots.drawing import inside_the_picture, png, texts

NAN = float("nan")
PROJECTION = "in the projection (the published kind)"
EMBEDDING = "the same clusters, in the embedding"
SILHOUETTES = [
    Score(PROJECTION, "Silhouette", 0.81, 0.01, 0.25, 0.004, 0.24, 0.26, "+0.56, p < 0.001"),
    Score(PROJECTION, "best of k = 2 to 20", 0.81, NAN, 0.26, 0.004, 0.25, 0.27, "+0.55, p < 0.001"),
    Score(EMBEDDING, "Silhouette (cosine)", 0.26, 0.01, 0.07, 0.002, 0.06, 0.08, "+0.19, p < 0.001"),
]
RATIOS = [
    Score(PROJECTION, "Calinski-Harabasz", 3.2, 0.2, 0.0, 0.04, -0.05, 0.04, "ln +3.18, p < 0.001"),
    Score(EMBEDDING, "Davies-Bouldin", NAN, NAN, NAN, NAN, NAN, NAN, ""),
]
WIDTHS = pytest.mark.parametrize("width", [180, 85])


@WIDTHS
def test_a_row_for_every_score_under_what_is_measured_where(width: int) -> None:
    with look(width, "okabe_ito"):
        figure = observed_against_null(SILHOUETTES, RATIOS)
    written = texts(figure)
    assert written.count(PROJECTION) == 2 and written.count(EMBEDDING) == 2
    assert {"Silhouette", "best of k = 2 to 20", "Calinski-Harabasz", "Davies-Bouldin"} <= set(written)
    assert ("+0.56, p < 0.001" in written) == (width == 180) and ("+0.56" in written) == (width == 85)
    inside_the_picture(figure)
    lines = [line.get_xdata() for line in figure.axes[0].lines[:5]]
    for found, expected in zip(
        lines, ([0.24, 0.26], [0.246, 0.254], [0.25], [0.80, 0.82], [0.81]), strict=True
    ):  # the clouds' range, spread and mean; the images' interval and score
        np.testing.assert_allclose(found, expected)


def test_panels_without_scores_are_left_out() -> None:
    assert len(observed_against_null(SILHOUETTES, []).axes) == 1
    assert "no score could be compared" in texts(observed_against_null([], []))


@WIDTHS
@pytest.mark.parametrize("count", [2, 10, 60, 100])
def test_gaps_of_few_and_many_clusters(count: int, width: int) -> None:
    gap, jaccard = np.linspace(0.05, 1.6, count), np.linspace(1, 0, count)
    with look(width):
        figure = gaps(list(range(count)), list(range(5000, 5000 - count, -1)), gap, gap / 9, jaccard, (0.98, 0.47))
    written = texts(figure)
    inside_the_picture(figure)
    assert {"gap", "none"} <= set(written)
    shown = min(count, MOST)
    assert str(shown - 1) + ("" if width == 85 else f"  ({5001 - shown:,})") in written
    assert any(f"the {MOST} largest of 100 clusters" in text for text in written) == (count == 100)
    marks = {marker.get_xdata()[0] for marker in figure.axes[0].lines if marker.get_linestyle() == "--"}
    assert marks == {0.98}


def test_gaps_are_filled_and_those_that_are_none_are_not() -> None:
    spread = np.array([0.05, 0.1, NAN])
    figure = gaps([0, 1, 2], [9, 8, 7], np.array([0.3, 0.75, 1.1]), spread, np.ones(3), (1.0, 1.0))
    left = figure.axes[0]
    (intervals,) = (lines for lines in left.collections if len(lines.get_paths()) == 3)
    ends = [path.vertices[:, 0].tolist() for path in intervals.get_paths()]
    assert ends == [pytest.approx(span) for span in ([0.25, 0.35], [0.65, 0.85], [1.1, 1.1])]
    assert "± sd over half-samples" in texts(figure)
    filled, empty = (line for line in left.lines if line.get_linestyle() == "None")
    assert filled.get_xdata().tolist() == [0.3]
    assert empty.get_xdata().tolist() == [0.75, 1.1]
    assert empty.get_markerfacecolor() == "white"


def test_what_cannot_be_told_is_said() -> None:
    nothing = np.full(2, NAN)
    written = texts(gaps([0, 1], [3, 2], nothing, nothing, nothing, (NAN, NAN)))
    assert written.count("cannot be told") == 4
    one = gaps([0, 1], [3, 9], np.array([NAN, 0.4]), nothing, np.ones(2), (NAN, 0.5))
    assert "cannot be told" in texts(one) and "± sd over half-samples" not in texts(one)


@WIDTHS
@pytest.mark.parametrize(("chosen", "words"), [(None, "no k supported"), ((5, 5), "k = 5"), ((3, 6), "k = 3 to 6")])
def test_the_chosen_k_and_the_gate(chosen: tuple[int, int] | None, words: str, width: int) -> None:
    ks = np.arange(2, 8)
    votes = {"silhouette": ([5], [4, 4, 5]), "stability": ([6], [3]), "knee": ([], [4])}
    with look(width):
        figure = k_choice(ks, (ks / 10, ks / 20), (ks / 9, ks / 18), 0.4, chosen, "projection", votes)
    assert words in texts(figure)
    assert "Silhouette in the projection" in texts(figure)
    inside_the_picture(figure)
    left, right, below = figure.axes
    assert {"silhouette", "stability", "knee"} <= set(texts(figure))
    marks = [(line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor() == "none") for line in below.lines
             if len(line.get_xdata())]  # fmt: skip
    assert marks == [(4, 0, True), (5, 0, True), (5, 0, False), (3, 1, True), (6, 1, False), (4, 2, True)]
    assert below.lines[0].get_markersize() > below.lines[1].get_markersize()
    assert [line.get_ydata()[0] for line in left.lines if line.get_linestyle() == ":"] == [0.4]
    spans = [patch.get_extents().width > 0 for axes in (left, right) for patch in axes.patches]
    assert len(spans) == (0 if chosen is None else 2)


def test_no_half_samples_no_stability() -> None:
    nothing = np.full(3, NAN)
    figure = k_choice(np.arange(2, 5), (np.ones(3), np.zeros(3)), (nothing, nothing), 0.1, None, "embedding", {})
    assert "no half-samples" in texts(figure)
    assert png(figure)
