"""The table of candidates and the stratified subset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.candidates import (
    COLUMNS,
    Found,
    candidates,
    shares,
    subset,
    subset_per_class,
    text_frame,
    texts,
)
from pipeline.errors import CallError
from tests.making import cells_of


def test_sorted_by_id_and_complete() -> None:
    table = candidates([{"id": "b", "path": "/2"}, {"id": "a", "path": "/1", "label": "NA"}])
    assert list(table.columns) == list(COLUMNS)
    assert table["id"].tolist() == ["a", "b"]
    assert cells_of(table["label"]) == ["NA", None]
    assert table["problem"].tolist() == ["", ""]


def test_ids_stay_text() -> None:
    table = candidates([{"id": name, "path": name, "label": name} for name in ("001", "1e5", "NaN", "None", "")])
    assert sorted(table["id"]) == ["", "001", "1e5", "NaN", "None"]
    assert table["label"].tolist() == table["id"].tolist()


def test_no_rows() -> None:
    assert list(candidates([]).columns) == list(COLUMNS)
    assert Found(candidates([])).classes == ()


def test_an_id_twice() -> None:
    with pytest.raises(CallError, match="two images have the id 'x'"):
        candidates([{"id": "x", "path": "/1"}, {"id": "x", "path": "/2"}])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.integers(0, 3000))
def test_shares(counts: list[int], total: int) -> None:
    given_counts = np.array(counts)
    found = shares(given_counts, total)
    assert found.sum() == min(total, given_counts.sum())
    assert (found >= 0).all()
    assert (found <= given_counts).all()
    if total >= len(counts):
        assert ((found > 0) | (given_counts == 0)).all()
    exact = given_counts * min(total, given_counts.sum()) / max(1, given_counts.sum())
    if (exact[given_counts > 0] >= 1).all():  # nobody had to be given a first one
        assert (np.abs(found - exact) <= 1 + 1e-9).all()


def test_a_subset_of_a_subset_is_drawn_from_the_rows_that_are_there() -> None:
    found = Found(candidates([{"id": f"{i:02d}", "path": "", "label": "ab"[i % 2]} for i in range(40)]))
    half = subset(found, 20, seed=0)
    quarter = subset(half, 10, seed=0)
    assert set(quarter.table["id"]) < set(half.table["id"])
    assert quarter.table["label"].value_counts().to_dict() == {"a": 5, "b": 5}


def test_unlabelled_rows_are_a_class_of_their_own_in_a_subset() -> None:
    rows = [{"id": str(i), "path": "", "label": None if i % 2 else "a"} for i in range(20)]
    table = subset(Found(candidates(rows)), 10, seed=0).table
    assert table["label"].isna().sum() == 5


def test_a_limit_for_each_class_is_the_same_for_the_same_seed() -> None:
    rows = [{"id": f"{i:03d}", "path": "", "label": ("a", "a", "a", "b", None)[i % 5]} for i in range(100)]
    found = Found(candidates(rows))
    few = subset_per_class(found, 7, seed=0).table
    assert few["label"].fillna("none").value_counts().to_dict() == {"a": 7, "b": 7, "none": 7}
    assert few["id"].is_monotonic_increasing
    assert few.equals(subset_per_class(found, 7, seed=0).table)
    assert not few.equals(subset_per_class(found, 7, seed=1).table)
    assert len(subset_per_class(found, 30, seed=0).table) == 30 + 20 + 20


def test_texts_are_kept_compactly_and_as_they_are() -> None:
    odd = ["", "NA", "nan", "é", "😀", "a\nb", None]
    table = candidates([{"id": str(i), "path": "/x", "caption": text} for i, text in enumerate(odd)])
    assert cells_of(table["caption"]) == odd
    assert all(str(table[name].array._pa_array.type) == "large_string" for name in COLUMNS if name != "position")


def test_the_order_of_ids_is_that_of_their_characters() -> None:
    names = ["a/b", "a", "a b", "B", "é", "z", "Ω", "\uffff", "😀", ""]
    assert candidates([{"id": name, "path": ""} for name in names])["id"].tolist() == sorted(names)


def test_text_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(CallError, match=r"not valid UTF-8: a.*ud800"):
        candidates([{"id": "a", "path": "/1", "caption": "a\ud800"}])


def test_columns_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.candidates.PART", 3)
    frame = text_frame(((str(i), None if i % 4 else "x") for i in range(10)), ("id", "label"))
    assert frame["id"].tolist() == [str(i) for i in range(10)]
    assert cells_of(frame["label"]) == ["x" if i % 4 == 0 else None for i in range(10)]
    assert texts(iter([])).tolist() == []
