"""Names of clusters and classes that are known to be right."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import RunError
from pipeline.stage import Drawing
from pipeline.stages.naming import COLUMNS, STAGE, first_names
from tests.stages.words import cloud, entries, run, section, table_of, unit

WORDS = ("zero", "one", "two", "other", "nothing")


def named(
    folder: Path, vectors: np.ndarray, labels: Sequence[str | None], clusters: np.ndarray | None = None,
    texts: Sequence[str] = WORDS, embeddings: np.ndarray | None = None, groups: Sequence[str] | None = None,
    table: pd.DataFrame | None = None, **changes: Any,
) -> pd.DataFrame:  # fmt: skip
    given = {"naming": section("naming", **{"permutations": 99, **changes})}
    columns = {"group": pd.Series(groups, dtype="str")} if groups else {}
    table = table_of(labels, **columns) if table is None else table
    embeddings = np.eye(len(texts), vectors.shape[1], dtype=np.float32) if embeddings is None else embeddings
    needs = {"images": table, "image_embeddings": vectors, "texts": entries(texts), "text_embeddings": embeddings}
    found: pd.DataFrame = run(STAGE, folder, given, **needs, clusters=clusters, map=None)["group_names"]
    return found


@pytest.fixture
def three() -> tuple[np.ndarray, list[str]]:
    """Sixty images, twenty along each of the first three directions of five."""
    labels = [f"class {i}" for i in range(3) for _ in range(20)]
    return (np.repeat(np.eye(3, 5), 20, axis=0) + 0.03 * cloud(60, 5)).astype(np.float32), labels


def test_each_class_and_cluster_by_its_word(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    vectors, labels = three
    clusters = np.repeat([2, 0, 1], 20)
    found = named(tmp_path, vectors, labels, clusters)
    assert list(found) == COLUMNS
    assert first_names(found, "class") == {"class 0": "zero", "class 1": "one", "class 2": "two"}
    assert first_names(found, "cluster") == {"cluster 2": "zero", "cluster 0": "one", "cluster 1": "two"}
    first = found[found["rank"] == 1]
    assert (first["halves"] == 2).all()
    assert (first["p"] == 0.01).all(), "of 99 permutations and itself none is as far apart"
    assert (first["low"] > 0).all() and (first["margin"] > 0.5).all() and (first["worse"] == 0.8).all()
    inside, outside = (unit(vectors[some])[:, 0].astype(np.float64) for some in (slice(0, 20), slice(20, 60)))
    zero = first[first["text"] == "zero"].iloc[0]
    assert zero["difference"] == pytest.approx(inside.mean() - outside.mean(), abs=0.02)
    assert zero["low"] < inside.mean() - outside.mean() < zero["high"]
    assert (found["difference"] > 0).all(), "what is nearer to the rest is no name"
    assert STAGE.metrics is not None
    assert STAGE.metrics({"group_names": found})["class/class 0/p"] == 0.01


def test_lengths_and_the_order_of_entries_do_not_matter(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    vectors, labels = three
    first = named(tmp_path / "a", vectors, labels)
    longer = named(tmp_path / "b", vectors * np.geomspace(0.1, 10, 60, dtype=np.float32)[:, None], labels)
    turned = named(tmp_path / "c", vectors, labels, texts=WORDS[::-1],
                   embeddings=np.eye(5, dtype=np.float32)[::-1])  # fmt: skip
    for other in (longer, turned):
        pd.testing.assert_frame_equal(other, first, rtol=1e-5)


def test_chance_is_no_name(tmp_path: Path) -> None:
    """Labels that say nothing of the images."""
    labels = [f"class {i}" for i in np.random.default_rng(5).integers(0, 3, 90)]
    found = named(tmp_path, cloud(90, 5), labels)
    assert found["p"].min() > 0.05


def test_patients_are_not_torn_apart(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    """A class of one patient has no second half to be measured in."""
    vectors, labels = three
    patients = ["only"] * 20 + [f"patient {i}" for i in range(40)]
    found = named(tmp_path, vectors, labels, groups=patients)
    assert set(found["group"]) == {"class 1", "class 2"}


def test_entries_that_say_the_same_are_named_once(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    vectors, labels = three
    texts = ["zero", "zero zero", "one", "two"]
    embeddings = np.array([(1, 0, 0, 0, 0), (1, 0.01, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0)], np.float32)
    found = named(tmp_path, vectors, labels, texts=texts, embeddings=unit(embeddings))
    assert len(found[found["group"] == "class 0"]) == 1


def test_what_cannot_be_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RunError, match="there is nothing to name: no clusters, and not several labels"):
        named(tmp_path, cloud(5, 5), ["a"] * 5)
    with caplog.at_level(logging.WARNING):
        found = named(tmp_path / "few", cloud(4, 5), ["a", "a", "b", "b"])
    assert found.empty and list(found) == COLUMNS
    assert "without a name: 2 of 2 groups (too few images, or no entry is nearer to them than to the rest): a, b" in (
        caplog.text
    )
    assert STAGE.metrics is not None
    assert STAGE.metrics({"group_names": found}) == {}


def test_no_permutations(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    found = named(tmp_path, *three, permutations=0)
    assert found["p"].isna().all() or (found["p"] == 1).all()


def test_noise_is_no_cluster(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    clusters = np.repeat([0, 1, -1], 20)
    found = named(tmp_path, three[0], ["same"] * 60, clusters)
    assert first_names(found, "cluster") == {"cluster 0": "zero", "cluster 1": "one"}


def test_the_map_with_names(tmp_path: Path, three: tuple[np.ndarray, list[str]]) -> None:
    vectors, labels = three
    clusters = np.repeat([2, 0, 1], 20)
    made = {"group_names": named(tmp_path, vectors, labels, clusters)}
    drawing = Drawing(lambda path: None, captions=True, seed=0)
    assert STAGE.draw is not None
    places = cloud(60, 2)
    assert list(STAGE.draw(None, made, {"clusters": clusters, "map": places}, drawing)) == ["map"]
    assert STAGE.draw(None, made, {"clusters": None, "map": places}, drawing) == {}
    assert STAGE.draw(None, made, {"clusters": clusters}, drawing) == {}
