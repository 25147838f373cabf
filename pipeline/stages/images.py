"""The rows that the vectors stand for, and what was left out. Separate from embedding, so that images which were
moved, relabelled or captioned anew are not embedded again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.schema import Config, FoldersDataset
from pipeline.stage import Drawing, Stage, Workspace

SEEN = ["width", "height", "format", "mode", "bytes", "brightness", "sharpness"]
COLUMNS = ["id", "path", "label", "caption", "group", "split", "content_hash", *SEEN]
GONE = 5  # classes without a readable image that are named
SHEET = 48  # images on the sheet


def run(settings: Any, workspace: Workspace, candidates: pd.DataFrame, reading: pd.DataFrame) -> dict[str, Any]:
    """`images`: a row for each vector, in their order. `skipped`: id, path, reason, detail of the rest."""
    read = reading["read"].to_numpy(dtype=bool)
    images = candidates.assign(**{column: reading[column] for column in SEEN})[COLUMNS]
    if not read.all():  # else the texts of both tables are the same ones in memory
        images = images.loc[read].reset_index(drop=True)
    skipped = candidates.loc[~read, ["id", "path"]].join(reading.loc[~read, ["reason", "detail"]])
    metadata = pd.DataFrame({"image_path": images["path"], **images[["caption", "label", "id"]].to_dict("series")})
    return {"images": images, "skipped": skipped.reset_index(drop=True), "embedding_metadata": metadata}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """How many images were listed, read and skipped."""
    read, skipped = len(made["images"]), len(made["skipped"])
    return {"listed": read + skipped, "read": read, "skipped": skipped}


def check(made: Mapping[str, Any], config: Config) -> list[str]:
    """Enough images must have been readable, and some of every class whose folder was named."""
    images, skipped = made["images"], made["skipped"]
    total = len(images) + len(skipped)
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(skipped["reason"]).most_common())
    if not len(images):
        raise RunError(f"none of the {total} images could be read ({reasons}); see skipped.csv")
    if len(skipped) > config.dataset.max_unreadable * total:
        raise RunError(
            f"{len(skipped)} of {total} images could not be read ({reasons}), more than "
            f"dataset.max_unreadable = {config.dataset.max_unreadable:g} allows; see skipped.csv"
        )
    gone = sorted(set(made["candidates"]["label"].dropna()) - set(images["label"].dropna())) if len(skipped) else []
    said = [f"class '{label}': none of its images could be read; see skipped.csv" for label in gone]
    if said and isinstance(config.dataset, FoldersDataset):
        raise RunError(said[0])
    more = [f"{len(said) - GONE:,} more classes without an image that could be read"] if len(said) > GONE else []
    return said[:GONE] + more


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """A sheet of random images."""
    from pipeline.plots.images import image_sheet

    images = made["images"]
    chosen = np.random.default_rng(drawing.seed).permutation(len(images))[:SHEET]
    rows = [images.iloc[row] for row in np.sort(chosen)]  # one by one: of all at once, whole columns are copied
    if not any(row["path"] for row in rows):  # vectors without images
        return {}
    titles = [drawing.title(row) for row in rows]
    return {"sheet": image_sheet([drawing.thumbnail(row["path"]) for row in rows], titles)}


STAGE = Stage(
    name="images",
    needs=("candidates", "reading"),
    makes=("images", "skipped", "embedding_metadata"),
    version=3,
    run=run,
    metrics=metrics,
    check=check,
    draw=draw,
)
