"""A run as a notebook shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.card import card
from pipeline.run_dir import ARTIFACTS, load_run, write_json
from tests.report.fake_run import METRICS, PNG, FakeRun, record

VERDICT = pd.DataFrame({"verdict": ["supported"], "sentence": ["Real gaps: clusters supported."], "k_gate": [np.nan]})


def with_map(folder: Path, stage: str = "clustering", **changes: Any) -> FakeRun:
    file = folder / f"{stage}.png"
    file.write_bytes(PNG)
    return FakeRun(folder, record(**changes), frames={"verdict": VERDICT}, pictures=[(stage, "map", file)])


def test_verdict_numbers_and_map(tmp_path: Path) -> None:
    made = card(with_map(tmp_path))
    assert "Real gaps: <strong>clusters supported</strong>." in made
    for told in ("digits", "1,795", "UMAP", "k = 10", "<td>0.721</td>", "<td>0.812</td>"):
        assert told in made
    assert made.count('<img src="data:image/png;base64,') == 1
    assert "02:15" not in made and str(tmp_path) not in made  # no time, no place


def test_other_peoples_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    made = card(with_map(tmp_path, dataset={"name": evil}, status="failed", reason=evil, warnings=[evil]))
    assert "<script" not in made
    assert made.count("&lt;script&gt;") == 4  # title, data set, reason, warning
    assert "<strong>failed</strong>" in made


def test_what_is_hidden_is_not_there(tmp_path: Path) -> None:
    made = record(warnings=["left out: /data/mr smith.png"], status="failed", reason="no such file /data/smith.png")
    made["config"]["report"]["hide"] = ["path", "caption"]
    made["config"]["text"] = {"source": "captions"}
    run = with_map(tmp_path, "naming", **made)
    said = card(run)
    assert "smith.png" not in said
    assert "<img" not in said  # names of clusters are captions here


def test_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"status": "interrupted", "reason": "interrupted by the user", "config": {}})
    assert "interrupted by the user" in load_run(tmp_path)._repr_html_()


def test_of_a_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", record(stages=[{"name": "clustering", "status": "done"}]))
    write_json(tmp_path / "metrics.json", METRICS)
    (tmp_path / "clustering").mkdir()
    (tmp_path / "clustering/map.png").write_bytes(PNG)
    ARTIFACTS["verdict"].save(VERDICT, tmp_path)
    shown = load_run(tmp_path)._repr_html_()
    assert "clusters supported" in shown and "<img" in shown and "0.721" in shown
