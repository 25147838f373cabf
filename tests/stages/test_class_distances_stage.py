"""The class_distances stage: names and keys of what it makes, what it leaves out, what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CallError
from pipeline.schema import ClassDistanceSettings
from pipeline.stage import Facts, Workspace
from pipeline.stages import class_distances as stage


def settings(centered: bool = True, save_pairs: bool = False) -> SimpleNamespace:
    return SimpleNamespace(class_distances=ClassDistanceSettings(centered, save_pairs))


def made(tmp_path: Path, labels: list[Any], groups: list[Any] | None = None, **chosen: bool) -> dict[str, Any]:
    n = len(labels)
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    images = pd.DataFrame({"id": [str(i) for i in range(n)], "label": labels, "group": groups or [None] * n})
    return stage.run(settings(**chosen), Workspace(tmp_path), images, vectors)


def test_a_class_called_all_is_not_all_of_them(tmp_path: Path) -> None:
    numbers = stage.metrics(made(tmp_path, ["all"] * 5 + ["b/c"] * 6))
    assert numbers["within/%61ll/mean"] != numbers["within/all/mean"]
    assert "separation/%61ll/auc" in numbers
    assert "centered/between/%61ll|b%2Fc/mean" in numbers


def test_without_centring_nothing_speaks_of_it(tmp_path: Path) -> None:
    found = made(tmp_path, ["a"] * 5 + ["b"] * 5, centered=False)
    names = [column for table in found.values() if isinstance(table, pd.DataFrame) for column in table]
    assert not [name for name in names if name.startswith("centered_")]
    assert not found["class_overall"]["centered"].any()
    assert not [key for key in stage.metrics(found) if key.startswith("centered/")]
    assert found["pairs"] is None


def test_groups_widen_the_intervals_and_images_without_one_stand_alone(tmp_path: Path) -> None:
    labels = ["a", "b"] * 8
    alone = made(tmp_path, labels)["class_overall"]
    none_shared = made(tmp_path, labels, [None] * 8 + [f"p{i}" for i in range(8)])["class_overall"]
    pd.testing.assert_frame_equal(alone, none_shared)
    shared = made(tmp_path, labels, [f"p{i // 4}" for i in range(16)])["class_overall"]
    assert (shared["mean"] == alone["mean"]).all()
    assert (shared["mean_low"] != alone["mean_low"]).all()


def test_saved_pairs_are_where_the_table_says(tmp_path: Path) -> None:
    found = made(tmp_path, ["a"] * 4 + ["b"] * 3 + [None], save_pairs=True)
    pairs, blocks = found["pairs"], found["pair_blocks"]
    assert pairs.shape == (21,)
    assert pairs.dtype == np.float32
    for row in blocks[blocks["class_a"] != blocks["class_b"]].to_dict("records"):
        mean = pairs[row["start"] : row["start"] + row["pairs"]].mean()
        assert mean == pytest.approx(found["class_pairs"]["between_mean"].iloc[0], abs=1e-6)


def test_too_many_pairs_are_refused_with_their_size() -> None:
    with pytest.raises(CallError, match=r"40,000 images have 799,980,000 pairs, 3\.0 GB; at most 2 GB"):
        stage.refuse(Facts(40_000, ("a", "b")), settings(save_pairs=True))
    assert stage.refuse(Facts(40_000, ("a", "b")), settings()) is None


def test_identical_images_say_that_nothing_can_be_centred(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = pd.DataFrame({"id": list("wxyz"), "label": list("aabb"), "group": [None] * 4})
    found = stage.run(settings(), Workspace(tmp_path), images, np.ones((4, 3), dtype=np.float32))
    assert "nothing is said after centring" in caplog.text
    assert not found["class_overall"]["centered"].any()
    assert stage.draw(settings(), found, {}, SimpleNamespace())  # type: ignore[arg-type]


def test_images_without_a_label_change_no_class(tmp_path: Path) -> None:
    """pandas cuts text to its first letter where it makes a numpy array of a column with missing values."""
    labels = ["Plain x-ray"] * 5 + ["PET"] * 4 + ["CT"] * 3
    vectors = np.random.default_rng(0).normal(size=(13, 5)).astype(np.float32)
    images = pd.DataFrame({"id": list("abcdefghijklm"), "label": [*labels, None], "group": [None] * 13})
    images = images.astype({"label": "str"})  # as read back from Parquet
    found = stage.run(settings(), Workspace(tmp_path), images, vectors)["class_summary"]
    assert dict(zip(found["class"], found["count"], strict=True)) == {"CT": 3, "PET": 4, "Plain x-ray": 5}
