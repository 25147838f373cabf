"""Settings as plain values, for records and cache keys, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from pipeline.schema.choices import CHOICES, Config


def plain(value: Any) -> Any:
    """The same as dictionaries, lists, strings and numbers: for records and cache keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def restored(record: Mapping[str, Any]) -> Config:
    """The config of a recorded run, from `plain` of it. What an older run did not know is None."""
    return Config(**{f.name: restored_section(f.name, record.get(f.name)) for f in dataclasses.fields(Config)})


def restored_section(name: str, values: Any) -> Any:
    """A section or setting of a recorded run, from `plain` of it."""
    if name in CHOICES:
        return _filled(_class_of(name, values or {}), values or {})
    return _typed(get_type_hints(Config)[name], values)


def choice_of(group: str, values: Mapping[str, Any]) -> str:
    """Which shipped choice these settings belong to, whatever the user calls them; their name where that is open."""
    name = str(values.get("name"))
    keys = {choice: {f.name for f in dataclasses.fields(kind)} for choice, kind in CHOICES[group].items()}
    alike = [choice for choice in keys if keys[choice] == {*values}]
    return name if name in keys or not alike else alike[0]


def _class_of(group: str, values: Mapping[str, Any]) -> type:
    """Which choice these settings belong to: the name is the user's own, so by the keys, then by the name."""

    def fit(choice: str) -> tuple[int, bool]:
        keys = {f.name for f in dataclasses.fields(CHOICES[group][choice])}
        return -len(keys ^ set(values)), values.get("name") == choice

    return CHOICES[group][max(CHOICES[group], key=fit)]


def _filled(kind: type, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    return kind(**{f.name: _typed(hints[f.name], values.get(f.name)) for f in dataclasses.fields(kind)})


def _typed(hint: Any, value: Any) -> Any:
    """A plain value as the schema has it."""
    if dataclasses.is_dataclass(hint):
        return _filled(hint, value or {})  # type: ignore[arg-type]
    if get_origin(hint) is list and isinstance(value, list):
        return [_typed(get_args(hint)[0], item) for item in value]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value) if value in {choice.value for choice in hint} else None
    return value
