"""The comparison with clouds without clusters."""

from __future__ import annotations

from pipeline.report.parts import MOST_CLUSTERS, RunFolder, Section, Table, filled, link_to, table_of
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.sections.clusters import CLUSTER_COLUMNS, SUPPORT_COLUMNS
from pipeline.report.trust import null_in_words, rows, sampled, supported_k
from pipeline.report.words import is_missing, number, score


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where clusters were compared."""
    return filled(
        "trust",
        "Can the clusters be trusted?",
        table=_compared(run),
        clouds=_clouds(run),
        k=supported_k(run),
        pictures=pictures_of(run, privacy, "trust"),
        sample=_sample_clusters(run),
    )


def _compared(run: RunFolder) -> Table | None:
    """Every score against clouds without clusters, in both spaces."""
    found = rows(run)
    if not found:
        return None
    cells = [[row.label, row.where, row.observed, row.clouds, row.count, row.excess, row.p] for row in found]
    note = (
        "±: standard deviation, of the images over half-samples. ln: Calinski-Harabasz and Davies-Bouldin are compared "
        "by the logarithm of their ratio to the clouds' (geometric) mean, whose spread is a factor (×÷). The excess is "
        "positive where the images have more structure."
    )
    if any("*" in row.observed for row in found):
        note += (
            " *: half of the images score otherwise than all (the mean of the halves is more than two standard "
            "deviations away), so the number depends on how many images there are."
        )
    heads = ["score", "which clusters, where", "images", "clouds without clusters", "clouds", "excess", "p"]
    note = " ".join(filter(None, [sampled(run), note]))
    return Table(heads, cells, frozenset(range(2, 7)), note, link_to(run, "null_scores"))


def _clouds(run: RunFolder) -> dict[str, str]:
    """What the clouds were, and what they give where the images give a gap and clusters found again."""
    if not run.has("verdict"):
        return {}
    verdict = run.table("verdict").iloc[0]
    again = run.table("cluster_support")["null_jaccard"].tolist() if run.has("cluster_support") else []
    return {
        "alike": null_in_words(run.record),
        "gap": "" if is_missing(verdict["null_gap"]) else score(verdict["null_gap"]),
        "jaccard": "" if not again or is_missing(again[0]) else score(again[0]),
    }


def _sample_clusters(run: RunFolder) -> Table | None:
    """The clusters of the sample that was compared: others than the run's, though found in the same way."""
    if not sampled(run) or not run.has("cluster_support") or not len(frame := run.table("cluster_support")):
        return None
    columns = [*CLUSTER_COLUMNS[:2], ("nearest", "nearest cluster", number), *SUPPORT_COLUMNS]
    return table_of(frame, columns, MOST_CLUSTERS, link_to(run, "cluster_support"), "clusters")
