from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.label_structure import Measure, label_structure
from pipeline.plots.style import look
from tests.plots.drawing import inside_the_picture, texts

NAN = float("nan")
CLUSTERS = [Measure("Adjusted Rand index", 0.81, 0.0, 0.01, "0.81"), Measure("Purity", 0.9, 0.3, 0.02, "0.90")]
TOLD = [Measure("Linear probe", 0.97, 0.1, 0.01, "0.97")]


@pytest.mark.parametrize("width", [180, 85])
def test_a_row_for_every_score(width: int) -> None:
    with look(width, "okabe_ito"):
        figure = label_structure(CLUSTERS, TOLD, 0.12)
    assert {"Adjusted Rand index", "Purity", "Linear probe", "0.81", "0.97"} <= set(texts(figure))
    assert "always the most frequent label" in texts(figure)
    inside_the_picture(figure)
    clusters, embedding = figure.axes
    np.testing.assert_allclose([line.get_xdata() for line in clusters.lines[:2]], [[0.0, 0.81], [-0.01, 0.01]])
    assert [line.get_xdata()[0] for line in embedding.lines if line.get_linestyle() == ":"] == [0.12]


def test_what_was_not_permuted_or_not_told_is_left_out() -> None:
    figure = label_structure([Measure("Adjusted Rand index", -0.2, NAN, NAN, "-0.20")], [], 0.5)
    assert len(figure.axes) == 1 and figure.axes[0].get_xlim()[0] < -0.2
    assert not {"permuted labels: mean ± sd", "always the most frequent label"} & set(texts(figure))
