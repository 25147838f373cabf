"""What was run, in words."""

from __future__ import annotations

from pipeline.report.methods import protocol_lines
from pipeline.report.parts import RunFolder, Section, filled
from pipeline.report.privacy import Privacy


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """A line for each step."""
    lines = protocol_lines(run.record, run.metrics.get("clustering/k"))
    return filled("protocol", "What was run", lines=list(map(privacy.text, lines)))
