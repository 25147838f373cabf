"""The files of the data set, each with a hash of its content: what all that follows is keyed by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.datasets.candidates import Found
from pipeline.stage import Stage, Workspace


def run(settings: Any, workspace: Workspace, found: Found) -> dict[str, Any]:
    """`found`: what the data set listed. `files` is what makes a vector, `candidates` all that is known of it."""
    table = found.table.copy()
    hashes = workspace.content_hashes(table["path"].tolist())
    table["content_hash"] = hashes
    return {"files": table[["id", "path", "content_hash", "problem"]], "candidates": table}


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """`files` without its paths: images that were moved or relabelled keep their vectors."""
    content = made["files"][["id", "content_hash", "problem"]]
    return {"files": _digest(content), "candidates": _digest(made["candidates"])}


def _digest(table: pd.DataFrame) -> str:
    columns = [[None if pd.isna(v) else v for v in table[name].tolist()] for name in table]
    return hashlib.sha256(json.dumps([list(table), columns]).encode()).hexdigest()


STAGE = Stage(
    name="listing",
    needs=("found",),
    makes=("files", "candidates"),
    run=run,
    fingerprints=fingerprints,
    unsaved=("files",),
)
