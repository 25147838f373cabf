"""Curves of a training."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.plots.style import look
from pipeline.plots.training import training_curves
from tests.plots.drawing import inside_the_picture, texts

NAN = float("nan")


@pytest.mark.parametrize("width", [85.0, 180.0])
@pytest.mark.parametrize("epochs", [2, 60])
def test_curves(width: float, epochs: int) -> None:
    steps = np.arange(epochs)
    losses = {"training": np.concatenate([[NAN], np.exp(-steps[1:] / 9)]), "validation": np.exp(-steps / 9)}
    shares = {"text by image, recall at 1": 1 - np.exp(-steps / 5), "zero-shot accuracy": 1 - np.exp(-steps / 4)}
    with look(width):
        figure = training_curves(steps, losses, shares, [0.1, NAN], np.cos(steps / 60), epochs - 1)
        inside_the_picture(figure)
    said = texts(figure)
    assert {"Loss", "Validation images", "Learning rate", "training", "zero-shot accuracy", "dotted: by chance"} <= set(
        said
    )
    assert said.count(f"epoch (dashed: the best, {epochs - 1})") == 3
    marked = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in marked] == [epochs - 1] * 3


def test_nothing_measured() -> None:
    """A loss is all there is."""
    figure = training_curves(np.arange(3), {"training": np.array([NAN, 2, 1])}, {}, [], np.ones(3), 2)
    assert "dotted: by chance" not in texts(figure)
