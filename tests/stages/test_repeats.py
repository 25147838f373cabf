from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import schema as s
from pipeline.metrics import blocks
from pipeline.stage import Facts, Workspace
from pipeline.stages import repeats as stage
from pipeline.stages import side_by_side
from tests.making import settings
from tests.stages.comparing import NONE, PCA, UMAP, blobs

NO_NEIGHBOURS = (np.empty((90, 0), np.int32), np.empty((90, 0), np.float32))


def experiment(repeats: int, *scores: str, name: str = "none") -> s.ExperimentSettings:
    rows = [s.PublishedRow("a row", {}, None, None, dict.fromkeys(scores, 0.5))] if scores else []
    return s.ExperimentSettings(name, None, None, 3, repeats, None, rows, [])


def chosen(repeats: int, projection: Any = NONE, clusterer: Any = None, **about: Any) -> Any:
    clusterer = clusterer or s.KmeansClustering("kmeans", s.Space.projection, 4, 1, 7)
    return settings(
        projection=projection, clustering=clusterer, seed=5, experiment=about.get("of", experiment(repeats))
    )


def images(labels: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"label": pd.Series(labels or [None] * 90, dtype=object)})


def repeated(folder: Path, given: Any, labels: Any = None) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    return stage.run(given, Workspace(folder), images(labels), blobs(), *NO_NEIGHBOURS)["repeat_scores"]


def test_each_repeat_is_scikit_learns_score_with_the_next_seed(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

    truth = np.arange(90) % 3
    table = repeated(tmp_path, chosen(4), [f"class {i}" for i in truth])
    assert sorted(set(table["repeat"])) == [1, 2, 3]
    for number, rows in table.groupby("repeat"):
        assert set(rows["clustering_seed"]) == {7 + number} and rows["projection_seed"].isna().all()
        found = rows.set_index(["space", "name"])["value"]
        labels = KMeans(4, n_init=1, random_state=7 + number).fit_predict(blobs())
        assert found["projection", "silhouette"] == pytest.approx(silhouette_score(blobs(), labels), abs=1e-6)
        assert found["labels", "nmi"] == pytest.approx(normalized_mutual_info_score(truth, labels))
        assert found["labels", "ari"] == pytest.approx(adjusted_rand_score(truth, labels))


def test_an_unseeded_projection_is_repeated_from_the_runs_seed() -> None:
    unseeded = s.UmapProjection("umap", 2, 10, 0.1, None, 200_000)
    assert [stage._seeded(unseeded, r, 5).seed for r in (1, 2)] == [6, 7]
    assert stage._seeded(UMAP, 3, 5).seed == 3
    assert stage._seeded(PCA, 3, 5) is PCA


def test_only_what_was_published_is_measured(tmp_path: Path) -> None:
    of_labels = experiment(2, "cluster_metrics/labels/nmi", name="mine")
    table = repeated(tmp_path / "labels", chosen(2, of=of_labels), ["a", "b", "c"] * 30)
    assert set(table["space"]) == {"labels"}
    assert set(repeated(tmp_path / "all", chosen(2))["space"]) == {"projection"}  # without labels


def test_the_same_in_processes_and_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = repeated(tmp_path / "alone", chosen(4, PCA))
    monkeypatch.setattr(side_by_side, "ALONE_UP_TO", 0)
    monkeypatch.setattr(blocks, "workers", lambda: 2)
    pd.testing.assert_frame_equal(alone, repeated(tmp_path / "two", chosen(4, PCA)))
    files = sorted((tmp_path / "two").glob("repeat-*.json"))
    files[1].unlink()
    before = files[0].stat().st_mtime_ns
    monkeypatch.undo()
    pd.testing.assert_frame_equal(alone, repeated(tmp_path / "two", chosen(4, PCA)))
    assert files[0].stat().st_mtime_ns == before


def test_vectors_that_lie_in_a_file_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", blobs())
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    (tmp_path / "work").mkdir()
    files = stage._inputs(tmp_path / "work", mapped, mapped[:50], *NO_NEIGHBOURS[:1])
    assert files[0] == str(tmp_path / "vectors.npy")
    assert np.load(files[1]).shape == (50, 6)  # a part of a file


def test_when_there_is_nothing_to_repeat() -> None:
    facts = Facts(90, ())
    ward = s.AgglomerativeClustering("agglomerative", s.Space.projection, 3, s.Linkage.ward, 1000)
    assert stage.refuse(facts, chosen(1)) == "experiment=none"  # quiet: a choice
    assert stage.refuse(facts, chosen(1, of=experiment(1, name="mine"))) == "experiment.repeats = 1"
    why = stage.refuse(facts, chosen(5, PCA, ward))
    assert why == "nothing is random with projection=pca and clustering=agglomerative: every seed would give the same"
    assert stage.refuse(facts, chosen(5, UMAP, ward)) is None


def test_the_key_holds_no_published_value() -> None:
    keys = [stage.keyed(chosen(3, of=experiment(3, "cluster_metrics/labels/nmi", name=name))) for name in "ab"]
    assert keys[0] == keys[1]
    assert keys[0] != stage.keyed(chosen(3, of=experiment(4, "cluster_metrics/labels/nmi")))
