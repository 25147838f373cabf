from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.images import cluster_grid, image_sheet
from pipeline.plots.style import look
from tests.plots.drawing import NASTY, inside_the_picture, png, texts

DIGIT = np.zeros((8, 8, 3), dtype=np.uint8)
PHOTO = np.zeros((120, 200, 3), dtype=np.uint8)


def test_sheet_has_every_image_and_title_and_says_what_is_gone() -> None:
    figure = image_sheet([DIGIT, None, PHOTO], ["three", "lost", ""])
    written = texts(figure)
    assert len(figure.axes[0].images) == 2
    assert {"three", "lost", "no longer\nreadable"} <= set(written)


def test_small_images_are_crisp_and_proportions_are_kept() -> None:
    small, large = image_sheet([DIGIT, PHOTO], ["", ""]).axes[0].images
    assert small.get_interpolation() == "nearest"
    assert large.get_interpolation() != "nearest"
    left, right, bottom, top = large.get_extent()
    assert abs((right - left) / (bottom - top)) == pytest.approx(200 / 120)


def test_sheet_rows_do_not_overlap() -> None:
    images = image_sheet([DIGIT] * 17, ["a long title that takes two lines"] * 17, columns=8).axes[0].images
    tops = sorted({round(min(image.get_extent()[2:]), 3) for image in images})
    bottoms = sorted({round(max(image.get_extent()[2:]), 3) for image in images})
    assert len(tops) == 3
    assert all(bottom < top for bottom, top in zip(bottoms, tops[1:], strict=False))


def test_nothing_to_show() -> None:
    assert texts(image_sheet([], [])) == ["no images"]
    assert "no images" in texts(cluster_grid([], [], [], [], "Cluster 0"))


def test_titles_and_images_must_match() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        image_sheet([DIGIT], [])


def test_grid_shows_nine_of_each_at_most_in_two_blocks() -> None:
    figure = cluster_grid([DIGIT] * 12, ["n"] * 12, [PHOTO] * 4, ["r"] * 4, "Cluster 3: 12 images")
    written = texts(figure)
    assert len(figure.axes[0].images) == 9 + 4
    assert {"Cluster 3: 12 images", "nearest to the centre", "random members"} <= set(written)
    assert (written.count("n"), written.count("r")) == (9, 4)


def test_grid_without_random_members_does_not_name_them() -> None:
    assert "random members" not in texts(cluster_grid([DIGIT], ["a"], [], [], "Cluster 0"))


def test_captions_take_three_lines_with_the_label_and_end_in_an_ellipsis() -> None:
    written = texts(cluster_grid([DIGIT], ["CT\n" + "a long caption " * 20], [], [], "X"))
    lines = [line for line in written if line not in {"X", "nearest to the centre"}]
    assert len(lines) == 3
    assert lines[0] == "CT"
    assert lines[-1].endswith("…")


def test_nasty_titles_are_drawn() -> None:
    count = len(NASTY)
    assert png(image_sheet([DIGIT] * count, NASTY))
    assert png(cluster_grid([DIGIT] * count, NASTY, [DIGIT] * count, NASTY, "$x^2$ 日本"))


def test_a_long_heading_goes_on_in_a_second_line() -> None:
    with look(85):
        figure = cluster_grid(
            [None], ["a"], [None], ["b"], "cluster 0: 1,234 images; nearest by distance in the projection"
        )
    inside_the_picture(figure)
    assert "Cluster 0: 1,234 images; nearest by\ndistance in the projection" in texts(figure)
