"""analysis=robustness on the command line: on an old run, with a network, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors

FEW = ("robustness.perturbations=[contrast,jpeg,occlusion]", "projection=pca", "clustering.k=3")


def test_a_network_on_an_old_run(cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
    weights = save_safetensors(tmp_path / "clip.safetensors", random_state(TINY_VIT))
    words = ("dataset=folders", f"dataset.root={three_classes}", "encoder=openai", f"encoder.weights={weights}")
    first = cli(*words, "projection=pca", "clustering.k=3", "analysis=clustering")
    result = cli("analysis=robustness", f"from_run={first.folder}", FEW[0])
    run = load_run(result.folder)
    done = [stage["name"] for stage in run.record["stages"]]
    assert "robustness" in done and "embedding" not in done and "clustering" not in done
    assert result.metrics["robustness/none/0/flip_rate"] == 0
    assert result.metrics["robustness/none/0/cosine_min"] == pytest.approx(1, abs=1e-6)
    assert result.metrics["robustness/occlusion/3/cosine"] < 1
    assert "perturbed pixels" in result.out and "83 %" in result.out
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Perturbed pixels" in page and "Benchmarking neural network robustness" in page
    again = cli(*words, *FEW, "analysis=robustness", "cache=none", "embedding.workers=2")
    pictures = {file.name for file in (again.folder / "robustness").glob("*.png")}
    assert "rates.png" in pictures and "curves.png" not in pictures
    for name, table in (
        ("robustness_scores", run["robustness_scores"]),
        ("robustness_images", run["robustness_images"]),
    ):
        assert table.round(5).equals(load_run(again.folder)[name].round(5)), name


def test_what_is_refused(cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
    words = ("dataset=folders", f"dataset.root={three_classes}", "analysis=robustness")
    wrong = cli(*words, "robustness.severities=[0,3]", "robustness.images=1", status=2)
    assert "robustness.severities = [0, 3]: must be from 1 to 5" in wrong.err
    assert "robustness.images = 1: must be at least 2" in wrong.err
    unknown = cli(*words, "robustness.perturbations=[gausian_noise]", status=2)
    assert "did you mean gaussian_noise?" in unknown.err
    none = cli(*words, "robustness.perturbations=[]", "robustness.severities=[]", status=2)
    assert none.err.count("name at least one") == 2
    first = cli("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "stages=[embedding]")
    vectors = first.folder / "embeddings" / "img_emb" / "img_emb_0000.npy"
    given = cli(*words, "encoder=precomputed", f"encoder.path={vectors}", status=2)
    assert "stage 'robustness' cannot be done: encoder=precomputed has vectors, but nothing that could" in given.err
