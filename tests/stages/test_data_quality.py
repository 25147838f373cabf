"""Findings about a data set: duplicates and what they cross, counts, odd images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.blocks import Array
from pipeline.stage import Workspace
from pipeline.stages import data_quality

ROWS = [
    # id, label, group, split, content
    ("a", "cat", "p1", "train", "x"),
    ("b", "cat", "p1", "train", "x"),
    ("c", "dog", "p2", "test", "y"),
    ("d", "cat", "p2", "test", "z"),
    ("e", "dog", "p3", "test", "v"),
    ("f", None, None, "test", "v"),
    *((f"g{i}", "dog", f"q{i}", "test", str(i)) for i in range(8)),
]


def images(**changed: Any) -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=["id", "label", "group", "split", "content_hash"])
    n = len(table)
    measured = {
        "path": [f"/x/{name}.png" for name in table["id"]], "width": 200, "height": 100, "format": "PNG",
        "mode": ["RGB"] * (n - 1) + ["L"], "bytes": 2048,
        "brightness": np.arange(n) * 10.0, "sharpness": np.arange(n, 0.0, -1.0),
    }  # fmt: skip
    return table.assign(**(measured | changed))


def vectors() -> Array:
    """All different but those of 'c' and 'd', and of equal content."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(len(ROWS), 16)).astype(np.float32)
    made[1], made[5] = made[0], made[4]
    made[3] = made[2] + 0.05
    return made


def run(
    table: pd.DataFrame,
    embeddings: Array,
    threshold: float | None = 0.95,
    neighbours: tuple[Array, Array] | None = None,
) -> dict[str, Any]:
    settings = SimpleNamespace(data_quality=SimpleNamespace(near_duplicate=threshold))
    skipped = pd.DataFrame({"id": ["h"], "path": [""], "reason": ["truncated"], "detail": [""]})
    rows, distances = neighbours or (np.empty((len(table), 0), np.int32), np.empty((len(table), 0), np.float32))
    return data_quality.run(settings, Workspace(Path("unused")), table, skipped, embeddings, rows, distances)


def findings(made: dict[str, Any]) -> dict[str, float]:
    return dict(made["data_quality"][["name", "value"]].itertuples(index=False, name=None))


def test_duplicates_are_grouped_with_what_they_cross(caplog: pytest.LogCaptureFixture) -> None:
    made = run(images(), vectors())
    table = made["duplicates"]
    assert table["id"].tolist() == ["a", "b", "c", "d", "e", "f"]
    assert table["duplicate_group"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["kind"].tolist() == ["exact", "exact", "near", "near", "exact", "exact"]
    assert table["crosses"].tolist() == ["", "", "label", "label", "", ""]
    assert table["cosine"].tolist()[:2] == [1.0, 1.0] and 0.95 < table["cosine"][2] < 1
    found = findings(made)
    assert (found["exact_duplicates"], found["near_duplicates"]) == (2, 1)
    assert (found["duplicates_across_labels"], found["duplicates_across_splits"]) == (1, 0)
    assert "1 groups of duplicates stand in more than one label" in caplog.text


def test_leaks_between_splits_and_groups() -> None:
    table = images()
    table.loc[1, ["split", "group"]] = ["test", "p9"]
    made = run(table, vectors())
    assert made["duplicates"]["crosses"][0] == "group, split"
    assert findings(made)["duplicates_across_splits"] == findings(made)["duplicates_across_groups"] == 1


def test_without_a_threshold_only_equal_bytes_count() -> None:
    found = findings(run(images(), vectors(), None))
    assert (found["exact_duplicates"], found["near_duplicates"]) == (2, 0)


def test_the_projections_neighbours_give_the_same() -> None:
    from pipeline.geometry.neighbours import nearest_neighbours

    given = run(images(), vectors(), neighbours=nearest_neighbours(vectors(), 8))
    pd.testing.assert_frame_equal(given["duplicates"], run(images(), vectors())["duplicates"])


def test_neighbours_of_a_sample_are_not_taken() -> None:
    sample = np.zeros((3, 2), np.int32), np.zeros((3, 2), np.float32)
    given = run(images(), vectors(), neighbours=sample)
    pd.testing.assert_frame_equal(given["duplicates"], run(images(), vectors())["duplicates"])


def test_findings_by_hand() -> None:
    made = run(images(), vectors())
    found, told = findings(made), dict(made["data_quality"][["name", "detail"]].itertuples(index=False, name=None))
    assert (found["images"], found["skipped"], found["unlabelled"], found["classes"]) == (14, 1, 1, 2)
    assert found["class_imbalance"] == 10 / 3
    assert told["classes"] == "cat has fewest (3), dog most (10)"
    assert told["skipped"] == "truncated 1"
    assert (found["median_aspect_ratio"], found["median_bytes"]) == (2, 2048)
    assert told["modes"] == "RGB 13, L 1"
    assert told["median_brightness"] == "from 0 to 130"
    extremes = made["quality_extremes"]
    assert extremes.groupby("kind", sort=False)["id"].first().to_dict() == {
        "darkest": "a", "brightest": "g7", "blurred": "g7",
    }  # fmt: skip
    assert set(data_quality.metrics(made)) == {
        "exact_duplicates", "near_duplicates", "class_imbalance",
        "duplicates_across_labels", "duplicates_across_groups", "duplicates_across_splits",
    }  # fmt: skip


def test_vectors_without_images_have_no_measurements() -> None:
    unknown = {"path": "", "width": 0, "height": 0, "format": "", "mode": "", "bytes": 0}
    made = run(images(**unknown, brightness=np.nan, sharpness=np.nan, label=None, group=None, split=None), vectors())
    assert set(findings(made)) == {"images", "skipped", "exact_duplicates", "near_duplicates"}
    assert made["quality_extremes"].empty


def test_one_image() -> None:
    made = run(images().head(1), vectors()[:1])
    assert made["duplicates"].empty
    assert findings(made)["images"] == 1
