"""Figures to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.schema import PlotSettings, plain


def save(figures: Mapping[str, Any], folder: Path, plots: PlotSettings) -> None:
    """Each figure as PNG, which the report shows, and in the other formats that are wanted."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same picture, the same bytes
    with matplotlib.rc_context({"svg.hashsalt": "clipscope"}):
        for name, figure in figures.items():
            for ending in dict.fromkeys(["png", *plain(plots.formats)]):
                figure.savefig(folder / f"{name}.{ending}", dpi=plots.dpi, metadata=dates.get(ending))
