"""What a run's record says of its settings, as methods need it, and numbered citations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.words import look_up
from pipeline.schema import choice_of

Record = Mapping[str, Any]


class Citations:
    """Numbers works in the order in which they are first cited. works: short name -> the work."""

    def __init__(self, works: Mapping[str, str]) -> None:
        self._works = works
        self._numbers: dict[str, int] = {}

    def __call__(self, *works: str) -> str:
        """'[1]' or '[1, 2]' for these names of works; one source under two names has one number."""
        numbers = {self._numbers.setdefault(self._works[work], len(self._numbers) + 1) for work in works}
        return "[" + ", ".join(map(str, sorted(numbers))) + "]"

    @property
    def references(self) -> list[str]:
        """In the order of their numbers."""
        return list(self._numbers)


def setting(record: Record, dotted: str, default: Any = "?") -> Any:
    """A value of the run's config."""
    return look_up(record, f"config.{dotted}", default)


def choice(record: Record, group: str) -> str:
    """Which shipped choice of a group the run took, whatever the user's own is called; '?' where it is not recorded."""
    section = look_up(record, f"config.{group}")
    return choice_of(group, section) if isinstance(section, Mapping) and section else "?"


def seed_of(record: Record, dotted: str) -> str:
    """'seed 0', or that there is none: such a run cannot be repeated exactly."""
    seed = setting(record, dotted, None)
    return "unseeded" if seed is None else f"seed {seed}"


def unit_of(record: Record) -> str:
    """What is taken for drawn at random."""
    return "group (or image without one)" if look_up(record, "images.grouped") else "image"
