"""A shard: some rows of a data set, read and encoded together. Its files have their names only when complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.encoders import Encoder
from inference.images import ImageFile
from inference.places import UnreadableImage

Announce = Callable[[int | None], None]  # the row that is being read now; None: reading is over, encoding


@dataclass
class Task:
    """A shard to make: its rows' paths, and the rows given up because a worker died on them."""

    number: int
    rows: list[tuple[int, str]]
    batch: int  # images encoded at a time
    given_up: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Reading:
    """Which rows could be read, their sizes in pixels as shown, and (row, reason, detail) of the rest."""

    rows: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int] | None] = field(default_factory=list)
    unreadable: list[tuple[int, str, str]] = field(default_factory=list)


def read(encoder: Encoder, task: Task, announce: Announce, reading: Reading) -> Iterator[np.ndarray]:
    """The preprocessed images of a task, one by one; `reading` is filled on the way."""
    for row, path in task.rows:
        if row in task.given_up:
            reading.unreadable.append((row, *task.given_up[row]))
            continue
        announce(row)
        try:
            image = ImageFile(path)
            pixels = encoder.preprocess(image)
        except UnreadableImage as error:
            reading.unreadable.append((row, error.reason, error.detail))
            continue
        except MemoryError:
            reading.unreadable.append((row, "out of memory", "decoding it needs more memory than there was"))
            continue
        reading.rows.append(row)
        reading.sizes.append(image.size)
        yield pixels
    announce(None)


def make_shard(encoder: Encoder, normalize: bool, task: Task, shards: Path, announce: Announce) -> None:
    """Read, preprocess and encode the rows of one shard, and put its files down."""
    reading, vectors = Reading(), []
    for batch in batches(read(encoder, task, announce, reading), task.batch):
        announce(None)
        vectors.append(encode(encoder, batch, normalize))
    save_shard(shards, task.number, joined(encoder, vectors, normalize), reading)


def batches(images: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stacks of at most `size`."""
    batch: list[np.ndarray] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def encode(encoder: Encoder, batch: np.ndarray, normalize: bool) -> np.ndarray:
    """Vectors of a batch, scaled to length 1 if wanted (a zero vector stays one)."""
    vectors = encoder.encode_images(batch)
    if not normalize:
        return vectors
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return (exact / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def joined(encoder: Encoder, vectors: list[np.ndarray], normalize: bool) -> np.ndarray:
    """One array, of the right shape also where nothing could be read."""
    dtype = np.float32 if normalize else np.dtype(encoder.dtype)
    return np.concatenate(vectors) if vectors else np.empty((0, encoder.dimension), dtype)


def save_shard(shards: Path, number: int, vectors: np.ndarray, reading: Reading) -> None:
    """Its two files, the one that counts last."""
    scratch = shards / f"{number:05d}.{os.getpid()}.tmp"
    with scratch.open("wb") as file:
        np.save(file, vectors)
    os.replace(scratch, shards / f"{number:05d}.npy")
    write_json(shards / f"{number:05d}.json", vars(reading))


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Complete or not at all."""
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(content), encoding="utf-8")
    os.replace(scratch, file)


def is_complete(shards: Path, number: int) -> bool:
    """Whether both files of a shard are there."""
    return (shards / f"{number:05d}.json").is_file() and (shards / f"{number:05d}.npy").is_file()
