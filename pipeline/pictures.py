"""Figures to files, and thumbnails for figures: the only place where a picture meets the disk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from inference.images import UnreadableImage, thumbnail
from pipeline.schema import PlotSettings, plain
from pipeline.stage import Drawing, Stage


class Thumbnails:
    """Reads images for pictures; counts those that can no longer be read."""

    def __init__(self) -> None:
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
            return thumbnail(path)
        except UnreadableImage:
            return None


def draw(
    stage: Stage, settings: Any, values: Mapping[str, Any], plots: PlotSettings, captions: bool, seed: int
) -> tuple[dict[str, Any], int]:
    """A stage's figures by name, and how many images for them can no longer be read."""
    from pipeline.plots.style import look

    assert stage.draw is not None
    thumbnails = Thumbnails()
    with look(plots.width_mm, plots.palette.value):
        figures = stage.draw(settings, values, values, Drawing(thumbnails, captions, seed))
    return figures, thumbnails.lost


def save(figures: Mapping[str, Any], folder: Path, plots: PlotSettings) -> None:
    """Each figure as PNG, which the report shows, and in the other formats that are wanted."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same picture, the same bytes
    with matplotlib.rc_context({"svg.hashsalt": "clipscope"}):
        for name, figure in figures.items():
            for ending in dict.fromkeys(["png", *plain(plots.formats)]):
                figure.savefig(folder / f"{name}.{ending}", dpi=plots.dpi, metadata=dates.get(ending))
