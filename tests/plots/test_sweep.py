from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from pipeline.plots.style import PALETTES, look
from pipeline.plots.sweep import metric_against_k
from tests.plots.drawing import NASTY, inside_the_picture, png, texts

METRICS = [("a", "Silhouette (projection)", "higher"), ("b", "Davies-Bouldin (embedding)", "lower")]


def lines(axes: object) -> list[list[float]]:
    return [list(it.get_xdata()) for it in axes.lines if it.get_linestyle() != "None"]  # type: ignore[attr-defined]


def test_a_panel_per_metric_and_a_line_per_model() -> None:
    rows = [{"model": m, "k": k, "a": k / 10, "b": 1 / k} for m in ("umap", "none") for k in (8, 4, 16)]
    figure = metric_against_k(rows, METRICS)
    written = texts(figure)
    assert lines(figure.axes[0]) == [[4, 8, 16], [4, 8, 16]]
    assert {"Silhouette (projection)", "Davies-Bouldin (embedding)", "umap", "none"} <= set(written)
    assert {"higher is better", "lower is better"} <= set(written)


def test_missing_scores_are_left_out_and_one_k_makes_a_point() -> None:
    rows = [
        {"model": "umap", "k": 4, "a": 0.5},
        {"model": "umap", "k": 8, "a": np.nan},
        {"model": "none", "k": 4, "a": 0.1},
        {"model": "none", "k": 8, "a": 0.2},
        {"model": "failed", "k": None, "a": None},
    ]
    figure = metric_against_k(rows, METRICS)
    assert lines(figure.axes[0]) == [[4, 8]]
    assert "no job has this score" in texts(figure)


def test_the_line_goes_through_the_mean_of_jobs_with_the_same_k() -> None:
    rows = [{"model": "m", "k": k, "a": a} for k, a in ((4, 0.2), (4, 0.4), (8, 0.6))]
    line = next(it for it in metric_against_k(rows, METRICS[:1]).axes[0].lines if it.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_ydata(), [0.3, 0.6])


def test_where_k_does_not_vary_models_stand_under_each_other() -> None:
    figure = metric_against_k([{"model": m, "k": 8, "a": 0.5} for m in ("umap", "none")], METRICS[:1])
    assert lines(figure.axes[0]) == []
    assert {"All jobs with k = 8", "umap", "none"} <= set(texts(figure))


@pytest.mark.parametrize("ks", [(4, 8), (4,)])
def test_clouds_are_shaded_in_the_colour_of_their_model(ks: tuple[int, ...]) -> None:
    rows = [
        {"model": m, "k": k, "a": 0.5, "a/null_mean": 0.2, "a/null_low": 0.1 * at, "a/null_high": 0.3}
        for at, m in enumerate(("umap", "none"))
        for k in ks
    ]
    figure = metric_against_k([*rows, {"model": "none", "k": 4, "a": 0.4, "a/null_mean": None}], METRICS[:1])
    bands = figure.axes[0].collections
    assert [to_hex(band.get_facecolor()[0]) for band in bands] == [color.lower() for color in PALETTES["petroff10"][:2]]
    ends = [band.get_paths()[0].vertices[:, 1 if len(ks) > 1 else 0] for band in bands]
    assert [[float(end.min()), float(end.max())] for end in ends] == [
        pytest.approx([0, 0.3]),
        pytest.approx([0.1, 0.3]),
    ]
    assert any("clouds without clusters" in text.replace("\n", " ") for text in texts(figure))
    inside_the_picture(figure)


def test_no_jobs_and_nasty_models() -> None:
    assert texts(metric_against_k([], METRICS)) == ["no finished jobs to compare"]
    rows = [{"model": name, "k": k, "a": 2000.0 * k, "b": 1.0} for name in NASTY for k in range(2, 14)]
    assert "$100" in texts(metric_against_k(rows, METRICS))
    assert png(metric_against_k([{"model": name, "k": 3, "a": 1.0} for name in NASTY], METRICS))


@pytest.mark.parametrize("ks", [(4, 8), (4,)])
@pytest.mark.parametrize("width", [85, 180])
def test_page_and_colours_are_those_chosen(width: int, ks: tuple[int, ...]) -> None:
    models = [f"precomputed, clustering=agglomerative, projection=tsne_{number}" for number in range(4)]
    rows = [{"model": model, "k": k, "a": 0.5 * k, "b": 1.0} for model in models for k in ks]
    with look(width, "okabe_ito"):
        figure = metric_against_k(rows, METRICS)
    inside_the_picture(figure)
    assert figure.get_figwidth() <= width / 25.4 + 0.02
    colors = {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines}
    assert colors == set(PALETTES["okabe_ito"][:4])
