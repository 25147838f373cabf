"""k selection end to end: scikit-learn's numbers, ranges that do not fit, and what is computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import class_folders, picture

STAGE = ("dataset=folders", "encoder.size=8", "projection=pca", "stages=[k_selection]")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("images"), {"": 40})


def test_every_k_has_scikit_learns_scores(cli: Clipscope, images: Path) -> None:
    run = load_run(cli(*STAGE, f"dataset.root={images}", "k_selection.k_max=14").folder)
    projection, embeddings = run["projection"].astype(float), run["image_embeddings"].astype(float)
    table = run["k_scores"].set_index("k")
    assert table.index.tolist() == list(range(1, 15))
    assert table.loc[1].notna().tolist() == [True, False, False, False, False]
    assert run["k_clusters"].shape == run["k_silhouettes"].shape == (40, 11)
    for k in range(1, 15):
        model = KMeans(k, n_init=10, random_state=0).fit(run["projection"])
        assert table.loc[k, "inertia_projection"] == pytest.approx(model.inertia_, rel=1e-5)
        if k == 1:
            continue
        expected = {
            "silhouette_projection": metrics.silhouette_score(projection, model.labels_),
            "silhouette_embedding": metrics.silhouette_score(embeddings, model.labels_, metric="cosine"),
            "calinski_harabasz_projection": metrics.calinski_harabasz_score(projection, model.labels_),
            "davies_bouldin_projection": metrics.davies_bouldin_score(projection, model.labels_),
        }
        for name, value in expected.items():
            assert table.loc[k, name] == pytest.approx(value, rel=1e-6, abs=1e-6), (k, name)
        if k <= 12:
            samples = metrics.silhouette_samples(projection, run["k_clusters"][:, k - 2])
            np.testing.assert_allclose(run["k_silhouettes"][:, k - 2], samples, atol=1e-6)
    best = int(table["silhouette_projection"].idxmax())
    assert run.metrics["k_selection/projection/silhouette/k"] == best
    assert {name for stage, name, _ in run.pictures if stage == "k_selection"} == {
        "elbow", "silhouettes_by_k", "dispersion_by_k", "blades_by_k",
    }  # fmt: skip


def test_a_range_beyond_the_images_is_lowered_and_said(cli: Clipscope, tmp_path: Path) -> None:
    root = class_folders(tmp_path / "images", {"": 8})
    result = cli(*STAGE, f"dataset.root={root}", "projection.n_components=2")
    assert "k_selection.k_max = 20 lowered to 7: there are 8 images" in result.err
    assert result.metrics["k_selection/k_max"] == 7
    result = cli(*STAGE, f"dataset.root={root}", "projection.n_components=2", "k_selection.k_min=15")
    assert "k_selection.k_min = 15 lowered to 7" in result.err
    assert load_run(result.folder)["k_scores"]["k"].tolist() == [6, 7]
    assert "how many clusters?" in result.out


def test_the_inertia_starts_one_below_the_range(cli: Clipscope, images: Path) -> None:
    result = cli(*STAGE, f"dataset.root={images}", "k_selection.k_min=13", "k_selection.k_max=15")
    run = load_run(result.folder)
    assert run["k_scores"]["k"].tolist() == [12, 13, 14, 15]
    assert run["k_clusters"].shape == (40, 3)
    assert [len(np.unique(column)) for column in run["k_clusters"].T] == [13, 14, 15]


@pytest.mark.parametrize(("count", "why"), [(6, "only 1 different vector"), (2, "there are 2 images")])
def test_nothing_to_choose_from(cli: Clipscope, tmp_path: Path, count: int, why: str) -> None:
    for i in range(count):
        picture(tmp_path / "same" / f"{i}.png", seed=0)
    result = cli(*STAGE, f"dataset.root={tmp_path / 'same'}", "projection=none")
    assert f"k_selection: no number of clusters can be scored: {why}" in result.err
    run = load_run(result.folder)
    assert run["k_scores"]["k"].tolist() == [1]
    assert len(run["k_suggestions"]) == 0
    assert run["k_clusters"].shape == (count, 0)


def test_fewer_different_images_than_k(cli: Clipscope, tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / "few" / f"{i}.png", seed=i % 4)
    result = cli(*STAGE, f"dataset.root={tmp_path / 'few'}", "projection=none")
    assert "k_selection.k_max = 20 lowered to 4: only 4 different vectors" in result.err
    scores = load_run(result.folder)["k_scores"]
    assert scores["k"].tolist() == [1, 2, 3, 4]
    assert scores["silhouette_projection"].iloc[-1] == pytest.approx(1)


def test_a_wrong_range_is_refused_at_once(cli: Clipscope) -> None:
    result = cli("k_selection.k_min=9", "k_selection.k_max=5", status=2)
    assert "k_selection.k_min = 9: is above k_selection.k_max = 5" in result.err
    result = cli("k_selection.k_min=1", status=2)
    assert "k_selection.k_min = 1: must be at least 2" in result.err


def test_a_sweep_over_k_selects_once(cli: Clipscope, images: Path) -> None:
    words = ("dataset=folders", f"dataset.root={images}", "encoder.size=8", "projection=pca")
    cli("-m", *words, "stages=[k_selection,clustering]", "clustering.k=2,3")
    jobs = [load_run(cli.sweeps()[-1] / str(number)) for number in (0, 1)]
    hits = [{stage["name"]: stage["cache"] for stage in job.record["stages"]}["k_selection"] for job in jobs]
    assert hits == ["miss", "hit"]
