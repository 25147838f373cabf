"""Where results go and how they look: folders, the cache, pictures, the report, trackers, sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pipeline.schema.fields import MISSING, setting


class CacheUse(Enum):
    use = "use"
    none = "none"


class PictureFormat(Enum):
    png = "png"
    svg = "svg"
    pdf = "pdf"


class Palette(Enum):
    petroff10 = "petroff10"
    tab10 = "tab10"
    okabe_ito = "okabe_ito"


class Hidden(Enum):
    path = "path"
    caption = "caption"
    id = "id"
    images = "images"


@dataclass
class PathSettings:
    data: str = MISSING
    checkpoints: str = MISSING
    outputs: str = MISSING
    cache: str = MISSING


@dataclass
class PlotSettings:
    formats: list[PictureFormat] = MISSING
    dpi: int = setting(low=30, high=1200)
    width_mm: float = setting(low=60, high=400)
    palette: Palette = MISSING


@dataclass
class ReportSettings:
    hide: list[Hidden] = MISSING


@dataclass
class TrackingSettings:
    """Shared by every tracker; with nothing more: none."""

    name: str = MISSING


@dataclass
class TensorboardTracking(TrackingSettings):
    dir: str | None = setting(path=True)


@dataclass
class MlflowTracking(TrackingSettings):
    uri: str | None = MISSING
    experiment: str = MISSING


@dataclass
class SweepSettings:
    resume: str | None = MISSING  # read from the command line before anything is composed, see pipeline.config.resume
    objective: str | None = MISSING


@dataclass(frozen=True)
class SweepJob:
    """Where a job of a sweep writes, and what makes it differ from the others."""

    folder: Path
    number: int
    overrides: tuple[str, ...]
