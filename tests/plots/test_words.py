from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.retrieval import curve, recall
from pipeline.plots.maps import named_map
from pipeline.plots.style import look
from pipeline.plots.words import EXAMPLES, REFERENCE, cosine, cosine_explained, hits, picture_grid, recall_curves
from tests.plots.drawing import NASTY, inside_the_picture, png, texts

DIGIT = np.zeros((8, 8, 3), dtype=np.uint8)
PHOTO = np.zeros((120, 200, 3), dtype=np.uint8)
WIDTHS = pytest.mark.parametrize("width", [85, 180])


@WIDTHS
def test_a_grid_has_every_image_with_its_lines(width: int) -> None:
    with look(width):
        tags = "0.31 cat\n0.30 dog\n0.29 cow\n0.28 hen"
        figure = picture_grid([DIGIT, None, PHOTO] * 4, [tags] * 12, "tags", 3, "of 9")
        inside_the_picture(figure)
    written = texts(figure)
    assert len(figure.axes[0].images) == 8
    assert {"Tags", "of 9", "0.31 cat", "0.29 cow"} <= set(written) and "0.28 hen" not in written
    assert written.count("no longer\nreadable") == 4


def test_rows_of_a_grid_do_not_overlap_its_heading() -> None:
    heading = "a very long query that goes on and on " * 6
    figure = hits(heading, [PHOTO], [DIGIT] * 7, ["1  0.3"] * 7)
    png(figure)
    inside_the_picture(figure)
    query, *found = figure.axes[0].images
    lowest = max(query.get_extent()[2:])
    assert all(min(image.get_extent()[2:]) > lowest for image in found)
    first = next(text for text in figure.axes[0].texts if text.get_text().startswith("“"))
    assert first.get_window_extent().y0 > found[0].get_window_extent().y1


@WIDTHS
def test_hits_of_words_and_of_pictures(width: int) -> None:
    with look(width):
        words = hits("a brown cat", [], [DIGIT] * 4, [f"{i}  0.3\nname" for i in range(4)], "cosine")
        alike = hits("", [PHOTO, DIGIT], [None], ["1  0.9"])
        for figure in (words, alike, hits("", [PHOTO], [], []), hits(NASTY[2], [], [DIGIT] * len(NASTY), NASTY)):
            inside_the_picture(figure)
    assert {"“a brown cat”", "cosine", "0 0.3"} <= set(texts(words))
    assert "Images like these" in texts(alike) and "Images like this" in texts(hits("", [PHOTO], [], []))
    assert len(alike.axes[0].images) == 2


def test_titles_and_images_must_match() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        picture_grid([DIGIT], [], "tags")


@WIDTHS
def test_cosines_are_those_of_the_protocol(width: int) -> None:
    assert [round(cosine(REFERENCE, vector), 2) + 0.0 for _, vector in EXAMPLES] == [0.80, -0.95, 0.00]
    with look(width):
        figure = cosine_explained()
        inside_the_picture(figure)
    assert {
        "reference [1, 2]",
        "near [2, 1]\ncosine 0.80",
        "opposite [-1, -1]\ncosine -0.95",
        "orthogonal [-2, 1]\ncosine 0.00",
    } <= set(texts(figure))
    assert figure.axes[0].get_aspect() == 1  # a right angle looks like one


@WIDTHS
def test_recall_curves_with_intervals(width: int) -> None:
    ranks, one = np.random.default_rng(0).integers(1, 300, 200), np.ones(200, int)
    found = recall(ranks, one, 300, None, 100)
    marks = (found.at, found.recall, found.interval.low, found.interval.high)
    with look(width):
        figure = recall_curves([(name, *curve(ranks, one, 300)) for name in ("captions", "images")], [marks, marks])
        inside_the_picture(figure)
    assert {"captions", "images", "by chance", "100"} <= set(texts(figure))
    nothing = np.full(3, np.nan)
    assert "no captions to be found" in texts(recall_curves([("a", np.array([1]), nothing[:1], nothing[:1])],
                                                            [(found.at, nothing, nothing, nothing)]))  # fmt: skip


@WIDTHS
@pytest.mark.parametrize("count", [2, 11, 60])
def test_the_legend_of_a_map_says_what_clusters_are_called(count: int, width: int) -> None:
    codes = np.repeat(np.arange(count), 5 + np.arange(count))
    random = np.random.default_rng(0)
    points = random.normal(size=(len(codes), 2)) + 5 * random.normal(size=(count, 2))[codes]
    names = {code: NASTY[code % len(NASTY)] for code in range(1, count)}
    with look(width):
        figure = named_map(points, codes, names, "2-D UMAP")
        inside_the_picture(figure)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.padded(2).contains(*box.min) and figure.bbox.padded(2).contains(*box.max)
    assert not box.overlaps(figure.axes[0].get_window_extent())
    written = [text.get_text() for text in legend.get_texts()]
    assert len(written) == min(count, 20)
    if count < 60:
        assert written[0] == "0 (5)" and written[1].startswith("1: ") and written[1].endswith("(6)")
    else:
        assert written[0].startswith("59: ")  # the largest first, as on the map
    assert png(named_map(np.zeros((0, 2)), np.zeros(0, int), {}, "s"))
