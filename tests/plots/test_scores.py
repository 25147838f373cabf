from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.plots.scores import label_table, silhouette_blades
from tests.plots.drawing import NASTY, png, texts


def test_label_table_colours_shares_of_the_row_and_writes_counts() -> None:
    figure = label_table(np.array([[3, 1], [0, 0]]), ["cat", "dog"], ["0", "1"])
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 0]])  # a label without images is no error
    written = texts(figure)
    assert {"3", "1", "cat", "dog"} <= set(written)


@pytest.mark.parametrize(("labels", "clusters"), [(0, 0), (1, 1), (80, 60), (3, 300)])
def test_label_table_of_any_size(labels: int, clusters: int) -> None:
    counts = np.full((labels, clusters), 12345)
    assert png(label_table(counts, [f"l{n}" for n in range(labels)], [str(n) for n in range(clusters)]))


def test_label_table_with_nasty_names() -> None:
    assert png(label_table(np.ones((len(NASTY), 3), dtype=np.int64), NASTY, ["0", "1", "2"]))


def test_blades_are_sorted_and_the_mean_is_marked() -> None:
    samples = np.array([0.1, 0.5, 0.3, -0.2, 0.4, np.nan, 0.9])
    clusters = np.array([0, 0, 0, 1, 1, 1, -1])
    figure = silhouette_blades(samples, clusters, "Silhouettes in the embedding (cosine)")
    blades = [patch.get_data().values.tolist() for patch in figure.axes[0].patches]
    assert blades == [[0.5, 0.3, 0.1], [0.4, -0.2]]
    written = texts(figure)
    assert any("mean 0.220" in text for text in written)  # (0.1 + 0.5 + 0.3 - 0.2 + 0.4) / 5
    assert "Silhouettes in the embedding (cosine)" in written


def test_undefined_silhouettes_say_so() -> None:
    assert "silhouettes are not defined here" in texts(silhouette_blades(np.full(3, np.nan), np.zeros(3), "s"))
    assert png(silhouette_blades(np.array([]), np.array([]), "s"))


def test_names_of_many_clusters_do_not_touch() -> None:
    clusters = np.repeat(np.arange(300), 3)
    figure = silhouette_blades(np.linspace(-1, 1, 900), clusters, "s")
    png(figure)
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    assert 10 < len(boxes) < 300
    assert all(not one.overlaps(other) for one, other in pairwise(boxes))
