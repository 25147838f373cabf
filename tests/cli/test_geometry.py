"""Every projection and every clusterer, from image files to scores; neighbours shared; noise; bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import class_folders

STAGES = "stages=[cluster_metrics]"


def test_clusterers_by_projections(cli: Clipscope, three_classes: Path) -> None:
    words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", STAGES, "clustering.k=3")
    cli("-m", *words, "clustering=kmeans,gmm,agglomerative,spherical_kmeans", "projection=umap,none")
    folder = cli.sweeps()[0]
    rows = pd.read_csv(folder / "comparison.csv")
    assert set(rows["status"]) == {"complete"}
    assert rows["k"].tolist() == [3] * 8
    assert rows["clustering/noise_share"].tolist() == [0] * 8
    later = {stage["name"]: stage["cache"] for stage in load_run(folder / "7").record["stages"]}
    assert {later[name] for name in ("embedding", "neighbours", "projection")} == {"hit"}
    first = {stage["name"]: stage["cache"] for stage in load_run(folder / "1").record["stages"]}
    assert (first["neighbours"], first["projection"]) == ("hit", "miss")  # umap's are none's
    for number in range(8):
        run = load_run(folder / str(number))
        assert np.bincount(run["clusters"]).tolist() == sorted(np.bincount(run["clusters"]), reverse=True)
        space = run["image_embeddings" if run.config["clustering"]["space"] == "embedding" else "projection"]
        vectors = np.asarray(space, dtype=np.float64)
        if run.config["clustering"]["name"] == "spherical_kmeans":
            assert run.config["clustering"]["space"] == "embedding"
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        means = [vectors[run["clusters"] == cluster].mean(axis=0) for cluster in range(3)]
        np.testing.assert_allclose(run["centroids"], means, rtol=1e-6, atol=1e-9)


def test_tsne_with_noise_of_a_flat_folder(cli: Clipscope, tmp_path: Path) -> None:
    flat = class_folders(tmp_path / "flat", {"": 40})
    words = ("dataset=folders", f"dataset.root={flat}", "encoder.size=8", "projection=tsne")
    result = cli(*words, "clustering=hdbscan", "clustering.min_cluster_size=4", "analysis=clustering")
    run = load_run(result.folder)
    noise = run["clusters"] == -1
    assert 0 < noise.sum() < 40
    assert f"{noise.sum()} of 40 images" in result.err
    assert "perplexity lowered from 30 to 13, as there are 40 rows" in result.err
    assert result.metrics["clustering/noise_share"] == pytest.approx(noise.mean())
    assert result.metrics["clustering/k"] == run["clusters"].max() + 1 == len(run["centroids"])
    np.testing.assert_array_equal(run["map"], run["projection"])
    assert run["image_silhouettes"]["silhouette_embedding"].isna().tolist() == noise.tolist()
    assert run["cluster_table"]["cluster"].tolist()[0] == -1
    kept = np.asarray(run["projection"], dtype=np.float64)[~noise]
    from sklearn.metrics import silhouette_score

    expected = silhouette_score(kept, run["clusters"][~noise])
    assert result.metrics["cluster_metrics/projection/silhouette"] == pytest.approx(expected, abs=1e-6)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "HDBSCAN" in page
    assert "t-SNE" in page
    assert ">noise<" in page.replace(" ", "")


def test_noise_everywhere_and_clusters_among_the_embeddings(cli: Clipscope, three_classes: Path) -> None:
    words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "projection=pca", STAGES)
    result = cli(*words, "clustering=hdbscan", "clustering.min_cluster_size=24", "clustering.space=embedding")
    assert result.metrics["clustering/noise_share"] in (0, 1)
    assert "not defined: " in result.err
    assert not any(key.startswith("cluster_metrics/projection") for key in result.metrics)
    kmeans = cli(*words, "clustering.space=embedding", "clustering.k=4")
    assert load_run(kmeans.folder)["centroids"].shape == (4, 64)
    assert load_run(kmeans.folder)["neighbour_rows"].shape == (24, 0)  # principal components need none


def test_identical_images_everywhere(cli: Clipscope, tmp_path: Path) -> None:
    from tests.cli.data import picture

    for number in range(20):
        picture(tmp_path / "same" / f"{number}.png", 0)
    words = ("dataset=folders", f"dataset.root={tmp_path / 'same'}", "encoder.size=8", "clustering.k=3", STAGES)
    cli("-m", *words, "projection=umap,tsne,pca,none", "clustering=kmeans,gmm")
    rows = pd.read_csv(cli.sweeps()[0] / "comparison.csv")
    assert set(rows["status"]) == {"complete"}, rows["reason"].tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["projection=tsne", "projection.perplexity=0.5"], "projection.perplexity = 0.5: must be from 1 to 1000"),
        (["projection=tsne", "projection.n_components=3"], "projection=umap and projection=pca have it"),
        (["clustering=hdbscan", "clustering.k=3"], "clustering.k: the chosen clustering has no such setting"),
        (["clustering=agglomerative", "clustering.linkage=wart"], "did you mean ward?"),
        (["clustering=gmm", "clustering.covariance_type=round"], "full, diag, tied, spherical"),
        (["clustering.space=embeddings"], "did you mean embedding?"),
        (["clustering=hdbscan", "clustering.min_cluster_size=9999"], "more than there are images (901)"),
        (["clustering=gmm", "clustering.k=5000"], "clustering.k = 5000: more clusters than images (901)"),
        (
            ["clustering=agglomerative", "clustering.max_rows=500", "analysis=clustering"],
            "needs all distances at once, 3 MB for 901 images, and clustering.max_rows = 500: raise it",
        ),
    ],
)
def test_wrong_calls(cli: Clipscope, words: list[str], said: str) -> None:
    result = cli(*words, status=2)
    assert said in result.err
    assert not result.out


def test_too_many_dimensions_for_full_covariances_fail_with_advice(cli: Clipscope, three_classes: Path) -> None:
    words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=65", "projection=none", STAGES)
    result = cli(*words, "clustering=gmm", status=1)
    assert "full covariances of 4,225 dimensions do not fit into memory: take covariance_type=diag" in result.err
    assert cli(*words, "clustering=gmm", "clustering.covariance_type=diag").metrics["clustering/k"] >= 2
