"""What a run's scores are scores of: its images, their labels, captions and classes, and its spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.report.words import counted, look_up
from pipeline.run_dir import Run


@dataclass(frozen=True)
class Identity:
    """ids: of the images, in their order; contents: their hash, None where there are only vectors; labels, captions,
    classes: those of the images and of zero-shot; embedding, projection: the spaces, None where there is none."""

    ids: tuple[str, ...]
    contents: str | None
    labels: str
    captions: str
    classes: str
    embedding: str | None
    projection: str | None

    def same_images(self, other: Identity) -> bool:
        """The same ids, and the same content where both know it."""
        known = self.contents is not None and other.contents is not None
        return self.ids == other.ids and (not known or self.contents == other.contents)

    def same_labels(self, other: Identity) -> bool:
        """What agreement with labels needs."""
        return self.same_images(other) and self.labels == other.labels

    def same_words(self, other: Identity) -> bool:
        """What zero-shot accuracy and retrieval need."""
        return self.same_labels(other) and (self.captions, self.classes) == (other.captions, other.classes)

    def same_embedding(self, other: Identity) -> bool:
        """Whether raw scores in the embedding are on one scale."""
        return self.same_images(other) and self.embedding is not None and self.embedding == other.embedding

    def same_projection(self, other: Identity) -> bool:
        """Whether raw scores in the projection are on one scale."""
        return self.same_embedding(other) and self.projection is not None and self.projection == other.projection


@dataclass(frozen=True)
class _Images:
    ids: tuple[str, ...]
    contents: str | None
    labels: str
    captions: str


def identities(runs: Sequence[Run]) -> list[Identity | None]:
    """None of runs that came to no images. Tables of the same key are read once: a sweep has many."""
    read: dict[str, _Images] = {}
    return [_identity(run, read) if run.has("images") else None for run in runs]


def _identity(run: Run, read: dict[str, _Images]) -> Identity:
    key = key_of(run, "images")
    images = read[key] if key in read else _images(run.table("images"))
    if key is not None:
        read[key] = images
    return Identity(
        images.ids,
        images.contents,
        images.labels,
        images.captions,
        classes=_digest(run.table("zero_shot_classes")["class"]) if run.has("zero_shot_classes") else "",
        embedding=look_up(run.record, "encoder.fingerprint"),
        projection=(key_of(run, "projection") or f"unseeded in {run.folder}") if run.has("projection") else None,
    )


_HASH = r"[0-9a-f]{32,}( turned .*)?"  # else it says why there is no image: vectors may be known without


def _images(table: pd.DataFrame) -> _Images:
    contents = table["content_hash"].fillna("").astype(str)
    return _Images(
        ids=tuple(table["id"].astype(str)),
        contents=_digest(contents) if len(table) and contents.str.fullmatch(_HASH).all() else None,
        labels=_digest(table["label"].fillna("")),
        captions=_digest(table["caption"].fillna("")),
    )


def key_of(run: Run, stage: str) -> str | None:
    """The cache key of what a stage made, also where it was taken from another run; None of what was random without a
    seed, which is like nothing else."""
    own = {entry.get("name"): entry.get("key") for entry in run.record.get("stages") or []}
    found = own[stage] if stage in own else look_up(run.record, f"taken.stages.{stage}")
    return str(found) if found else None


def _digest(values: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        text = str(value).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def numbered(identities: Sequence[Identity | None], same: str) -> list[float]:
    """Which belong together by the method `same`: equal numbers from 1; NaN where there is nothing to compare.

    Of two that only a third one without hashes is like, the first that came is the one that it goes with.
    """
    firsts: list[Identity] = []
    found = []
    for one in identities:
        place = None if one is None else next((i for i, first in enumerate(firsts) if getattr(first, same)(one)), None)
        if one is not None and place is None and getattr(one, same)(one):
            firsts.append(one)
            place = len(firsts) - 1
        found.append(float("nan") if place is None else place + 1.0)
    return found


def why_other_images(one: Identity, other: Identity) -> str:
    """In words, for two that do not have the same images."""
    ids, others = set(one.ids), set(other.ids)
    if ids == others:
        return "images of the same ids have other contents"
    return (
        f"{counted(len(ids), 'image')} and {counted(len(others), 'image')}, of which {len(ids & others):,} have the "
        "same id"
    )


def same_columns(identities: Sequence[Identity | None]) -> pd.DataFrame:
    """Which jobs share what, as numbers that are equal where they do: columns same_images ... same_projection."""
    names = ("same_images", "same_labels", "same_words", "same_embedding", "same_projection")
    return pd.DataFrame({name: numbered(identities, name) for name in names})
