"""What was not done, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.parts import RunFolder, Section, Table, filled
from pipeline.report.privacy import Privacy
from pipeline.stage import by_choice


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where a stage was left out."""
    return filled("left_out", "Left out", table=_left_out(run.record, privacy))


def _left_out(record: Mapping[str, Any], privacy: Privacy) -> Table | None:
    told = [item for item in record.get("left_out") or [] if not by_choice(str(item.get("reason")))]
    rows = [[str(item.get("stage")), privacy.text(item.get("reason"))] for item in told]
    return Table(["stage", "why it was left out"], rows) if rows else None
