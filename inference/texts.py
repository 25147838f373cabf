"""Texts to vectors, as many as there are: shards on disk, worker processes, resume, as for images in embed.py.

Texts become Python strings a shard at a time. Within a shard they are sorted by length and encoded in batches of about
equal ones; batches never cross shards, so work that was killed goes on where it stood and gives the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from inference import fidelity
from inference.embed import processes
from inference.encoders import Encoder, EncoderHandle, NoTextSide
from inference.fidelity import Fidelity, TooFar, is_guarded, judge, measured
from inference.probability import Rule
from inference.shards import in_one_file, is_complete, reading_of, save_shard, unit_rows
from inference.workers import EmbeddingFailed, Progress, Supervisor

log = logging.getLogger(__name__)

SHARD = 1024  # texts: ten seconds of a core, the most that a kill can cost each worker, and what cores share evenly
FEW = 1024  # texts for which starting processes costs more than it saves
COMPARED = 16  # texts that are encoded both ways
PATIENCE = 60.0  # seconds; texts cannot hang as decoders of images can

__all__ = ["EmbeddedTexts", "EmbeddingFailed", "embed_texts"]


@dataclass(frozen=True)
class EmbeddedTexts:
    """vectors: (m, d) float32 of length 1, memory-mapped; truncated: how many texts are longer than the context and
    were cut; unknown: how many have no token that means anything to the tokeniser (blank, or of a script that it does
    not know); handle: the encoder as it was used in the end; rule: how the model makes probabilities of their cosines
    to images, None of no texts; fidelity: of the fast way to the exact one, None where the exact one was asked for."""

    vectors: np.ndarray
    truncated: int
    unknown: int
    handle: EncoderHandle
    rule: Rule | None
    fidelity: Fidelity | None


def embed_texts(
    texts: Any,
    handle: EncoderHandle,
    folder: Path,
    *,
    prefix: str = "",
    workers: int | None = None,
    batch_size: int | None = None,
    progress: Progress = lambda done, total: None,
) -> EmbeddedTexts:
    """Vectors of `texts`, in their order: a sequence of strings, or a column of pyarrow or pandas (what is no string
    counts as blank). `folder` keeps the shards until all are made; a call with the same texts goes on from them.

    prefix: put before each text. workers: processes on a CPU; None for one a core (few texts stay in this process), 0
    for none; a GPU is fed from this process. batch_size: texts encoded at a time, None for what suits the device.
    Where the handle's way is less near to the exact one than its `min_fidelity`, all is computed exactly; so are up to
    16 texts. Equal texts get vectors that are equal but for the last digits, which depend on the batch. Raises
    NoTextSide before anything is started, EmbeddingFailed, EncoderError, and OSError where there is no room.
    """
    if handle.description.text_fingerprint is None:
        raise NoTextSide(handle.description.model)
    if len(texts) <= COMPARED and is_guarded(handle):  # to find how near the fast way comes, all would be done exactly
        handle = handle.at(fidelity.exact(handle.runtime))
    embedding = _Embedding(texts, handle, folder, prefix, workers, batch_size, progress)
    try:
        embedding.make()
    except TooFar:
        found = measured(folder)
        log.warning(
            "%s gives vectors of texts whose cosine to the exact ones is %.4f at worst, below precision.min_fidelity = "
            "%g: computed in fp32 instead",
            handle.runtime.precision, found.cosine if found else np.nan, handle.min_fidelity,
        )  # fmt: skip
        embedding.use(handle.at(fidelity.exact(handle.runtime)))
        embedding.make()
    return embedding.assembled()


@dataclass
class _Task:
    """Consecutive texts of a column. Another process is sent these alone, as strings."""

    number: int
    rows: range
    column: Any
    prefix: str
    batch: int | None

    def texts(self) -> list[str]:
        """With the prefix."""
        return [self.prefix + text for text in _strings(self.column, self.rows)]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"column": _strings(self.column, self.rows), "rows": range(len(self.rows))}


def _strings(column: Any, rows: range) -> list[str]:
    if isinstance(column, pd.Series):
        part = column.iloc[rows.start : rows.stop].tolist()
    elif hasattr(column, "to_pylist"):
        part = column.slice(rows.start, len(rows)).to_pylist()
    else:
        part = column[rows.start : rows.stop]
    return [text if isinstance(text, str) else "" for text in part]


@dataclass(frozen=True)
class _Told:
    """What a shard says besides its vectors: how many texts were cut, how many mean nothing to the tokeniser; and the
    model's rule for probabilities, so that nobody has to load it once more for that."""

    truncated: int
    unknown: int
    rule: dict[str, Any]


@dataclass(frozen=True)
class _Encode:
    """What a worker process does."""

    things: ClassVar[str] = "texts"
    handle: EncoderHandle
    folder: Path
    shards: Path

    def start(self) -> Callable[[_Task, Connection], None]:
        """The encoder, loaded."""
        encoder = self.handle.load()

        def do(task: _Task, connection: Connection) -> None:
            if task.number == fidelity.NUMBER:
                self.compare(encoder, task)
            else:
                self.make(encoder, task, lambda count: connection.send(("seen", count)))
            connection.send(("done", task.number))

        return do

    def compare(self, encoder: Encoder, task: _Task) -> None:
        """Measure how near the fast way comes to the exact one with its whole context."""
        reference, texts = self.handle.at(fidelity.exact(self.handle.runtime)).load(), task.texts()
        fast, exact = encoder.text_vectors(texts, task.batch), reference.text_vectors(texts, whole=True)
        fidelity.save(self.folder, fidelity.compared(*(x.vectors.astype(np.float64) for x in (fast, exact))))

    def make(self, encoder: Encoder, task: _Task, progress: Callable[[int], None]) -> None:
        """One shard, put down when it is complete."""
        made = encoder.text_vectors(task.texts(), task.batch, progress=progress)
        told = _Told(made.truncated, made.unknown, asdict(made.rule))
        save_shard(self.shards, task.number, unit_rows(made.vectors), told)


class _Embedding:
    """One call of `embed_texts`."""

    def __init__(
        self, texts: Any, handle: EncoderHandle, folder: Path, prefix: str, workers: int | None,
        batch_size: int | None, progress: Progress,
    ) -> None:  # fmt: skip
        self.folder, self.workers, self.progress, self.asked = folder, workers, progress, handle
        self.total = len(texts)
        starts = range(0, self.total, SHARD)
        parts = [range(start, min(start + SHARD, self.total)) for start in starts]
        self.tasks = [_Task(i, part, texts, prefix, batch_size) for i, part in enumerate(parts)]
        self.first = _Task(fidelity.NUMBER, range(min(COMPARED, self.total)), texts, prefix, batch_size)
        self.use(handle)

    def use(self, handle: EncoderHandle) -> None:
        """Compute in this way; shards of another are another's."""
        self.handle = handle
        self.shards = self.folder / ("texts" if handle.runtime == self.asked.runtime else "texts_exact")

    def make(self) -> None:
        """Every shard that is not there yet. Raises TooFar where the fast way has to be given up."""
        self.shards.mkdir(parents=True, exist_ok=True)
        todo = [task for task in self.tasks if not is_complete(self.shards, task.number)]
        done = self.total - sum(len(task.rows) for task in todo)
        guarded = is_guarded(self.handle)
        if guarded:
            judge(self.folder, self.handle)
        if not todo:
            return
        guard = [self.first] if guarded and measured(self.folder) is None else []
        work = _Encode(self.handle, self.folder, self.shards)
        count = self._processes(todo)
        if count == 0:
            self._make_here(work, guard, todo, done)
            return
        supervisor = Supervisor(work, PATIENCE, done, self.total, self.progress)
        supervisor.finished = lambda number: judge(self.folder, self.handle) if number == fidelity.NUMBER else None
        supervisor.run([*guard, *todo], count)

    def _processes(self, todo: list[_Task]) -> int:
        if self.handle.runtime.device != "cpu":
            return 0
        if self.workers is not None:
            return min(self.workers, len(todo))
        few = sum(len(task.rows) for task in todo) <= FEW
        return 0 if few else processes(self.handle, len(todo))

    def _make_here(self, work: _Encode, guard: list[_Task], todo: list[_Task], done: int) -> None:
        encoder = self.handle.load()
        for task in guard:
            work.compare(encoder, task)
            judge(self.folder, self.handle)
        for task in todo:
            work.make(encoder, task, self._progress_from(done))
            done += len(task.rows)

    def _progress_from(self, start: int) -> Callable[[int], None]:
        return lambda count: self.progress(start + count, self.total)

    def assembled(self) -> EmbeddedTexts:
        """One array of all shards. The shards stay: whoever owns the folder removes them with it."""
        told = [reading_of(self.shards, task.number) for task in self.tasks]
        truncated, unknown = (sum(shard[name] for shard in told) for name in ("truncated", "unknown"))
        if truncated:
            log.warning("texts longer than the model takes, which were cut: %s of %s", *_counts(truncated, self.total))
        if unknown:
            log.warning(
                "texts of which the model's tokeniser knows nothing: %s of %s; their vectors mean nothing",
                *_counts(unknown, self.total),
            )
        vectors = in_one_file(self.shards, range(len(self.tasks)), self.folder / "text_embeddings.npy")
        if not self.tasks:
            vectors = np.empty((0, self.handle.description.dimension or 0), np.float32)
        found = measured(self.folder) if is_guarded(self.asked) else None
        rule = Rule(**told[0]["rule"]) if told else None
        return EmbeddedTexts(vectors, truncated, unknown, self.handle, rule, found)


def _counts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)
