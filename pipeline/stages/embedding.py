"""Images to vectors: sharded, in worker processes, resumable; images that cannot be read are left out and listed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from inference.embed import PASSING, Embedded, EmbeddingFailed, embed
from inference.encoders import EncoderError, EncoderHandle
from inference.images import ReadingRules
from inference.shards import Seen
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import RunError
from pipeline.schema import SixteenBit, plain
from pipeline.stage import Stage, Workspace

log = logging.getLogger(__name__)

UNSEEN: dict[str, Any] = {"width": 0, "height": 0, "format": "", "mode": "", "bytes": 0}  # the rest is NaN
NARROW = 1 / 8  # of the range of 16 bits: images that use less, 12 bits say, come out nearly black where it is all kept


def run(
    settings: Any, workspace: Workspace, files: pd.DataFrame, encoder: EncoderHandle | Precomputed
) -> dict[str, Any]:
    """`image_embeddings` (n, d): a row for each file that could be read, in their order. `reading` (a row a file):
    read, what inference.shards.Seen says of it (0, '' and NaN: not known), reason and detail where it could not be
    read. `encoding` (one row): how the vectors were computed in the end."""
    if isinstance(encoder, Precomputed):
        return _matched(workspace, files, encoder)
    readable = np.flatnonzero(files["problem"] == "")
    given = files if len(readable) == len(files) else files.iloc[readable]
    made = embed_images(
        given["path"].array, listed_contents(given["content_hash"]), encoder, settings.images, workspace
    )
    reading = _reading(files, readable, made)
    if settings.images.sixteen_bit is SixteenBit.full:
        _warn_of_narrow(reading)
    passing = int(reading["reason"].isin(PASSING).sum())
    if passing:
        log.warning(
            "%d images failed for reasons that may pass; nothing is kept, the next run tries them again", passing
        )
    return {"image_embeddings": made.vectors, "reading": reading, "encoding": _encoding(made, encoder)}


def embed_images(
    paths: Sequence[str], contents: Sequence[str], encoder: EncoderHandle, images: Any, workspace: Workspace
) -> Embedded:
    """`inference.embed.embed` by the run's settings. Raises RunError where it cannot be done at all."""
    try:
        return embed(
            paths,
            encoder,
            workspace.folder,
            rules=ReadingRules(**plain(images)),
            contents=contents,
            workers=workspace.workers,
            timeout=workspace.timeout,
            batch_size=workspace.batch_size,
            progress=workspace.progress,
        )
    except EncoderError as error:
        raise RunError(f"{error.key}: {error.message}") from error
    except EmbeddingFailed as error:
        log.error("embedding failed:\n%s", error)
        raise RunError(f"embedding: {str(error).strip().splitlines()[-1]}") from error


def listed_contents(seen: pd.Series) -> Sequence[str]:
    """The hash of each image's bytes, without the turn that the listing put behind it."""
    turned = seen.str.contains(" turned ", regex=False)
    return seen.array if not turned.any() else seen.str.partition(" turned ")[0].array


def _reading(files: pd.DataFrame, readable: np.ndarray, embedded: Embedded) -> pd.DataFrame:
    """What became of each file. readable: which ones were given to the encoder."""
    rows = readable[embedded.rows]
    read = np.zeros(len(files), bool)
    read[rows] = True
    seen = embedded.seen if read.all() else _spread(embedded.seen, rows, len(files))
    told = pd.DataFrame({"reason": "", "detail": ""}, index=files.index)
    if len(readable) < len(files):
        problems = files["problem"].str.partition(": ")
        told = pd.DataFrame({"reason": problems[0], "detail": problems[2]})
    if embedded.unreadable:
        unreadable, *words = zip(*embedded.unreadable, strict=True)
        for name, cells in zip(told, words, strict=True):
            told.loc[readable[list(unreadable)], name] = list(cells)
    return _table(files["id"], read, seen, told)


def _spread(seen: pd.DataFrame, rows: np.ndarray, count: int) -> pd.DataFrame:
    """(count rows) `seen` at these rows, and at the others what is not known."""
    return seen.set_axis(rows).reindex(range(count)).fillna(UNSEEN).astype(seen.dtypes)


def _table(ids: pd.Series, read: Any, seen: Mapping[str, Any], told: Mapping[str, Any]) -> pd.DataFrame:
    """`reading`: its columns, in their order."""
    known = {name: seen.get(name, float("nan")) for name in Seen._fields}
    return pd.DataFrame({"id": ids, "read": read, **known, "reason": told["reason"], "detail": told["detail"]})


def _warn_of_narrow(reading: pd.DataFrame) -> None:
    narrow = int((reading["range_used"] < NARROW).sum())
    if narrow:
        which = "1 image of 16 bits uses" if narrow == 1 else f"{narrow:,} images of 16 bits use"
        log.warning(
            "%s less than an eighth of the range and %s nearly black: images.sixteen_bit=range uses the range of each "
            "image",
            which, "is" if narrow == 1 else "are",
        )  # fmt: skip


def _encoding(embedded: Embedded, asked: EncoderHandle) -> pd.DataFrame:
    """precision and device; fidelity: the smallest cosine between the vectors of the first images by the asked way
    and by the exact one, fidelity_centered: the same after centring, compared: how many images; fell_back: whether
    that was too little and all was computed exactly."""
    used, found = embedded.handle, embedded.fidelity
    fell_back = used.runtime != asked.runtime
    if fell_back and found:
        log.warning(
            "%s gives vectors whose cosine to the exact ones is %.4f at worst, below precision.min_fidelity = %g: "
            "computed in fp32 instead",
            asked.runtime.precision, found.cosine, asked.min_fidelity,
        )  # fmt: skip
    single = used.description.exact_only
    row = {
        "precision": f"exact ({embedded.vectors.dtype})" if single else used.runtime.words(),
        "device": "cpu" if single else used.runtime.device,
        "dimension": embedded.vectors.shape[1],
        "dtype": str(embedded.vectors.dtype),
        "fidelity": found.cosine if found else 1.0,
        "fidelity_centered": found.centered if found else 1.0,
        "compared": found.images if found else 0,
        "fell_back": fell_back,
    }
    return pd.DataFrame([row])


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """fidelity, of vectors that were computed here."""
    encoding = made["encoding"].iloc[0]
    return {"fidelity": float(encoding["fidelity"])} if encoding["device"] else {}


def _matched(workspace: Workspace, files: pd.DataFrame, encoder: Precomputed) -> dict[str, Any]:
    """Vectors that exist already, brought into the order of the files; no image is opened."""
    found = encoder.match(files)
    made, unusable = encoder.take(found, workspace.folder / "image_embeddings.npy", workspace.progress)
    reading = _table(files["id"], True, UNSEEN, {"reason": "", "detail": ""})
    for some in unusable:
        reading.loc[some.rows, ["read", "reason", "detail"]] = [False, some.reason, some.detail]
    encoding = {"precision": encoder.precision, "device": "", "dimension": made.shape[1], "dtype": str(made.dtype)}
    unknown = {"fidelity": 1.0, "fidelity_centered": 1.0, "compared": 0, "fell_back": False}
    return {"image_embeddings": made, "reading": reading, "encoding": pd.DataFrame([encoding | unknown])}


STAGE = Stage(
    name="embedding",
    needs=("files", "encoder"),
    makes=("image_embeddings", "reading", "encoding"),
    settings=("images",),
    version=5,
    run=run,
    metrics=metrics,
    settled=lambda made: not made["reading"]["reason"].isin(PASSING).any(),
    packages=(
        *("Pillow", "opencv-python-headless", "torch", "torchvision"),
        *("pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-libjpeg"),  # once installed, more can be read
    ),
)
