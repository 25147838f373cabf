"""What a sweep asks of any launcher: no job stops the others, and with `sweep.resume` what is done stays as it is."""

from __future__ import annotations

import copy
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from pipeline.interrupts import raise_if_asked

STOPPING = 10  # seconds in which jobs in other processes may write down that they were interrupted


class GuardedLauncher:
    """A launcher that gives back a result for each job, in their order, whatever became of it.

    Writes the sweep's own record before the first job.
    """

    def __init__(self, launcher: Any, context: HydraContext, task: TaskFunction, config: DictConfig) -> None:
        from pipeline.sweep_record import begin

        self.launcher, self.loader, self.config = launcher, context.config_loader, config
        self.folder = Path(str(config.hydra.sweep.dir)).absolute()
        words = config.hydra.overrides
        if not isinstance(launcher, BasicLauncher):  # its processes have to find our modules, and its own folder
            home = os.environ["CLIPSCOPE_HOME"]
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        self.resumed = begin(self.folder, task.command, list(words.task), list(words.hydra))  # type: ignore[attr-defined]

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """A result each: None where a job was not started, or has no score that is asked for."""
        raise_if_asked()
        numbered = dict(enumerate(jobs, initial_job_idx))
        composed = {number: self._composed(number, words) for number, words in numbered.items()}
        wanted = [number for number, config in composed.items() if config is not None]
        if self.resumed:
            wanted = self._still_to_do(wanted, composed)
        returned = dict(zip(wanted, self._launch({number: numbered[number] for number in wanted}), strict=True))
        return [returned.get(number) or _nothing() for number in numbered]

    def _launch(self, jobs: dict[int, Sequence[str]]) -> Sequence[JobReturn]:
        """All at once: launchers number jobs from one start, so each is told its own folder."""
        if not jobs:
            return []
        words = [[*overrides, f"hydra.sweep.subdir={number}"] for number, overrides in jobs.items()]
        try:
            returned: Sequence[JobReturn] = self.launcher.launch(words, initial_job_idx=min(jobs))
            return returned
        except KeyboardInterrupt:
            self._stop()
            raise
        except (HydraException, OmegaConfBaseException, OSError):
            raise
        except Exception as error:  # of a launcher whose process was killed
            raise_if_asked()
            self._given_up(jobs, error)
            return [_nothing() for _ in jobs]

    def _composed(self, number: int, overrides: Sequence[str]) -> DictConfig | None:
        """The job's config; None where there is none, which is recorded as a failed job."""
        from pipeline.config.messages import explain
        from pipeline.errors import CallError
        from pipeline.runner import record_refused
        from pipeline.sweep_record import make_room
        from pipeline.sweep_words import words_of_the_job

        try:
            return self.loader.load_sweep_config(self.config, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise_if_asked()
            folder = self.folder / str(number)
            try:
                make_room(folder)
                words = words_of_the_job(self.folder, overrides)
                record_refused(folder, number, words, explain(error), self._names(overrides))
            except CallError:  # another process is at it
                pass
            return None

    def _names(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The choices of a job that has no config: as swept, else as all jobs have them."""
        given = dict(word.split("=", 1) for word in overrides if "=" in word)
        groups = ("dataset", "encoder", "projection")
        return {group: {"name": given.get(group, self.config[group].name)} for group in groups}

    def _still_to_do(self, wanted: Sequence[int], composed: dict[int, DictConfig | None]) -> list[int]:
        """Without the jobs that are complete, which is said in a line."""
        from pipeline.console import Say
        from pipeline.sweep_record import standing

        found = {number: standing(self.folder / str(number), _settings(composed[number])) for number in wanted}
        again = [number for number in wanted if not found[number].done]
        done = len(wanted) - len(again)
        stay = "is complete and stays as it is" if done == 1 else "are complete and stay as they are"
        line = f"resumed: {done} of {len(composed)} jobs {stay}"
        told = [f"{number} ({found[number].why})" for number in again]
        told += [f"{number} (its settings do not compose)" for number in composed if number not in found]
        Say().line(line + (f"; again: {', '.join(told)}" if told else ""))
        return again

    def _given_up(self, jobs: dict[int, Sequence[str]], error: Exception) -> None:
        """The launcher lost its processes: jobs that have no record get one."""
        from pipeline.run_dir import RECORD
        from pipeline.runner import record_refused

        lines = str(error).strip().splitlines() or [""]
        raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]  # of a traceback
        said = raised[-1] if raised else lines[0]
        for number, overrides in jobs.items():
            if not (self.folder / str(number) / RECORD).is_file():
                reason = f"not started: the launcher gave up: {type(error).__name__}: {said}"
                record_refused(self.folder / str(number), number, overrides, reason, self._names(overrides))

    def _stop(self) -> None:
        """Ctrl-C in a terminal reaches all processes; what was sent to this one alone does not reach those that
        submitit started, which would go on. (Joblib ends its own.)"""
        left = [int(place.name) for place in self.folder.glob(".submitit/*") if place.name.isdigit()]
        until = time.monotonic() + STOPPING
        for pid in [pid for pid in left if _is_our_child(pid)]:
            os.kill(pid, signal.SIGINT)
        while time.monotonic() < until and any(_is_our_child(pid) for pid in left):
            time.sleep(0.1)


def _is_our_child(pid: int) -> bool:
    """Whether it is a child of this process that still runs: no other process is ever meant."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def _settings(composed: DictConfig | None) -> dict[str, Any] | None:
    """The checked settings of a job, plain; None where they are wrong."""
    from pipeline import config
    from pipeline.errors import CallError
    from pipeline.schema import plain

    assert composed is not None
    alone = copy.deepcopy(composed)
    with read_write(alone), open_dict(alone):
        del alone["hydra"]
    hydra = HydraConfig.instance()
    before = hydra.cfg
    try:
        hydra.set_config(composed)  # which words the call names stands there
        settings: dict[str, Any] = plain(config.read(alone))
        return settings
    except CallError:
        return None
    finally:
        hydra.cfg = before


def _nothing() -> JobReturn:
    """The result of a job that has none; `completed`, so that nothing is raised for it."""
    return JobReturn(status=JobStatus.COMPLETED)
