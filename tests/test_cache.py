"""The store of finished stages."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from pipeline import cache
from pipeline.cache import Entry, Store
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
    "damage", ["shorter", "longer", "other", "gone", "no key", "key cut off", "key null", "key list", "no made"]
)
def test_a_damaged_entry_is_a_miss_and_is_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    entry = made(store)
    file, key = entry.files / "deep/x.txt", entry.folder / "key.json"
    file.chmod(0o644)
    if damage in ("shorter", "longer", "other"):
        file.write_text({"shorter": "x", "longer": "made and more", "other": "mode"}[damage])
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
