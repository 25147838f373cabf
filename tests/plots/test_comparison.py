from __future__ import annotations

import pytest

from pipeline.plots.comparison import MOST, Dot, Panel, dots
from pipeline.plots.style import look
from tests.plots.drawing import NASTY, inside_the_picture, png, texts


def test_intervals_dots_and_the_line_at_zero() -> None:
    panel = Panel(
        "Adjusted Rand index", "above 0: the first is better", [Dot("a − b", 0.2, 0.1, 0.3), Dot("a − c", -0.1)]
    )
    figure = dots([panel, Panel("left out", "")], "95 % intervals", zero=True)
    (axes,) = figure.axes
    line, interval, known, unknown = axes.lines
    assert list(line.get_xdata()) == [0, 0]
    assert list(interval.get_xdata()) == [0.1, 0.3] and list(interval.get_ydata()) == [0, 0]
    assert (list(known.get_xdata()), list(unknown.get_xdata())) == ([0.2], [-0.1])
    assert unknown.get_markerfacecolor() == "white" != known.get_markerfacecolor()
    assert {"95 % intervals", "Adjusted Rand index", "a − b", "a − c"} <= set(texts(figure))


def test_models_have_colours_and_many_rows_end() -> None:
    figure = dots([Panel("x", "", [Dot(f"model {i}", i, group=i) for i in range(40)])], "", zero=False)
    assert len(figure.axes[0].lines) == MOST
    assert len({line.get_color() for line in figure.axes[0].lines[:10]}) == 10
    assert f"x (the first {MOST} of 40)" in texts(figure)


def test_nothing_and_nasty_names() -> None:
    assert texts(dots([], "x", zero=True)) == ["nothing to compare"]
    assert png(dots([Panel(name, name, [Dot(name, 0.0)]) for name in NASTY], NASTY[0], zero=True))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("width", [85, 180])
def test_the_page_is_that_chosen(width: int, count: int) -> None:
    name = "precomputed, clustering=agglomerative, projection=tsne − openai, ViT-L/14, k = 12"
    panels = [Panel("Excess silhouette (cosine), in the embedding", "x", [Dot(name, 0.1, 0, 0.2)] * 3)] * count
    with look(width, "okabe_ito"):
        figure = dots(panels, "Differences on the same images, first less second, with 95 % intervals", zero=True)
    inside_the_picture(figure)
    assert figure.get_figwidth() <= width / 25.4 + 0.02
