"""How near a fast way of computing comes to the exact one, measured on the first images of the data set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from inference.encoders import Encoder, EncoderHandle, Runtime
from inference.images import ReadingRules
from inference.shards import Announce, Reading, Task, batches, read, write_json

IMAGES = 16  # compared
CANDIDATES = 64  # rows that are looked at to find so many readable ones
NUMBER = -1  # of the task, where shards have theirs
FILE = "fidelity.json"


@dataclass(frozen=True)
class Fidelity:
    """cosine: the smallest between an image's vector by the fast way and by the exact one, in [-1, 1], 1 is equal;
    centered: the same after the mean of the exact vectors is subtracted from both, which is stricter where all
    vectors point one way (NaN for fewer than two images); images: how many were compared."""

    cosine: float
    centered: float
    images: int


class TooFar(Exception):
    """The fast way is not near enough to the exact one."""


def exact(runtime: Runtime) -> Runtime:
    """The reference way on the same device: fp32, images by Pillow."""
    return Runtime(runtime.device, "fp32", True)


def is_guarded(handle: EncoderHandle) -> bool:
    """Whether there is anything to compare."""
    return not handle.description.exact_only and handle.runtime != exact(handle.runtime)  # pixels have one way only


def task(rows: list[tuple[int, str]], batch: int, rules: ReadingRules) -> Task:
    """The comparison as a task for a worker."""
    return Task(NUMBER, rows[:CANDIDATES], batch, rules)


def make_fidelity(fast: Encoder, handle: EncoderHandle, task: Task, folder: Path, announce: Announce) -> None:
    """Compare and put the result down in `folder`."""
    reference = handle.at(exact(handle.runtime)).load()
    chosen = _first_readable(fast, task, announce)
    vectors = [_vectors(encoder, chosen, announce) for encoder in (fast, reference)]
    save(folder, compared(*vectors))


def save(folder: Path, found: Fidelity) -> None:
    """Put it down in `folder`, for `measured`."""
    write_json(folder / FILE, asdict(found))


def _first_readable(encoder: Encoder, task: Task, announce: Announce) -> Task:
    reading = Reading()
    for _ in read(encoder, task, announce, reading):
        if len(reading.rows) == IMAGES:
            break
    wanted = set(reading.rows)
    return replace(task, rows=[(row, path) for row, path in task.rows if row in wanted])


def _vectors(encoder: Encoder, task: Task, announce: Announce) -> np.ndarray:
    made = []
    for batch in batches(read(encoder, task, announce, Reading()), task.batch):
        announce(None)
        made.append(encoder.encode_images(batch).astype(np.float64))
    return np.concatenate(made) if made else np.empty((0, encoder.dimension))


def compared(fast: np.ndarray, exact: np.ndarray) -> Fidelity:
    """The fidelity of (n, d) vectors to (n, d) exact ones. No images: nothing differs."""
    n = len(exact)
    if n == 0:
        return Fidelity(1.0, float("nan"), 0)
    middle = exact.mean(axis=0)
    return Fidelity(
        float(_cosines(fast, exact).min()),
        float(_cosines(fast - middle, exact - middle).min()) if n > 1 else float("nan"),
        n,
    )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    same = (a == b).all(axis=1)
    with np.errstate(invalid="ignore"):
        cosines = np.divide(products, lengths, out=np.where(same, 1.0, -1.0), where=lengths > 0)
    return np.where(np.isfinite(cosines), cosines, -1.0)  # what overflowed is no likeness


def measured(folder: Path) -> Fidelity | None:
    """What was measured before in this folder."""
    file = folder / FILE
    return Fidelity(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def judge(folder: Path, handle: EncoderHandle) -> None:
    """Raises TooFar where what was measured in this folder is less than the handle accepts."""
    found = measured(folder)
    if found and found.cosine < handle.min_fidelity:
        raise TooFar
