"""Captions found by their images and images by their captions."""

from __future__ import annotations

from pipeline.report.parts import RunFolder, Section, Table, filled, link_to
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.retrieval import HEADS, cells


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there are captions and an encoder that sees them."""
    table = None
    if found := cells(run):
        table = Table(HEADS, found, frozenset(range(2, len(HEADS))), "", link_to(run, "retrieval_scores"))
    return filled("retrieval", "Captions and images", table=table, pictures=pictures_of(run, privacy, "retrieval"))
