"""A sweep goes on when one of its jobs cannot even be composed. (Hydra's own sweeper would stop all of them.)

Hydra finds sweepers only in the namespace package `hydra_plugins`; hence this folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException


class KeepGoingSweeper(BasicSweeper):
    """Hydra's sweeper, but a job whose config does not compose is recorded as failed and left out."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        launch = self.launcher.launch  # type: ignore[union-attr]

        def launch_composable(jobs: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
            returned: list[JobReturn] = []
            group: list[Sequence[str]] = []  # neighbours that compose: a launcher numbers them from one start
            for number, overrides in enumerate(jobs, initial_job_idx):
                if self._composes(number, overrides):
                    group.append(overrides)
                elif group:
                    returned += launch(group, initial_job_idx=number - len(group))
                    group = []
            if group:
                returned += launch(group, initial_job_idx=initial_job_idx + len(jobs) - len(group))
            return returned

        self.launcher = _Wrapped(self.launcher, launch_composable)  # type: ignore[assignment]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Each job is tried by itself instead, see `setup`."""

    def _composes(self, number: int, overrides: Sequence[str]) -> bool:
        from pipeline.config.messages import explain
        from pipeline.runner import record_refused

        loader = self.hydra_context.config_loader  # type: ignore[union-attr]
        try:
            loader.load_sweep_config(self.config, list(overrides))  # type: ignore[arg-type]
        except (HydraException, OmegaConfBaseException) as error:
            folder = Path(self.config.hydra.sweep.dir) / str(number)  # type: ignore[union-attr]
            record_refused(folder, number, overrides, explain(error), self._names(overrides))
            return False
        return True

    def _names(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The choices of a job that has no config: as swept, else as all jobs have them."""
        given = dict(word.split("=", 1) for word in overrides if "=" in word)
        groups = ("dataset", "encoder", "projection")
        return {group: {"name": given.get(group, self.config[group].name)} for group in groups}  # type: ignore[index]


class _Wrapped:
    """A launcher with another `launch`."""

    def __init__(self, launcher: Launcher | None, launch: Any) -> None:
        self._launcher = launcher
        self.launch = launch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._launcher, name)
