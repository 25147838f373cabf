"""Images to vectors: worker processes, batches, shards on disk, resume.

The rows are cut into shards of fixed size; a shard's file appears under its name only when it is complete, so work
that was killed goes on where it stood, and because batches never cross shards the result is the same to the byte.
Workers announce the row that they are at: a decoder that crashes or hangs costs that row and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from inference.encoders import Encoder, EncoderHandle
from inference.images import ImageFile, UnreadableImage, warm_up

SHARD = 256  # rows; also the most that a kill can cost each worker
BATCH = 64  # images encoded at a time, never across shards
SMALL = 8 * 2**20  # bytes of files below which starting processes costs more than it saves
PASSING = ("timeout", "killed", "out of memory")  # reasons that may be gone next time: such shards are made again
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

Progress = Callable[[int, int], None]  # images done, images in all
Announce = Callable[[int | None], None]  # the row that is being read now; None: reading is over, encoding


class EmbeddingFailed(Exception):
    """Vectors could not be made at all, for a reason that is not one image's."""


@dataclass(frozen=True)
class Embedded:
    """vectors: (n, d) in row order of what could be read, memory-mapped; rows: (n,) int64, which they were;
    sizes: (n, 2) int64 width and height in pixels; unreadable: (row, reason, detail) of the rest."""

    vectors: np.ndarray
    rows: np.ndarray
    sizes: np.ndarray
    unreadable: list[tuple[int, str, str]]


@dataclass
class _Task:
    """A shard to make: its rows' paths, and the rows given up because a worker died on them."""

    number: int
    rows: list[tuple[int, str]]
    given_up: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: _Task
    row: int | None = None
    since: float = 0.0
    seen: int = 0


def embed(
    paths: Sequence[str],
    handle: EncoderHandle,
    folder: Path,
    *,
    workers: int | None = None,
    timeout: float = 60.0,
    progress: Progress = lambda done, total: None,
) -> Embedded:
    """Vectors of the images at `paths`, in their order. `folder` keeps the shards until all are made.

    workers: processes; None for one a core (small sets stay in this process), 0 for none. timeout: seconds that one
    image may take in a worker. What cannot be read is left out and listed. Raises EmbeddingFailed.
    """
    shards = folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(paths)
    todo = [task for task in tasks if not _complete(shards, task.number)]
    count = _workers(workers, [path for task in todo for _, path in task.rows], len(todo))
    done = len(paths) - sum(len(task.rows) for task in todo)
    if not todo:
        pass
    elif count == 0:
        _embed_here(todo, handle, shards, done, len(paths), progress)
    else:
        _Supervisor(handle, shards, timeout, done, len(paths), progress).run(todo, count)
    embedded = _assemble(shards, len(tasks), handle, folder / "image_embeddings.npy")
    for number in {row // SHARD for row, reason, _ in embedded.unreadable if reason in PASSING}:
        (shards / f"{number:05d}.json").unlink()
    return embedded


def _tasks(paths: Sequence[str]) -> list[_Task]:
    rows = list(enumerate(paths))
    return [_Task(i // SHARD, rows[i : i + SHARD]) for i in range(0, len(rows), SHARD)]


def _workers(wanted: int | None, paths: list[str], shards: int) -> int:
    if wanted is not None:
        return min(wanted, shards)
    if len(paths) <= 16 * SHARD and sum(_bytes(path) for path in paths) <= SMALL:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, shards)


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _embed_here(
    todo: list[_Task], handle: EncoderHandle, shards: Path, done: int, total: int, progress: Progress
) -> None:
    encoder = handle.load()
    for task in todo:
        first = task.rows[0][0]

        def announce(row: int | None, start: int = done - first) -> None:
            if row is not None:
                progress(start + row, total)

        _make_shard(encoder, handle.normalize, task, shards, announce)
        done += len(task.rows)
        progress(done, total)


def _make_shard(encoder: Encoder, normalize: bool, task: _Task, shards: Path, announce: Announce) -> None:
    """Read, preprocess and encode the rows of one shard, and put its files down, the one that counts last."""
    rows, sizes, unreadable, vectors, batch = [], [], [], [], []
    for row, path in task.rows:
        if row in task.given_up:
            unreadable.append((row, *task.given_up[row]))
            continue
        announce(row)
        try:
            image = ImageFile(path)
            batch.append(encoder.preprocess(image))
        except UnreadableImage as error:
            unreadable.append((row, error.reason, error.detail))
            continue
        except MemoryError:
            unreadable.append((row, "out of memory", "decoding it needs more memory than there was"))
            continue
        rows.append(row)
        sizes.append(image.size)
        if len(batch) == BATCH:
            announce(None)
            vectors.append(_encode(encoder, batch, normalize))
            batch = []
    announce(None)
    if batch:
        vectors.append(_encode(encoder, batch, normalize))
    dtype = np.float32 if normalize else np.dtype(encoder.dtype)
    made = np.concatenate(vectors) if vectors else np.empty((0, encoder.dimension), dtype)
    _save_shard(shards, task.number, made, {"rows": rows, "sizes": sizes, "unreadable": unreadable})


def _encode(encoder: Encoder, batch: list[np.ndarray], normalize: bool) -> np.ndarray:
    vectors = encoder.encode_images(np.stack(batch))
    if not normalize:
        return vectors
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return (exact / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _save_shard(shards: Path, number: int, vectors: np.ndarray, rows: dict[str, Any]) -> None:
    scratch = shards / f"{number:05d}.{os.getpid()}.tmp"
    with scratch.open("wb") as file:
        np.save(file, vectors)
    os.replace(scratch, shards / f"{number:05d}.npy")
    scratch.write_text(json.dumps(rows), encoding="utf-8")
    os.replace(scratch, shards / f"{number:05d}.json")


def _complete(shards: Path, number: int) -> bool:
    return (shards / f"{number:05d}.json").is_file() and (shards / f"{number:05d}.npy").is_file()


def _assemble(shards: Path, count: int, handle: EncoderHandle, target: Path) -> Embedded:
    """One array of all shards. The shards stay: whoever owns the folder removes them with it."""
    records = [json.loads((shards / f"{i:05d}.json").read_text(encoding="utf-8")) for i in range(count)]
    n = sum(len(record["rows"]) for record in records)
    unreadable = [(int(row), str(why), str(detail)) for r in records for row, why, detail in r["unreadable"]]
    first = np.load(shards / "00000.npy", mmap_mode="r") if count else np.empty((0, 0), np.float32)
    if n == 0:
        return Embedded(
            np.empty((0, first.shape[1]), first.dtype), np.empty(0, np.int64), np.empty((0, 2), np.int64), unreadable
        )
    whole = np.lib.format.open_memmap(target, "w+", first.dtype, (n, first.shape[1]))
    at = 0
    for i in range(count):
        part = np.load(shards / f"{i:05d}.npy")
        whole[at : at + len(part)] = part
        at += len(part)
    whole.flush()
    del whole
    return Embedded(
        vectors=np.load(target, mmap_mode="r"),
        rows=np.array([row for r in records for row in r["rows"]], np.int64),
        sizes=np.array([size for r in records for size in r["sizes"]], np.int64).reshape(-1, 2),
        unreadable=unreadable,
    )


class _Supervisor:
    """Hands shards to worker processes, watches them, and replaces those that crash or hang."""

    def __init__(
        self, handle: EncoderHandle, shards: Path, timeout: float, done: int, total: int, progress: Progress
    ) -> None:
        self.handle, self.shards, self.timeout = handle, shards, timeout
        self.done, self.total, self.progress = done, total, progress
        self.queue: deque[_Task] = deque()
        self.active: list[_Worker] = []

    def run(self, todo: list[_Task], count: int) -> None:
        """Make all shards of `todo` with `count` processes."""
        self.queue = deque(todo)
        try:
            with _environment():
                for _ in range(count):
                    self._start(self.queue.popleft())
                while self.active:
                    self._listen()
                    self._give_up_hanging()
        finally:
            for worker in self.active:
                worker.process.kill()
                worker.process.join()

    def _start(self, task: _Task) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.handle, self.shards), daemon=True)
        with _deaf_to_ctrl_c():
            process.start()
        theirs.close()
        worker = _Worker(process, ours, task, since=time.monotonic())
        self.active.append(worker)
        ours.send(task)

    def _listen(self) -> None:
        ready = wait([worker.connection for worker in self.active], timeout=min(1.0, self.timeout / 4))
        for worker in [worker for worker in self.active if worker.connection in ready]:
            try:
                self._heard(worker, worker.connection.recv())
            except (EOFError, ConnectionError):
                self._died(worker)
        self.progress(self.done + sum(worker.seen for worker in self.active), self.total)

    def _heard(self, worker: _Worker, message: tuple[str, Any]) -> None:
        kind, content = message
        worker.since = time.monotonic()
        if kind == "row":
            worker.row = content
            worker.seen += content is not None
        elif kind == "error":
            raise EmbeddingFailed(content)
        else:  # 'done': this shard is on disk
            self.done += len(worker.task.rows)
            worker.row, worker.seen = None, 0
            if self.queue:
                worker.task = self.queue.popleft()
                worker.connection.send(worker.task)
            else:
                self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        self.active.remove(worker)
        worker.connection.close()  # the worker ends when nobody listens
        worker.process.join()

    def _died(self, worker: _Worker) -> None:
        worker.process.join()
        reason = "killed" if worker.process.exitcode == -signal.SIGKILL else "crashed"
        self._give_up(worker, reason, f"the decoder ended {_ending(worker.process.exitcode)}")

    def _give_up_hanging(self) -> None:
        for worker in list(self.active):
            if worker.row is not None and time.monotonic() - worker.since > self.timeout:
                worker.process.kill()
                worker.process.join()
                self._give_up(worker, "timeout", f"not decoded within {self.timeout:g} s")

    def _give_up(self, worker: _Worker, reason: str, detail: str) -> None:
        """Leave out the row that the worker was at, and make its shard again without it."""
        self.active.remove(worker)
        worker.connection.close()
        if worker.row is None:
            doing = "while it encoded a batch of images" if worker.seen else "before it read an image"
            raise EmbeddingFailed(f"a worker process ended {_ending(worker.process.exitcode)} {doing}")
        worker.task.given_up[worker.row] = (reason, detail)
        self._start(worker.task)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"with signal {signal.Signals(-code).name}" + (" (out of memory?)" if code == -9 else "")
    return f"with exit status {code}"


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A process started meanwhile never hears Ctrl-C, which a terminal sends to all: it ends when this one does."""
    resource_tracker.ensure_running()  # else the start does it, and unblocks
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Worker processes run on one thread each: set before they start, because libraries read it once."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(connection: Connection, handle: EncoderHandle, shards: Path) -> None:
    """A worker process: makes the shards that it is sent until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    try:
        warm_up()
        encoder = handle.load()
        while True:
            task = connection.recv()
            _make_shard(encoder, handle.normalize, task, shards, lambda row: connection.send(("row", row)))
            connection.send(("done", task.number))
    except (EOFError, ConnectionError):
        return  # the main process is gone or has no more work
    except Exception:
        with contextlib.suppress(OSError):
            connection.send(("error", traceback.format_exc()))
