"""A shard: some rows of a data set, read and encoded together. Its files have their names only when complete."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3

from inference.encoders import Encoder
from inference.images import ImageFile, ReadingRules
from inference.places import UnreadableImage

Announce = Callable[[int | None], None]  # the row that is being read now; None: reading is over, encoding

CHANGED = "changed"  # the reason of an image that is not what it was when it was listed
DIGITS = 64  # of a BLAKE3, in hexadecimal
TOO_LARGE = "unreadable: too large"  # for the listing, which has a limit of its own for members of archives


@dataclass
class Task:
    """A shard to make: its rows' paths, the BLAKE3 of their bytes when they were listed (or why they could not be read;
    rows that are not there are not checked), and the rows given up because a worker died on them."""

    number: int
    rows: list[tuple[int, str]]
    batch: int  # images encoded at a time
    rules: ReadingRules
    contents: dict[int, str] = field(default_factory=dict)
    given_up: dict[int, tuple[str, str]] = field(default_factory=dict)


class Seen(NamedTuple):
    """What is known of an image once it is read.

    width, height: in pixels, as shown. format, mode: of the file, as `ImageFile` has them. bytes: its size. range_used:
    the largest value of an image of 16 bits as a share of 65,535, NaN for others. Of the pixels that the model takes,
    in grey: brightness, their mean, 0 to 255; sharpness, the variance of their Laplacian, higher is sharper.
    """

    width: int
    height: int
    format: str
    mode: str
    bytes: int
    range_used: float
    brightness: float
    sharpness: float


@dataclass
class Reading:
    """Which rows could be read, what was seen of each, and (row, reason, detail) of the rest."""

    rows: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    unreadable: list[tuple[int, str, str]] = field(default_factory=list)


def read(encoder: Encoder, task: Task, announce: Announce, reading: Reading) -> Iterator[np.ndarray]:
    """The preprocessed images of a task, one by one; `reading` is filled on the way."""
    for row, path in task.rows:
        if row in task.given_up:
            reading.unreadable.append((row, *task.given_up[row]))
            continue
        announce(row)
        try:
            image = _opened(path, task.rules, task.contents.get(row))
            pixels = encoder.preprocess(image)
        except UnreadableImage as error:
            reading.unreadable.append((row, error.reason, error.detail))
            continue
        except MemoryError:
            reading.unreadable.append((row, "out of memory", "decoding it needs more memory than there was"))
            continue
        reading.rows.append(row)
        reading.seen.append(seen(image, pixels))
        yield pixels
    announce(None)


def _opened(path: str, rules: ReadingRules, listed: str | None) -> ImageFile:
    """The image, if it is the one that was listed: what is kept under a content's hash must be made of that content."""
    try:
        image = ImageFile(path, rules)
    except UnreadableImage as error:
        readable = listed is not None and len(listed) == DIGITS and listed != blake3(b"").hexdigest()
        if readable and error.reason != "too large":
            raise UnreadableImage(CHANGED, f"it could be read when it was listed; now: {error}") from error
        raise
    if listed not in (None, blake3(image.stored).hexdigest(), TOO_LARGE):
        raise UnreadableImage(CHANGED, "it is not the file that was listed")
    return image


def seen(image: ImageFile, pixels: np.ndarray) -> Seen:
    """Of an image that was decoded, and of what a model takes of it, (1 or 3, h, w) uint8."""
    import cv2

    assert image.size is not None
    gray = pixels[0] if len(pixels) == 1 else cv2.cvtColor(cv2.merge(list(pixels)), cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(np.ascontiguousarray(gray), cv2.CV_32F))
    look = (float(cv2.mean(gray)[0]), float(deviation[0, 0]) ** 2)
    return Seen(*image.size, image.format, image.mode, len(image.data), image.range_used, *look)


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
    return unit_rows(vectors)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(n, d) float32 of length 1; a zero vector stays one."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return (exact / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def joined(encoder: Encoder, vectors: list[np.ndarray], normalize: bool) -> np.ndarray:
    """One array, of the right shape also where nothing could be read."""
    dtype = np.float32 if normalize else np.dtype(encoder.dtype)
    return np.concatenate(vectors) if vectors else np.empty((0, encoder.dimension), dtype)


def save_shard(shards: Path, number: int, vectors: np.ndarray, reading: object) -> None:
    """Its two files, the one that counts last: it says what the other holds. reading: a dataclass of what JSON has."""
    file, told, written = shards / f"{number:05d}.npy", vars(reading), io.BytesIO()
    np.save(written, vectors)  # straight into a file it does not say that the disk is full
    with _scratch(file) as scratch:
        scratch.write_bytes(written.getbuffer())
    write_json(file.with_suffix(".json"), {"reading": told, "blake3": _content(written.getbuffer(), told)})


def reading_of(shards: Path, number: int) -> dict[str, Any]:
    """What a complete shard says of its rows: the fields of what was given to `save_shard`."""
    return dict(json.loads((shards / f"{number:05d}.json").read_text(encoding="utf-8"))["reading"])


def in_one_file(shards: Path, numbers: Iterable[int], target: Path) -> np.ndarray:
    """The vectors of complete shards behind each other, memory-mapped; of no rows: no file.

    Written as a file, not through a map of it: that counts as memory, and ends the process by a signal where the disk
    is full."""
    files = [shards / f"{number:05d}.npy" for number in numbers]
    first = np.load(files[0], mmap_mode="r") if files else np.empty((0, 0), np.float32)
    n = sum(len(np.load(file, mmap_mode="r")) for file in files)
    if n == 0:
        return np.empty((0, first.shape[1]), first.dtype)
    told = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
    with target.open("wb") as whole:
        np.lib.format.write_array_header_1_0(whole, {**told, "shape": (n, first.shape[1])})
        for file in files:
            whole.write(np.ascontiguousarray(np.load(file)).data)
    return np.load(target, mmap_mode="r")


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Complete or not at all."""
    with _scratch(file) as scratch:
        scratch.write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def _scratch(file: Path) -> Iterator[Path]:
    """A file to write, which gets its name when it is complete."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)


def is_complete(shards: Path, number: int) -> bool:
    """Whether both files of a shard are there, as they were written: a power cut can leave a torn one."""
    file = shards / f"{number:05d}.npy"
    try:
        told = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        return bool(told["blake3"] == _content(file.read_bytes(), told["reading"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _content(vectors: bytes | memoryview, reading: dict[str, Any]) -> str:
    """One BLAKE3 of both files."""
    return blake3(vectors).update(json.dumps(reading).encode()).hexdigest()
