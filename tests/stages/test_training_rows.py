"""Which images a training learns from, with which texts, and which are kept aside."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import RunError
from pipeline.schema import TrainingSettings, restored_section
from pipeline.stages.training_rows import leaked, more_names, parts, texts_of


def chosen(**given: Any) -> TrainingSettings:
    import yaml

    from tests.making import ROOT

    usual = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))["training"]
    return restored_section("training", usual | {"seed": 0} | given)


def table(**columns: Any) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    usual = dict.fromkeys(("label", "caption", "group", "split"), [None] * n)
    usual["content_hash"] = [f"hash {i}" for i in range(n)]
    return pd.DataFrame(usual | columns).astype("str").where(pd.DataFrame(usual | columns).notna(), None)


def everyone(frame: pd.DataFrame) -> np.ndarray:
    return np.ones(len(frame), bool)


def test_splits_by_name() -> None:
    frame = table(split=["train", "Train", "val", "validation", "dev", "test", "held_out", "other", None])
    found = parts(frame, everyone(frame), 0.5, 0)
    assert found.tolist() == ["train", "train", "valid", "valid", "valid", "test", "test", "", ""]


def test_a_share_where_there_is_no_validation_split() -> None:
    frame = table(split=["train"] * 50 + ["test"] * 10, label=["a"] * 40 + ["b"] * 20)
    found = parts(frame, everyone(frame), 0.2, 0)
    assert (found[50:] == "test").all()
    assert [(found[:40] == "valid").sum(), (found[40:50] == "valid").sum()] == [8, 2]
    assert parts(frame, everyone(frame), 0.2, 0).tolist() == found.tolist()
    assert parts(frame, everyone(frame), 0.2, 1).tolist() != found.tolist()


def test_no_training_split_is_said(caplog: pytest.LogCaptureFixture) -> None:
    frame = table(split=["test"] * 20)
    with caplog.at_level(logging.WARNING):
        found = parts(frame, everyone(frame), 0.25, 0)
    assert sorted(found) == ["train"] * 15 + ["valid"] * 5
    assert "no row is of a split called train" in caplog.text


def test_groups_and_copies_stay_together() -> None:
    """Patients of two images; patient 0 and patient 1 have one image in common."""
    n = 60
    groups = [str(i // 2) for i in range(n)]
    contents = [f"hash {i}" for i in range(n)]
    contents[3] = contents[0]
    contents[10] = contents[40]
    frame = table(group=groups, content_hash=contents)
    for seed in range(20):
        found = parts(frame, everyone(frame), 0.3, seed)
        by_group = pd.Series(found).groupby(groups).nunique()
        assert (by_group == 1).all()
        assert found[0] == found[2]
        assert found[10] == found[40]
        assert leaked(frame, found) == {"valid": 0, "test": 0}
        assert 0.2 < (found == "valid").mean() < 0.4


def test_copies_across_given_splits_are_counted() -> None:
    frame = table(split=["train", "train", "val", "val", "test"], content_hash=["a", "b", "a", "c", "b"])
    assert leaked(frame, parts(frame, everyone(frame), 0.5, 0)) == {"valid": 1, "test": 1}


def test_what_is_not_usable_is_in_no_part() -> None:
    frame = table(split=["train", "train", "val", "val"])
    usable = np.array([True, False, True, False])
    assert parts(frame, usable, 0.5, 0).tolist() == ["train", "", "valid", ""]


def test_captions() -> None:
    frame = table(caption=["a cat", " a cat ", "", None, "a dog"], label=["c", "c", "c", "d", "d"])
    found = texts_of(frame, chosen(), ["a photo of {}"], {})
    assert not found.by_class
    assert [found.texts[i] if i >= 0 else "" for i in found.of[:, 0]] == ["a cat", "a cat", "", "", "a dog"]
    assert found.meaning.tolist() == [found.of[0, 0], found.of[0, 0], -1, -1, found.of[4, 0]]
    assert [[found.texts[i] for i in row] for row in found.prompts] == [["a photo of c"], ["a photo of d"]]


def test_class_names_through_templates() -> None:
    frame = table(label=["7", "0", "7", None])
    found = texts_of(frame, chosen(names=["7=seven", "0 = zero", "0=nought"]), ["the {}", "a {}"], {})
    assert found.by_class
    said = [{found.texts[i] for i in row if i >= 0} for row in found.of]
    assert said[0] == said[2] == {"the 7", "a 7", "the seven", "a seven"}
    assert said[1] == {"the 0", "a 0", "the zero", "a zero", "the nought", "a nought"}
    assert said[3] == set()
    assert found.meaning.tolist() == [1, 0, 1, -1]
    assert [[found.texts[i] for i in row] for row in found.prompts] == [["the 0", "a 0"], ["the 7", "a 7"]]


def test_names_of_prompts_take_the_labels_place() -> None:
    found = texts_of(table(label=["n01", "n02"]), chosen(), ["a {}"], {"n01": "cat"})
    assert [found.texts[i] for i in found.of[:, 0]] == ["a cat", "a n02"]


def test_captions_may_be_set_aside() -> None:
    frame = table(caption=["x", "y"], label=["a", "b"])
    assert texts_of(frame, chosen(captions="labels"), ["a {}"], {}).by_class


def test_a_name_without_a_label() -> None:
    with pytest.raises(RunError, match="'seven' is not 'label=name', as in '7=seven'"):
        more_names(chosen(names=["seven"]))
