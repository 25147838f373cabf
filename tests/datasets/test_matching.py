"""Which vector is whose: every rule, and every case in which it must not guess."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest

from pipeline.datasets.matching import match
from pipeline.errors import RunError

IDS = ["a/1.png", "a/2.png", "b/1.png"]
PATHS = [f"/data/mine/{name}" for name in IDS]


def found(names: list[str], ids: list[str] = IDS, paths: list[str] = PATHS) -> tuple[list[int], str, bool]:
    made = match(ids, paths, names)
    return made.rows.tolist(), made.rule, made.sure


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["b/1.png", "a/1.png", "a/2.png"], "id"),
        (["/data/mine/b/1.png", "/data/mine/a/1.png", "/data/mine/a/2.png"], "path"),
        (["./data/mine/b/1.png", "data//mine/a/1.png", "\\data\\mine\\a\\2.png"], "path"),
        (["/mnt/disk/b/1.png", "/mnt/disk/a/1.png", "/mnt/disk/a/2.png"], "the end of the path"),
        (["mine/b/1.png", "mine/a/1.png", "mine/a/2.png"], "the end of the path"),
        (["D:\\x\\b\\1.png", "D:\\x\\a\\1.png", "D:\\x\\a\\2.png"], "the end of the path"),
        (["s3://bucket/b/1.png", "s3://bucket/a/1.png", "s3://bucket/a/2.png"], "the end of the path"),
        (["b/1", "a/1", "a/2"], "id without the file's extension"),
        (["/y/b/1.jpg", "/y/a/1.jpg", "/y/a/2.jpg"], "the end of the path without the extension"),
    ],
)
def test_rules(names: list[str], rule: str) -> None:
    assert found(names) == ([1, 2, 0], rule, "end" not in rule)


def test_ids_without_extension_and_images() -> None:
    """A table of ids, and vectors that know only where the images were."""
    made = found(["/z/000002.JPG", "/z/000001.jpg"], ["000001", "000002", "000003"], ["", "", ""])
    assert made == ([1, 0, -1], "the end of the id without the extension", False)


def test_ids_that_look_like_extensions_keep_them() -> None:
    ids = ["1.2.840.1", "1.2.840.2"]
    assert found(["1.2.840.2.png", "1.2.840.1.png"], ids, ["", ""])[0] == [1, 0]


def test_a_few_matches_by_id_end_the_search() -> None:
    """Those without a vector are told, not guessed at."""
    assert found(["a/1.png", "x/a/2.png"])[0] == [0, -1, -1]


def test_longer_ends_go_first() -> None:
    """A file in the root and one of the same name below it: relative names tell them apart."""
    made = found(["1.png", "sub/1.png"], ["i", "j"], ["/r/sub/1.png", "/r/1.png"])
    assert made[0] == [1, 0]


def test_a_vector_that_has_a_better_image_is_no_other_ones() -> None:
    assert found(["a/1.png"], ["i", "j"], ["/r/a/1.png", "/r/b/1.png"])[0] == [0, -1]


def test_images_of_one_file_share_its_vector() -> None:
    assert found(["q/x.png"], ["i", "j"], ["/r/x.png", "/r/x.png"])[0] == [0, 0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["y/1.png", "z/1.png"], "could be 'y/1.png' or 'z/1.png'"),
        (["z/1.png"], "'z/1.png' could be 'data/mine/a/1.png' or 'data/mine/b/1.png'"),
        (["a/1.png", "c/1.png", "d/1.png"], "'data/mine/b/1.png' could be 'c/1.png' or 'd/1.png'"),
        (["a/2.png", "c/1.png"], "could be"),
        (["x/1.jpg", "x/1.gif"], "could be"),
        (["q/r/2.png", "q/a/1.png"], "'data/mine/a/1.png' would be 'q/a/1.png', but"),
    ],
)  # fmt: skip
def test_equal_file_names_in_other_folders_are_not_confused(names: list[str], said: str) -> None:
    ids = ["i", "j", "k"]
    with pytest.raises(RunError, match="which vector is whose is not clear: by the end of the path") as error:
        match(ids, PATHS, names)
    assert said in str(error.value)
    assert str(error.value).endswith("give both the same ids")


def test_names_that_are_not_unique() -> None:
    with pytest.raises(RunError, match="the name 'q' and 1 more stands at several vectors"):
        match(IDS, PATHS, ["q", "r", "q", "r"])


TARS = ["tar://1536+9/x/a.jpg::/data/000000.tar", "tar://9216+9/x/b.jpg::/data/000000.tar"]


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["x/b", "x/a"], "id"),  # keys, as clip-retrieval writes them for a webdataset
        (TARS[::-1], "path"),  # a run of ours
        (["tar://0+9/x/b.jpg::/moved/000000.tar", "tar://99+9/x/a.jpg::/moved/000000.tar"], "the end of the path"),
        (["x/b.jpg", "x/a.jpg"], "the end of the path"),
        (["/unpacked/x/b.jpg", "/unpacked/x/a.jpg"], "the end of the path"),
    ],
)
def test_images_in_archives_lie_in_them_as_in_folders(names: list[str], rule: str) -> None:
    assert found(names, ["x/a", "x/b"], TARS) == ([1, 0], rule, "end" not in rule)


def test_rows_of_a_table_that_was_moved() -> None:
    def places(file: str) -> list[str]:
        return [f"parquet://{row}/image::{file}" for row in (0, 1, 10)]

    assert found(places("/moved/a.parquet")[::-1], ["i", "j", "k"], places("/data/a.parquet"))[0] == [2, 1, 0]


def test_no_match_at_all() -> None:
    with pytest.raises(
        RunError, match=r"no name of a vector \(x, y\) is the id or path .* \(a/1.png, a/2.png, b/1.png\)"
    ):
        match(IDS, PATHS, ["x", "y"])


@pytest.mark.parametrize("seed", range(30))
def test_a_moved_tree_is_found_again_whatever_its_names(seed: int) -> None:
    """Random trees with few different names, moved to another root, in another order, some without a vector."""
    random = np.random.default_rng(seed)
    tree = sorted({"/".join(random.choice(["a", "b", "c"], random.integers(1, 5))) for _ in range(40)})
    root, other = "/here/x", random.choice(["/there/y", "z", "C:/u", "/here/x/deep"])
    shuffled = random.permutation(len(tree))
    made = match(
        [f"i{n}" for n in range(len(tree))], [f"{root}/{p}" for p in tree], [f"{other}/{tree[i]}" for i in shuffled]
    )
    assert [shuffled[row] for row in made.rows] == list(range(len(tree)))
    assert all(
        PurePosixPath(tree[shuffled[row]]) == PurePosixPath(path) for row, path in zip(made.rows, tree, strict=True)
    )
