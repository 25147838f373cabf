"""The label_structure stage: what is compared, what is left out and why, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.comparison import agreement
from pipeline.schema import NullModel, SignificanceSettings
from pipeline.stage import Facts, Workspace
from pipeline.stages import label_structure as stage

ALL = ["ari", "ami", "nmi", "accuracy", "purity", "knn_accuracy", "probe_accuracy", "majority_share"]


def settings(permutations: int = 9, max_images: int = 2000, seed: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        significance=SignificanceSettings("default", NullModel.gaussian, 5, 19, 5, permutations, max_images, seed)
    )


def blobs(labels: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors about 8 apart by label, and clusters that are the labels but for every tenth row."""
    codes = pd.factorize(pd.Series(labels, dtype=object))[0]
    vectors = np.random.default_rng(0).normal(size=(len(labels), 6))
    vectors[np.arange(len(labels)), np.maximum(codes, 0) % 6] += 8
    clusters = np.where(np.arange(len(labels)) % 10 == 9, 0, np.maximum(codes, 0))
    return vectors.astype(np.float32), clusters.astype(np.int64)


def made(
    tmp_path: Path, labels: list[Any], groups: list[Any] | None = None, vectors: np.ndarray | None = None,
    clusters: np.ndarray | None = None, **chosen: int,
) -> pd.DataFrame:  # fmt: skip
    images = pd.DataFrame({"label": pd.Series(labels, dtype="str"), "group": groups or [None] * len(labels)})
    given = blobs(labels)
    parts = given[0] if vectors is None else vectors, given[1] if clusters is None else clusters
    return stage.run(settings(**chosen), Workspace(tmp_path), images, *parts)["label_structure"].set_index("name")


def test_every_measure_and_its_floor(tmp_path: Path) -> None:
    labels = ["cat"] * 30 + ["dog"] * 20 + ["eel"] * 10
    table = made(tmp_path, labels)
    assert table.index.tolist() == ALL
    expected = agreement(np.repeat([0, 1, 2], [30, 20, 10]), blobs(labels)[1])
    assert table.loc[list(expected), "value"].to_dict() == pytest.approx(expected)
    assert table.loc["majority_share", "value"] == 0.5
    assert (table.loc[["knn_accuracy", "probe_accuracy"], "value"] > 0.95).all()
    assert (table["p"].drop("majority_share") == 0.1).all()
    assert abs(table.loc["ari", "permuted_mean"]) < 0.1 < 0.3 < table.loc["purity", "permuted_mean"]
    assert (table["images"] == 60).all()
    assert table["meaning"].str.endswith(".").all()


def test_noise_unlabelled_and_lone_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["cat"] * 12 + ["dog"] * 12 + [None] * 6 + ["eel"]
    clusters = blobs(labels)[1]
    clusters[:4] = -1
    table = made(tmp_path, labels, clusters=clusters)
    assert table["images"].to_dict() == dict.fromkeys(ALL[:5], 21) | dict.fromkeys(ALL[5:7], 24) | {ALL[7]: 25}
    assert "labels with one image: 1, left out" in caplog.text
    assert table.loc["knn_accuracy", "value"] > 0.95


def test_too_few_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = made(tmp_path, ["cat"] * 12 + ["dog"])
    assert table.empty and "fewer than two have two images" in caplog.text
    assert stage.metrics({"label_structure": table.reset_index()}) == {}


def test_groups_that_are_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A label of one group cannot be told from other groups: there are none."""
    labels = ["cat"] * 12 + ["dog"] * 12
    table = made(tmp_path, labels, groups=["a"] * 12 + ["b"] * 12)
    assert table.index.tolist() == [*ALL[:5], ALL[7]]
    assert "labels that lie in one group: 2" in caplog.text and "no labels told from vectors" in caplog.text


def test_few_groups_make_few_folds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels, groups = ["cat"] * 12 + ["dog"] * 12 + ["eel"] * 4, (["a"] * 6 + ["b"] * 6) * 2 + ["c"] * 4
    table = made(tmp_path, labels, groups)
    assert table.index.tolist() == ALL
    assert table.loc["probe_accuracy", ["value", "images"]].tolist() == [1, 24]
    assert "labels that lie in one group: 1, left out" in caplog.text


def test_constant_vectors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = made(tmp_path, ["cat"] * 12 + ["dog"] * 12, vectors=np.ones((24, 3), np.float32))
    assert table.index.tolist() == [*ALL[:5], ALL[7]]
    assert "all vectors are the same" in caplog.text


def test_duplicates_do_not_vote_in_the_order_of_the_data(tmp_path: Path) -> None:
    """Two kinds of vectors that say nothing of the label, rows sorted by label."""
    labels = ["cat"] * 100 + ["dog"] * 100
    vectors = np.tile([[0.0, 1.0], [1.0, 0.0]], (100, 1)).astype(np.float32)
    table = made(tmp_path, labels, vectors=vectors)
    assert table.loc["knn_accuracy", "value"] == pytest.approx(0.5, abs=0.12)


def test_a_sample_is_taken_of_what_is_told_only(tmp_path: Path) -> None:
    table = made(tmp_path, ["cat", "dog", "eel"] * 40, max_images=50)
    assert table["images"].to_dict() == dict.fromkeys(ALL, 120) | dict.fromkeys(ALL[5:7], 50)


def test_no_permutations(tmp_path: Path) -> None:
    table = made(tmp_path, ["cat", "dog"] * 12, permutations=0)
    assert table["permuted_mean"].isna().all() and table["p"].isna().all()
    numbers = stage.metrics({"label_structure": table.reset_index()})
    assert list(numbers) == ALL


def test_all_noise_and_no_overlap(tmp_path: Path) -> None:
    table = made(tmp_path, ["cat", "dog"] * 12, clusters=np.full(24, -1))
    assert table.loc[ALL[:5], "value"].isna().all() and (table.loc[ALL[:5], "images"] == 0).all()
    assert table.loc["knn_accuracy", "value"] > 0.9


def test_the_picture_shows_what_there_is(tmp_path: Path) -> None:
    labels = ["cat", "dog"] * 12

    def drawn(**parts: Any) -> dict[str, Any]:
        table = made(tmp_path, labels, **parts).reset_index()
        return stage.draw(None, {"label_structure": table}, {}, None)  # type: ignore[arg-type]

    assert len(drawn()["label_structure"].axes) == 2
    assert len(drawn(clusters=np.full(24, -1))["label_structure"].axes) == 1  # nothing agrees with noise
    nothing = drawn(clusters=np.full(24, -1), vectors=np.ones((24, 3), np.float32))
    assert nothing == {}
    empty = {"label_structure": pd.DataFrame(columns=stage.COLUMNS)}
    assert stage.draw(None, empty, {}, None) == {}  # type: ignore[arg-type]


def test_keys_and_repeats(tmp_path: Path) -> None:
    labels = ["cat", "dog", "eel"] * 10
    one, again = made(tmp_path, labels), made(tmp_path, labels)
    pd.testing.assert_frame_equal(one, again)
    numbers = stage.metrics({"label_structure": one.reset_index()})
    assert numbers["ari/permuted_mean"] == one.loc["ari", "permuted_mean"]
    assert "majority_share/permuted_mean" not in numbers
    other = made(tmp_path, labels, seed=1)
    assert other.loc["ari", "value"] == one.loc["ari", "value"]
    assert other.loc["ari", "permuted_mean"] != one.loc["ari", "permuted_mean"]
    assert not any(math.isnan(value) for value in numbers.values())


def test_refused_without_two_classes() -> None:
    assert stage.refuse(Facts(9, ()), None) == "the images have no labels"
    assert stage.refuse(Facts(9, ("a",)), None) == "all labelled images are of one class"
    assert stage.refuse(Facts(9, ("a", "b")), None) is None


def test_only_what_it_uses_is_in_its_key() -> None:
    chosen = settings()
    chosen.significance.replicates = 99
    assert stage.keyed(chosen) == stage.keyed(settings()) == {"permutations": 9, "max_images": 2000, "seed": 0}


def test_the_clusters_of_half_samples_against_the_labels(tmp_path: Path) -> None:
    labels = ["cat"] * 8 + ["dog"] * 8 + [None] * 4
    vectors, clusters = blobs(labels)
    images = pd.DataFrame({"label": pd.Series(labels, dtype="str"), "group": [None] * 20})
    rows = np.arange(1, 20)  # a sample
    halves = np.full((3, 19), -1, dtype=np.int32)
    halves[0, ::2] = np.arange(10) % 2
    halves[2, :9] = 0
    halves[2, 7:9] = 1
    of = (settings(), Workspace(tmp_path), images, vectors, clusters)
    found = stage.run(*of, replicate_rows=rows, half_clusters=halves)["half_label_scores"]
    codes = pd.factorize(pd.Series(labels, dtype="str").iloc[rows])[0]
    expected = {i: agreement(codes, halves[i]) for i in (0, 2)}  # the second half was too small to be clustered
    assert found["half"].tolist() == [0] * 3 + [2] * 3
    for row in found.itertuples():
        assert row.value == pytest.approx(expected[row.half][row.name])
    assert not len(stage.run(*of)["half_label_scores"]), "no half-samples"
    images["label"] = None
    assert not len(stage.run(*of, replicate_rows=rows, half_clusters=halves)["half_label_scores"])
