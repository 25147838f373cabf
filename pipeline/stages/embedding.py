"""Images to vectors: sharded, in worker processes, resumable; images that cannot be read are left out and listed."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from inference.embed import EmbeddingFailed, embed
from inference.encoders import EncoderHandle
from pipeline.errors import RunError
from pipeline.stage import Stage, Workspace

log = logging.getLogger(__name__)


def run(settings: Any, workspace: Workspace, files: pd.DataFrame, encoder: EncoderHandle) -> dict[str, Any]:
    """`image_embeddings` (n, d): a row for each file that could be read, in their order. `reading` (a row a file):
    read, width and height in pixels as shown, reason and detail where it could not be read."""
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
    reading = pd.DataFrame({"id": files["id"], "read": False, "width": 0, "height": 0, "reason": "", "detail": ""})
    named = files["problem"] != ""
    reading.loc[named, "reason"] = "file name"
    reading.loc[named, "detail"] = files.loc[named, "problem"]
    for row, reason, detail in embedded.unreadable:
        reading.loc[readable[row], ["reason", "detail"]] = [reason, detail]
    rows = readable[embedded.rows]
    reading.loc[rows, "read"] = True
    reading.loc[rows, "width"] = embedded.sizes[:, 0]
    reading.loc[rows, "height"] = embedded.sizes[:, 1]
    return {"image_embeddings": embedded.vectors, "reading": reading}


STAGE = Stage(
    name="embedding",
    needs=("files", "encoder"),
    makes=("image_embeddings", "reading"),
    run=run,
    packages=("Pillow", "opencv-python-headless"),
)
