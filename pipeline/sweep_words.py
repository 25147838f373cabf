"""The words that a sweep was called with, and which of them make a job what it is. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import CallError
from pipeline.records import read_record

SWEEP = "sweep.json"
# Where results lie and how a job is done, never what it is: no reason to do a finished job again.
NOT_OF_THE_JOB = ("paths.outputs", "paths.cache", "embedding.", "sweep.", "tracking.")


def load_sweep(folder: Path) -> dict[str, Any]:
    """The sweep's record. Raises CallError where there is none."""
    record = read_record(folder / SWEEP, "the folder of a sweep")
    if not (isinstance(record, dict) and all(isinstance(record.get(key), list) for key in ("overrides", "commands"))):
        raise CallError(f"{folder / SWEEP}: damaged: not the record of a sweep")
    return record


def words_of_the_job(folder: Path, words: Sequence[str]) -> tuple[str, ...]:
    """A job's words, but for those on how it is done that came only when the sweep in `folder` was resumed: they are
    nothing in which jobs differ."""
    asked = {key_of(word) for word in load_sweep(folder)["overrides"]} if (folder / SWEEP).is_file() else set()
    return tuple(word for word in words if is_of_the_job(word) or key_of(word) in asked)


def is_of_the_job(word: str) -> bool:
    """Whether an override makes a job what it is."""
    return not (key_of(word) == "tracking" or key_of(word).startswith(("hydra", *NOT_OF_THE_JOB)))


def key_of(word: str) -> str:
    """The setting that an override names."""
    return word.lstrip("+~").split("=")[0]
