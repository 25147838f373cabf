"""Tar shards: samples, fields, damage, and names that mean no good."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from inference.places import UnreadableImage, read_bytes
from pipeline.datasets import find
from pipeline.datasets.candidates import Found
from pipeline.datasets.webdataset import CUT, TEXT
from pipeline.errors import CallError
from tests.making import cells_of, dataset


def shard(file: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


def sample(key: str, **fields: bytes) -> list[tuple[str, bytes]]:
    return [(f"{key}.{ending}", data) for ending, data in fields.items()]


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def listed(shards: Any, **settings: Any) -> Found:
    given = [str(one) for one in shards] if isinstance(shards, list) else str(shards)
    return find(dataset("webdataset", shards=given, **settings), Path("unused"))


def refusal(shards: Any, **settings: Any) -> str:
    with pytest.raises(CallError) as caught:
        listed(shards, **settings)
    assert caught.value.status == 2
    return caught.value.problems[0]


def column(found: Found, name: str) -> list[str | None]:
    return cells_of(found.table[name])


def test_a_hundred_shards(tmp_path: Path) -> None:
    for i in range(100):
        fields = {"jpg": f"image {i}".encode(), "txt": f" caption {i}\n".encode(), "cls": b"%d\n" % (i % 3)}
        shard(tmp_path / f"{i:06d}.tar", *sample(f"{i:09d}", **fields))
    found = listed(tmp_path / "{000000..000099}.tar")
    assert column(found, "id") == [f"{i:09d}" for i in range(100)]
    assert [read_bytes(path) for path in found.table["path"]] == [f"image {i}".encode() for i in range(100)]
    assert column(found, "caption") == [f"caption {i}" for i in range(100)]
    assert column(found, "label") == [str(i % 3) for i in range(100)]
    assert found.table["position"].tolist() == list(range(100)) and found.rows == 100
    assert found.facts == {"shards": 100, "samples": 100}
    assert (found.notes, found.ignored) == ((), {})
    for same in (tmp_path, tmp_path / "*.tar", [tmp_path / "{000000..000049}.tar", tmp_path / "00005?.tar"]):
        expected = found.table.head(60) if isinstance(same, list) else found.table
        assert listed(same).table.equals(expected)


def test_fields_of_the_json_member(tmp_path: Path) -> None:
    about = {"modality": "ct", "patient": 7, "deep": {"er": True}, "several": ["a", "b"], "none": None}
    shard(tmp_path / "a.tar", *sample("1", png=b"x", json=json.dumps(about).encode()), *sample("2", png=b"y"))
    found = listed(tmp_path / "a.tar", label="json.modality", group="json.patient", caption="json.deep.er")
    assert cells_of(found.table[["label", "group", "caption"]]) == [["ct", "7", "True"], [None] * 3]
    assert column(listed(tmp_path / "a.tar", label="json.none"), "label") == [None, None]
    found = listed(tmp_path / "a.tar", label="json.several")
    assert column(found, "label") == [None, None]
    assert found.notes == ("1 texts hold a list or an object and are left out",)


def test_the_folder_may_be_the_label(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", ("./", b""), ("x/cat/1.jpg", b"1"), ("x/dog/1.jpg", b"2"), ("2.jpg", b"3"))
    found = listed(tmp_path / "a.tar", label="folder")
    assert cells_of(found.table[["id", "label"]]) == [["2", None], ["x/cat/1", "x/cat"], ["x/dog/1", "x/dog"]]


def test_names_follow_the_rule_of_webdataset(tmp_path: Path) -> None:
    names = ["a.b/1.seg.png", "a.b/1.PNG", "sp ace/ü 'q\".x.jpg", "new\nline.jpeg", ".hidden.jpg", "x/._1.jpg", "none"]
    shard(tmp_path / "a.tar", *((name, name.encode()) for name in names))
    found = listed(tmp_path / "a.tar")
    assert column(found, "id") == ["a.b/1", "new\nline"]
    assert [read_bytes(path).decode() for path in found.table["path"]] == ["a.b/1.PNG", "new\nline.jpeg"]
    assert found.ignored == {".seg.png": 1, ".x.jpg": 1}
    assert found.notes == (
        "1 samples have no image and are left out",
        "3 members of shards have no ending or are hidden and are left out",
    )
    assert column(listed(tmp_path / "a.tar", image="seg.png"), "id") == ["a.b/1"]
    assert refusal(tmp_path / "a.tar", image="mask.png") == (
        "dataset.image = mask.png: no member of a.tar ends in .mask.png; there are jpeg, png, seg.png, x.jpg"
    )


def test_of_several_images_the_first_ending_is_taken(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", *sample("1", webp=b"w", png=b"p", jpg=b"j"), *sample("2", webp=b"w"))
    found = listed(tmp_path / "a.tar")
    assert [read_bytes(path) for path in found.table["path"]] == [b"j", b"w"]
    assert found.ignored == {".png": 1, ".webp": 1}


def test_members_that_are_not_plain_files_are_counted(tmp_path: Path) -> None:
    shard(
        tmp_path / "a.tar",
        special("d.jpg", tarfile.DIRTYPE),
        special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.jpg", tarfile.LNKTYPE, "1.jpg"),
        special("pipe.jpg", tarfile.FIFOTYPE),
        special("device.jpg", tarfile.CHRTYPE),
        ("../up.jpg", b"x"),
        ("a/../../up.jpg", b"x"),
        ("/absolute.jpg", b"x"),
        ("1.jpg", b"first"),
        ("1.jpg", b"second"),
    )
    found = listed(tmp_path / "a.tar")
    assert column(found, "id") == ["1"]
    assert read_bytes(found.table["path"][0]) == b"first"
    assert found.notes == (
        "1 members of shards are folders and are left out",
        "4 members of shards are links or devices and are left out",
        "3 members of shards have '..' or a leading / in their names and are left out",
        "1 members of shards have the name of another one of their shard and are left out",
    )


def test_keys_that_repeat_are_told_apart_by_their_shards(tmp_path: Path) -> None:
    for name in ("x/0.tar", "y/0.tar"):
        shard(tmp_path / name, *sample("1", jpg=name.encode()))
    found = listed(tmp_path)
    assert column(found, "id") == ["x/0/1", "y/0/1"]
    assert found.notes == ("keys stand in more than one shard: ids are <shard>/<key>",)


def test_texts_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    shard(
        tmp_path / "a.tar",
        *sample("1", jpg=b"x", txt=b"caf\xe9", json=b"{"),
        *sample("2", jpg=b"x", txt=b"x" * (TEXT + 1), json=b"[" * 100_000),
        *sample("3", jpg=b"x", txt=b"\xef\xbb\xbfyes", json=b'"a string"'),
    )
    found = listed(tmp_path / "a.tar", label="json.x")
    assert column(found, "caption") == [None, None, "yes"]
    assert column(found, "label") == [None, None, None]
    assert found.notes == (
        "1 texts are not UTF-8 and are left out",
        "2 texts are not JSON and are left out",
        f"1 texts are larger than {TEXT:,} bytes and are left out",
    )


def test_a_shard_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    fields = {"jpg": b"j" * 2000, "txt": b"caption"}
    whole = shard(tmp_path / "a.tar", *(member for i in range(3) for member in sample(str(i), **fields)))
    shard(tmp_path / "b.tar", *sample("9", **fields))
    size = whole.stat().st_size
    seen = set()
    for end in range(size, 0, -256):
        os.truncate(whole, end)
        found = listed(tmp_path)
        good = found.table[found.table["problem"] == ""]
        assert [read_bytes(path) for path in good["path"]] == [b"j" * 2000] * len(good)
        for path in found.table["path"][found.table["problem"] == CUT]:
            with pytest.raises(UnreadableImage, match="truncated"):
                read_bytes(path)
        seen.add(len(good))
        if end < 3 * 3584 + 512:  # three samples and a block of the end mark
            assert any("a.tar" in note for note in found.notes), end
    assert seen == {1, 2, 3, 4}


def test_damage_inside_a_shard_is_said(tmp_path: Path) -> None:
    file = shard(tmp_path / "a.tar", *(member for i in range(3) for member in sample(str(i), jpg=b"j" * 100)))
    data = bytearray(file.read_bytes())
    data[1024:1030] = b"wrong!"
    file.write_bytes(data)
    found = listed(file)
    assert column(found, "id") == ["0"]
    assert found.notes == ("a.tar is damaged at byte 1,024: what comes after is left out",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.tar.gz",
            gzip.compress(b"x", mtime=0),
            "a.tar.gz is compressed (gzip), images are read in place from plain tars",
        ),
        ("a.tar", bz2.compress(b"x"), "a.tar is compressed (bzip2)"),
        ("a.tar", b"", "; a.tar is damaged (empty file): what comes before is used"),
        ("a.tar", b"<html>please log in</html>" * 50, "; a.tar is damaged ("),
    ],
)
def test_what_is_no_shard(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name)


def test_wrong_calls(tmp_path: Path) -> None:
    file = shard(tmp_path / "a0.tar", *sample("1", jpg=b"x", json=b"{}"))
    assert refusal(tmp_path / "a{0..1}.tar") == (
        f"dataset.shards: no such file or folder: {tmp_path}/a1.tar; did you mean a0.tar?"
    )
    assert refusal(tmp_path / "b*.tar") == f"dataset.shards: no file fits the pattern {tmp_path}/b*.tar"
    assert refusal(tmp_path / "{0..3.tar").endswith("is not closed")
    assert refusal(tmp_path / "{0..9999999}.tar").endswith("stands for more than 1,000,000 files")
    (tmp_path / "void").mkdir()
    assert refusal(tmp_path / "void") == f"dataset.shards: no file in {tmp_path}/void ends in .tar"
    assert refusal([]) == "dataset.shards: give a path or pattern, or a list of such"
    assert refusal(file, label="cls").startswith("dataset.label = cls: no sample has such a member")
    assert "must not have '::'" in refusal(shard(tmp_path / "a::b.tar", *sample("1", jpg=b"x")))
    os.mkfifo(tmp_path / "pipe.tar")
    assert refusal(tmp_path / "pipe.tar").endswith("is not a file")


def test_limit(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", *(m for i in range(20) for m in sample(f"{i:02d}", jpg=b"x", cls=b"%d" % (i % 2))))
    assert column(listed(tmp_path / "a.tar", limit=4), "label").count("1") == 2


def test_a_long_listing_says_how_far_it_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shard(
            tmp_path / f"{name}.tar", *(member for i in range(30) for member in sample(f"{name}{i}", jpg=b"x" * 2**17))
        )
    told: list[tuple[int, int]] = []
    settings = dataset("webdataset", shards=str(tmp_path / "{a,b}.tar"))
    find(settings, Path("unused"), progress=lambda *at: told.append(at))
    done = [at for at, _ in told]
    assert done == sorted(done) and set(done) == set(range(8)) and {total for _, total in told} == {7}
