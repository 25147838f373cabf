"""What Hydra calls: for a run, and for each job of a sweep, in this process or in one that a launcher started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.interrupts import raise_if_asked

if TYPE_CHECKING:
    from pipeline.schema import Config, SweepJob


@dataclass
class Task:
    """Takes the composed config. Nothing that goes wrong in a job of a sweep stops the others.

    command: as it was typed. statuses: exit status of each run in this process.
    """

    command: str
    statuses: list[int] = field(default_factory=list)

    def __call__(self, composed: Any) -> float | None:
        """Returns the score that `sweep.objective` names; None where there is none."""
        from pipeline import config
        from pipeline.errors import CallError

        raise_if_asked()
        sweep = config.sweep_job()
        try:
            if sweep is not None:
                from pipeline.sweep_record import make_room

                make_room(sweep.folder)
        except CallError as error:  # another process is at it: its record is not ours to write
            self.statuses.append(refuse(error.problems))
            return None
        try:
            checked = config.read(composed)
        except CallError as error:
            if sweep is None:
                self.statuses.append(refuse(error.problems))
            else:
                _refused_job(sweep, "; ".join(error.problems), config.choices(composed))
            return None
        from pipeline.runner import run

        self.statuses.append(run(checked, self.command, sweep))
        return objective_of(sweep, checked)

    def __reduce__(self) -> tuple[Callable[..., Task], tuple[Any, ...]]:
        """Where a launcher starts processes of its own, these know nothing that run.py has prepared."""
        return _elsewhere, (self.command, {key: os.environ[key] for key in ("CLIPSCOPE_HOME",)})


def _elsewhere(command: str, environment: dict[str, str]) -> Task:
    from pipeline import config

    prepare(environment["CLIPSCOPE_HOME"])
    os.environ.setdefault("CI", "1")  # several at once: no progress bars over each other
    config.register()
    return Task(command)


def prepare(home: str) -> None:
    """What every process needs before Hydra composes. home: the folder of run.py."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's errors come to run.py instead of being printed
    os.environ["CLIPSCOPE_HOME"] = home  # conf/config.yaml finds conf/user by it
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps what tables no longer need


def refuse(problems: Iterable[str]) -> int:
    """Say what is wrong with the call. Returns the exit status."""
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    return 2


def _refused_job(sweep: SweepJob, reason: str, chosen: dict[str, Any]) -> None:
    from pipeline.runner import record_refused

    record_refused(sweep.folder, sweep.number, sweep.overrides, reason, chosen)


def objective_of(sweep: SweepJob | None, config: Config) -> float | None:
    """The score of a complete job that an optimiser looks at."""
    from pipeline.run_dir import RECORD, load_run

    if sweep is None or config.sweep.objective is None or not (sweep.folder / RECORD).is_file():
        return None
    run = load_run(sweep.folder)
    return run.metrics.get(config.sweep.objective) if run.record["status"] == "complete" else None
