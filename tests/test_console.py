"""What a run says at its end about its clusters."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.console import Say
from tests.report.fake_run import FakeRun, record
from tests.report.fake_words import NASTY, all_frames, hits_frames, index_frames, words_record, zero_shot_frames
from tests.report.test_trust import SENTENCE, run, verdict


def test_the_verdict_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Say().verdict(run())
    assert capsys.readouterr().out == f"are there clusters? {SENTENCE}: clusters supported.\n"


def test_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    Say().verdict(FakeRun(metrics={"clustering/k": 3.0}))
    assert capsys.readouterr().out == ""
    made = record(left_out=[{"stage": "significance", "reason": "significance=none"}])
    Say().verdict(FakeRun(record_=made))
    assert "compared with nothing, so they cannot say (significance=none)." in capsys.readouterr().out


def test_the_scores_against_clouds(capsys: pytest.CaptureFixture[str]) -> None:
    Say().summary(run(verdict=verdict(images=2000, of=9827)))
    out = capsys.readouterr().out
    table = out.split("against clouds without clusters")[1]
    heads = [line.strip() for line in table.splitlines() if "published kind" in line or "in the embedding" in line]
    assert heads == ["in the projection (the published kind)", "the same clusters, in the embedding"]
    silhouette = next(line.split("  ") for line in table.splitlines() if line.strip().startswith("Silhouette  "))
    assert [cell.strip() for cell in silhouette if cell.strip()] == [
        "Silhouette", "0.810 ± 0.010 *", "0.250 ± 0.004", "+0.560", "0.035"
    ]  # fmt: skip
    assert "Measured on 2,000 of 9,827 images; the run's own scores are those above." in table
    assert "*: half of the images score otherwise than all." in table
    assert "how many clusters? k = 2: the best silhouette (2), the stability" in table


def test_criteria_are_not_named_where_no_k_is_supported(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"k_selection/projection/silhouette/k": 10.0, "clustering/k": 10.0}
    plain = FakeRun(metrics=metrics)
    Say().summary(plain)
    assert "Silhouette in the projection (10)" in capsys.readouterr().out
    none = verdict("none", k_low=None, k_high=None, k_gate=0.01)
    Say().summary(FakeRun(metrics=metrics, frames={"verdict": none, "null_scores": pd.DataFrame(
        columns=["space", "clusters_of"])}))  # fmt: skip
    out = capsys.readouterr().out
    assert "No number of clusters is supported" in out and "(10)" not in out


WORDS = {"tagging/best_score": 0.31, "texts/entries": 1200.0}


def words(text: str = "zero", **changes: object) -> FakeRun:
    return FakeRun(record_=words_record(**changes), metrics=WORDS, frames=all_frames(text))


def test_what_words_say_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    Say().summary(words())
    out = " ".join(capsys.readouterr().out.split())
    for said in (
        "0 zero; nought 0.050 0.040 to 0.060 0.020 beats chance (p = 0.005), fits no other as well",
        "Accuracy (top-1) 0.900 0.830 to 0.950 largest class 0.600, guesses 0.500",
        "Its probabilities are overconfident by 0.080",
        "most frequent errors: dog called cat (6, 15 % of them); cat called dog (4, 7 % of them)",
        "an image, its caption right 0.300 (0.200 to 0.400) 0.011 0.300 0.300 4.0 of 90",
        "most frequent tags (share of images): zero (40 %); mean cosine of the best: 0.310",
        "zero patient-1 0.300 cat",
        "index of texts: exact, 1,200 vectors, 307.2 kB, recall 1.000 at 10, 0.21 ms a query, 0.012 in a batch",
    ):
        assert said in out, said
    assert "patient-5" in out and "patient-6" not in out  # five of each query


def test_markup_and_line_breaks_in_texts_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    Say().summary(words(f"[bold]{NASTY}\nnext"))
    out = capsys.readouterr().out
    assert out.count("[bold]<script>") == 3 and "\nnext" not in out  # name, tag, query


def test_a_run_of_texts_alone(capsys: pytest.CaptureFixture[str]) -> None:
    made = words(images={"listed": 0, "classes": 0})
    made._frames = index_frames()
    Say().summary(made)
    assert capsys.readouterr().out.strip().startswith("texts: folder: 1,200 entries")


def test_predictions_where_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A few images one by one, with the next best; of many how often each class."""
    one = zero_shot_frames()["predictions"]
    made = words()
    made._frames = {"predictions": one}
    Say().summary(made)
    out = " ".join(capsys.readouterr().out.split())
    assert "what each image is taken for" in out
    assert "patient-1 dog 0.900 0.300 cat 0.100 0.280" in out
    made._frames = {"predictions": pd.concat([one] * 6 + [one.assign(predicted="[b]cat", probability=0.5)] * 2)}
    Say().summary(made)
    out = " ".join(capsys.readouterr().out.split())
    assert "dog 6 75 % 0.900 [b]cat 2 25 % 0.500" in out
    assert "patient-1" not in out


def test_captions_stand_for_labels_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    made = words()
    made._frames = hits_frames()
    made._frames["hits"]["label"] = None
    Say().summary(made)
    assert "0.300 Mrs Smith's chest" in " ".join(capsys.readouterr().out.split())
    made.record["config"]["report"] = {"hide": ["caption"]}
    Say().summary(made)
    assert "Smith's" not in capsys.readouterr().out
