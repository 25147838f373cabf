"""What was left out of the data."""

from __future__ import annotations

from pipeline.report.parts import Column, RunFolder, Section, Table, filled, table_of, text
from pipeline.report.privacy import Privacy
from pipeline.report.words import number

MOST_SKIPPED = 200  # rows of the table; the file holds all


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where a file was skipped."""
    counts, files = _skipped(run, privacy)
    return filled("skipped", "Skipped files", counts=counts, files=files)


def _skipped(run: RunFolder, privacy: Privacy) -> tuple[Table | None, Table | None]:
    """Skipped files counted by reason, and the files themselves."""
    reasons = run.record.get("skipped_reasons") or {}
    counts = None
    if reasons:
        rows = [[privacy.text(reason), number(count)] for reason, count in reasons.items()]
        counts = Table(["reason", "files"], rows, frozenset({1}))
    if run.skipped is None or len(run.skipped) == 0:
        return counts, None
    files = privacy.table(run.skipped.head(MOST_SKIPPED + 1))
    named = "path" if run.skipped["path"].astype(bool).any() else "id"  # vectors without images have no paths
    columns: list[Column] = [(name, name, text) for name in (named, "reason", "detail")]
    table = table_of(files, columns, MOST_SKIPPED, "" if {"path", "id"} & privacy.hide else "skipped.csv", "files")
    if len(run.skipped) > MOST_SKIPPED:
        note = f"The first {MOST_SKIPPED} of {number(len(run.skipped))} files."
        table = Table(table.heads, table.rows, table.numeric, note, table.link)
    return counts, table
