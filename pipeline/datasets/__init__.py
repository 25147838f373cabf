"""Data sets: each source turns its settings into a table of candidates. A new one is a module and a line in SOURCES."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.datasets.candidates import Found, subset, subset_per_class

# dataset.source -> module with find(settings, data_folder) -> Found (given progress too, if it is one of SLOW) and,
# where it can download what is missing, fetch(settings, data_folder, progress) -> notes
SOURCES: dict[str, str] = {
    "digits": "pipeline.datasets.digits",
    "folders": "pipeline.datasets.folders",
    "files": "pipeline.datasets.files",
    "table": "pipeline.datasets.table",
    "webdataset": "pipeline.datasets.webdataset",
    "parquet": "pipeline.datasets.parquet_images",
    "huggingface": "pipeline.datasets.huggingface",
    "rocov2": "pipeline.datasets.rocov2",
    "open_images": "pipeline.datasets.open_images",
}
SLOW = ("webdataset",)  # they look into the files themselves


def find(
    settings: Any, data: Path, fetch: bool = True, progress: Callable[[int, int], None] = lambda done, total: None
) -> Found:
    """The candidates of the data set that `settings` describes, cut to its limits. Raises CallError.

    data: the folder of data sets that clipscope keeps itself (`paths.data`). fetch: whether a source that can may
    download what is missing, where the settings ask for it; progress: is told how far that, or a long listing, is. No
    image is opened here.
    """
    source = importlib.import_module(SOURCES[settings.source])
    fetched = source.fetch(settings, data, progress) if fetch and hasattr(source, "fetch") else ()
    told = (progress,) if settings.source in SLOW else ()
    found: Found = source.find(settings, data, *told)
    found = replace(found, notes=(*fetched, *found.notes)) if fetched else found
    if settings.limit_per_class is not None:
        found = subset_per_class(found, settings.limit_per_class, settings.sample_seed)
    if settings.limit is not None and settings.limit < len(found.table):
        return subset(found, settings.limit, settings.sample_seed)
    return found
