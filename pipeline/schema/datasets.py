"""What a run may read: data sets and the rules by which image files are opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pipeline.schema.fields import MISSING, Texts, setting


class SeveralLabels(Enum):
    first = "first"
    drop = "drop"
    joined = "joined"


class ReleaseLayout(Enum):
    auto = "auto"
    merged = "merged"
    official = "official"


class ManyLabels(Enum):
    first_wanted = "first_wanted"
    most_specific = "most_specific"
    drop = "drop"
    multi = "multi"


class SixteenBit(Enum):
    range = "range"
    percentile = "percentile"
    full = "full"


@dataclass
class DatasetSettings:
    """Shared by every data set."""

    name: str = MISSING
    source: str = MISSING  # key in pipeline.datasets.SOURCES
    limit: int | None = setting(low=1)
    limit_per_class: int | None = setting(low=1)
    sample_seed: int = setting(low=0, high=2**32 - 1)
    max_unreadable: float = setting(low=0, high=1)
    pixel_size: int = setting(low=1, high=4096)


@dataclass
class DigitsDataset(DatasetSettings):
    splits: list[str] = MISSING


@dataclass
class FoldersDataset(DatasetSettings):
    root: str | None = setting(path=True)
    pairs: list[str] = MISSING
    recursive: bool = MISSING
    group: str | None = MISSING
    splits: list[str] = MISSING


@dataclass
class FilesDataset(DatasetSettings):
    files: Texts = setting(path=True)
    list: str | None = setting(path=True)
    group: str | None = MISSING


@dataclass
class WebdatasetDataset(DatasetSettings):
    shards: Any = setting(path=True)  # a pattern or several: text or list
    image: str | None = MISSING
    label: str | None = MISSING
    caption: str | None = MISSING
    group: str | None = MISSING


@dataclass
class ColumnSettings:
    """Which column of a table holds what; null: the column of that very name, where there is one."""

    image: str | None = MISSING
    id: str | None = MISSING
    label: str | None = MISSING
    caption: str | None = MISSING
    group: str | None = MISSING
    split: str | None = MISSING


@dataclass
class TableDataset(DatasetSettings):
    path: str = setting(path=True)
    root: str | None = setting(path=True)
    outside_root: bool = MISSING
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    extension: str = MISSING
    label_separator: str | None = MISSING
    several_labels: SeveralLabels = MISSING
    splits: list[str] = MISSING


@dataclass
class ParquetDataset(DatasetSettings):
    path: str = setting(path=True)
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    splits: list[str] = MISSING


@dataclass
class HuggingfaceDataset(DatasetSettings):
    path: str = MISSING  # a folder, or an id of the hub
    subset: str | None = MISSING
    split: str | None = MISSING
    revision: str | None = MISSING
    columns: ColumnSettings = field(default_factory=ColumnSettings)


@dataclass
class Rocov2Dataset(DatasetSettings):
    root: str | None = setting(path=True)
    layout: ReleaseLayout = MISSING
    table: str | None = setting(path=True)
    splits: list[str] = MISSING
    several_labels: SeveralLabels = MISSING


@dataclass
class OpenImagesDataset(DatasetSettings):
    root: str | None = setting(path=True)
    labels: Any = setting(path=True)  # a path, several, or none: text, list or null
    classes_table: str | None = setting(path=True)
    image_ids: str | None = setting(path=True)
    classes: list[str] = MISSING
    several_labels: ManyLabels = MISSING
    machine_threshold: float | None = setting(low=0, high=1)
    upright: bool = MISSING
    download: bool = MISSING
    base_url: str = MISSING
    download_split: str | None = MISSING


@dataclass
class ImageSettings:
    """The fields of inference.images.ReadingRules."""

    sixteen_bit: SixteenBit = MISSING
    max_pixels: int = setting(low=1)
    max_bytes: int = setting(low=1)
    max_aspect: float = setting(low=1)
