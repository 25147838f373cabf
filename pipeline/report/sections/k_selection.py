"""Which numbers of clusters are suggested, and by what."""

from __future__ import annotations

from pipeline.metrics.k_selection import LABELS, in_words
from pipeline.report.parts import MOST_CLUSTERS, SPACES, Column, RunFolder, Section, Table, filled, named_table
from pipeline.report.pictures import pictures_of
from pipeline.report.privacy import Privacy
from pipeline.report.words import number, score

_K_SCORE_COLUMNS: list[Column] = [
    ("k", "k", number),
    ("inertia_projection", "inertia, projection", score),
    ("silhouette_projection", "silhouette, projection (Euclidean)", score),
    ("calinski_harabasz_projection", "Calinski-Harabasz, projection", score),
    ("davies_bouldin_projection", "Davies-Bouldin, projection", score),
    ("silhouette_embedding", "silhouette, embedding (cosine)", score),
]


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Where several numbers of clusters were tried."""
    sentence, suggested = _suggestions(run)
    return filled(
        "k_selection",
        "How many clusters",
        sentence=sentence,
        suggestions=suggested,
        scores=named_table(run, "k_scores", _K_SCORE_COLUMNS, MOST_CLUSTERS, "rows"),
        pictures=pictures_of(run, privacy, "k_selection"),
    )


def _suggestions(run: RunFolder) -> tuple[str, Table | None]:
    """Which criteria agree on k, in words, and what each suggests."""
    if not run.has("k_suggestions") or not len(frame := run.table("k_suggestions")):
        return "", None
    found = [(LABELS[row["criterion"]], row) for row in frame.to_dict("records")]
    rows = [
        [
            label,
            SPACES.get(row["space"], row["space"]),
            {"knee": "farthest below the chord"}.get(row["rule"], row["rule"]),
            number(row["k"]),
            score(row["value"]),
            "an end of the range: a wider one may move it" if row["at_end"] else "",
        ]
        for label, row in found
    ]
    table = Table(["criterion", "space", "rule", "suggested k", "value there", "note"], rows, frozenset({3, 4}))
    return in_words({label: int(row["k"]) for label, row in found}), table
