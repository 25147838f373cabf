"""A stage's figures, the one way of drawing them, with thumbnails of the images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from inference.images import ReadingRules, thumbnail
from inference.places import UnreadableImage
from pipeline.schema import ImageSettings, PlotSettings, plain
from pipeline.stage import Drawing, Stage


class Thumbnails:
    """Reads images for pictures, by the rules they were embedded by; counts those that can no longer be read."""

    def __init__(self, images: ImageSettings) -> None:
        given = {name: value for name, value in plain(images).items() if value is not None}  # none in an older run
        self.rules = ReadingRules(**given)
        self.lost = 0
        self._read = lru_cache(maxsize=4096)(self._decode)

    def __call__(self, path: str) -> np.ndarray | None:
        """(h, w, 3) uint8, None where the file is gone or damaged by now, or never was ('')."""
        if not path:
            return None
        found = self._read(path)
        self.lost += found is None
        return found

    def _decode(self, path: str) -> np.ndarray | None:
        try:
            return thumbnail(path, rules=self.rules)
        except UnreadableImage:
            return None


def draw(
    stage: Stage,
    settings: Any,
    values: Mapping[str, Any],
    images: ImageSettings,
    plots: PlotSettings,
    captions: bool,
    seed: int,
) -> tuple[dict[str, Any], int]:
    """A stage's figures by name, and how many images for them can no longer be read."""
    from pipeline.plots.style import look

    assert stage.draw is not None
    thumbnails = Thumbnails(images)
    with look(plots.width_mm, plots.palette.value):
        figures = stage.draw(settings, values, values, Drawing(thumbnails, captions, seed))
    return figures, thumbnails.lost
