"""Texts, and indexes of texts and images: what they hold, which kind was chosen and why, what was measured."""

from __future__ import annotations

from typing import Any

from pipeline.report.indexes import HEADS, reasons, rows
from pipeline.report.parts import RunFolder, Section, Table, filled, table_of, text
from pipeline.report.privacy import Privacy
from pipeline.report.words import look_up, number

MOST_SKIPPED = 50  # rows of the table; the file holds all


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there were texts or an index."""
    found = rows(run)
    return filled(
        "indexes",
        "Texts and indexes",
        facts=_facts(run, privacy),
        reasons=reasons(run),
        indexes=Table(HEADS, found, frozenset(range(2, len(HEADS)))) if found else None,
        skipped=_skipped(run, privacy),
    )


def _facts(run: RunFolder, privacy: Privacy) -> list[tuple[str, str]]:
    """How many texts there were, and what became of them."""
    facts: list[tuple[str, Any]] = []
    if run.has("texts_summary"):
        row = run.table("texts_summary").iloc[0]
        facts += [("entries", number(row["entries"])), ("from", _source(run.record, privacy))]
        facts += [(what, number(row[name])) for name, what in _COUNTS.items() if row[name]]
    if run.has("text_encoding"):
        row = run.table("text_encoding").iloc[0]
        facts += [(what, number(row[name])) for name, what in _ENCODED.items() if row[name]]
        if row["fidelity"] < 1:
            facts.append(("smallest cosine to the exact way", f"{row['fidelity']:.5f}"))
    return facts


_COUNTS = {
    "files": "files read", "skipped": "files skipped", "lines": "lines or texts", "repeated": "repeated, taken once",
    "blank": "blank, left out", "long": "too long, left out", "nuls": "NUL characters, read as blanks",
}  # fmt: skip
_ENCODED = {"truncated": "longer than the model takes, cut", "unknown": "without a word that the model knows"}


def _source(record: dict[str, Any], privacy: Privacy) -> str:
    name, path = look_up(record, "config.text.name", "?"), look_up(record, "config.text.path")
    kinds = ", ".join(look_up(record, "config.text.kinds", []))
    said = f"text={name}" + (f", {privacy.setting('text.path', path)}" if path else "")
    prefix = look_up(record, "config.text.prefix", "")
    return said + (f": {kinds}" if kinds else "") + (f"; encoded after “{prefix}”" if prefix else "")


def _skipped(run: RunFolder, privacy: Privacy) -> Table | None:
    if not run.has("texts_skipped") or not len(frame := run.table("texts_skipped")):
        return None
    columns = [(name, name, text) for name in ("path", "reason", "detail")]
    link = "" if "path" in privacy.hide else "texts/skipped.csv"
    return table_of(privacy.table(frame), columns, MOST_SKIPPED, link, "files")
