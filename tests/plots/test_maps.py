from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from pipeline.plots.maps import cluster_and_label_map
from pipeline.plots.style import NOISE, look
from tests.plots.drawing import NASTY, png, texts


def blobs(groups: int, each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    centres = np.array([[10.0 * (group % 6), 10.0 * (group // 6)] for group in range(groups)])
    codes = np.repeat(np.arange(groups), each)
    return centres[codes] + generator.normal(size=(groups * each, 2)), codes


def drawn(axes: object) -> int:
    return sum(len(it.get_offsets()) for it in axes.collections if isinstance(it, PathCollection))  # type: ignore[attr-defined]


def test_two_panels_with_every_point_and_the_groups_names() -> None:
    points, codes = blobs(3)
    figure = cluster_and_label_map(points, codes, [f"class {code}" for code in codes], "2-D UMAP of x")
    assert [drawn(axes) for axes in figure.axes] == [60, 60]
    assert {"0", "1", "2", "class 0", "class 2", "2-D UMAP of x"} <= set(texts(figure))
    assert all(axes.get_aspect() == 1 for axes in figure.axes)


@pytest.mark.parametrize("labels", [None, [None] * 60, [""] * 60, [float("nan")] * 60])
def test_without_labels_there_is_only_the_map_of_clusters(labels: list | None) -> None:
    points, codes = blobs(3)
    assert len(cluster_and_label_map(points, codes, labels, "s").axes) == 1


def test_noise_is_grey_and_counted() -> None:
    points, codes = blobs(3)
    codes[:5] = -1
    figure = cluster_and_label_map(points, codes, None, "s")
    first = figure.axes[0].collections[0]
    assert to_hex(first.get_facecolor()[0]) == NOISE
    assert len(first.get_offsets()) == 5
    assert "grey: 5 noise" in texts(figure)
    assert "-1" not in texts(figure)


def test_more_than_twenty_groups_name_the_largest_twenty_and_say_so() -> None:
    points, codes = blobs(25)
    keep = np.r_[0:10, 20 : len(codes)]  # group 0 is the smallest
    figure = cluster_and_label_map(points[keep], codes[keep], None, "s")
    written = texts(figure)
    assert "the 20 largest of 25 groups are named; colours repeat" in written
    assert "0" not in written
    assert sum(text.isdigit() for text in written) == 20


def test_names_do_not_overlap_and_stay_inside() -> None:
    points = np.random.default_rng(0).normal(size=(200, 2)) * 0.01
    figure = cluster_and_label_map(points, np.arange(200) % 12, None, "s")
    png(figure)
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    for place, box in enumerate(boxes):
        assert axes.get_window_extent().expanded(1.02, 1.02).contains(*box.min)
        for other in boxes[place + 1 :]:  # outlines may touch, letters may not
            assert min(box.y1, other.y1) - max(box.y0, other.y0) < 0.4 * box.height or (
                min(box.x1, other.x1) <= max(box.x0, other.x0)
            )


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_and_equal_points(count: int) -> None:
    points = np.ones((count, 2))
    assert png(cluster_and_label_map(points, np.zeros(count, dtype=np.int64), ["a"] * count, "s"))


def test_nasty_labels_are_drawn() -> None:
    points, codes = blobs(len(NASTY))
    figure = cluster_and_label_map(points, codes, [NASTY[code] for code in codes], "$s$ 日本")
    assert "$100" in texts(figure)


def test_points_shrink_with_their_number_and_are_rasterised() -> None:
    sizes = []
    for count in (50, 2_000, 50_000):
        points = np.random.default_rng(0).normal(size=(count, 2))
        scatter = cluster_and_label_map(points, np.zeros(count, dtype=np.int64), None, "s").axes[0].collections[0]
        sizes.append(scatter.get_sizes()[0])
        assert scatter.get_rasterized()
    assert sizes == sorted(sizes, reverse=True)


def test_names_that_would_cover_the_map_stand_in_the_legend_only() -> None:
    points, codes = blobs(20)
    long = [f"{code:02d} a name of about forty characters, as is usual" for code in codes]
    with look(85, "okabe_ito"):
        figure = cluster_and_label_map(points, codes, long, "s")
    png(figure)
    by_cluster, by_label = figure.axes
    assert len(by_cluster.texts) == 20
    assert not by_label.texts
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == sorted(set(long))
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert figure.bbox.contains(*legend.get_window_extent().max)


def test_a_group_in_two_places_has_its_name_in_one_of_them() -> None:
    points = np.array([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [5.0, 9.0], [5.1, 9.0]])
    figure = cluster_and_label_map(points, np.array([0, 0, 0, 1, 1]), None, "s")
    png(figure)
    (name,) = [text for text in figure.axes[0].texts if text.get_text() == "0"]
    assert abs(name.get_position()[0] - 0.1) < 0.5
