"""Worker processes: shards handed out, watched, and workers that crash or hang replaced, at the cost of one row.

On a CPU each worker reads and encodes, on one thread: small tensor operations split over threads wait for each other
more than they work. For a GPU the workers only read, and one process, this one, feeds the card.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Protocol

import numpy as np

from inference import fidelity
from inference.encoders import Encoder, EncoderError, EncoderHandle
from inference.fidelity import make_fidelity
from inference.images import ImageFile, warm_up
from inference.shards import Reading, Task, encode, joined, make_shard, read, save_shard

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# glibc gives large blocks back to the system after each use, and activations are large: a quarter of the time
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**33)}
WAITING = 4  # shards that are read and wait for the card
FULL = (errno.ENOSPC, errno.EDQUOT)  # no room for a shard: no fault of images or encoder

Progress = Callable[[int, int], None]  # images or texts done, and in all


class EmbeddingFailed(Exception):
    """Vectors could not be made at all, for a reason that is not one image's."""


class Job(Protocol):
    """A task of any kind: a number, and rows to make."""

    @property
    def number(self) -> int:
        """Of the shard."""
        ...

    @property
    def rows(self) -> Sized:
        """What it is about."""
        ...


class Work(Protocol):
    """What a worker process does with its tasks, and with what; sent to it, so plain and picklable."""

    things: ClassVar[str]

    def start(self) -> Callable[[Any, Connection], None]:
        """Loads what is needed; returns the function that does a task and reports through the connection."""
        ...


@dataclass(frozen=True)
class ReadAndEncode:
    """On a CPU: whole shards, and the comparison with the exact way."""

    things: ClassVar[str] = "images"
    handle: EncoderHandle
    shards: Path

    def start(self) -> Callable[[Task, Connection], None]:
        """The encoder, loaded."""
        encoder = self.handle.load()

        def do(task: Task, connection: Connection) -> None:
            def announce(row: int | None) -> None:
                connection.send(("row", row))

            if task.number == fidelity.NUMBER:
                make_fidelity(encoder, self.handle, task, self.shards.parent, announce)
            else:
                make_shard(encoder, self.handle.normalize, task, self.shards, announce)
            connection.send(("done", task.number))

        return do


@dataclass(frozen=True)
class ReadOnly:
    """For a GPU: preprocessed pixels, sent to the process that has the card."""

    things: ClassVar[str] = "images"
    preprocess: Callable[[ImageFile], np.ndarray]

    def start(self) -> Callable[[Task, Connection], None]:
        """Nothing to load: no worker touches the card."""

        def do(task: Task, connection: Connection) -> None:
            reading = Reading()
            images = list(read(self, task, lambda row: connection.send(("row", row)), reading))  # type: ignore[arg-type]
            connection.send(("pixels", (reading, (len(images), *images[0].shape) if images else (0,))))
            if images:
                connection.send_bytes(np.stack(images).reshape(-1).data)  # flat: it counts elements

        return do


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: Job
    row: int | None = None
    since: float = 0.0
    seen: int = 0


class Card:
    """The model process's side of a GPU: encodes what the workers have read, a thread of its own beside the watch."""

    def __init__(self, encoder: Encoder, normalize: bool, shards: Path) -> None:
        self.encoder, self.normalize, self.shards = encoder, normalize, shards
        self.waiting: queue.Queue[tuple[Task, Reading, np.ndarray] | None] = queue.Queue(WAITING)
        self.error: BaseException | None = None
        self.images = 0
        self.thread = threading.Thread(target=self._encode_all, daemon=True)
        self.thread.start()

    def give(self, task: Task, reading: Reading, pixels: np.ndarray) -> None:
        """Put a shard in the queue; waits while that is full. Raises what went wrong on the card."""
        while True:
            self._check()
            with contextlib.suppress(queue.Full):
                return self.waiting.put((task, reading, pixels), timeout=1.0)

    def finish(self) -> None:
        """Wait until everything given is on disk. Raises what went wrong on the card."""
        while self.thread.is_alive() and self.error is None:
            with contextlib.suppress(queue.Full):
                self.waiting.put(None, timeout=1.0)
                break
        self.thread.join()
        self._check()

    def _check(self) -> None:
        if isinstance(self.error, OSError) and self.error.errno in FULL:
            raise self.error
        if self.error is not None:
            raise EmbeddingFailed(f"{type(self.error).__name__}: {self.error}") from self.error

    def _encode_all(self) -> None:
        try:
            while (item := self.waiting.get()) is not None:
                task, reading, pixels = item
                steps = range(0, len(reading.rows), task.batch)
                vectors = [encode(self.encoder, pixels[i : i + task.batch], self.normalize) for i in steps]
                save_shard(self.shards, task.number, joined(self.encoder, vectors, self.normalize), reading)
                self.images += len(task.rows)
        except BaseException as error:
            self.error = error


class Supervisor:
    """Hands tasks to worker processes, watches them, and replaces those that crash or hang."""

    def __init__(self, work: Work, timeout: float, done: int, total: int, progress: Progress) -> None:
        self.work, self.timeout = work, timeout
        self.done, self.total, self.progress = done, total, progress
        self.card: Card | None = None
        self.finished: Callable[[int], None] = lambda number: None
        self.queue: Iterator[Job] = iter(())
        self.active: list[_Worker] = []

    def run(self, todo: Iterable[Job], count: int) -> None:
        """Do all tasks, taken one by one, with `count` processes at most. Raises EmbeddingFailed, and OSError where the
        disk is full."""
        self.queue = iter(todo)
        try:
            with _environment():
                for task in itertools.islice(self.queue, count):
                    self._start(task)
                while self.active:
                    self._listen()
                    self._give_up_hanging()
            if self.card:
                self.card.finish()
        finally:
            for worker in self.active:
                worker.process.kill()
                worker.process.join()

    def _start(self, task: Job) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.work), daemon=True)
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
            worker.seen += content is not None and worker.task.number != fidelity.NUMBER
            return
        if kind == "seen":
            worker.seen = content
            return
        if kind == "error":
            raise EmbeddingFailed(content)
        if kind == "full":
            raise OSError(*content)
        if kind == "pixels":
            self._to_the_card(worker, *content)
        self._next(worker)

    def _to_the_card(self, worker: _Worker, reading: Reading, shape: tuple[int, ...]) -> None:
        assert self.card is not None and isinstance(worker.task, Task)
        pixels = np.empty(shape, np.uint8)
        if len(reading.rows):
            worker.connection.recv_bytes_into(pixels.reshape(-1).data)
        self.card.give(worker.task, reading, pixels)
        worker.since = time.monotonic()

    def _next(self, worker: _Worker) -> None:
        """What the worker had is done; another task, if there is one."""
        self.finished(worker.task.number)
        self.done += len(worker.task.rows) if worker.task.number != fidelity.NUMBER else 0
        worker.row, worker.seen = None, 0
        task = next(self.queue, None)
        if task is not None:
            worker.task = task
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
            doing = f"while it encoded {self.work.things}" if worker.seen else f"before it read {self.work.things}"
            raise EmbeddingFailed(f"a worker process ended {_ending(worker.process.exitcode)} {doing}")
        assert isinstance(worker.task, Task)
        worker.task.given_up[worker.row] = (reason, detail)
        self._start(worker.task)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"with signal {signal.Signals(-code).name}" + (" (out of memory?)" if code == -9 else "")
    return f"with exit status {code}"


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A process started meanwhile never hears Ctrl-C, which a terminal sends to all: it ends when this one does. And it
    is started wholly or not at all: what interrupts this process meanwhile is heard afterwards."""
    resource_tracker.ensure_running()  # else the start does it, and unblocks
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _heard_afterwards(signal.SIGINT), _heard_afterwards(signal.SIGTERM):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _heard_afterwards(number: signal.Signals) -> Iterator[None]:
    """A signal that the main thread blocks may come by another one, and the handler still runs in the main thread."""
    usual = signal.getsignal(number)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    heard: list[tuple[int, FrameType | None]] = []
    signal.signal(number, lambda *given: heard.append(given))
    try:
        yield
    finally:
        signal.signal(number, usual)
        for given in heard[:1]:
            usual(*given)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Worker processes run on one thread each: set before they start, because libraries read it once."""
    wanted = {**dict.fromkeys(ONE_THREAD, "1"), **KEEP_MEMORY}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(connection: Connection, work: Work) -> None:
    """A worker process: does the tasks that it is sent until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C write there what they think of odd files
    try:
        warm_up()
        do = work.start()
        while True:
            do(connection.recv(), connection)
    except (EOFError, ConnectionError):
        return  # the main process is gone or has no more work
    except EncoderError as error:
        with contextlib.suppress(OSError):
            connection.send(("error", f"{error.key}: {error.message}"))
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in FULL
        told = ("full", error.args) if full else ("error", traceback.format_exc())
        with contextlib.suppress(OSError):
            connection.send(told)
