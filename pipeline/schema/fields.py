"""A field of a schema."""

from __future__ import annotations

from dataclasses import field
from typing import Any

Texts = list[str]  # for a class with a setting that is called `list`

MISSING: Any = "???"  # OmegaConf's own mark for 'a value must be given'


def setting(low: float | None = None, high: float | None = None, *, path: bool = False) -> Any:
    """A field whose value the YAML gives: lowest and highest allowed value; `path`: relative to the call."""
    return field(default=MISSING, metadata={"low": low, "high": high, "path": path})
