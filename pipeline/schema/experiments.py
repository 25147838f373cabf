"""Published values, and how a run is compared with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.schema.fields import MISSING, setting


@dataclass
class PublishedRow:
    """A row of a published table. where: setting -> the value that it was measured with, by which runs find it; images,
    classes: how many, None where that does not matter; scores: key of metrics.json -> value, None where none was
    published."""

    row: str = MISSING
    where: dict[str, Any] = field(default_factory=dict)
    images: int | None = None
    classes: int | None = None
    scores: dict[str, float | None] = field(default_factory=dict)


MODEL = "encoder.model"  # the key of a difference that only the weights can settle


@dataclass
class Difference:
    """A setting that is not as the protocol has it."""

    key: str = MISSING
    value: Any = None
    protocol: Any = None


@dataclass
class Comparison:
    """A published row that a run is compared with, and how the run's settings differ from its protocol. decimals: of
    the published values; notes: what cannot be told."""

    experiment: str = MISSING
    source: str = MISSING
    decimals: int = MISSING
    row: PublishedRow = field(default_factory=PublishedRow)
    differs: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ExperimentSettings:
    """Published values and how they are compared with. compared: filled in when the call is read."""

    name: str = MISSING
    source: str | None = MISSING
    needs: str | None = MISSING
    decimals: int = setting(low=0, high=17)
    repeats: int = setting(low=1, high=1000)
    row: str | None = MISSING
    published: list[PublishedRow] = MISSING
    compared: list[Comparison] = field(default_factory=list)
