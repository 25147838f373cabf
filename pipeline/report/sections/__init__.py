"""The sections of a report, in their order. A new one is a module with `section(run, privacy) -> Section | None`, a
template of its key in templates/sections that draws its content, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.parts import RunFolder, Section
from pipeline.report.privacy import Privacy
from pipeline.report.sections import (
    clusters,
    distances,
    experiment,
    glance,
    indexes,
    k_selection,
    label_structure,
    labels,
    left_out,
    map,
    methods,
    names,
    pictures,
    protocol,
    provenance,
    quality,
    retrieval,
    robustness,
    search,
    skipped,
    tags,
    training,
    trust,
    zero_shot,
)

SECTIONS: tuple[Callable[[RunFolder, Privacy], Section | None], ...] = (
    glance.section,
    trust.section,
    training.section,
    experiment.section,
    protocol.section,
    quality.section,
    distances.section,
    labels.section,
    k_selection.section,
    map.section,
    clusters.section,
    names.section,
    label_structure.section,
    zero_shot.section,
    retrieval.section,
    tags.section,
    search.section,
    robustness.section,
    indexes.section,
    pictures.section,
    skipped.section,
    left_out.section,
    provenance.section,
    methods.section,
)


def sections_of(run: RunFolder, privacy: Privacy) -> list[Section]:
    """All that this run has something for."""
    made = [section(run, privacy) for section in SECTIONS]
    return [section for section in made if section is not None]
