"""The run as a paragraph of a paper."""

from __future__ import annotations

from pipeline.report.methods import methods_paragraph
from pipeline.report.parts import RunFolder, Section, filled
from pipeline.report.privacy import Privacy


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """With the works to cite."""
    paragraph, references = methods_paragraph(run.record, run.metrics.get("clustering/k"))
    return filled("methods", "Methods, to cite", paragraph=privacy.text(paragraph), references=references)
