from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.k_selection import blades, dispersion, elbow, silhouettes
from tests.plots.drawing import png, texts

KS = np.arange(1, 6)
NAN = np.nan


def test_the_knee_is_marked_below_the_chord() -> None:
    figure = elbow(KS, np.array([100.0, 40, 20, 10, 0]), 2)
    assert "knee: k = 2" in texts(figure)
    chord, curve, depth, ring = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_xydata()[:, 1], [100, 40, 20, 10, 0])
    np.testing.assert_array_equal(chord.get_xydata(), [[1, 100], [5, 0]])
    np.testing.assert_allclose(depth.get_xydata(), [[2, 40], [2, 75]])
    np.testing.assert_array_equal(ring.get_xydata(), [[2, 40]])


def test_no_knee_is_said() -> None:
    assert "no knee" in texts(elbow(KS, np.arange(5, 0, -1.0), None))
    assert png(elbow(KS[:1], np.zeros(1), None))


def test_each_space_has_a_panel_of_its_own_scale() -> None:
    values = np.array([NAN, 0.2, 0.5, 0.4, 0.1])
    figure = silhouettes(KS, values, values / 10, (3, 2))
    written = texts(figure)
    assert {"Silhouette in the projection (Euclidean)", "Silhouette in the embedding (cosine)"} <= set(written)
    assert {"highest: k = 3", "highest: k = 2"} <= set(written)
    assert figure.axes[1].get_ylim()[1] < 0.1
    curve, ring = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_xdata(), [2, 3, 4, 5])
    np.testing.assert_array_equal(ring.get_xydata(), [[3, 0.5]])


def test_dispersion_says_which_direction_is_better() -> None:
    written = texts(dispersion(KS, np.array([NAN, 1e3, 2e4, 3e4, 2e4]), np.array([NAN, 1, 0.5, 0.7, 0.8]), (4, 3)))
    assert {"higher is better", "lower is better", "best: k = 4", "best: k = 3"} <= set(written)


def test_scores_that_are_not_defined() -> None:
    nothing = np.full(5, NAN)
    assert "not defined here" in texts(silhouettes(KS, nothing, nothing, (None, None)))
    assert png(dispersion(KS, np.array([NAN, NAN, 2.0, NAN, NAN]), nothing, (3, None)))


@pytest.mark.parametrize("count", [1, 2, 5, 11])
def test_blades_of_each_k_with_its_mean(count: int) -> None:
    ks = list(range(2, 2 + count))
    clusters = np.stack([np.arange(30) % k for k in ks], axis=1)
    samples = np.linspace(-0.5, 0.9, 30 * count).reshape(30, count)
    figure = blades(ks, samples, clusters)
    written = texts(figure)
    for place, k in enumerate(ks):
        assert f"k = {k}: mean {samples[:, place].mean():.3f}" in written
        assert len(figure.axes[place].patches) == k
    limits = {axes.get_xlim() for axes in figure.axes[:count]}
    assert len(limits) == 1


def test_no_blades() -> None:
    assert "no number of clusters could be scored" in texts(blades([], np.empty((3, 0)), np.empty((3, 0))))
