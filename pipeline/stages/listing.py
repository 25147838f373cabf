"""The files of the data set, each with a hash of its content: what all that follows is keyed by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from inference.places import TURNED, turn_of
from pipeline.datasets.candidates import Found, texts
from pipeline.schema import PrecomputedEncoder
from pipeline.stage import Stage, Workspace

CELLS = 10_000  # turned into text at a time


def run(settings: Any, workspace: Workspace, found: Found) -> dict[str, Any]:
    """`found`: what the data set listed. `files` is what makes a vector, `candidates` all that is known of it;
    `image_labels` says which of several labels an image has, None where it has one at most."""
    table = found.table.assign(content_hash=_contents(found.table, workspace))
    files = table[["id", "path", "content_hash", "problem", "position"]]
    if isinstance(settings.encoder, PrecomputedEncoder):
        files.attrs["rows"] = found.rows
    else:
        files["position"] = -1  # means nothing to an encoder: rows may be added to a table without embedding all again
    return {"files": files, "candidates": table.drop(columns="position"), "image_labels": found.labels}


def _contents(table: pd.DataFrame, workspace: Workspace) -> pd.Series:
    """What an encoder gets to see of each row: the content, and by how much it is turned; of a row that cannot be read,
    why: a path that leaves its root is not opened."""
    usable = table["problem"] == ""
    paths = table["path"] if usable.all() else table.loc[usable, "path"]
    contents = texts(workspace.each_content_hash(paths.array)).set_axis(paths.index)
    turned = paths[paths.str.startswith(TURNED)]
    if len(turned):
        contents[turned.index] = [_seen(*row) for row in zip(contents[turned.index], turned, strict=True)]
    return contents if usable.all() else contents.reindex(table.index).fillna(table["problem"])


def _seen(content: str, path: str) -> str:
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
            part = table[name].iloc[start : start + CELLS].astype(object)
            cells = part.where(part.notna(), None).tolist()
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
