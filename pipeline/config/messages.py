"""What Hydra and OmegaConf say about a wrong call, in words for people."""

from __future__ import annotations

import dataclasses
import re

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationKeyError, ValidationError

from pipeline import schema
from pipeline.errors import one_of
from pipeline.schema import CHOICES, Config

KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
QUOTING = (
    "values with brackets, commas, colons or spaces need quotes inside quotes: "
    "'dataset.pairs=[dogs,/path/a,\"cats (2)\",/path/b]'"
)


def explain(error: BaseException) -> str:
    """One line for an error of Hydra or OmegaConf; their own first line where nothing better is known."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(str(error.missing_cfg_file), list(error.options or []))
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value; {QUOTING}"
    reason = error.__cause__ if error.__cause__ is not None else error
    key = str(getattr(reason, "full_key", "") or "")
    first = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    if isinstance(reason, InterpolationKeyError):
        return f"{key}: {first}"
    if isinstance(reason, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(key)
    if isinstance(reason, ValidationError):
        return _wrong_value(key, first)
    if first.startswith("Config group override"):
        return f"a group takes the name of one of its choices: {', '.join(f'{group}=<choice>' for group in CHOICES)}"
    if first.startswith("BasicSweeper does not support"):
        return (
            "interval(...): a grid takes lists and ranges (2,4,8, range(2,9)); hydra/sweeper=optuna searches intervals"
        )
    if first.startswith("Ambiguous value"):
        argument = re.findall(r"'(.*)'", first)
        return f"{argument[0] if argument else first}: several values; add -m to sweep over them, or quote a list"
    return first


def _missing_choice(missing: str, options: list[str]) -> str:
    group, _, choice = missing.rpartition("/")
    known = [name for name in options if not name.startswith("_")]
    return f"{group}={choice}: no such choice{one_of(choice, known)}"


def _unknown_key(key: str) -> str:
    section, _, name = key.rpartition(".")
    if section in CHOICES:
        return _not_of_this_choice(section, name)
    holders: dict[str, type] = {"": Config, **_sections(), **_sections_of_choices()}
    if section not in holders:
        return f"{key}: no such section '{section}'{one_of(section, [*CHOICES, *filter(None, holders)])}"
    known = [f.name for f in dataclasses.fields(holders[section])]
    return f"{key}: no such setting{one_of(name, known)}"


def _not_of_this_choice(group: str, name: str) -> str:
    fields = {choice: _settings_of(cls) for choice, cls in CHOICES[group].items()}
    having = [f"{group}={choice}" for choice, known in fields.items() if name in known]
    if having:
        verb = "has" if len(having) == 1 else "have"
        return f"{group}.{name}: the chosen {group} has no such setting; {' and '.join(having)} {verb} it"
    every = sorted({known for some in fields.values() for known in some})
    return f"{group}.{name}: no such setting{one_of(name, every)}"


def _settings_of(cls: type) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)]


def _sections() -> dict[str, type]:
    return {
        "analysis": schema.AnalysisSettings,
        "paths": schema.PathSettings,
        "embedding": schema.EmbeddingSettings,
        "plots": schema.PlotSettings,
        "report": schema.ReportSettings,
    }


def _sections_of_choices() -> dict[str, type]:
    """'dataset.columns' and the like: sections inside a choice."""
    found: dict[str, type] = {}
    for group, choices in CHOICES.items():
        for f in (f for cls in choices.values() for f in dataclasses.fields(cls)):
            if dataclasses.is_dataclass(f.default_factory):
                found[f"{group}.{f.name}"] = f.default_factory
    return found


def _wrong_value(key: str, said: str) -> str:
    if "is not Optional" in said:
        return f"{key}: cannot be null"
    value = (re.findall(r"[Vv]alue '(.*?)'", said) or ["?"])[0]
    for kind, words in KINDS.items():
        if f"converted to {kind}" in said:
            return f"{key} = {value}: must be {words}"
    if listed := re.findall(r"expected one of \[(.*)\]", said):
        known = listed[0].split(", ")
        return f"{key} = {value}: not allowed{one_of(value, known)}"
    if "is not a ListConfig" in said:
        return f"{key}: must be a list, as in '{key}=[a,b]'"
    if "is not a subclass" in said:
        return f"{key}: is a section; set one of its keys, as in {key}.<key>=<value>"
    return f"{key}: {said}"
