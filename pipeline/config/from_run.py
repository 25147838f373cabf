"""`from_run`: the settings of a finished run, but for what the call names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline import schema
from pipeline.errors import CallError
from pipeline.schema import CHOICES, Config

# what to do now, where and how it looks is the call's; all else is the run's
OF_THE_CALL = (
    "analysis",
    "stages",
    "run",
    "from_run",
    "dry_run",
    "cache",
    "paths",
    "plots",
    "report",
    "device",
    "embedding",
    "search",
    "sweep",
    "tracking",
)
SETTLED = ("dataset", "images")  # what the run has read


def as_in_the_run(config: Config, named: Sequence[str]) -> None:
    """Bring the settings of the run `config.from_run` into `config`. named: the keys that the call names. Raises
    CallError: there is no such run, or the call names what the run has settled."""
    from pipeline.run_dir import load_run

    try:
        recorded = load_run(str(config.from_run)).config
    except (CallError, KeyError) as error:
        why = "; ".join(error.problems) if isinstance(error, CallError) else "its record holds no config"
        raise CallError(f"from_run: {why}") from error
    idle = [key for key in named if _sections([key]) <= set(SETTLED)]
    if idle:
        raise CallError(*(f"{key}: has no effect with from_run, whose images are taken as they are" for key in idle))
    for f in dataclasses.fields(config):
        if f.name not in OF_THE_CALL and f.name not in named and recorded.get(f.name) is not None:
            setattr(config, f.name, _merged(config, f.name, recorded[f.name], named))
    if _sections(named) >= {"text"} and "tagging.index" not in named:
        config.tagging.index = None  # the call brings texts of its own


def _sections(keys: Sequence[str]) -> set[str]:
    return {key.split(".")[0] for key in keys}


def _merged(config: Config, section: str, recorded: object, named: Sequence[str]) -> object:
    """What the run had, with what the call names in its place."""
    if not isinstance(recorded, dict):
        return schema.restored_section(section, recorded)
    present = schema.plain(getattr(config, section))
    called = {key: value for key, value in present.items() if f"{section}.{key}" in named}
    newer = {} if section in CHOICES else present  # settings that the run did not know yet
    return schema.restored_section(section, {**newer, **recorded, **called})
