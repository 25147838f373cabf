"""Pictures that belong to no other section."""

from __future__ import annotations

from pipeline.report.parts import RunFolder, Section, filled
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where there are any."""
    return filled("pictures", "Images", pictures=pictures_of(run, privacy, "pictures"))
