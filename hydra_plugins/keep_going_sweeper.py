"""A sweep goes on when one of its jobs cannot even be composed (Hydra's own sweeper would stop all of them), and can be
resumed.

Hydra finds sweepers only in the namespace package `hydra_plugins`; hence this folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.guarded_launcher import GuardedLauncher


class KeepGoingSweeper(BasicSweeper):
    """Hydra's sweeper over grids, with a launcher that keeps going."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.launcher = GuardedLauncher(self.launcher, hydra_context, task_function, config)  # type: ignore[assignment]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Each job is tried by itself instead, see GuardedLauncher."""
