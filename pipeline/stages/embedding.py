"""Images to vectors: sharded, in worker processes, resumable; images that cannot be read are left out and listed."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from inference.embed import PASSING, EmbeddingFailed, embed
from inference.encoders import EncoderHandle
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import RunError
from pipeline.stage import Stage, Workspace

log = logging.getLogger(__name__)


def run(
    settings: Any, workspace: Workspace, files: pd.DataFrame, encoder: EncoderHandle | Precomputed
) -> dict[str, Any]:
    """`image_embeddings` (n, d): a row for each file that could be read, in their order. `reading` (a row a file):
    read, width and height in pixels as shown (0: not known), reason and detail where it could not be read."""
    if isinstance(encoder, Precomputed):
        return _matched(workspace, files, encoder)
    readable = files.index[files["problem"] == ""].to_numpy()
    try:
        embedded = embed(
            files["path"].iloc[readable].tolist(),
            encoder,
            workspace.folder,
            workers=workspace.workers,
            timeout=workspace.timeout,
            progress=workspace.progress,
        )
    except EmbeddingFailed as error:
        log.error("embedding failed:\n%s", error)
        raise RunError(f"embedding: {str(error).strip().splitlines()[-1]}") from error
    reading = _nothing_read(files)
    named = files["problem"] != ""
    reading.loc[named, "reason"] = "file name"
    reading.loc[named, "detail"] = files.loc[named, "problem"]
    for row, reason, detail in embedded.unreadable:
        reading.loc[readable[row], ["reason", "detail"]] = [reason, detail]
    rows = readable[embedded.rows]
    reading.loc[rows, "read"] = True
    reading.loc[rows, "width"] = embedded.sizes[:, 0]
    reading.loc[rows, "height"] = embedded.sizes[:, 1]
    passing = int(reading["reason"].isin(PASSING).sum())
    if passing:
        log.warning(
            "%d images failed for reasons that may pass; nothing is kept, the next run tries them again", passing
        )
    return {"image_embeddings": embedded.vectors, "reading": reading}


def _matched(workspace: Workspace, files: pd.DataFrame, encoder: Precomputed) -> dict[str, Any]:
    """Vectors that exist already, brought into the order of the files; no image is opened."""
    found = encoder.match(files)
    made, unusable = encoder.take(found, workspace.folder / "image_embeddings.npy", workspace.progress)
    reading = _nothing_read(files)
    reading["read"] = True
    for row, (reason, detail) in unusable.items():
        reading.loc[row, ["read", "reason", "detail"]] = [False, reason, detail]
    return {"image_embeddings": made, "reading": reading}


def _nothing_read(files: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"id": files["id"], "read": False, "width": 0, "height": 0, "reason": "", "detail": ""})


STAGE = Stage(
    name="embedding",
    needs=("files", "encoder"),
    makes=("image_embeddings", "reading"),
    run=run,
    settled=lambda made: not made["reading"]["reason"].isin(PASSING).any(),
    packages=("Pillow", "opencv-python-headless"),
)
