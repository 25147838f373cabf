"""Whether clusters and embedding know the labels."""

from __future__ import annotations

from pipeline.metrics.catalog import METRICS
from pipeline.report.parts import RunFolder, Section, Table, direction, filled, link_to
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.trust import labels_in_words
from pipeline.report.words import is_missing, look_up, number, score


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where labels were compared."""
    return filled(
        "label_structure",
        "Labels",
        table=_label_structure(run),
        said=labels_in_words(run),
        pictures=pictures_of(run, privacy, "label_structure"),
    )


def _label_structure(run: RunFolder) -> Table | None:
    """How far clusters, neighbours and a probe find the labels, beside what permuted labels give."""
    if not run.has("label_structure"):
        return None
    rows = []
    for row in run.table("label_structure").to_dict("records"):
        info = METRICS[row["name"]]
        chance = score(row["permuted_mean"])
        chance += "" if is_missing(row["permuted_sd"]) else f" ± {score(row['permuted_sd'])}"
        cells = [score(row["value"]), chance, number(row["p"]), number(row["images"])]
        rows.append([info.label, *cells, direction(info.better), row["meaning"]])
    if not rows:
        return None
    heads = ["score", "value", "with permuted labels", "p", "images", "better", "meaning"]
    return Table(heads, rows, frozenset(range(1, 5)), _permutations(run), link_to(run, "label_structure"))


def _permutations(run: RunFolder) -> str:
    """How labels were permuted, and what was measured on a sample."""
    count = look_up(run.record, "config.significance.permutations", 0)
    most = look_up(run.record, "config.significance.max_images")
    grouped = look_up(run.record, "images.grouped")
    groups = ", between groups as wholes where every group has one label" if grouped else ""
    said = f"Labels were permuted {number(count)} times{groups}. " if count else "No labels were permuted. "
    return f"{said}Neighbours and probe: a random sample where more than {number(most)} images have a label."
