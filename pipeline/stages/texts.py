"""The texts that images are compared with: lines and n-grams, each once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.errors import RunError
from pipeline.schema import FilesText, GramSettings, TableText, plain
from pipeline.stage import Stage, Workspace
from pipeline.texts.gathering import LONGEST, Gathered, gather
from pipeline.texts.sources import TextSources

log = logging.getLogger(__name__)

COUNTS = ("files", "lines", "blank", "long", "repeated", "nuls")  # of a Gathered


def run(settings: Any, workspace: Workspace, text_sources: TextSources) -> dict[str, Any]:
    """`texts`: files of a large table. `texts_skipped`: path, reason, detail of files that could not be read.
    `texts_summary`: one row of counts."""
    found = gather(text_sources, settings.text, workspace.folder, workspace.progress)
    _tell(found, settings.text)
    entries = sum(found.entries.values())
    if not entries:
        raise RunError(f"text={settings.text.name}: {_why_none(text_sources, found, settings.text)}")
    summary = {"entries": entries} | {name: getattr(found, name) for name in COUNTS} | {"skipped": len(found.skipped)}
    return {
        "texts": workspace.folder / "texts",
        "texts_skipped": pd.DataFrame(found.skipped, columns=["path", "reason", "detail"], dtype=object),
        "texts_summary": pd.DataFrame([summary]),
    }


def _tell(found: Gathered, settings: Any) -> None:
    if found.skipped:
        total = found.files + len(found.skipped)
        files = f"{len(found.skipped):,} of {total:,} text files"
        log.warning("%s could not be read (%s); see texts/skipped.csv", files, _reasons(found))
    if found.long:
        log.warning("texts of more than %s characters, which are no entries: %s", f"{LONGEST:,}", f"{found.long:,}")
    if found.nuls:
        log.warning("NUL characters in text files, read as spaces: %s", f"{found.nuls:,}")
    for kind in plain(settings.kinds) if isinstance(settings, GramSettings) else ():
        if kind in ("bigrams", "trigrams") and kind.removesuffix("s") not in found.entries:
            log.warning("no %s: none that is no line too occurs %d times (text.min_count)", kind, settings.min_count)


def _reasons(found: Gathered) -> str:
    counts = Counter(reason for _, reason, _ in found.skipped)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def _why_none(sources: TextSources, found: Gathered, settings: Any) -> str:
    if found.skipped and not found.files:
        name, reason, detail = found.skipped[0]
        more = f", and {len(found.skipped) - 1} more files" if len(found.skipped) > 1 else ""
        return f"no text could be read: {name}: {reason} ({detail}){more}"
    files = f"{found.files} file{'s' * (found.files != 1)}"
    what = files if isinstance(settings, FilesText) else "the table" if found.files else "the texts"
    return f"there is nothing in {what} to make an entry of"


def keyed(settings: Any) -> dict[str, Any]:
    """How texts become entries: not where they lie, nor what is put before them."""
    text = settings.text
    if not isinstance(text, GramSettings):
        return {}
    kinds = sorted(plain(text.kinds))
    how: dict[str, Any] = {"kinds": kinds, "lower": text.lower}
    if kinds != ["lines"]:
        how |= {"min_count": text.min_count, "top_k": text.top_k}
        how |= {"across_lines": text.across_lines} if isinstance(text, FilesText) else {}
    if isinstance(text, TableText):
        how |= {"column": text.column, "category_column": text.category_column}
    return how


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """How many there are, and of what."""
    row = made["texts_summary"].iloc[0]
    return {name: row[name] for name in ("entries", "repeated", "blank", "long", "files", "skipped")}


def settled(made: Mapping[str, Any]) -> bool:
    """A file that changed under our hands may be there another time."""
    return "changed" not in set(made["texts_skipped"]["reason"])


STAGE = Stage(
    name="texts",
    needs=("text_sources",),
    makes=("texts", "texts_skipped", "texts_summary"),
    settings=("text",),
    packages=("nltk",),
    run=run,
    keyed=keyed,
    metrics=metrics,
    settled=settled,
)
