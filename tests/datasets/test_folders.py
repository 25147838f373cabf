"""Listing folders: every way to lay images out, and every way to get it wrong."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from inference.places import read_bytes
from pipeline.datasets import find
from pipeline.datasets.candidates import COLUMNS, Found
from pipeline.datasets.folders import NOT_UTF8
from pipeline.errors import CallError
from tests.making import cells_of, folders, png_file

NAMES = ["with space.png", "Ümläut ß.png", "emoji 🐶.png", "[brackets] {x}.png", "a,b;c.png", "quote'\".png", "-x.png"]


def files(root: Path, *names: str) -> Path:
    """Empty files, which is all that a listing looks at."""
    for name in names:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return root


def listed(**settings: Any) -> Found:
    return find(folders(**settings), Path("unused"))


def ids(**settings: Any) -> list[str]:
    return list(listed(**settings).table["id"])


def refusal(**settings: Any) -> tuple[str, ...]:
    with pytest.raises(CallError) as caught:
        listed(**settings)
    assert caught.value.status == 2
    return caught.value.problems


def test_pairs(tmp_path: Path) -> None:
    files(tmp_path, "x/2.png", "x/1.JPG", "y/1.jpeg", "y/notes.txt", "y/README")
    found = listed(pairs=["dogs", tmp_path / "x", "cats (2)", tmp_path / "y"])
    assert list(found.table.columns) == list(COLUMNS)
    assert found.table[["id", "label"]].to_numpy().tolist() == [
        ["cats (2)/1.jpeg", "cats (2)"],
        ["dogs/1.JPG", "dogs"],
        ["dogs/2.png", "dogs"],
    ]
    assert found.table["path"].tolist() == [str(tmp_path / name) for name in ("y/1.jpeg", "x/1.JPG", "x/2.png")]
    assert found.table[["caption", "group", "split"]].isna().all(axis=None)
    assert found.table["problem"].tolist() == ["", "", ""]
    assert found.classes == ("cats (2)", "dogs")
    assert found.ignored == {".txt": 1, "README": 1}
    assert found.notes == ()


def test_a_root_of_class_folders(tmp_path: Path) -> None:
    files(tmp_path, "b/1.png", "a/1.png", "a/deeper/2.png", "beside.png", "notes.txt")
    found = listed(root=tmp_path)
    assert found.table["id"].tolist() == ["a/1.png", "b/1.png"]
    assert found.classes == ("a", "b")
    assert found.notes == (f"1 images lie in {tmp_path} beside the class folders and are left out",)


def test_one_flat_folder_has_no_labels(tmp_path: Path) -> None:
    files(tmp_path, "2.png", "1.png", "empty_folder/readme.txt")
    found = listed(root=tmp_path)
    assert found.table["id"].tolist() == ["1.png", "2.png"]
    assert found.classes == ()
    assert found.table["label"].isna().all()


def test_recursive(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/x/1.png", "a/x/y/2.png", "b/z/1.png", "a/.hidden/3.png", "a/x/.4.png")
    assert ids(root=tmp_path, recursive=True) == ["a/1.png", "a/x/1.png", "a/x/y/2.png", "b/z/1.png"]


def test_hidden_files_and_folders_are_not_looked_at(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/.2.png", "a/._1.png", ".b/1.png", ".3.png")
    found = listed(root=tmp_path)
    assert found.table["id"].tolist() == ["a/1.png"]
    assert found.ignored == {}


@pytest.mark.parametrize("name", ["x.JPG", "x.Jpeg", "x.PNG", "x.TIF", "x.WebP", "x.y.png", "x.pgm"])
def test_endings_in_any_case(tmp_path: Path, name: str) -> None:
    assert ids(root=files(tmp_path, name)) == [name]


def test_the_order_does_not_depend_on_that_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{c}/{i}.png" for c in "ba" for i in (10, 9, 1)]
    files(tmp_path, *names)
    expected = listed(root=tmp_path, recursive=True).table
    assert expected["id"].tolist() == sorted(names)
    import pipeline.datasets.trees as module

    ordered = module._entries
    monkeypatch.setattr(module, "_entries", lambda folder, key: ordered(folder, key)[::-1])
    assert listed(root=tmp_path, recursive=True).table.equals(expected)


@pytest.mark.parametrize("name", [*NAMES, "new\nline.png", "tab\t.png", "back\\slash.png"])
def test_odd_names_are_kept_as_they_are(tmp_path: Path, name: str) -> None:
    files(tmp_path, f"{name} class/{name}")
    table = listed(root=tmp_path).table
    assert table["id"].tolist() == [f"{name} class/{name}"]
    assert Path(table["path"][0]).is_file()
    assert table["problem"].tolist() == [""]


def test_a_name_that_is_not_utf8_is_listed_with_a_reason(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", os.fsdecode(b"a/r\xe9sum\xe9.png"), os.fsdecode(b"a/d\xe9/2.png"))
    table = listed(root=tmp_path, recursive=True).table
    assert table["id"].tolist() == ["a/1.png", r"a/d\xe9/2.png", r"a/r\xe9sum\xe9.png"]
    assert table["problem"].tolist() == ["", NOT_UTF8, NOT_UTF8]
    assert all(text.encode() for text in table["path"])


def test_a_non_utf8_name_among_the_ignored_can_be_written_down(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", os.fsdecode(b"a/r\xe9sum\xe9"), os.fsdecode(b"a/x.t\xe9"))
    assert listed(root=tmp_path).ignored == {r".t\xe9": 1, r"r\xe9sum\xe9": 1}


def test_folders_whose_names_are_not_utf8_are_refused(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"d\xe9j\xe0")
    files(odd, "a/1.png")
    assert refusal(root=odd)[0].startswith("dataset.root: the folder's name is not valid UTF-8")
    assert refusal(pairs=["a", odd / "a"])[0].startswith("dataset.pairs, class 'a': the folder's name is not valid")
    assert "not valid UTF-8" in refusal(root=tmp_path)[0]
    assert all(problem.encode() for problem in refusal(root=odd))


def test_links_are_followed(tmp_path: Path) -> None:
    files(tmp_path, "store/1.png", "store/2.png", "root/b/1.png")
    (tmp_path / "root/a").symlink_to(tmp_path / "store")
    (tmp_path / "root/b/link.png").symlink_to(tmp_path / "store/1.png")
    assert ids(root=tmp_path / "root") == ["a/1.png", "a/2.png", "b/1.png", "b/link.png"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/x/2.png", "b/3.png")
    (tmp_path / "a/x/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/top").symlink_to(tmp_path)
    (tmp_path / "a/again").symlink_to(tmp_path / "a/x")
    found = ids(root=tmp_path, recursive=True)
    assert [Path(name).name for name in found] == ["1.png", "2.png", "3.png"]


def test_a_class_that_links_to_another_does_not_get_its_images(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/link").symlink_to(tmp_path / "b")
    expected = ["a/1.png", "b/2.png"]
    assert ids(root=tmp_path, recursive=True) == expected
    assert ids(pairs=["a", tmp_path / "a", "b", tmp_path / "b"], recursive=True) == expected


def test_links_to_themselves_and_to_nowhere_are_files_that_cannot_be_read(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png")
    (tmp_path / "a/self.png").symlink_to("self.png")
    (tmp_path / "a/gone.png").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    assert ids(root=tmp_path) == ["a/1.png", "a/gone.png", "a/self.png"]


def test_pipes_and_folders_named_like_images(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/folder.jpg/inside.png")
    os.mkfifo(tmp_path / "a/pipe.png")
    assert ids(root=tmp_path) == ["a/1.png", "a/pipe.png"]


def test_wrong_roots(tmp_path: Path) -> None:
    files(tmp_path, "images/a/1.png", "file.png")
    (tmp_path / "void").mkdir()
    (problem,) = refusal(root=tmp_path / "imagse")
    assert problem == f"dataset.root: no such folder: {tmp_path}/imagse; did you mean images?"
    assert refusal(root=tmp_path / "file.png") == (f"dataset.root: not a folder: {tmp_path}/file.png",)
    assert refusal(root=tmp_path / "void")[0].startswith(f"dataset.root: no images in {tmp_path}/void (looked for")
    assert refusal(root=tmp_path / "file.png/x")[0].startswith("dataset.root: cannot be opened")
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be opened" in refusal(root=tmp_path / "loop")[0]


def test_images_one_level_too_deep_are_hinted_at(tmp_path: Path) -> None:
    files(tmp_path, "a/train/1.png", "b/train/1.png")
    assert refusal(root=tmp_path)[0].endswith("dataset.recursive=true also looks in the folders inside it")


def test_an_empty_class_is_refused_by_name(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "b/readme.txt")
    assert refusal(root=tmp_path)[0].startswith("class folder 'b' of dataset.root: no images in")
    assert refusal(pairs=["a", tmp_path / "a", "b", tmp_path / "b"])[0].startswith("class 'b': no images in")


def test_all_problems_of_pairs_at_once(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "file.png")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    pairs = ["x", tmp_path / "a", "y", tmp_path / "link", "x", tmp_path / "none", " ", tmp_path / "file.png"]
    assert refusal(pairs=pairs) == (
        "dataset.pairs: the class 'x' is given 2 times; each name once",
        "dataset.pairs: a class has no name",
        f"dataset.pairs, class 'x': no such folder: {tmp_path}/none",
        f"dataset.pairs, class ' ': not a folder: {tmp_path}/file.png",
        f"dataset.pairs: 'x' and 'y' are the same folder: {tmp_path}/link",
    )


def test_the_same_folder_twice_in_a_root_by_a_link(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png")
    (tmp_path / "b").symlink_to("a")
    assert refusal(root=tmp_path) == (f"dataset.root: 'a' and 'b' are the same folder: {tmp_path}/b",)


def test_nested_pairs_are_refused_only_where_images_would_count_twice(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/b/2.png", "ab/3.png")
    pairs = ["outer", tmp_path / "a", "inner", tmp_path / "a/b"]
    assert ids(pairs=pairs) == ["inner/2.png", "outer/1.png"]
    assert "lie in each other" in refusal(pairs=pairs, recursive=True)[0]
    assert ids(pairs=["a", tmp_path / "a/b", "ab", tmp_path / "ab"], recursive=True) == ["a/2.png", "ab/3.png"]


def test_ids_that_collide_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "x/b/1.png", "y/1.png")
    (problem,) = refusal(pairs=["a", tmp_path / "x", "a/b", tmp_path / "y"], recursive=True)
    assert problem == "dataset: two images have the id 'a/b/1.png'; ids must be unique"


@pytest.mark.usefixtures("not_root")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "b/x/2.png")
    (tmp_path / "b/x").chmod(0)
    try:
        assert "cannot be opened" in refusal(root=tmp_path, recursive=True)[0]
    finally:
        (tmp_path / "b/x").chmod(0o700)


@pytest.mark.parametrize("closed", ["b", "b/x"])
def test_a_folder_that_the_system_refuses_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    files(tmp_path, "a/1.png", "b/2.png", "b/x/3.png")
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if os.path.normpath(path) == str(tmp_path / closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for settings in ({"root": tmp_path}, {"pairs": ["a", tmp_path / "a", "b", tmp_path / "b"]}):
        (problem,) = refusal(**settings, recursive=True)
        assert "cannot be opened" in problem
        assert "Permission denied" in problem


def test_group_by_bracket_by_whole_match_and_by_neither(tmp_path: Path) -> None:
    files(tmp_path, "a/patient7_1.png", "a/patient7_2.png", "b/patient12_1.png")
    groups = listed(root=tmp_path, group=r"patient(\d+)").table["group"]
    assert groups.tolist() == ["7", "7", "12"]
    groups = listed(root=tmp_path, group=r"patient\d+").table["group"]
    assert groups.tolist() == ["patient7", "patient7", "patient12"]
    assert refusal(root=tmp_path, group="scan")[0].endswith("matches no image; the first is called a/patient7_1.png")


def test_images_without_a_match_are_groups_of_their_own(tmp_path: Path) -> None:
    files(tmp_path, "a/patient7.png", "a/other.png", "a/another.png")
    found = listed(root=tmp_path, group=r"patient(\d+)")
    assert found.table["group"].tolist() == ["a/another.png", "a/other.png", "7"]
    assert found.notes == ("dataset.group matches 1 of 3 images; the others are groups of one",)


@pytest.mark.parametrize("pattern", [r"patient(\d*)", r"(\d*)", r"(p)?other|another"])
def test_an_empty_match_is_no_group(tmp_path: Path, pattern: str) -> None:
    files(tmp_path, "a/another.png", "a/other.png")
    assert "matches no image" in refusal(root=tmp_path, group=pattern)[0]


def many(root: Path) -> Path:
    return files(root, *(f"{c}/{i:03d}.png" for c, n in (("a", 70), ("b", 20), ("c", 10)) for i in range(n)))


def test_limit_is_stratified_and_reproducible(tmp_path: Path) -> None:
    many(tmp_path)
    found = listed(root=tmp_path, limit=10, seed=1)
    assert found.table["label"].value_counts().to_dict() == {"a": 7, "b": 2, "c": 1}
    assert found.table["id"].is_monotonic_increasing
    assert found.table.index.tolist() == list(range(10))
    assert found.table.equals(listed(root=tmp_path, limit=10, seed=1).table)
    assert set(found.table["id"]) != set(ids(root=tmp_path, limit=10, seed=2))


def test_limit_above_and_at_what_there_is(tmp_path: Path) -> None:
    many(tmp_path)
    assert len(ids(root=tmp_path, limit=100)) == len(ids(root=tmp_path, limit=10**6)) == 100
    assert len(ids(root=tmp_path, limit=99)) == 99


def test_limit_keeps_every_class_as_long_as_it_can(tmp_path: Path) -> None:
    many(tmp_path)
    assert set(listed(root=tmp_path, limit=3).classes) == {"a", "b", "c"}
    assert len(ids(root=tmp_path, limit=2)) == 2


def test_limit_without_labels(tmp_path: Path) -> None:
    files(tmp_path, *(f"{i}.png" for i in range(20)))
    assert len(set(ids(root=tmp_path, limit=7))) == 7


def columns(found: Found, *names: str) -> list[list[str | None]]:
    return cells_of(found.table[list(names)])


def test_split_folders_are_found_by_their_names(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "Val/cat/2.png", "beside.png")
    (tmp_path / "test/dog").mkdir()
    found = listed(root=tmp_path)
    assert columns(found, "id", "label", "split") == [
        ["Val/cat/2.png", "cat", "Val"],
        ["test/cat/1.png", "cat", "test"],
        ["train/cat/1.png", "cat", "train"],
        ["train/dog/1.png", "dog", "train"],
    ]
    assert found.classes == ("cat", "dog")
    assert found.notes == (
        f"the folders of {tmp_path} are taken as splits: Val, test, train",
        "class 'dog' has no images in split 'test'",
    )


def test_only_the_splits_asked_for(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/1.png", "fold1/cat/x/2.png", "fold1/dog/1.png", "other/readme.txt")
    found = listed(root=tmp_path, splits=["fold1"], recursive=True)
    assert columns(found, "id", "split") == [["fold1/cat/x/2.png", "fold1"], ["fold1/dog/1.png", "fold1"]]
    assert found.notes == ()
    (problem,) = refusal(root=tmp_path, splits=["fold"])
    assert problem == (
        f"dataset.splits: {tmp_path} has no folder 'fold'; did you mean fold1? Known: fold1, other, train"
    )
    assert refusal(root=tmp_path, splits=["other"])[0].startswith("split 'other' of dataset.root: no images in")


def test_a_split_without_classes_has_no_labels(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/1.png", "test/1.png")
    found = listed(root=tmp_path)
    assert columns(found, "id", "label", "split") == [["test/1.png", None, "test"], ["train/cat/1.png", "cat", "train"]]


def test_a_class_that_is_called_test_beside_others_is_a_class(tmp_path: Path) -> None:
    files(tmp_path, "test/1.png", "cat/1.png")
    assert columns(listed(root=tmp_path), "id", "label", "split") == [
        ["cat/1.png", "cat", None],
        ["test/1.png", "test", None],
    ]


def test_classes_of_two_splits_in_one_folder_by_a_link(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/1.png", "test/dog/1.png")
    (tmp_path / "test/cat").symlink_to(tmp_path / "train/cat")
    (problem,) = refusal(root=tmp_path)
    assert problem == f"dataset.root: 'test/cat' and 'train/cat' are the same folder: {tmp_path}/train/cat"


def test_groups_and_limits_with_splits(tmp_path: Path) -> None:
    files(tmp_path, *(f"{split}/cat/p{i}_{j}.png" for split in ("train", "test") for i in range(5) for j in range(2)))
    found = listed(root=tmp_path, group=r"p(\d)", limit=8)
    assert len(found.table) == 8
    assert set(found.table["group"]) <= set("01234")


def test_names_that_differ_in_their_unicode_form_alone_stay_two(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    files(tmp_path, f"a/{composed}", f"a/{decomposed}")
    assert ids(root=tmp_path) == sorted([f"a/{composed}", f"a/{decomposed}"])


def test_long_names_equal_stems_and_equal_names_in_two_classes(tmp_path: Path) -> None:
    long = "x" * 196 + ".png"
    files(tmp_path, f"a/{long}", "a/1.png", "a/1.jpg", "b/1.png", f"b/{long}")
    assert ids(root=tmp_path) == ["a/1.jpg", "a/1.png", f"a/{long}", "b/1.png", f"b/{long}"]


def zipped(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode() + b"!")
    return file


def test_a_zip_is_read_like_a_folder(tmp_path: Path) -> None:
    names = [f"a/{name}" for name in NAMES] + [
        "b/1.png",
        "b/x/2.png",
        "b/notes.txt",
        "a/.hidden.png",
        "__MACOSX/a/1.png",
    ]
    archive = zipped(tmp_path / "some.zip", "a/", "empty/", *names)
    found = listed(root=archive)
    assert found.table["id"].tolist() == sorted([f"a/{name}" for name in NAMES] + ["b/1.png"])
    assert found.classes == ("a", "b")
    assert found.ignored == {".txt": 1}
    for row in found.table.itertuples():
        assert row.path == f"zip://{row.id}::{archive}"
        assert read_bytes(row.path) == row.id.encode() + b"!"
    assert "b/x/2.png" in ids(root=archive, recursive=True)


def test_a_zip_of_one_folder_that_holds_all(tmp_path: Path) -> None:
    found = listed(root=zipped(tmp_path / "some.zip", "images/v1/a/1.png", "images/v1/b/2.png", "images/README.txt"))
    assert columns(found, "id", "label") == [["a/1.png", "a"], ["b/2.png", "b"]]
    assert found.notes == ("all of some.zip lies in its folder images/v1/",)
    assert read_bytes(found.table["path"][0]) == b"images/v1/a/1.png!"


def test_a_zip_of_splits_and_a_flat_one(tmp_path: Path) -> None:
    found = listed(root=zipped(tmp_path / "some.zip", "data/train/a/1.png", "data/test/a/1.png"))
    assert columns(found, "id", "split") == [["test/a/1.png", "test"], ["train/a/1.png", "train"]]
    found = listed(root=zipped(tmp_path / "test.zip", "test/1.png", "test/2.png"))
    assert columns(found, "id", "label", "split") == [["test/1.png", None, "test"], ["test/2.png", None, "test"]]
    assert listed(root=zipped(tmp_path / "flat.zip", "1.png")).table["path"][0] == f"zip://1.png::{tmp_path}/flat.zip"


def test_names_in_a_zip_reach_nothing_outside(tmp_path: Path) -> None:
    png_file(tmp_path / "secret.png")
    found = listed(root=zipped(tmp_path / "some.zip", "../secret.png", "a/../../secret.png", "/a/1.png", "a/2.png"))
    assert found.table["id"].tolist() == ["a/1.png", "a/2.png"]
    assert read_bytes(found.table["path"][0]) == b"/a/1.png!"


def test_a_zip_made_on_windows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for name in ("cat\\1.png", "dog\\1.png"):
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            archive.writestr(info, b"x")
    found = listed(root=tmp_path / "some.zip")
    assert columns(found, "id", "label") == [["cat/1.png", "cat"], ["dog/1.png", "dog"]]
    assert [read_bytes(path) for path in found.table["path"]] == [b"x", b"x"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_a_zip_has_twice_is_one_image(tmp_path: Path) -> None:
    found = listed(root=zipped(tmp_path / "some.zip", "a/1.png", "a/1.png", "b/1.png"))
    assert found.table["id"].tolist() == ["a/1.png", "b/1.png"]
    assert found.notes == ("1 files of some.zip have the name of another one in it; the last of a name is used",)


def test_zips_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "web.zip").write_text("<html>login</html>")
    assert refusal(root=tmp_path / "web.zip")[0].startswith("dataset.root: web.zip cannot be read as a zip archive")
    whole = zipped(tmp_path / "cut.zip", "a/1.png", "b/1.png").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    assert refusal(root=tmp_path / "cut.zip")[0].startswith("dataset.root: cut.zip cannot be read as a zip archive")
    assert refusal(root=zipped(tmp_path / "none.zip", "a/1.txt"))[0].startswith("dataset.root: no images in")
    assert "must not have '::'" in refusal(root=zipped(tmp_path / "a::b.zip", "a/1.png"))[0]


def test_real_files_are_not_opened(tmp_path: Path) -> None:
    path = png_file(tmp_path / "a/1.png")
    before = path.stat().st_atime_ns
    listed(root=tmp_path)
    assert path.stat().st_atime_ns == before


def test_links_that_leave_the_root_are_followed_and_counted(tmp_path: Path) -> None:
    elsewhere = png_file(tmp_path / "elsewhere/1.png")
    inside = png_file(tmp_path / "root/a/1.png")
    (tmp_path / "root/a/same.png").symlink_to(inside)
    assert listed(root=tmp_path / "root").notes == ()
    (tmp_path / "root/a/other.png").symlink_to(elsewhere)
    (tmp_path / "root/b").symlink_to(elsewhere.parent, target_is_directory=True)
    found = listed(root=tmp_path / "root")
    assert found.table["id"].tolist() == ["a/1.png", "a/other.png", "a/same.png", "b/1.png"]
    assert found.notes == ("2 links lead out of dataset.root; what is there is read",)
    pairs = listed(pairs=["x", tmp_path / "root/a"])
    assert pairs.notes == ("1 link leads out of their class folder; what is there is read",)


def test_dicom_files_without_an_ending_are_images(tmp_path: Path) -> None:
    png_file(tmp_path / "a/1.png")
    for name in ("IM000001", "1.2.840.1", "DICOMDIR"):
        (tmp_path / "a" / name).write_bytes(bytes(128) + b"DICM" + bytes(9))
    for name in ("README", "1.5", "scan.txt"):
        (tmp_path / "a" / name).write_text("no image")
    os.mkfifo(tmp_path / "a/pipe")
    found = listed(root=tmp_path)
    assert found.table["id"].tolist() == ["a/1.2.840.1", "a/1.png", "a/IM000001"]
    assert found.ignored == {".5": 1, ".txt": 1, "DICOMDIR": 1, "README": 1, "pipe": 1}
