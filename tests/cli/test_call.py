"""The command line from Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline import call
from pipeline.call import clipscope
from pipeline.errors import CallError, RunError


def test_a_run_and_what_follows_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a notebook
    place = tmp_path / "it's (a), [b]=c"
    place.mkdir()
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    (tmp_path / "items.csv").write_text("id,label\n" + "".join(f"{i},{i % 3}\n" for i in range(30)))
    where = [f"paths.outputs='{place / 'outputs'}'".replace("it's", "it\\'s"), f"paths.cache={tmp_path / 'cache'}"]
    run = clipscope("dataset=table", f"dataset.path={tmp_path / 'items.csv'}", "encoder=precomputed",
                    f"encoder.path={tmp_path / 'vectors.npy'}", "stages=[class_distances]", *where)  # fmt: skip
    assert run.record["status"] == "complete" and run.folder.is_relative_to(place)
    assert run["image_embeddings"].shape == (30, 4)
    later = clipscope("projection=none", "clustering.k=3", "stages=[clustering]", *where, from_run=run)
    assert later.metrics["clustering/k"] == 3 and later.record["taken"]["runs"]["from_run"] == str(run.folder)


def test_calls_that_make_no_run(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=re.escape("clustering.k = 0: must be at least 2")):
        clipscope("clustering.k=0")
    with pytest.raises(CallError, match="-m: a sweep has many runs"):
        clipscope("-m", "clustering.k=2,3")
    with pytest.raises(CallError, match=r"this call makes no run: dry_run=true"):
        clipscope("dry_run=true", "encoder=none", f"paths.outputs={tmp_path}", f"paths.cache={tmp_path}")


def test_a_run_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_result", lambda command: (1, "report: x\n", "warning: w\nerror: no room left\n"))
    with pytest.raises(RunError, match=r"^no room left$"):
        clipscope()
    monkeypatch.setattr(call, "_result", lambda command: (-9, "", "Killed"))
    with pytest.raises(RunError, match="exit status -9: Killed"):
        clipscope()
