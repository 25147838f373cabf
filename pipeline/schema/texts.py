"""Texts: where they come from, and how a class becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.schema.fields import MISSING, Texts, setting


class TextKind(Enum):
    lines = "lines"
    unigrams = "unigrams"
    bigrams = "bigrams"
    trigrams = "trigrams"


@dataclass
class TextSettings:
    """Shared by every source of texts; where there are none, this is all."""

    name: str = MISSING
    source: str = MISSING  # none, folder, file, table, captions, labels or words


@dataclass
class LabelsText(TextSettings):
    prefix: str = MISSING


@dataclass
class WordsText(TextSettings):
    words: Texts = MISSING
    prefix: str = MISSING


@dataclass
class GramSettings(TextSettings):
    """Shared by sources that hold more than names."""

    kinds: list[TextKind] = MISSING
    lower: bool = MISSING
    min_count: int = setting(low=1)
    top_k: int = setting(low=1, high=10_000_000)
    chunk_size: int = setting(low=1, high=10_000_000)
    prefix: str = MISSING


@dataclass
class FilesText(GramSettings):
    """A folder or a file, as `source` says."""

    path: str = setting(path=True)
    across_lines: bool = MISSING


@dataclass
class TableText(GramSettings):
    path: str = setting(path=True)
    column: str = MISSING
    category_column: str | None = MISSING


@dataclass
class CaptionsText(GramSettings):
    pass


@dataclass
class PromptSettings:
    """How a class becomes texts: each template with the class in place of its `{}`."""

    name: str = MISSING
    templates: list[str] = MISSING
