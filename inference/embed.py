"""Images to vectors: worker processes, batches, shards on disk, resume.

The rows are cut into shards of fixed size; a shard's file appears under its name only when it is complete, so work
that was killed goes on where it stood, and because batches never cross shards the result is the same to the byte.
A way of computing that is faster than the exact one is guarded: it is compared with that on the first images, and
given up where it is not near enough.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference import fidelity
from inference.encoders import EncoderHandle
from inference.fidelity import Fidelity, is_guarded, make_fidelity, measured
from inference.images import USUAL, ReadingRules
from inference.places import container_of
from inference.shards import CHANGED, Announce, Reading, Seen, Task, is_complete, make_shard, reading_of
from inference.workers import Card, EmbeddingFailed, Progress, ReadAndEncode, ReadOnly, Supervisor

log = logging.getLogger(__name__)

SHARD = 256  # rows; also the most that a kill can cost each worker
SMALL = 8 * 2**20  # bytes of files below which starting processes costs more than it saves
FEW = 64  # images for a network: the same
PASSING = ("timeout", "killed", "out of memory", CHANGED)  # reasons that may be gone next time
BATCH = {"pixels": 64, "cpu": 16, "gpu": 256}  # images encoded at a time, never across shards
ROOM = 3 * 2**30  # bytes of memory that a worker with a network takes besides its weights

__all__ = ["PASSING", "Embedded", "EmbeddingFailed", "embed"]


@dataclass(frozen=True)
class Embedded:
    """vectors: (n, d) in row order of what could be read, memory-mapped; rows: (n,) int64, which they were; seen: a row
    for each with the columns of `inference.shards.Seen`; unreadable: (row, reason, detail) of the rest; handle: the
    encoder as it was used in the end; fidelity: of the fast way to the exact one, None where the exact one was asked
    for."""

    vectors: np.ndarray
    rows: np.ndarray
    seen: pd.DataFrame
    unreadable: list[tuple[int, str, str]]
    handle: EncoderHandle
    fidelity: Fidelity | None


class _TooFar(Exception):
    """The fast way is not near enough to the exact one."""


def embed(
    paths: Sequence[str],
    handle: EncoderHandle,
    folder: Path,
    *,
    rules: ReadingRules = USUAL,
    contents: Sequence[str] = (),
    workers: int | None = None,
    timeout: float = 60.0,
    batch_size: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Embedded:
    """Vectors of the images at `paths`, in their order. `folder` keeps the shards until all are made.

    rules: how images are read. contents: for each image the BLAKE3 of its bytes when it was listed, or why it could
    not be read then; one that is another by now is left out ('changed'). None given: not looked at. workers: processes;
    None for one a core (small sets stay in this process), 0 for none. timeout: seconds that one image may take in a
    worker. batch_size: images encoded at a time, None for what suits the device. Where the handle's way is less near to
    the exact one than its `min_fidelity`, all is computed exactly. What cannot be read is left out and listed. Raises
    EmbeddingFailed, EncoderError, and OSError where there is no room.
    """
    embedding = _Embedding(paths, handle, folder, rules, contents, workers, timeout, batch_size, progress)
    try:
        embedding.make()
    except _TooFar:
        shutil.rmtree(embedding.shards)
        embedding.handle = handle.at(fidelity.exact(handle.runtime))
        embedding.make()
    return embedding.assembled()


class _Embedding:
    """One call of `embed`."""

    def __init__(
        self, paths: Sequence[str], handle: EncoderHandle, folder: Path, rules: ReadingRules,
        contents: Sequence[str], workers: int | None, timeout: float, batch_size: int | None, progress: Progress,
    ) -> None:  # fmt: skip
        self.paths, self.handle, self.folder, self.workers = paths, handle, folder, workers
        self.rules, self.timeout, self.progress = rules, timeout, progress
        self.shards = folder / "shards"
        self.asked = handle
        on_card = handle.runtime.device != "cpu"
        usual = "pixels" if handle.description.exact_only else "gpu" if on_card else "cpu"
        self.batch = batch_size or BATCH[usual]
        self.tasks = [self._task(start, contents) for start in range(0, len(paths), SHARD)]

    def _task(self, start: int, contents: Sequence[str]) -> Task:
        rows = range(start, min(start + SHARD, len(self.paths)))
        listed = {row: contents[row] for row in rows} if contents else {}
        return Task(start // SHARD, [(row, self.paths[row]) for row in rows], self.batch, self.rules, listed)

    def make(self) -> None:
        """Every shard that is not there yet. Raises _TooFar where the fast way has to be given up."""
        self.shards.mkdir(parents=True, exist_ok=True)
        todo = [task for task in self.tasks if not is_complete(self.shards, task.number)]
        done = len(self.paths) - sum(len(task.rows) for task in todo)
        if measured(self.folder) and is_guarded(self.handle):
            self._judge()
        if not todo:
            return
        to_compare = is_guarded(self.handle) and measured(self.folder) is None
        guard = [self._comparison()] if to_compare else []
        count = _workers(self.workers, [path for task in todo for _, path in task.rows], len(todo), self.handle)
        if count == 0:
            self._make_here(guard, todo, done)
        elif self.handle.runtime.device == "cpu":
            supervisor = Supervisor(
                ReadAndEncode(self.handle, self.shards), self.timeout, done, len(self.paths), self.progress
            )
            supervisor.finished = lambda number: self._judge() if number == fidelity.NUMBER else None
            supervisor.run([*guard, *todo], count)
        else:
            self._make_on_card(bool(guard), todo, done, count)

    def _comparison(self) -> Task:
        return fidelity.task(list(enumerate(self.paths[: fidelity.CANDIDATES])), self.batch, self.rules)

    def _judge(self) -> None:
        found = measured(self.folder)
        if found and found.cosine < self.handle.min_fidelity:
            raise _TooFar

    def _make_here(self, guard: list[Task], todo: list[Task], done: int) -> None:
        encoder = self.handle.load()
        for task in guard:
            make_fidelity(encoder, self.handle, task, self.folder, lambda row: None)
            self._judge()
        for task in todo:
            make_shard(encoder, self.handle.normalize, task, self.shards, self._announce(done - task.rows[0][0]))
            done += len(task.rows)
            self.progress(done, len(self.paths))

    def _announce(self, start: int) -> Announce:
        def announce(row: int | None) -> None:
            if row is not None:
                self.progress(start + row, len(self.paths))

        return announce

    def _make_on_card(self, compare: bool, todo: list[Task], done: int, count: int) -> None:
        """One process feeds the card from workers that only read."""
        encoder = self.handle.load()
        if compare:
            self._compare_on_card()
            self._judge()
        supervisor = Supervisor(ReadOnly(encoder.reader()), self.timeout, done, len(self.paths), self.progress)
        supervisor.card = Card(encoder, self.handle.normalize, self.shards)
        supervisor.run(todo, count)

    def _compare_on_card(self) -> None:
        task = self._comparison()
        vectors = []
        for handle in (self.handle, self.handle.at(fidelity.exact(self.handle.runtime))):
            encoder, tray = handle.load(), _Tray()
            supervisor = Supervisor(ReadOnly(encoder.reader()), self.timeout, 0, len(self.paths), lambda done, n: None)
            supervisor.card = tray  # type: ignore[assignment]
            supervisor.run([task], 1)
            pixels = tray.pixels[: fidelity.IMAGES]
            vectors.append(encoder.encode_images(pixels) if len(pixels) else np.empty((0, encoder.dimension)))
        fidelity.save(self.folder, fidelity.compared(*(v.astype(np.float64) for v in vectors)))

    def assembled(self) -> Embedded:
        """One array of all shards. The shards stay: whoever owns the folder removes them with it."""
        rows, seen, unreadable = [np.empty(0, np.int64)], [_seen_table([])], []
        for task in self.tasks:  # one by one: what JSON makes of a million rows takes gigabytes
            told = reading_of(self.shards, task.number)
            rows.append(np.array(told["rows"], np.int64))
            seen.append(_seen_table(told["seen"]))
            unreadable += [(int(row), str(why), str(detail)) for row, why, detail in told["unreadable"]]
        embedded = Embedded(
            vectors=self._joined(sum(map(len, rows))),
            rows=np.concatenate(rows),
            seen=pd.concat(seen, ignore_index=True),
            unreadable=unreadable,
            handle=self.handle,
            fidelity=measured(self.folder) if is_guarded(self.asked) else None,
        )
        for number in {row // SHARD for row, reason, _ in unreadable if reason in PASSING}:
            (self.shards / f"{number:05d}.json").unlink()
        return embedded

    def _joined(self, n: int) -> np.ndarray:
        """Written as a file, not through a map of it: that counts as memory, and ends the process by a signal where the
        disk is full."""
        files = [self.shards / f"{task.number:05d}.npy" for task in self.tasks]
        first = np.load(files[0], mmap_mode="r") if files else np.empty((0, 0), np.float32)
        if n == 0:
            return np.empty((0, first.shape[1]), first.dtype)
        target = self.folder / "image_embeddings.npy"
        told = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
        with target.open("wb") as whole:
            np.lib.format.write_array_header_1_0(whole, {**told, "shape": (n, first.shape[1])})
            for file in files:
                whole.write(np.ascontiguousarray(np.load(file)).data)
        return np.load(target, mmap_mode="r")


def _seen_table(rows: list[list[Any]]) -> pd.DataFrame:
    """The columns of `Seen`, text kept as compactly as pandas has it."""
    kinds = {"width": "int64", "height": "int64", "format": "str", "mode": "str", "bytes": "int64"}
    kinds |= dict.fromkeys(("range_used", "brightness", "sharpness"), "float64")
    return pd.DataFrame(rows, columns=list(Seen._fields)).astype(kinds)


class _Tray:
    """Takes pixels as a card does, and keeps them."""

    def __init__(self) -> None:
        self.pixels = np.empty((0, 0), np.uint8)

    def give(self, task: Task, reading: Reading, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def finish(self) -> None:
        """Nothing is waiting."""


def _workers(wanted: int | None, paths: list[str], shards: int, handle: EncoderHandle) -> int:
    """How many processes: what was asked for, else one a core, as far as memory goes; 0 for little work."""
    if wanted is not None:
        return min(wanted, shards)
    network = not handle.description.exact_only
    if network and len(paths) <= FEW:
        return 0
    if not network and len(paths) <= 16 * SHARD and sum(map(_bytes, set(map(container_of, paths)))) <= SMALL:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if network and handle.runtime.device == "cpu":
        weights = sum(_bytes(path) for path in handle.description.weights)
        fitting = int(_free_memory() // (ROOM + 2 * weights))
        if fitting < min(cores, shards):
            log.warning("%d worker processes instead of %d: memory has no room for more", max(1, fitting), cores)
        cores = min(cores, max(1, fitting))
    return min(cores, shards)


def _free_memory() -> float:
    """Bytes that are free or can be freed; without limit where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return float("inf")


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
