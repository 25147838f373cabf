"""What a run says at its end about its clusters."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.console import Say
from tests.report.fake_run import FakeRun, record
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
