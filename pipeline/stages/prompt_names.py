"""What labels are called in prompts, from the table that the user gives."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import CallError, nearest
from pipeline.stage import Stage, Workspace

KEY = "zero_shot.names"
COLUMNS = ("label", "name")


def run(settings: Any, workspace: Workspace) -> dict[str, Any]:
    """`prompt_names`: label -> name, empty where no table is given. Raises CallError."""
    path = settings.zero_shot.names
    return {"prompt_names": {} if path is None else _read(Path(path))}


def first_look(settings: Any) -> None:
    """The table can be read."""
    run(settings, Workspace(Path()))


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            known = [name.strip() for name in rows.fieldnames or ()]
            for column in COLUMNS:
                if column not in known:
                    raise CallError(f"{KEY}: {path.name} has no column '{column}'{nearest(column, known)}")
            pairs = [((row["label"] or "").strip(), (row["name"] or "").strip()) for row in rows]
    except OSError as error:
        raise CallError(f"{KEY}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CallError(f"{KEY}: {path.name} is not UTF-8") from error
    except csv.Error as error:
        raise CallError(f"{KEY}: {path.name}: {error}") from error
    return _checked(pairs, path)


def _checked(pairs: list[tuple[str, str]], path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, (label, name) in enumerate(pairs, start=2):
        if not label or not name:
            raise CallError(f"{KEY}: {path.name}, line {number}: label or name is blank")
        if names.setdefault(label, name) != name:
            raise CallError(f"{KEY}: {path.name}: the label '{label}' has two names, '{names[label]}' and '{name}'")
    return names


def fingerprints(made: Mapping[str, Any]) -> dict[str, str]:
    """The names."""
    told = json.dumps(made["prompt_names"], sort_keys=True)
    return {"prompt_names": hashlib.sha256(told.encode()).hexdigest()}


STAGE = Stage(
    name="prompt_names",
    needs=(),
    makes=("prompt_names",),
    settings=("zero_shot",),
    run=run,
    first_look=first_look,
    fingerprints=fingerprints,
    unsaved=("prompt_names",),
)
