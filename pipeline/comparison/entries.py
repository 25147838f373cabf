"""The runs of a comparison: how they are called, what tells them apart, and which belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import pandas as pd

from pipeline.comparison.identity import Identity, identities
from pipeline.report.privacy import HIDDEN, Privacy
from pipeline.report.words import flatten, plain
from pipeline.run_dir import Run

OF_A_MODEL = ("dataset", "encoder", "projection", "clustering", "prompts", "experiment", "seed", "images", "precision")
"""Sections of the settings by which runs that were made one by one are told apart."""

_NO_SETTINGS = ("hydra.", "hydra/", "sweep.")
K = "clustering.k"


@dataclass(frozen=True)
class Entry:
    """A run. number: of the job; name: as people call it; settings: those that vary, as text; overrides: all that the
    call named, for failures; hidden paths are not in them."""

    number: int
    name: str
    run: Run
    settings: Mapping[str, str]
    overrides: str
    identity: Identity | None

    @property
    def complete(self) -> bool:
        return self.run.record.get("status") == "complete"

    @property
    def k(self) -> float:
        """How many clusters were found; NaN without clusters."""
        return float(self.run.metrics.get("clustering/k", math.nan))

    @property
    def encoder(self) -> str:
        config = self.run.record.get("config") or {}
        return str((config.get("encoder") or {}).get("name") or "?")

    @cached_property
    def model(self) -> str:
        """What it is called: the encoder, and what else varies but for numbers of clusters and seeds."""
        others = [
            _told(key, value) for key, value in self.settings.items() if key not in (K, "encoder") and not is_seed(key)
        ]
        return ", ".join([self.settings.get("encoder", self.encoder), *filter(None, others)])

    @property
    def seeds(self) -> tuple[tuple[str, str], ...]:
        return tuple((key, value) for key, value in self.settings.items() if is_seed(key))

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables that were looked at."""
        return {}

    def table(self, name: str) -> pd.DataFrame | None:
        """A table of the run, read once; None where it has none."""
        if name not in self.tables and self.run.has(name):
            self.tables[name] = self.run.table(name)
        return self.tables.get(name)


def _told(key: str, value: str) -> str:
    """A name speaks for itself, of a path its last part; numbers and the like need to be said of what.

    >>> _told("encoder.model", "ViT-B/32"), _told("projection.n_neighbors", "15"), _told("encoder.weights", "/x/a.pt")
    ('ViT-B/32', 'n_neighbors 15', 'a.pt')
    """
    if re.fullmatch(r"[-+.\de]*\d[-+.\de]*|true|false|null", value, re.IGNORECASE):
        return f"{key.split('.')[-1]} {value}"
    return PurePath(value).name if value.startswith(("/", "~", ".")) else value


def is_seed(key: str) -> bool:
    """Whether a setting is a seed.

    >>> is_seed("seed"), is_seed("projection.seed"), is_seed("dataset.sample_seed"), is_seed("clustering.k")
    (True, True, False, False)
    """
    return key.split(".")[-1] == "seed"


def of_sweep(runs: Sequence[Run], privacy: Privacy) -> list[Entry]:
    """The jobs of a sweep, told apart by what was swept."""
    given = [dict(word.split("=", 1) for word in _words(run.record)) for run in runs]
    keys = list(dict.fromkeys(key for one in given for key in one if not key.startswith(_NO_SETTINGS)))
    varied = [key for key in keys if len({one.get(key) for one in given}) > 1]
    settings = _shown([{key: one.get(key, "") for key in varied} for one in given], privacy)
    overrides = [" ".join(privacy.override(word) for word in _words(run.record)) for run in runs]
    names = [run.folder.name for run in runs]
    return _entries([int(name) for name in names], names, runs, settings, overrides)


def of_runs(runs: Sequence[Run], privacy: Privacy) -> list[Entry]:
    """Runs that were made one by one, told apart by the settings in which they differ."""
    settings = _shown(_differing([run.record.get("config") or {} for run in runs]), privacy)
    names = [privacy.run_name(name) for name in _names(runs)]
    alike = [settings.count(one) > 1 for one in settings]  # the same settings on different days
    settings = [one | {"run": name} if same else one for one, name, same in zip(settings, names, alike, strict=True)]
    commands = [privacy.command(str(run.record.get("command") or "")) for run in runs]
    return _entries(range(len(runs)), names, runs, settings, commands)


def _entries(
    numbers: Sequence[int], names: Sequence[str], runs: Sequence[Run], settings: Sequence[dict[str, str]],
    overrides: Sequence[str],
) -> list[Entry]:  # fmt: skip
    columns = zip(numbers, names, runs, settings, overrides, identities(runs), strict=True)
    return [Entry(*column) for column in columns]


def _names(runs: Sequence[Run]) -> list[str]:
    """Date and time; with what stands before where that is not enough to tell them apart."""
    for depth in (2, 3, 4, 6):
        names = ["/".join(run.folder.parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The settings in which runs differ: which choice of a group, and what else among those of one choice."""
    flat = [_flat(config) for config in configs]
    chosen = [key for key in dict.fromkeys(key for one in flat for key in one) if _differs(key, flat)]
    own = [one.get("seed", "") for one in flat]
    follows = [key for key in chosen if is_seed(key) and key != "seed" and [one.get(key) for one in flat] == own]
    return [{key: one.get(key, "") for key in chosen if key not in follows} for one in flat]


def _differs(key: str, flat: Sequence[Mapping[str, str]]) -> bool:
    """Settings of different choices of a group are not compared: their names say it."""
    group = key.split(".")[0]
    values: dict[str, set[str]] = {}
    for one in flat:
        choice = "" if key == group else one.get(group, "")
        values.setdefault(choice, set()).add(one.get(key, ""))
    return any(len(found) > 1 for found in values.values())


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    """`encoder`: the choice; `encoder.model` and so on: its settings."""
    found: dict[str, str] = {}
    for section in OF_A_MODEL:
        value = config.get(section)
        named = isinstance(value, Mapping) and "name" in value
        if named or (value is not None and not isinstance(value, Mapping)):
            found[section] = plain(value["name"] if isinstance(value, Mapping) else value)
        for key, one in flatten(value) if isinstance(value, Mapping) else ():
            if key not in ("name", "source", "kind", "needs", "compared", "published", "max_unreadable"):
                found[f"{section}.{key}"] = plain(one)
    return found


def _words(record: Mapping[str, Any]) -> list[str]:
    return [str(word) for word in (record.get("sweep") or {}).get("overrides", []) if "=" in str(word)]


def _shown(settings: Sequence[Mapping[str, str]], privacy: Privacy) -> list[dict[str, str]]:
    """Without what is hidden; values that only that told apart get numbers."""
    found = []
    hidden: dict[tuple[str, str], int] = {}
    for one in settings:
        row = {}
        for key, value in one.items():
            row[key] = privacy.setting(key.lstrip("+"), value) if value else ""
            if HIDDEN in row[key]:
                of_key = sum(known == key for known, _ in hidden)
                row[key] += f" {hidden.setdefault((key, value), of_key + 1)}"
        found.append(row)
    return found
