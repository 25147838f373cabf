"""A checkpoint that was trained."""

from __future__ import annotations

from pipeline.report.parts import RunFolder, Section, Table, filled, link_to
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.training import HEADS, cells, sentence


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where one was."""
    table = None
    if found := cells(run):
        table = Table(HEADS, found, frozenset(range(1, len(HEADS))), "", link_to(run, "training_summary"))
    pictures = pictures_of(run, privacy, "training")
    return filled("training", "Training", sentence=sentence(run), table=table, pictures=pictures)
