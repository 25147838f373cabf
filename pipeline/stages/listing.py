"""The files of the data set, each with a hash of its content: what all that follows is keyed by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from inference.places import turn_of
from pipeline.datasets.candidates import Found
from pipeline.schema import PrecomputedEncoder
from pipeline.stage import Stage, Workspace

CELLS = 10_000  # turned into text at a time


def run(settings: Any, workspace: Workspace, found: Found) -> dict[str, Any]:
    """`found`: what the data set listed. `files` is what makes a vector, `candidates` all that is known of it;
    `image_labels` says which of several labels an image has, None where it has one at most."""
    table = found.table.copy()
    usable = table["problem"] == ""  # a path that leaves its root is not opened
    table["content_hash"] = table["problem"]
    paths = table.loc[usable, "path"].tolist()
    contents = zip(workspace.content_hashes(paths), paths, strict=True)
    table.loc[usable, "content_hash"] = [_seen(content, path) for content, path in contents]
    files = table[["id", "path", "content_hash", "problem", "position"]].copy()
    if isinstance(settings.encoder, PrecomputedEncoder):
        files.attrs["rows"] = found.rows
    else:
        files["position"] = -1  # means nothing to an encoder: rows may be added to a table without embedding all again
    return {"files": files, "candidates": table.drop(columns="position"), "image_labels": found.labels}


def _seen(content: str, path: str) -> str:
    """What an encoder gets to see: the content, and by how much it is turned."""
    turn = turn_of(path)
    return f"{content} turned {turn}" if turn else content


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """`files` without its paths: images keep their vectors when they are moved, or labelled anew in a table. Vectors
    that exist already are found by the paths, too."""
    files = made["files"]
    columns = ["id", "content_hash", "problem", "position", *(["path"] if "rows" in files.attrs else [])]
    content = _digest(files[columns], files.attrs.get("rows"))
    labels = made["image_labels"]
    return {
        "files": content,
        "candidates": _digest(made["candidates"]),
        "image_labels": "none" if labels is None else _digest(labels),
    }


def _digest(table: pd.DataFrame, rows: int | None = None) -> str:
    """Of [names, columns, rows] as JSON, some cells at a time: the text of a large table takes more room than it."""
    state = hashlib.sha256(f"[{json.dumps(list(table))}, [".encode())
    for i, name in enumerate(table):
        state.update(b", [" if i else b"[")
        for start in range(0, len(table), CELLS):
            cells = [None if pd.isna(v) else v for v in table[name].iloc[start : start + CELLS].tolist()]
            state.update(f"{', ' if start else ''}{json.dumps(cells)[1:-1]}".encode())
        state.update(b"]")
    state.update(f"], {json.dumps(rows)}]".encode())
    return state.hexdigest()


STAGE = Stage(
    name="listing",
    needs=("found",),
    makes=("files", "candidates", "image_labels"),
    settings=("encoder",),
    run=run,
    fingerprints=fingerprints,
    unsaved=("files",),
)
