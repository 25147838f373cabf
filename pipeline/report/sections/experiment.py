"""Published values beside what this run measured."""

from __future__ import annotations

from pipeline.report.experiment import HEADS, MEANING, blocks
from pipeline.report.parts import RunFolder, Section, Table, filled, link_to
from pipeline.report.privacy import Privacy


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where something was published of this data set and encoder, or the run was repeated."""
    link = link_to(run, "experiment_scores")
    found = [
        {
            "title": block.title,
            "source": block.source,
            "told": list(map(privacy.text, block.told)),
            "table": Table(HEADS, block.rows, frozenset({1, 2, 3, 4}), "", link),
        }
        for block in blocks(run)
    ]
    return filled("experiment", "Published values", blocks=found, meaning=MEANING if found else "")
