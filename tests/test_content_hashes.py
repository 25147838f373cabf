"""Hashes of contents, and the memory of them."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from pathlib import Path

import pytest
from blake3 import blake3

from inference.places import inside
from pipeline import content_hashes
from pipeline.content_hashes import ContentHashes, blake3_of_file


def silent(done: int, total: int) -> None:
    pass


def b3(data: bytes) -> str:
    return blake3(data).hexdigest()


@pytest.fixture
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old at once."""
    monkeypatch.setattr(content_hashes, "SETTLED", -1e9)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths whose content is hashed."""
    paths: list[str] = []
    hashed = content_hashes.blake3_of
    monkeypatch.setattr(content_hashes, "blake3_of", lambda path, stopped: (paths.append(path), hashed(path))[1])
    return paths


def test_hashes_are_those_of_the_content(tmp_path: Path) -> None:
    contents = [b"", b"a", b"x" * 3_000_000]
    paths = []
    for i, content in enumerate(contents):
        (tmp_path / f"{i}").write_bytes(content)
        paths.append(str(tmp_path / f"{i}"))
    seen: list[tuple[int, int]] = []
    hashes = ContentHashes(tmp_path / "c")
    assert hashes.of(paths, lambda *at: seen.append(at)) == [b3(content) for content in contents]
    assert seen[-1] == (3, 3)
    assert hashes.of([], silent) == []
    assert ContentHashes(None).of(paths[1:2], silent) == [b3(b"a")]


@pytest.mark.usefixtures("_settled")
def test_a_file_is_read_once(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    assert ContentHashes(tmp_path / "c").of([str(path)], silent) == [b3(b"a")]
    assert ContentHashes(tmp_path / "c").of([str(path)] * 2, silent) == [b3(b"a")] * 2
    assert read == [str(path)]


@pytest.mark.usefixtures("_settled")
def test_a_change_of_equal_size_with_its_old_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"aaaa")
    os.utime(path, (1e9, 1e9))
    hashes = ContentHashes(tmp_path / "c")
    assert hashes.of([str(path)], silent) == [b3(b"aaaa")]
    time.sleep(0.02)  # the system's clock for files ticks every few milliseconds
    path.write_bytes(b"bbbb")
    os.utime(path, (1e9, 1e9))
    assert hashes.of([str(path)], silent) == [b3(b"bbbb")]
    other = tmp_path / "y"
    other.write_bytes(b"cccc")
    os.utime(other, (1e9, 1e9))
    os.replace(other, path)
    assert hashes.of([str(path)], silent) == [b3(b"cccc")]


def test_young_files_are_read_again(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    hashes = ContentHashes(tmp_path / "c")
    hashes.of([str(path)], silent)
    path.write_bytes(b"b")  # maybe within the same tick of the clock
    assert hashes.of([str(path)], silent) == [b3(b"b")]
    assert read == [str(path)] * 2


@pytest.mark.usefixtures("_settled")
@pytest.mark.parametrize("damage", [b"", b"not a database" * 100, "half", "folder"])
def test_a_damaged_memory_is_no_harm(tmp_path: Path, damage: bytes | str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    hashes = ContentHashes(tmp_path / "c")
    hashes.of([str(path)], silent)
    base = tmp_path / "c/content_hashes.sqlite"
    if damage == "folder":
        base.unlink()
        base.mkdir()
    else:
        base.write_bytes(base.read_bytes()[:5000] if damage == "half" else bytes(damage))  # type: ignore[arg-type]
    for _ in range(2):
        assert hashes.of([str(path)], silent) == [b3(b"a")]


def test_what_cannot_be_read_gives_its_reason_and_is_not_remembered(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    odd = tmp_path / os.fsdecode(b"r\xe9")
    odd.write_bytes(b"a")
    os.utime(odd, (1e9, 1e9))
    paths = [str(tmp_path / name) for name in ("pipe", "folder", "none", "nul\0", "\ud800")]
    hashes = ContentHashes(tmp_path / "c")
    found = hashes.of(paths, silent)
    assert found[:3] == ["not a file", "not a file", "unreadable: FileNotFoundError"]
    assert found[3:] == ["unreadable: ValueError", "unreadable: UnicodeEncodeError"]
    (tmp_path / "none").write_bytes(b"a")
    assert hashes.of([paths[2]], silent) == [b3(b"a")]


@pytest.mark.usefixtures("_settled")
def test_a_name_that_is_not_utf8_is_hashed_without_being_remembered(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"r\xe9")
    odd.write_bytes(b"a")
    for _ in range(2):
        assert ContentHashes(tmp_path / "c").of([str(odd)], silent) == [b3(b"a")]


def test_weights_are_known_by_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a")
    hashes = ContentHashes(tmp_path / "c")
    assert hashes.sha256([str(tmp_path / "x")], silent) == [hashlib.sha256(b"a").hexdigest()]
    assert hashes.of([str(tmp_path / "x")], silent) == [b3(b"a")]


def test_members_of_an_archive_have_the_hash_of_their_own_content(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"first")
        archive.writestr("b", b"second")
    places = [inside("zip", name, tmp_path / "some.zip") for name in ("b", "a", "none")]
    assert ContentHashes(None).of(places, silent) == [b3(b"second"), b3(b"first"), "unreadable: missing"]


@pytest.mark.usefixtures("_settled")
def test_members_are_hashed_again_when_their_archive_changes(tmp_path: Path, read: list[str]) -> None:
    hashes = ContentHashes(tmp_path / "c")
    place = inside("zip", "a", tmp_path / "some.zip")
    for content in (b"first", b"first", b"other"):
        if content == b"other" or not (tmp_path / "some.zip").exists():
            with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
                archive.writestr("a", content)
        assert hashes.of([place], silent) == [b3(content)]
    assert read == [place] * 2


def test_what_was_hashed_before_an_interruption_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _settled: None
) -> None:
    monkeypatch.setattr(content_hashes, "REMEMBERED", 2)
    monkeypatch.setattr(content_hashes, "TOGETHER", 1)
    paths = [str(tmp_path / str(i)) for i in range(5)]
    for path in paths:
        Path(path).write_bytes(path.encode())

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ContentHashes(tmp_path / "c").of(paths, interrupt)
    seen: list[int] = []
    ContentHashes(tmp_path / "c").of(paths, lambda done, total: seen.append(done))
    assert seen == [3, 4, 5]


@pytest.mark.usefixtures("_settled")
def test_a_flipped_bit_in_the_memory_gives_no_image_another_s_hash(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    hashes = ContentHashes(tmp_path / "c")
    hashes.of([str(path)], silent)
    base = tmp_path / "c/content_hashes.sqlite"
    stored = b3(b"a").encode()
    assert base.read_bytes().count(stored) == 1
    base.write_bytes(base.read_bytes().replace(stored, b3(b"b").encode()))
    assert hashes.of([str(path)], silent) == [b3(b"a")]
    assert hashes.of([str(path)], silent) == [b3(b"a")]
    assert read == [str(path)] * 2


def test_a_file_that_is_no_data_base_is_replaced(tmp_path: Path, _settled: None, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/content_hashes.sqlite").write_bytes(b"no data base" * 999)
    for _ in range(3):
        assert ContentHashes(tmp_path / "c").of([str(path)], silent) == [b3(b"a")]
    assert len(read) < 3  # remembered again


@pytest.mark.parametrize("size", [0, 5, 3 * 2**20])
def test_a_file_of_ours_on_all_cores_is_the_same(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(b"a" * size)
    assert blake3_of_file(tmp_path / "x") == b3(b"a" * size)


@pytest.mark.usefixtures("_settled")
def test_only_some_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    monkeypatch.setattr(content_hashes, "REMEMBERED", 2)
    paths = [str(tmp_path / str(i)) for i in range(5)]
    for path in paths:
        Path(path).write_bytes(path.encode())
    seen: list[tuple[int, int]] = []
    hashes = ContentHashes(tmp_path / "c").each(paths, lambda *at: seen.append(at))
    assert next(hashes) == b3(paths[0].encode())
    assert sorted(read) == paths[:2]
    assert list(hashes) == [b3(path.encode()) for path in paths[1:]]
    assert seen[-1] == (5, 5) and seen == sorted(seen)
    assert list(ContentHashes(tmp_path / "c").each(paths, silent)) == [b3(path.encode()) for path in paths]
    assert sorted(read) == paths
