"""What perturbed pixels change."""

from __future__ import annotations

from pipeline.report import robustness
from pipeline.report.parts import RunFolder, Section, Table, filled, link_to
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where images were perturbed."""
    if not (found := robustness.cells(run)):
        return None
    heads = robustness.HEADS
    skipped = run.table("robustness_skipped") if run.has("robustness_skipped") else None
    return filled(
        "robustness",
        "Perturbed pixels",
        answer=robustness.answer(run),
        protocol=robustness.protocol(run),
        caution=robustness.caution(run),
        table=Table(heads, found, frozenset(range(1, len(heads))), "", link_to(run, "robustness_scores")),
        skipped=0 if skipped is None else len(skipped),
        link=link_to(run, "robustness_skipped"),
        pictures=pictures_of(run, privacy, "robustness"),
    )
