"""Optuna's search over settings: `hydra/sweeper=optuna sweep.objective=<key of metrics.json>`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.guarded_launcher import GuardedLauncher

AS_BETTER = {"higher": "maximize", "lower": "minimize"}


class KeepGoingOptuna(Sweeper):
    """hydra-optuna-sweeper's search, with a launcher that keeps going: jobs that fail are failed trials."""

    def __init__(self, **settings: Any) -> None:
        import optuna
        from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl

        optuna.logging.disable_default_handler()  # our own table tells it
        logging.getLogger("hydra_plugins.hydra_optuna_sweeper").addHandler(logging.NullHandler())
        logging.getLogger("hydra_plugins.hydra_optuna_sweeper").propagate = False
        self.sweeper = OptunaSweeperImpl(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.objective = config.sweep.objective
        self.sweeper.direction = _direction(self.objective, self.sweeper.direction)
        self.sweeper.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.guarded = GuardedLauncher(self.sweeper.launcher, hydra_context, task_function, config)
        self.sweeper.launcher = self  # type: ignore[assignment]

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What Optuna takes for its launcher. Raises CallError where a complete job has no such score."""
        returned = self.guarded.launch(jobs, initial_job_idx)
        for number, result in enumerate(returned, initial_job_idx):
            if result.return_value is None:
                self._must_have_failed(number)
        return returned

    def sweep(self, arguments: list[str]) -> None:
        """All trials; best settings and value in optimization_results.yaml and on the console."""
        from pipeline.console import Say

        try:
            self.sweeper.sweep(arguments)
        except ValueError:
            if any(run.record["status"] == "complete" for run in self._runs()):
                raise
            return  # no trial has ended well: the comparison says it
        found = OmegaConf.load(self.guarded.folder / "optimization_results.yaml")
        best = " ".join(f"{key}={value}" for key, value in found.best_params.items())
        count = len(self._runs())
        line = f"best of {count} trials: {best}: {self.objective} = {found.best_value:.4g}"
        Say().line(f"{line} (the best of many is optimistic, see docs/sweeps.md)")

    def _runs(self) -> list[Any]:
        from pipeline.run_dir import RECORD, load_run
        from pipeline.sweep_record import job_folders

        return [load_run(folder) for folder in job_folders(self.guarded.folder) if (folder / RECORD).is_file()]

    def _must_have_failed(self, number: int) -> None:
        from pipeline.errors import CallError, nearest
        from pipeline.run_dir import load_run

        run = load_run(self.guarded.folder / str(number))
        if run.record["status"] == "complete":
            near = nearest(self.objective, run.metrics) or f"; it has {', '.join(list(run.metrics)[:8])}, ..."
            raise CallError(f"sweep.objective = {self.objective}: job {number} has no such score{near}")


def _direction(objective: str | None, given: str | None) -> str:
    """maximize or minimize. Raises CallError."""
    from pipeline.errors import CallError, nearest, one_of
    from pipeline.metrics.catalog import METRICS

    if objective is None:
        example = "sweep.objective=cluster_metrics/labels/ari"
        raise CallError(f"sweep.objective: hydra/sweeper=optuna needs the score to look at, as in {example}")
    if given is not None:
        if given not in AS_BETTER.values():
            raise CallError(f"hydra.sweeper.direction = {given}: not allowed{one_of(str(given), AS_BETTER.values())}")
        return given
    name = objective.rsplit("/", 1)[-1]
    better = METRICS[name].better if name in METRICS else None
    if better is None:
        near = "" if name in METRICS else nearest(name, METRICS)
        unknown = "not known whether more or less of it is better"
        say = f"hydra.sweeper.direction=maximize or minimize{near}"
        raise CallError(f"sweep.objective = {objective}: {unknown}: say {say}")
    return AS_BETTER[better]
