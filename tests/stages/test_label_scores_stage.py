"""The label_scores stage: who is compared with whom, what has no scores, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CallError
from pipeline.plan import plan
from pipeline.stage import Facts, Workspace
from pipeline.stages import known_stages
from pipeline.stages import label_scores as stage

N = 30


def made(tmp_path: Path, judged: list[tuple[int, str, bool]], dark: int | None = None) -> pd.DataFrame:
    vectors = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    if dark is not None:
        vectors[dark] = 0
    images = pd.DataFrame({"id": [f"{i:02d}" for i in range(N)], "group": [None] * N})
    labels = pd.DataFrame(
        [(f"{i:02d}", label, present) for i, label, present in judged], columns=["id", "label", "present"]
    )
    return stage.run(SimpleNamespace(), Workspace(tmp_path), images, vectors, labels)["label_scores"]


def of(table: pd.DataFrame, label: str) -> dict[str, Any]:
    (row,) = table[table["label"] == label].to_dict("records")
    return row


def test_verified_absent_where_there_are_two_else_all_not_marked(tmp_path: Path) -> None:
    judged = [*((i, "cat", i < 5) for i in range(12)), *((i, "dog", True) for i in range(4)), (9, "dog", False),
              (99, "cat", True)]  # fmt: skip
    table = made(tmp_path, judged)
    assert of(table, "cat") | {"present": 5, "absent": 7, "negatives": 7, "negatives_are": "verified absent"} == of(
        table, "cat"
    )
    dog = of(table, "dog")
    assert (dog["present"], dog["absent"], dog["negatives"]) == (4, 1, N - 4)
    assert dog["negatives_are"] == "not marked present"
    assert table["auc"].is_monotonic_decreasing


def test_labels_without_scores_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    judged = [(0, "one", True), *((i, "all", True) for i in range(N)), (1, "two", True), (2, "two", True)]
    assert made(tmp_path, judged)["label"].tolist() == ["two"]
    assert "2 labels are shown by fewer than 2 images, or by all: no scores, as all" in caplog.text


def test_images_without_a_direction_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = made(tmp_path, [(i, "cat", i < 5) for i in range(12)], dark=3)
    assert of(table, "cat")["present"] == 4
    assert "1 images have all-zero vectors" in caplog.text


def test_keys_and_means(tmp_path: Path) -> None:
    table = made(tmp_path, [(i, name, i < 6) for i in range(20) for name in ("a/b", "c")])
    numbers = stage.metrics({"label_scores": table})
    assert numbers["labels"] == 2
    assert numbers["mean/auc"] == pytest.approx(table["auc"].mean())
    assert "label/a%2Fb/precision_at_5" in numbers
    assert stage.metrics({"label_scores": table.iloc[:0]}) == {"labels": 0}
    assert stage.draw(SimpleNamespace(), {"label_scores": table.iloc[:0]}, {}, None) == {}  # type: ignore[arg-type]


def test_said_to_be_left_out_only_where_it_was_asked_for() -> None:
    known = {"label_scores": known_stages()["label_scores"]}
    facts, given = Facts(10, ("a", "b")), ("images", "image_embeddings", "image_labels", "found")
    settings = {"label_scores": SimpleNamespace()}
    assert "several" in str(stage.refuse(facts, None)) and stage.refuse(Facts(10, (), False, True), None) is None

    with pytest.raises(CallError, match=r"dataset\.several_labels=multi"):
        plan(["label_scores"], known, facts, settings, strict=True, given=given)
