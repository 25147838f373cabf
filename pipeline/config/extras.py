"""What clipscope can use but does not need: found missing before anything is done, with the line that installs it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from pipeline.errors import CallError

SWEEPS, TRACKING = "requirements-sweeps.txt", "requirements-tracking.txt"
EXTRAS = {  # override -> (module, file that installs it)
    "hydra/launcher=joblib": ("hydra_plugins.hydra_joblib_launcher", SWEEPS),
    "hydra/launcher=submitit_local": ("hydra_plugins.hydra_submitit_launcher", SWEEPS),
    "hydra/launcher=submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", SWEEPS),
    "hydra/sweeper=optuna": ("hydra_plugins.hydra_optuna_sweeper", SWEEPS),
    "tracking=tensorboard": ("tensorboard", TRACKING),
    "tracking=mlflow": ("mlflow", TRACKING),
}


def must_be_installed(words: Sequence[str]) -> None:
    """Raises CallError for each of the call's words whose package is not there."""
    problems = [problem for word in words if (problem := not_installed(word))]
    if problems:
        raise CallError(*problems)


def not_installed(word: str) -> str | None:
    """What to say of an override whose package is not there; None where nothing is missing."""
    module, file = EXTRAS.get(word, (None, None))
    if module is None or _is_there(module):
        return None
    return f"{word}: not installed: pip install -r {file}"


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
