"""The store of finished stages and the memory of content hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from pipeline import cache
from pipeline.cache import ContentHashes, Entry, Store
from tests.making import ROOT, make_entry, python_call, waited_for


def made(store: Store, stage: str = "stage", key: str = "k", text: str = "made") -> Entry:
    with store.making(stage, key) as partial:
        (partial / "files/deep").mkdir(parents=True, exist_ok=True)
        (partial / "files/deep/x.txt").write_text(text)
        (partial / "work/scratch").write_text("gone soon")
        return store.complete(partial, stage, key, {"stage": stage}, {"seconds": 1.5, "metrics": {"a": 1}})


def test_an_entry_is_found_once_it_is_complete(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("stage", "k") is None
    made(store)
    entry = store.find("stage", "k")
    assert entry is not None
    assert entry.made == {"seconds": 1.5, "metrics": {"a": 1}}
    assert (entry.files / "deep/x.txt").read_text() == "made"
    assert store.find("stage", "other") is store.find("other", "k") is None
    assert sorted(path.name for path in (tmp_path / "stage").iterdir()) == ["k"]
    assert sorted(path.name for path in entry.folder.iterdir()) == ["files", "key.json", "made.json"]


def test_files_of_an_entry_are_read_only(tmp_path: Path) -> None:
    entry = made(Store(tmp_path))
    assert stat.S_IMODE((entry.files / "deep/x.txt").stat().st_mode) == 0o444


def test_an_unfinished_entry_is_kept_but_not_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.making("stage", "k") as partial:
        (partial / "work/shard").write_text("half")
        raise KeyboardInterrupt
    assert store.find("stage", "k") is None
    with store.making("stage", "k") as partial:
        assert (partial / "work/shard").read_text() == "half"


@pytest.mark.parametrize(
    "damage", ["shorter", "longer", "gone", "no key", "key cut off", "key null", "key list", "no made"]
)
def test_a_damaged_entry_is_a_miss_and_is_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    entry = made(store)
    file, key = entry.files / "deep/x.txt", entry.folder / "key.json"
    file.chmod(0o644)
    if damage in ("shorter", "longer"):
        file.write_text("x" if damage == "shorter" else "made and more")
    elif damage == "gone":
        file.unlink()
    elif damage == "no key":
        key.unlink()
    elif damage == "no made":
        (entry.folder / "made.json").unlink()
    else:
        key.write_text({"key cut off": key.read_text()[:-5], "key null": "null", "key list": '{"files": [1]}'}[damage])
    assert store.find("stage", "k") is None
    made(store, text="anew")
    found = store.find("stage", "k")
    assert found is not None
    assert (found.files / "deep/x.txt").read_text() == "anew"


def test_a_run_folder_keeps_its_files_when_the_cache_is_deleted(tmp_path: Path) -> None:
    from pipeline.run_dir import link

    entry = made(Store(tmp_path / "cache"))
    link(entry.files / "deep/x.txt", tmp_path / "run/x.txt")
    shutil.rmtree(tmp_path / "cache")
    assert (tmp_path / "run/x.txt").read_text() == "made"


def test_what_it_cost_last_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.latest("stage") is None
    made(store)
    with store.making("stage", "later"):
        pass
    assert store.latest("stage") == {"seconds": 1.5, "metrics": {"a": 1}}


def test_two_processes_race_one_makes_it_and_both_have_it(tmp_path: Path) -> None:
    call = python_call("make_entry", tmp_path / "c", tmp_path / "log", 0.4)
    racers = [subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    said = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert said == [b"made"] * 3
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_maker_that_is_killed_leaves_the_lock_to_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = subprocess.Popen(python_call("make_entry", tmp_path / "c", tmp_path / "log", 60), cwd=ROOT)
    assert waited_for((tmp_path / "log").is_file)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    make_entry(str(tmp_path / "c"), str(tmp_path / "log"), "0")
    assert capsys.readouterr().out == "made"
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_list_and_prune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    made(store, "projection", "p" * 64)
    made(store, "embedding", "e" * 64)
    with store.making("embedding", "u" * 64):
        pass
    assert cache.main(["--cache", str(tmp_path), "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in listed[:-1]] == [
        ["embedding", "e" * 12],
        ["embedding", "u" * 12],
        ["projection", "p" * 12],
    ]
    assert listed[-1].startswith("3 entries")
    assert cache.main(["--cache", str(tmp_path), "prune", "--stage", "projection"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 entries")
    assert store.find("projection", "p" * 64) is None
    assert store.find("embedding", "e" * 64) is not None
    assert cache.main(["--cache", str(tmp_path), "prune", "--older-than", "1"]) == 0
    assert store.find("embedding", "e" * 64) is not None
    assert cache.main(["--cache", str(tmp_path), "prune"]) == 0
    assert not list(tmp_path.glob("*/*/key.json"))
    assert cache.main(["--cache", str(tmp_path / "nowhere"), "list"]) == 0


def test_pruning_spares_what_was_used_lately(tmp_path: Path) -> None:
    store = Store(tmp_path)
    long_ago = time.time() - 30 * 86400
    for key in ("used", "unused"):
        os.utime(made(store, key=key).folder, (long_ago, long_ago))
    assert store.find("stage", "used") is not None
    cache.main(["--cache", str(tmp_path), "prune", "--older-than", "7"])
    assert store.find("stage", "used") is not None
    assert store.find("stage", "unused") is None


def silent(done: int, total: int) -> None:
    pass


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old at once."""
    monkeypatch.setattr(cache, "SETTLED", -1e9)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths whose content is hashed."""
    paths: list[str] = []
    hashed = cache._sha256
    monkeypatch.setattr(cache, "_sha256", lambda path: (paths.append(path), hashed(path))[1])
    return paths


def test_hashes_are_those_of_the_content(tmp_path: Path) -> None:
    contents = [b"", b"a", b"x" * 3_000_000]
    paths = []
    for i, content in enumerate(contents):
        (tmp_path / f"{i}").write_bytes(content)
        paths.append(str(tmp_path / f"{i}"))
    seen: list[tuple[int, int]] = []
    hashes = ContentHashes(tmp_path / "c")
    assert hashes.of(paths, lambda *at: seen.append(at)) == [sha(content) for content in contents]
    assert seen[-1] == (3, 3)
    assert hashes.of([], silent) == []
    assert ContentHashes(None).of(paths[1:2], silent) == [sha(b"a")]


@pytest.mark.usefixtures("_settled")
def test_a_file_is_read_once(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    assert ContentHashes(tmp_path / "c").of([str(path)], silent) == [sha(b"a")]
    assert ContentHashes(tmp_path / "c").of([str(path)] * 2, silent) == [sha(b"a")] * 2
    assert read == [str(path)]


@pytest.mark.usefixtures("_settled")
def test_a_change_of_equal_size_with_its_old_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"aaaa")
    os.utime(path, (1e9, 1e9))
    hashes = ContentHashes(tmp_path / "c")
    assert hashes.of([str(path)], silent) == [sha(b"aaaa")]
    time.sleep(0.02)  # the system's clock for files ticks every few milliseconds
    path.write_bytes(b"bbbb")
    os.utime(path, (1e9, 1e9))
    assert hashes.of([str(path)], silent) == [sha(b"bbbb")]
    other = tmp_path / "y"
    other.write_bytes(b"cccc")
    os.utime(other, (1e9, 1e9))
    os.replace(other, path)
    assert hashes.of([str(path)], silent) == [sha(b"cccc")]


def test_young_files_are_read_again(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a")
    hashes = ContentHashes(tmp_path / "c")
    hashes.of([str(path)], silent)
    path.write_bytes(b"b")  # maybe within the same tick of the clock
    assert hashes.of([str(path)], silent) == [sha(b"b")]
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
        assert hashes.of([str(path)], silent) == [sha(b"a")]


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
    assert hashes.of([paths[2]], silent) == [sha(b"a")]


@pytest.mark.usefixtures("_settled")
def test_a_name_that_is_not_utf8_is_hashed_without_being_remembered(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"r\xe9")
    odd.write_bytes(b"a")
    for _ in range(2):
        assert ContentHashes(tmp_path / "c").of([str(odd)], silent) == [sha(b"a")]
