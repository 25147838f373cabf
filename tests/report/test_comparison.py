from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.report.comparison import best_jobs, render_comparison, score_columns
from tests.report.fake_run import PNG

SILHOUETTE = "cluster_metrics/projection/silhouette"
COSINE = "cluster_metrics/embedding/silhouette_cosine"
ARI = "cluster_metrics/labels/ari"
NMI = "cluster_metrics/labels/nmi"


def sweep() -> pd.DataFrame:
    rows = [
        {
            "job": job,
            "projection": projection,
            "clustering.k": k,
            "status": "complete",
            "k": k,
            "seconds": 2.0,
            "model": projection,
            SILHOUETTE: silhouette,
            COSINE: cosine,
            ARI: ari,
            NMI: ari,
            "clustering/inertia": 1.0,
        }
        for job, (projection, k, silhouette, cosine, ari) in enumerate(
            [
                ("umap", 4, 0.5, 0.1, 0.3),
                ("umap", 8, 0.6, 0.2, 0.5),
                ("none", 4, 0.2, 0.3, 0.7),
                ("none", 8, 0.1, 0.2, 0.4),
            ]
        )
    ]
    return pd.DataFrame(rows)


def column(key: str) -> object:
    return next(it for it in score_columns([key]))


def test_scores_are_compared_only_within_one_space() -> None:
    rows = sweep()
    assert best_jobs(rows, column(SILHOUETTE)) == {1, 2}  # the best of each projection
    assert best_jobs(rows, column(COSINE)) == {2}  # one embedding: all jobs compare
    assert best_jobs(rows, column(ARI)) == {2}
    assert best_jobs(rows, column(NMI)) == {1, 2}  # grows with k: only at the same k


def test_encoders_do_not_share_an_embedding_but_share_labels() -> None:
    rows = sweep().rename(columns={"projection": "encoder"})
    assert best_jobs(rows, column(COSINE)) == {1, 2}
    assert best_jobs(rows, column(ARI)) == {2}


def test_lower_is_better_for_davies_bouldin_and_equal_values_have_no_best() -> None:
    key = "cluster_metrics/embedding/davies_bouldin"
    rows = pd.DataFrame({"job": [0, 1, 2], "clustering.k": [2, 3, 4], key: [0.9, 0.4, None]})
    assert best_jobs(rows, column(key)) == {1}
    assert best_jobs(rows.assign(**{key: 1.0}), column(key)) == set()
    assert best_jobs(rows[:1], column(key)) == set()


def test_columns_are_ordered_by_space_and_others_left_out() -> None:
    auc = "class_distances/separation/all/auc"
    columns = [ARI, "clustering/k", COSINE, "projection/quality/continuity", SILHOUETTE, "status", auc, f"{auc}_low"]
    found = score_columns(columns)
    assert [it.key for it in found] == [SILHOUETTE, "projection/quality/continuity", COSINE, ARI, auc]


def test_what_texts_tell_compares_encoders_and_prompts_but_not_other_classes() -> None:
    recall = "retrieval/text_to_image/recall_at_1"
    rows = pd.DataFrame(
        {
            "job": [0, 1, 2],
            "encoder": ["openai", "open_clip", "open_clip"],
            "prompts": ["photo", "photo", "openai80"],
            "zero_shot/top1": [0.5, 0.7, 0.8],
            "zero_shot/top1_low": [0.4, 0.6, 0.7],
            "zero_shot/ece": [0.3, 0.1, 0.2],
            recall: [0.2, 0.1, 0.1],
        }
    )
    assert [it.key for it in score_columns(list(rows))] == ["zero_shot/top1", "zero_shot/ece", recall]
    assert best_jobs(rows, column("zero_shot/top1")) == {2}
    assert best_jobs(rows, column("zero_shot/ece")) == {1}
    assert best_jobs(rows.assign(**{"zero_shot.classes": ["a", "a", "b"]}), column("zero_shot/top1")) == {1}
    html = render_comparison(rows, None, [], "Sweep")
    assert "By texts" in html and "Recall at 1, caption to image" in html


def test_the_page_has_jobs_failures_links_and_the_picture(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(PNG)
    rows = sweep()
    rows.loc[3, ["status", SILHOUETTE, COSINE, ARI, NMI]] = ["failed", None, None, None, None]
    failures = [
        {"job": 3, "overrides": ["clustering.k=8", "projection=none"], "reason": "out of memory"},
        {"job": None, "overrides": "projection=umpa", "reason": "did you mean <umap>?"},
    ]
    html = render_comparison(rows, picture, failures, "Sweep <1>")
    assert [f'href="{job}/report.html"' in html for job in range(4)] == [True] * 4
    assert "out of memory" in html and "did you mean &lt;umap&gt;?" in html and "Sweep &lt;1&gt;" in html
    assert "clustering.k=8 projection=none" in html
    assert html.count("data:image/png") == 1
    assert html.index(">projection<") < html.index(">status<") < html.index("Silhouette")
    assert "nan" not in html and "model" not in html.split("<tbody>")[0].split("<thead>")[1]
    assert "k = 8" in html  # a best score names its k


def test_verdicts_are_shown_and_none_is_called_best() -> None:
    rows = sweep().assign(verdict="none", excess=0.01, p=0.4, gap=0.97)
    rows.loc[0, ["verdict", "excess", "p", "gap"]] = ["supported", 0.312, 1e-6, 0.08]
    rows.loc[3, ["verdict", "excess", "p", "gap"]] = None
    html = render_comparison(rows, None, [], "Sweep")
    heads = html.split("<tbody>")[0]
    assert [f">{name}<" in heads for name in ("verdict", "excess", "p", "gap")] == [False, False, True, False]
    assert heads.index("time") < heads.index("are there clusters?") < heads.index("excess silhouette")
    first = html.split("<tbody>")[1].split("</tr>")[0]
    assert '<span class="badge supported">clusters supported</span>' in first
    cells = [f'<td class="number">{text}</td>' for text in ("+0.312", "&lt; 0.001", "0.080")]
    assert "".join(cells) in first
    assert html.count("no clusters supported") == 2
    assert "are there clusters?" not in render_comparison(sweep(), None, [], "Sweep")


def test_no_jobs_at_all() -> None:
    html = render_comparison(pd.DataFrame(), None, [{"job": 0, "overrides": [], "reason": "no"}], "Sweep")
    assert "No job of this sweep left results." in html and "1 failed" in html


def test_reports_elsewhere_and_hidden_paths() -> None:
    rows = pd.DataFrame(
        {"job": [0], "report": ["a b/report.html"], "dataset.root": ["/home/ann"], "status": ["complete"]}
    )
    failures = [{"job": 1, "overrides": ["dataset.root=/home/bob"], "reason": "/home/bob: no images"}]
    assert "a%20b/report.html" in render_comparison(rows, None, failures, "Sweep")
    html = render_comparison(rows, None, failures, "Sweep", hide=["path"])
    assert "/home" not in html and "no images" in html
