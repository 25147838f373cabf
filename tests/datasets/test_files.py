"""Single images, named one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import find
from pipeline.datasets.candidates import Found
from pipeline.errors import CallError
from tests.making import dataset


def listed(**settings: Any) -> Found:
    given = {key: [str(v) for v in value] if key == "files" else value for key, value in settings.items()}
    return find(dataset("files", **given), Path("unused"))


def refusal(**settings: Any) -> tuple[str, ...]:
    with pytest.raises(CallError) as caught:
        listed(**settings)
    assert caught.value.status == 2
    return caught.value.problems


def touched(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def test_ids_start_at_the_deepest_folder_that_all_lie_in(tmp_path: Path) -> None:
    found = listed(files=touched(tmp_path, "x/b/2.png", "x/a/odd.xyz", "x/a/new\nline.png"))
    assert found.table["id"].tolist() == ["a/new\nline.png", "a/odd.xyz", "b/2.png"]
    assert found.table["position"].tolist() == [2, 1, 0] and found.rows == 3
    assert found.classes == ()
    assert listed(files=touched(tmp_path, "x/1.png")).table["id"].tolist() == ["1.png"]


def test_a_list_in_a_file(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", "sub/b c.png")
    lines = ["\ufeffa.png", "", "sub/b c.png", f"{tmp_path}/a.png", "gone.png", "sub/../a.png", "odd\u2028name.png"]
    (tmp_path / "list.txt").write_text("\r\n".join(lines), encoding="utf-8")
    found = listed(list=str(tmp_path / "list.txt"))
    assert found.table["id"].tolist() == ["a.png", "gone.png", "odd\u2028name.png", "sub/b c.png"]
    assert found.table["path"][3] == str(tmp_path / "sub/b c.png")
    assert found.notes == (f"2 lines of {tmp_path}/list.txt name a file once more; each counts once",)


def test_groups(tmp_path: Path) -> None:
    found = listed(files=touched(tmp_path, "p1_a.png", "p1_b.png", "p2_a.png"), group=r"p(\d)")
    assert found.table["group"].tolist() == ["1", "1", "2"]


def test_wrong_calls(tmp_path: Path) -> None:
    touched(tmp_path, "a.png")
    assert refusal(files=[tmp_path / "b.png", tmp_path / "x"]) == (
        f"dataset.files: no such file: {tmp_path}/b.png; did you mean a.png?",
        f"dataset.files: no such file: {tmp_path}/x",
    )
    (tmp_path / "list.txt").write_text("\n\n")
    assert refusal(list=str(tmp_path / "list.txt")) == ("dataset.list: list.txt names no file",)
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.png")
    assert refusal(list=str(tmp_path / "list.txt")) == ("dataset.list: list.txt is not UTF-8 (byte 3)",)
    assert refusal(list=str(tmp_path / "lits.txt"))[0].endswith("lits.txt; did you mean list.txt?")
    assert refusal(list=str(tmp_path))[0].startswith("dataset.list: ")
