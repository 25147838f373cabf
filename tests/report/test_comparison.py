from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.comparison.scores import best_rows, score_columns
from pipeline.comparison.sheets import Sheet
from pipeline.report.comparison import Page, render_comparison
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
            "same_projection": float(1 + (projection == "none")),
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
    assert best_rows(rows, column(SILHOUETTE)) == {1, 2}  # the best of each projection
    assert best_rows(rows, column(COSINE)) == {2}  # one embedding: all jobs compare
    assert best_rows(rows, column(ARI)) == {2}
    assert best_rows(rows, column(NMI)) == {1, 2}  # grows with k: only at the same k


def test_encoders_do_not_share_an_embedding_but_share_labels() -> None:
    rows = sweep().rename(columns={"projection": "encoder", "same_projection": "same_embedding"})
    assert best_rows(rows, column(COSINE)) == {1, 2}
    assert best_rows(rows, column(ARI)) == {2}


def test_other_images_and_labels_are_not_ranked_together() -> None:
    rows = sweep().assign(same_labels=[1.0, 1.0, 2.0, None])
    assert best_rows(rows, column(ARI)) == {1}
    assert best_rows(rows.assign(same_labels=[1.0, 2.0, 3.0, 4.0]), column(ARI)) == set()


def test_a_clusterer_that_leaves_out_more_is_not_better_at_the_rest() -> None:
    rows = sweep().assign(noise=["0.0%", "0.0%", "40.0%", "0.0%"])
    assert best_rows(rows, column(ARI)) == {1}


def test_lower_is_better_for_davies_bouldin_and_equal_values_have_no_best() -> None:
    key = "cluster_metrics/embedding/davies_bouldin"
    rows = pd.DataFrame({"job": [0, 1, 2], "clustering.k": [2, 3, 4], key: [0.9, 0.4, None]})
    assert best_rows(rows, column(key)) == {1}
    assert best_rows(rows.assign(**{key: 1.0}), column(key)) == set()
    assert best_rows(rows[:1], column(key)) == set()


def test_columns_are_ordered_by_space_and_others_left_out() -> None:
    auc = "class_distances/separation/all/auc"
    columns = [ARI, "clustering/k", COSINE, "projection/quality/continuity", SILHOUETTE, "status", auc, f"{auc}_low"]
    columns += [f"{SILHOUETTE}/excess", f"{SILHOUETTE}/null_mean"]
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
    assert best_rows(rows, column("zero_shot/top1")) == {2}
    assert best_rows(rows, column("zero_shot/ece")) == {1}
    assert best_rows(rows.assign(same_words=[1.0, 1.0, 2.0]), column("zero_shot/top1")) == {1}
    html = render_comparison(rows, Page("Sweep"))
    assert "By texts" in html and "Recall at 1, caption to image" in html


def test_the_page_has_runs_failures_links_tables_and_pictures(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(PNG)
    rows = sweep().assign(overrides="", reason="")
    rows.loc[3, ["status", SILHOUETTE, COSINE, ARI, NMI]] = ["failed", None, None, None, None]
    rows.loc[3, ["overrides", "reason"]] = ["clustering.k=8 projection=none", "did you mean <umap>?"]
    sheet = Sheet("Paired differences", "how <it> was done", [("pair", False), ("x", True)], [["a − b", "<1>"]])
    pictures = {"comparison": picture, "comparison_models": tmp_path / "none.png"}
    page = Page("Sweep <1>", pictures, [sheet], ["other <images>"], "Data: made.")
    html = render_comparison(rows, page)
    assert [f'href="{job}/report.html"' in html for job in range(4)] == [True] * 4
    assert (
        "did you mean &lt;umap&gt;?" in html and "Sweep &lt;1&gt;" in html and "clustering.k=8 projection=none" in html
    )
    assert html.count("data:image/png") == 1
    assert html.index(">projection<") < html.index(">status<") < html.index("Silhouette")
    assert "nan" not in html and "model" not in html.split("<tbody>")[0].split("<thead>")[1]
    assert "k = 8" in html  # a best score names its k
    assert "other &lt;images&gt;" in html and "how &lt;it&gt; was done" in html and "Data: made." in html
    assert '<td>a − b</td><td class="number">&lt;1&gt;</td>' in html


def test_rows_of_different_images_stand_in_tables_of_their_own() -> None:
    html = render_comparison(sweep().assign(same_images=[1.0, 1.0, 2.0, None]), Page("Sweep"))
    first, second = html.split("<h3>Images 2</h3>")
    assert "<h3>Images 1</h3>" in first
    assert ['href="3/report.html"' in part for part in (first, second)] == [True, False]  # it came to no images
    assert ['href="2/report.html"' in part for part in (first, second)] == [False, True]


def test_verdicts_are_shown_and_none_is_called_best() -> None:
    rows = sweep().assign(verdict="none", excess=0.01, p=0.4, gap=0.97)
    rows.loc[0, ["verdict", "excess", "p", "gap"]] = ["supported", 0.312, 1e-6, 0.08]
    rows.loc[3, ["verdict", "excess", "p", "gap"]] = None
    html = render_comparison(rows, Page("Sweep"))
    heads = html.split("<tbody>")[0]
    assert [f">{name}<" in heads for name in ("verdict", "excess", "p", "gap")] == [False, False, True, False]
    assert heads.index("time") < heads.index("are there clusters?") < heads.index("excess silhouette")
    first = html.split("<tbody>")[1].split("</tr>")[0]
    assert '<span class="badge supported">clusters supported</span>' in first
    cells = [f'<td class="number">{text}</td>' for text in ("+0.312", "&lt; 0.001", "0.080")]
    assert "".join(cells) in first
    assert html.count("no clusters supported") == 2
    assert "are there clusters?" not in render_comparison(sweep(), Page("Sweep"))


def test_no_runs_at_all_and_reports_elsewhere() -> None:
    assert "No run left results." in render_comparison(pd.DataFrame(), Page("Sweep"))
    rows = pd.DataFrame({"job": [0], "run": ["2026-11-21/x"], "report": ["a b/report.html"], "status": ["complete"]})
    html = render_comparison(rows, Page("Sweep"))
    assert '<a href="a%20b/report.html">2026-11-21/x</a>' in html
