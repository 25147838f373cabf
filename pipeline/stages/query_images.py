"""The image files that a search starts from, each with a hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import CallError
from pipeline.stage import Stage, Workspace


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """`query_images`: path and content_hash of `search.images`, in their order."""
    paths = list(settings.search.images)
    return {"query_images": pd.DataFrame({"path": paths, "content_hash": workspace.content_hashes(paths)}, dtype="str")}


def first_look(settings: Any) -> None:
    """All of them are files."""
    missing = [path for path in settings.search.images if not Path(path).is_file()]
    if missing:
        raise CallError(*(f"search.images: no such file: {path}" for path in missing))


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """The contents, in their order."""
    hashes = "\n".join(made["query_images"]["content_hash"])
    return {"query_images": hashlib.sha256(hashes.encode()).hexdigest()}


STAGE = Stage(
    name="query_images",
    needs=(),
    makes=("query_images",),
    settings=("search",),
    run=run,
    first_look=first_look,
    fingerprints=fingerprints,
    unsaved=("query_images",),
)
