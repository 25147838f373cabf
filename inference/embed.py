"""Images to vectors: worker processes, batches, shards on disk, resume.

The rows are cut into shards of fixed size; a shard's file appears under its name only when it is complete, so work
that was killed goes on where it stood, and because batches never cross shards the result is the same to the byte.
A way of computing that is faster than the exact one is guarded: it is compared with that on the first images, and
given up where it is not near enough.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference import fidelity
from inference.encoders import EncoderHandle
from inference.fidelity import Fidelity, TooFar, is_guarded, judge, make_fidelity, measured
from inference.images import USUAL, ReadingRules
from inference.places import container_of
from inference.shards import CHANGED, Announce, Reading, Seen, Task, in_one_file, is_complete, make_shard, reading_of
from inference.workers import Card, EmbeddingFailed, Progress, ReadAndEncode, ReadOnly, Supervisor

log = logging.getLogger(__name__)

SHARD = 256  # rows; also the most that a kill can cost each worker
SMALL = 8 * 2**20  # bytes of files below which starting processes costs more than it saves
MANY = 16 * SHARD  # images from which on it does not
FEW = 64  # images for a network below which it does
PASSING = ("timeout", "killed", "out of memory", CHANGED)  # reasons that may be gone next time
BATCH = {"pixels": 64, "cpu": 16, "gpu": 256}  # images encoded at a time, never across shards
ROOM = 3 * 2**30  # bytes of memory that a worker with a network takes besides its weights

TEXTS = ("format", "mode")
WHOLE = ("width", "height", "bytes")
KINDS: dict[str, Any] = dict.fromkeys(Seen._fields, np.float64)  # of the columns of `Seen`
KINDS |= dict.fromkeys(WHOLE, np.int64) | dict.fromkeys(TEXTS, np.int32)  # texts are counted

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
    except TooFar:
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
        self.contents = contents
        self.numbers = range(-(-len(paths) // SHARD))

    def _task(self, number: int) -> Task:
        rows = slice(number * SHARD, (number + 1) * SHARD)
        listed = dict(enumerate(self.contents[rows], rows.start)) if len(self.contents) else {}
        return Task(number, list(enumerate(self.paths[rows], rows.start)), self.batch, self.rules, listed)

    def make(self) -> None:
        """Every shard that is not there yet. Raises TooFar where the fast way has to be given up."""
        self.shards.mkdir(parents=True, exist_ok=True)
        todo = _Tasks([number for number in self.numbers if not is_complete(self.shards, number)], self._task)
        done = len(self.paths) - sum(min(SHARD, len(self.paths) - number * SHARD) for number in todo.numbers)
        if measured(self.folder) and is_guarded(self.handle):
            self._judge()
        if not todo:
            return
        to_compare = is_guarded(self.handle) and measured(self.folder) is None
        guard = [self._comparison()] if to_compare else []
        some = list(itertools.islice((path for task in todo for _, path in task.rows), MANY + 1))
        count = _workers(self.workers, some, len(todo), self.handle)
        if count == 0:
            self._make_here(guard, todo, done)
        elif self.handle.runtime.device == "cpu":
            supervisor = Supervisor(
                ReadAndEncode(self.handle, self.shards), self.timeout, done, len(self.paths), self.progress
            )
            supervisor.finished = lambda number: self._judge() if number == fidelity.NUMBER else None
            supervisor.run(itertools.chain(guard, todo), count)
        else:
            self._make_on_card(bool(guard), todo, done, count)

    def _comparison(self) -> Task:
        return fidelity.task(list(enumerate(self.paths[: fidelity.CANDIDATES])), self.batch, self.rules)

    def _judge(self) -> None:
        judge(self.folder, self.handle)

    def _make_here(self, guard: list[Task], todo: Sequence[Task], done: int) -> None:
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

    def _make_on_card(self, compare: bool, todo: Sequence[Task], done: int, count: int) -> None:
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
        rows, seen, unreadable = [np.empty(0, np.int64)], _SeenTable(), []
        for number in self.numbers:  # one by one: what JSON makes of a million rows takes gigabytes
            told = reading_of(self.shards, number)
            rows.append(np.array(told["rows"], np.int64))
            seen.add(told["seen"])
            unreadable += [(int(row), str(why), str(detail)) for row, why, detail in told["unreadable"]]
        embedded = Embedded(
            vectors=in_one_file(self.shards, self.numbers, self.folder / "image_embeddings.npy"),
            rows=np.concatenate(rows),
            seen=seen.whole(),
            unreadable=unreadable,
            handle=self.handle,
            fidelity=measured(self.folder) if is_guarded(self.asked) else None,
        )
        for number in {row // SHARD for row, reason, _ in unreadable if reason in PASSING}:
            (self.shards / f"{number:05d}.json").unlink()
        return embedded


class _Tasks(Sequence[Task]):
    """The tasks of these numbers, made when they are asked for: those of a million rows would take gigabytes."""

    def __init__(self, numbers: list[int], made: Callable[[int], Task]) -> None:
        self.numbers, self.made = numbers, made

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.numbers[index]
        return _Tasks(chosen, self.made) if isinstance(chosen, list) else self.made(chosen)


class _SeenTable:
    """Grows shard by shard, a few bytes a cell: the texts are few, and are kept once."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {name: [np.empty(0, kind)] for name, kind in KINDS.items()}
        self.texts: dict[str, int] = {}  # text -> what stands for it in the parts

    def add(self, rows: list[list[Any]]) -> None:
        """Rows with the columns of `Seen`."""
        for (name, kind), cells in zip(KINDS.items(), zip(*rows, strict=True), strict=False):  # no rows: no columns
            coded = [self.texts.setdefault(text, len(self.texts)) for text in cells] if name in TEXTS else cells
            self.parts[name].append(np.array(coded, kind))

    def whole(self) -> pd.DataFrame:
        """All of it; nothing is left here."""
        texts = pd.array(list(self.texts), dtype="str")
        columns = {name: np.concatenate(self.parts.pop(name)) for name in KINDS}
        return pd.DataFrame({name: texts.take(c) if name in TEXTS else c for name, c in columns.items()})


class _Tray:
    """Takes pixels as a card does, and keeps them."""

    def __init__(self) -> None:
        self.pixels = np.empty((0, 0), np.uint8)

    def give(self, task: Task, reading: Reading, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def finish(self) -> None:
        """Nothing is waiting."""


def _workers(wanted: int | None, paths: list[str], shards: int, handle: EncoderHandle) -> int:
    """How many processes: what was asked for, else one a core, as far as memory goes; 0 for little work. paths: of the
    images to do, MANY + 1 at most."""
    if wanted is not None:
        return min(wanted, shards)
    network = not handle.description.exact_only
    if network and len(paths) <= FEW:
        return 0
    if not network and len(paths) <= MANY and sum(map(_bytes, set(map(container_of, paths)))) <= SMALL:
        return 0
    return processes(handle, shards)


def processes(handle: EncoderHandle, shards: int) -> int:
    """One a core, and no more than have something to do or than memory has room for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    network = not handle.description.exact_only
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
