"""Finished runs, logged in a tracker as well: a file per tracker, a function `log` each. Reads run folders, as the
report does; nothing of a run depends on it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from pipeline.run_dir import Run
from pipeline.schema import Config, MlflowTracking, TensorboardTracking

LOGS = {TensorboardTracking: "pipeline.tracking.tensorboard", MlflowTracking: "pipeline.tracking.mlflow"}


def is_chosen(config: Config) -> bool:
    """Whether runs are tracked."""
    return type(config.tracking) in LOGS


def log(config: Config, run: Run) -> str:
    """Log the run where `tracking` says. Returns where it lies. Raises whatever the tracker raises."""
    write: Callable[[Config, Run], str] = import_module(LOGS[type(config.tracking)]).log
    return write(config, run)
