"""The files of the data set, each with a hash of its content: what all that follows is keyed by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.datasets.candidates import Found
from pipeline.schema import PrecomputedEncoder
from pipeline.stage import Stage, Workspace


def run(settings: Any, workspace: Workspace, found: Found) -> dict[str, Any]:
    """`found`: what the data set listed. `files` is what makes a vector, `candidates` all that is known of it."""
    table = found.table.copy()
    usable = table["problem"] == ""  # a path that leaves its root is not opened
    table["content_hash"] = table["problem"]
    table.loc[usable, "content_hash"] = workspace.content_hashes(table.loc[usable, "path"].tolist())
    files = table[["id", "path", "content_hash", "problem", "position"]].copy()
    if isinstance(settings.encoder, PrecomputedEncoder):
        files.attrs["rows"] = found.rows
    else:
        files["position"] = -1  # means nothing to an encoder: rows may be added to a table without embedding all again
    return {"files": files, "candidates": table.drop(columns="position")}


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """`files` without its paths: images keep their vectors when they are moved, or labelled anew in a table. Vectors
    that exist already are found by the paths, too."""
    files = made["files"]
    columns = ["id", "content_hash", "problem", "position", *(["path"] if "rows" in files.attrs else [])]
    content = _digest(files[columns], files.attrs.get("rows"))
    return {"files": content, "candidates": _digest(made["candidates"])}


def _digest(table: pd.DataFrame, rows: int | None = None) -> str:
    columns = [[None if pd.isna(v) else v for v in table[name].tolist()] for name in table]
    return hashlib.sha256(json.dumps([list(table), columns, rows]).encode()).hexdigest()


STAGE = Stage(
    name="listing",
    needs=("found",),
    makes=("files", "candidates"),
    settings=("encoder",),
    run=run,
    fingerprints=fingerprints,
    unsaved=("files",),
)
