"""The built-in data set."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inference.images import ImageFile
from pipeline.datasets import digits, find
from pipeline.errors import CallError
from pipeline.schema import DigitsDataset


def settings(limit: int | None = None, splits: tuple[str, ...] = ()) -> DigitsDataset:
    return DigitsDataset("digits", "digits", limit, None, 0, 0.5, 8, list(splits))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    find(settings(), folder)
    return folder


def test_all_digits_in_ten_classes(data: Path) -> None:
    found = find(settings(), data)
    assert len(found.table) == 1797
    assert found.classes == tuple("0123456789")
    assert found.notes == ()
    assert found.ignored == {}


def test_the_files_hold_scikit_learns_values(data: Path) -> None:
    images = load_digits().images
    for path in find(settings(limit=50), data).table["path"]:
        number = int(Path(path).stem.removeprefix("digit_"))
        np.testing.assert_array_equal(ImageFile(path).gray(), np.rint(images[number] * (255 / 16)).astype(np.uint8))


def test_they_are_written_once_and_nothing_else_is_left(data: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (data / "digits").rglob("*")}
    find(settings(), data)
    assert before == {file: file.stat().st_mtime_ns for file in (data / "digits").rglob("*")}
    assert [place.name for place in data.iterdir()] == ["digits"]


def test_missing_files_are_noticed(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    next((tmp_path / "digits/3").iterdir()).unlink()
    with pytest.raises(CallError, match="holds 1796 of 1797 images; delete it and run again"):
        find(settings(), tmp_path)


def test_another_process_was_faster(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    digits._write(tmp_path / "digits")
    assert [place.name for place in tmp_path.iterdir()] == ["digits"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CallError, match=r"paths\.data: cannot write"):
        find(settings(), tmp_path / "file")


def test_halves_that_never_change(data: Path) -> None:
    """The shipped checkpoint has learned from one of them; half of each digit is in it."""
    whole = find(settings(), data).table
    halves = {name: find(settings(splits=(name,)), data).table for name in ("train", "held_out")}
    assert {name: len(table) for name, table in halves.items()} == {"train": 896, "held_out": 901}
    assert sorted([*halves["train"]["id"], *halves["held_out"]["id"]]) == whole["id"].tolist()
    for table in halves.values():
        counts, of = table["label"].value_counts(), whole["label"].value_counts()
        assert all(abs(2 * counts[digit] - of[digit]) <= 1 for digit in of.index)
    said = hashlib.sha256("\n".join(halves["train"]["id"]).encode()).hexdigest()
    assert said == "12e5ebe83cb20ef7336b509b2bdb9c80df3e9bd0c1c5caa5dd72548d445fece3"


def test_a_half_that_is_not_there(data: Path) -> None:
    with pytest.raises(CallError, match="no row of split 'test'"):
        find(settings(splits=("test",)), data)
