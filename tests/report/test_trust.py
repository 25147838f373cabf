"""How the comparison with clouds without clusters is told: in the report, on the console, in a methods section."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest

from pipeline.report.build import render
from pipeline.report.methods import methods_paragraph, protocol_lines
from pipeline.report.trust import answer, rows, sampled, supported_k
from tests.report.fake_run import METRICS, FakeRun, cluster_table, record
from tests.report.test_build import Page

SENTENCE = (
    "In the encoder's own space the groups exceed that cloud by 0.12 and are separated by real gaps (0.29; 1 = none)"
)


def compared(**changes: Any) -> dict[str, Any]:
    """A record of a run with the comparison."""
    made = record()
    made["stages"].append({"name": "significance", "status": "done"})
    made["config"]["significance"] = {
        "null_model": "gaussian", "replicates": 5, "embedding_replicates": 19, "half_samples": 5,
        "max_images": 2000, "seed": 0,
    } | changes  # fmt: skip
    return made


def verdict(level: str = "supported", **changes: Any) -> pd.DataFrame:
    row = {
        "verdict": level, "sentence": f"{SENTENCE}: clusters supported.", "why": "", "images": 1795, "of": 1795,
        "clusters": 2, "score": "silhouette_euclidean", "excess": 0.12, "p": 1e-9, "gap": 0.29, "gap_sd": 0.04,
        "null_gap": 0.99,
        "k_low": 2, "k_high": 2, "k_gate": 0.5,
    }  # fmt: skip
    return pd.DataFrame([row | changes]).astype({"k_low": "Int64", "k_high": "Int64"})


def scores() -> pd.DataFrame:
    columns = ["space", "clusters_of", "name", "of", "observed", "half_mean", "half_sd", "depends_on_n", "null_mean",
               "null_sd", "replicates", "excess", "p"]  # fmt: skip
    nan = float("nan")
    return pd.DataFrame(
        [
            ("embedding", "projection", "silhouette_euclidean", "", 0.16, 0.16, 0.01, False, 0.04, 0.001, 5, 0.12, 0),
            ("projection", "projection", "silhouette", "", 0.81, 0.75, 0.01, True, 0.25, 0.004, 5, 0.56, 0.0345),
            ("projection", "projection", "davies_bouldin", "", 0.3, 0.3, 0.05, False, 1.2, 0.1, 5, 1.386, 0.2),
            ("embedding", "embedding", "silhouette_cosine", "", 0.3, nan, nan, False, nan, nan, 1, nan, nan),
            ("projection", "projection", "best_silhouette", "the best of k = 2 to 20", 0.81, nan, nan, False, 0.26,
             0.004, 5, 0.55, 0),
        ],
        columns=columns,
    )  # fmt: skip


def support() -> pd.DataFrame:
    return pd.DataFrame(
        {"cluster": [0, 1], "size": [200, 199], "nearest": [1, 0], "gap": [0.123, 0.123], "gap_sd": 0.031,
         "jaccard": [0.987, 0.5],
         "null_jaccard": 0.47}
    )  # fmt: skip


def votes(silhouette: int = 2, stability: int | None = 2, knee: int | None = 3) -> pd.DataFrame:
    ks = {"silhouette": silhouette, "stability": stability, "knee": knee}
    rows = [(name, "all", k) for name, k in ks.items() if k is not None] + [("silhouette", "half 1", 9)]
    return pd.DataFrame(rows, columns=["criterion", "sample", "k"])


def run(**frames: pd.DataFrame) -> FakeRun:
    given = {
        "k_votes": votes(),
        "null_scores": scores(),
        "cluster_support": support(),
        "cluster_table": cluster_table(2),
    }
    return FakeRun(record_=compared(), frames=given | {"verdict": verdict()} | frames)


def test_the_answer_stands_on_top_with_its_words_in_bold() -> None:
    html = render(run())
    page = Page(html)
    (box,) = (attrs for attrs in page.all("div") if "verdict" in str(attrs.get("class")))
    assert box["class"] == "box verdict supported"
    assert f"Are there clusters? {SENTENCE}: clusters supported ." in page.text
    assert '<strong class="level">clusters supported</strong>' in html
    assert html.index("Are there clusters?") < html.index('class="cards"')
    assert "data without any structure reach" not in html  # the run's own comparison says it better


@pytest.mark.parametrize(
    ("level", "said", "strong"),
    [
        ("none", "The groups have no gaps: no clusters supported; a cloud was cut up.", "no clusters supported"),
        ("weak", "Shallow dips: weak evidence of clusters.", "weak"),
        ("unknown", "Whether there are clusters cannot be told: 30 images are too few.", "cannot be told"),
    ],
)
def test_every_level_has_its_words(level: str, said: str, strong: str) -> None:
    found = answer(run(verdict=verdict(level, sentence=said)))
    assert found is not None
    assert (found.level, found.strong, found.text) == (level, strong, said)


def test_what_was_compared_with_nothing_says_so() -> None:
    made = record()
    made["left_out"] = [{"stage": "significance", "reason": "significance=none"}]
    alone = FakeRun(record_=made)
    assert "compared with nothing, so they cannot say (significance=none)" in Page(render(alone)).text
    assert "Can the clusters be trusted?" not in render(alone)
    assert "was not among the stages" in answer(FakeRun()).text  # type: ignore[union-attr]
    failed = FakeRun(record_=record(stages=[{"name": "replicates", "status": "failed"}]))
    assert "did not finish" in answer(failed).text  # type: ignore[union-attr]
    assert answer(FakeRun(metrics={"clustering/k": 3.0})) is None
    assert "data without any structure reach" in render(FakeRun())
    assert METRICS


def test_scores_name_their_space_and_never_a_bare_z() -> None:
    found = rows(run())
    published = "in the projection (the published kind)"
    assert [row.where for row in found[:3]] == [published] * 3
    assert [row.label for row in found] == [
        "Silhouette", "Davies-Bouldin", "Silhouette, the best of k = 2 to 20", "Silhouette (Euclidean)",
        "Silhouette (cosine)",
    ]  # fmt: skip
    assert (found[0].observed, found[0].clouds, found[0].excess, found[0].p) == (
        "0.810 ± 0.010 *", "0.250 ± 0.004", "+0.560", "0.035"
    )  # fmt: skip
    assert (found[1].clouds, found[1].excess) == ("1.200 ×÷ 1.11", "ln +1.386")  # exp(0.1) = 1.105
    assert found[3].p == "< 0.001"
    assert (found[4].observed, found[4].clouds, found[4].excess, found[4].p) == ("0.300", "–", "–", "–")
    assert rows(FakeRun()) == []


def test_the_section_explains_itself() -> None:
    page = Page(render(run()))
    assert "Can the clusters be trusted?" in page.text
    assert "clouds without groups, each with the same covariance, went through the same steps" in page.text
    assert "the clouds: 0.990" in page.text and "the clouds: 0.470" in page.text
    assert "depends on how many images there are" in page.text
    assert "How many? k = 2: the best silhouette (2)" in page.text


def test_clusters_get_their_gap_and_stability() -> None:
    page = Page(render(run())).text
    assert "gap to the nearest (1: none) ± sd of the gap found again in halves (1: whole)" in page
    assert "0.123 0.031 0.987" in page and "Clusters of the sample" not in page
    only = FakeRun(frames={"cluster_table": cluster_table(2)})
    assert "gap to the nearest" not in render(only)


def test_clusters_of_a_sample_are_not_the_runs() -> None:
    some = run(verdict=verdict(images=2000, of=9827))
    assert sampled(some) == "Measured on 2,000 of 9,827 images; the run's own scores are those above."
    page = Page(render(some)).text
    before, after = page.split("Clusters of the sample", 1)
    assert "they are not the run's clusters" in after and "0.123 0.031 0.987" in after.split("What was run")[0]
    assert "gap to the nearest" not in after.split("What was run", 1)[1]
    assert "Measured on 2,000 of 9,827 images" in before
    assert sampled(run()) == ""


def test_how_many_clusters() -> None:
    agree = "the best silhouette (2), the stability over half-samples (2) and the knee (3) agree within 1."
    assert supported_k(run()) == f"k = 2: {agree}"
    assert supported_k(run(verdict=verdict("none"))) == f"If there are any, k = 2: {agree}"
    assert supported_k(run(verdict=verdict(k_low=6, k_high=12), k_votes=votes(6, 12, 7))) == (
        "k = 6 to 12: the best silhouette (6), the stability over half-samples (12) and the knee (7) differ by more "
        "than 1, so no single k."
    )
    assert supported_k(run(k_votes=votes(2, None, None))) == "k = 2: by the best silhouette (2) alone."
    none = run(verdict=verdict("none", k_low=None, k_high=None, k_gate=0.0045))
    assert "No number of clusters is supported" in supported_k(none) and "is 0.00 beyond" in supported_k(none)
    assert supported_k(run(verdict=verdict(k_low=None, k_high=None, k_gate=float("nan")))) == ""
    assert supported_k(run(verdict=verdict("unknown"))) == ""
    assert supported_k(FakeRun()) == ""


def test_the_methods_name_clouds_halves_gaps_and_their_sources() -> None:
    text, references = methods_paragraph(compared(), 10)
    assert "those of 5 clouds drawn from the Gaussian with the mean and covariance of the embeddings" in text
    assert "are those of 5 half-samples without replacement" in text
    for author in ("Chari", "Liu", "Crawford", "Shao", "Hennig", "Silverman", "Scott", "Tibshirani"):
        assert any(reference.startswith(author) for reference in references), author
    cited = [int(number) for group in re.findall(r"\[([\d, ]+)\]", text) for number in group.split(",")]
    assert list(dict.fromkeys(cited)) == list(range(1, len(references) + 1))
    lines = protocol_lines(compared(), 10)
    assert any(line.startswith("Comparison: 5 clouds") and "on all images" in line for line in lines)
    assert any("with 19 clouds" in line for line in lines)


def test_the_methods_say_what_was_chosen() -> None:
    made = compared(max_images=500, half_samples=0, null_model="box")
    made["config"]["projection"] = {"name": "none"}
    text, references = methods_paragraph(made, 10)
    assert "compared, on a random sample of 500 images, with those of 19 clouds uniform in the box" in text
    assert "half-samples" not in text and not any("Hennig" in reference for reference in references)
    lines = " ".join(protocol_lines(made, 10))
    assert "19 clouds without clusters, each filling the same box evenly" in lines
    assert "a random sample of 500 images and clouds of that size" in lines and "random halves" not in lines
    weak = " ".join(protocol_lines(compared(null_model="isotropic"), 10))
    assert "(weak: images without clusters can exceed those too)" in weak
    grouped = compared()
    grouped["images"]["grouped"] = True
    assert "of whole groups" in methods_paragraph(grouped, 10)[0]
