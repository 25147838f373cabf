"""`.knn` files, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from inference.places import inside, turned
from pipeline.errors import RunError
from pipeline.stages.sidecars import sidecar_files, write_sidecars
from pipeline.stages.tagging import deliver
from tests.making import png_file, settings
from tests.stages.words import section, table_of


def images(folder: Path, *names: str) -> list[str]:
    return [str(png_file(folder / name)) for name in names]


def knn(folder: Path) -> dict[str, bytes]:
    """All sidecars below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.knn"))}


def test_an_entry_a_line_best_first(tmp_path: Path) -> None:
    one, two = images(tmp_path, "a.png", "sub dir/Bäume.JPEG")
    assert write_sidecars({one: ["a dog", "two  spaces"], two: ["ein Baum – über", "猫"]}, overwrite=False) == []
    assert knn(tmp_path) == {
        "a.knn": b"a dog\ntwo  spaces\n",
        "sub dir/Bäume.knn": "ein Baum – über\n猫\n".encode(),
    }
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "a.knn", "sub dir"}, "no scratch files are left"


def test_entries_never_break_a_line(tmp_path: Path) -> None:
    (one,) = images(tmp_path, "a.png")
    write_sidecars({one: ["a\nb", "c\r\nd", "e\u2028f", "\udcff"]}, overwrite=False)
    assert knn(tmp_path) == {"a.knn": b"a b\nc d\ne f\n?\n"}


def test_no_tag_is_an_empty_file(tmp_path: Path) -> None:
    (one,) = images(tmp_path, "a.png")
    write_sidecars({one: []}, overwrite=False)
    assert knn(tmp_path) == {"a.knn": b""}


def test_equal_stems_keep_the_whole_name(tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "a.jpg", "b.png", "other/a.png")
    notices = write_sidecars({path: [Path(path).name] for path in paths}, overwrite=False)
    assert knn(tmp_path) == {
        "a.jpg.knn": b"a.jpg\n", "a.png.knn": b"a.png\n", "b.knn": b"b.png\n", "other/a.knn": b"a.png\n"
    }  # fmt: skip
    assert notices == [
        "sidecars: 2 images share a stem with another in their folder, as a.png: their sidecars keep the whole name, "
        "as a.png.knn"
    ]


def test_a_whole_name_may_be_the_stem_of_yet_another(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.jpg", "a.png", "a.jpg.png")]
    files, _ = sidecar_files(paths)
    assert [files[path].name for path in paths] == ["a.jpg.knn", "a.png.knn", "a.jpg.png.knn"]


def test_what_is_there_stays_unless_told(tmp_path: Path) -> None:
    one, two = images(tmp_path, "a.png", "b.png")
    (tmp_path / "a.knn").write_text("mine\n")
    (tmp_path / "b.knn").write_text("same\n")
    before = (tmp_path / "b.knn").stat().st_mtime_ns
    tags = {one: ["new"], two: ["same"]}
    assert write_sidecars(tags, overwrite=False) == [
        "sidecars: 1 that were there stay as they are, as a.knn; tagging.overwrite=true writes over them"
    ]
    assert knn(tmp_path) == {"a.knn": b"mine\n", "b.knn": b"same\n"}
    assert write_sidecars(tags, overwrite=True) == []
    assert knn(tmp_path) == {"a.knn": b"new\n", "b.knn": b"same\n"}
    assert (tmp_path / "b.knn").stat().st_mtime_ns == before
    assert write_sidecars(tags, overwrite=False) == []


def test_images_that_are_no_files(tmp_path: Path) -> None:
    """In an archive, in a table, nowhere; a turned one is a file."""
    (one,) = images(tmp_path, "a.png")
    archive = inside("zip", "in.png", tmp_path / "x.zip")
    tags = {turned(one, 90): ["turned"], archive: ["packed"], turned(archive, 90): ["packed"], "": ["nowhere"]}
    assert write_sidecars(tags, overwrite=False) == ["sidecars: 3 images lie in archives or tables and get none"]
    assert knn(tmp_path) == {"a.knn": b"turned\n"}


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (one,) = images(tmp_path, "a.png")
    (tmp_path / "a.knn").mkdir()
    with pytest.raises(RunError, match=rf"^tagging.sidecars: {tmp_path}/a.knn: Is a directory$"):
        write_sidecars({one: ["x"]}, overwrite=True)
    with pytest.raises(RunError, match=r"^tagging.sidecars: /proc/x.knn: "):
        write_sidecars({"/proc/x.png": ["x"]}, overwrite=True)


def test_a_folder_that_is_read_only(tmp_path: Path, not_root: None) -> None:
    (one,) = images(tmp_path / "fixed", "a.png")
    (tmp_path / "fixed").chmod(0o555)
    try:
        with pytest.raises(RunError, match=r"^tagging.sidecars: .*/a.knn: Permission denied$"):
            write_sidecars({one: ["x"]}, overwrite=False)
    finally:
        (tmp_path / "fixed").chmod(0o755)


def test_what_the_stage_delivers(tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "b.png", "c.png")
    tags = pd.DataFrame({
        "id": ["image 1", "image 1", "image 0"], "rank": [1, 2, 1], "text": ["best", "next", "only"]
    })  # fmt: skip
    values = {"tags": tags, "images": table_of([None] * 3, path=paths)}
    assert deliver(settings(tagging=section("tagging")), values) == []
    assert knn(tmp_path) == {}
    assert deliver(settings(tagging=section("tagging", sidecars=True)), values) == []
    assert knn(tmp_path) == {"a.knn": b"only\n", "b.knn": b"best\nnext\n", "c.knn": b""}
