"""Data sets: each source turns its settings into a table of candidates. A new one is a module and a line in SOURCES."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pipeline.datasets.candidates import Found, subset

# dataset.source -> module with find(settings, data_folder) -> Found
SOURCES: dict[str, str] = {
    "digits": "pipeline.datasets.digits",
    "folders": "pipeline.datasets.folders",
    "table": "pipeline.datasets.table",
}


def find(settings: Any, data: Path) -> Found:
    """The candidates of the data set that `settings` describes, cut to `limit`. Raises CallError.

    data: the folder of data sets that clipscope keeps itself (`paths.data`). No image is opened here.
    """
    source = importlib.import_module(SOURCES[settings.source])
    found: Found = source.find(settings, data)
    if settings.limit is not None and settings.limit < len(found.table):
        return subset(found, settings.limit, settings.sample_seed)
    return found
