"""What a run writes can be read back as it was."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CallError
from pipeline.run_dir import ARTIFACTS, Array, Table, link, load_run, process_start, write_json

TEXTS = ["NA", "001", "", "nan", "None", "1e5", "true", "a,b", 'quote"', "new\nline", "Ümläut 🐶", " padded "]
TABLES = {name: kept for name, kept in ARTIFACTS.items() if isinstance(kept, Table)}
ARRAYS = {name: kept for name, kept in ARTIFACTS.items() if isinstance(kept, Array)}


@pytest.mark.parametrize("name", TABLES)
def test_text_in_tables_stays_text(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"path": TEXTS, "reason": TEXTS[::-1], "0": "x"})
    TABLES[name].save(table, tmp_path)
    back = TABLES[name].load(tmp_path)
    assert back.columns.tolist() == ["path", "reason", "0"]
    assert back.to_numpy().tolist() == table.to_numpy().tolist()
    assert all((tmp_path / file).is_file() for file in TABLES[name].files())


def test_a_csv_keeps_a_carriage_return_and_none_is_empty(tmp_path: Path) -> None:
    kept = ARTIFACTS["skipped"]
    kept.save(pd.DataFrame({"path": ["a\rb.png", "c\r\nd.png", None], "reason": "x", "detail": ""}), tmp_path)
    assert kept.load(tmp_path)["path"].tolist() == ["a\rb.png", "c\r\nd.png", ""]


@pytest.mark.parametrize("name", TABLES)
def test_tables_without_rows(tmp_path: Path, name: str) -> None:
    TABLES[name].save(pd.DataFrame({"path": pd.Series([], dtype=object), "reason": []}), tmp_path)
    back = TABLES[name].load(tmp_path)
    assert back.shape == (0, 2)
    assert back.columns.tolist() == ["path", "reason"]


def test_numbers_and_missing_values_in_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "label": ["a", None, "NA"],
            "caption": [None, None, None],
            "count": np.array([1, 2, 2**53 + 1]),
            "value": [0.1, np.nan, np.inf],
            "read": [True, False, True],
        }
    )
    kept = ARTIFACTS["images"]
    kept.save(table, tmp_path)
    back = kept.load(tmp_path)
    assert back["label"].isna().tolist() == [False, True, False]
    assert back["caption"].isna().all()
    assert back["count"].tolist() == [1, 2, 2**53 + 1]
    np.testing.assert_array_equal(back["value"], table["value"])
    assert back["read"].tolist() == [True, False, True]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (5,), (0,), (1, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_arrays(tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    value = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    ARRAYS[name].save(value, tmp_path)
    back = ARRAYS[name].load(tmp_path)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)
    assert not value.size or not back.flags.writeable


VIEWS: dict[str, Any] = {
    "whole": lambda a: a,
    "reversed": lambda a: a[::-1],
    "transposed": lambda a: a.T,
    "flat": lambda a: a.reshape(-1),
    "other type": lambda a: a.view(np.int64),
    "head": lambda a: a[:2],
    "tail": lambda a: a[1:],
    "columns": lambda a: a[:, 1:],
    "chosen": lambda a: a[[2, 0]],
    "sum": lambda a: a + 1,
    "plain view": lambda a: np.asarray(a),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_a_stored_array_are_stored_as_they_look(tmp_path: Path, view: str, order: str) -> None:
    np.save(tmp_path / "a.npy", np.asarray(np.arange(12.0).reshape(3, 4), order=order))
    value = VIEWS[view](np.load(tmp_path / "a.npy", mmap_mode="r"))
    kept = Array("out/b")
    kept.save(value, tmp_path)
    back = kept.load(tmp_path)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


def test_a_whole_stored_array_is_linked_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(3, 4))
    Array("b").save(np.load(tmp_path / "a.npy", mmap_mode="r"), tmp_path)
    assert (tmp_path / "a.npy").samefile(tmp_path / "b.npy")


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_a_stored_array_that_was_changed_in_memory_is_stored_changed(tmp_path: Path, mode: Any) -> None:
    np.save(tmp_path / "a.npy", np.arange(4.0))
    value = np.load(tmp_path / "a.npy", mmap_mode=mode)
    value[0] = 99
    Array("b").save(value, tmp_path)
    assert np.load(tmp_path / "b.npy")[0] == 99
    assert not (tmp_path / "a.npy").samefile(tmp_path / "b.npy")


def test_link_and_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a"
    source.write_text("one")
    link(source, tmp_path / "deep/er/b")
    assert source.samefile(tmp_path / "deep/er/b")

    def no_links(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    link(source, tmp_path / "c")
    assert not source.samefile(tmp_path / "c")
    assert (tmp_path / "c").read_text() == "one"


def test_a_link_never_writes_through_another(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    link(tmp_path / "old", tmp_path / "run")
    link(tmp_path / "new", tmp_path / "run")
    link(tmp_path / "new", tmp_path / "run")
    assert (tmp_path / "run").read_text() == "new"
    assert (tmp_path / "old").read_text() == "old"


def test_json_is_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"ü": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"ü": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"ü": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def recorded(folder: Path, **record: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", {"status": "complete", "stages": [], **record})
    return folder


def status(folder: Path, **process: Any) -> str:
    return str(load_run(recorded(folder, status="running", process=process)).record["status"])


def test_load_run(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "2026-11-21/10-30-00", config={"seed": 0}, stages=[{"name": "clustering"}])
    write_json(folder / "metrics.json", {"a/b": 1.5})
    clusters = np.array([0, 1, 0])
    ARTIFACTS["clusters"].save(clusters, folder)
    ARTIFACTS["class_summary"].save(pd.DataFrame({"class": ["001"]}), folder)
    (folder / "clustering/map.png").touch()
    run = load_run(folder)
    assert run.name == "2026-11-21/10-30-00"
    assert run.metrics == {"a/b": 1.5}
    assert run.config == {"seed": 0}
    np.testing.assert_array_equal(run["clusters"], clusters)
    assert sorted(run) == ["class_summary", "clusters"]
    assert len(run) == 2
    assert "clusters" in run
    assert "map" not in run
    assert run["class_summary"]["class"].tolist() == ["001"]
    assert list(run.tables) == ["class_summary"]
    assert [(stage, name) for stage, name, _ in run.pictures] == [("clustering", "map")]
    assert run.skipped.empty
    with pytest.raises(KeyError, match="map: not in this run; it has class_summary, clusters"):
        run["map"]
    with pytest.raises(KeyError):
        run["../../etc/passwd"]


def test_verdict_and_pictures(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "2026-11-21/10-30-00", dataset={"name": "xs"}, stages=[{"name": "clustering"}])
    run = load_run(folder)
    assert run.verdict == ""
    assert repr(run) == "Run(xs, complete)"
    ARTIFACTS["verdict"].save(pd.DataFrame({"verdict": ["none"], "sentence": ["No clusters."]}), folder)
    (folder / "clustering").mkdir()
    (folder / "clustering/map.png").write_bytes(b"png")
    run = load_run(folder)
    assert run.verdict == "No clusters."
    assert run.picture("clustering/map")._repr_png_() == b"png"
    assert repr(run.picture("clustering/map")) == "Picture(clustering/map)"
    with pytest.raises(KeyError, match="clustering/mop: no such picture in this run; did you mean clustering/map"):
        run.picture("clustering/mop")


def test_a_copied_folder_still_opens(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "a")
    ARTIFACTS["clusters"].save(np.array([1, 2]), folder)
    shutil.copytree(folder, tmp_path / "b")
    shutil.rmtree(folder)
    assert load_run(tmp_path / "b")["clusters"].tolist() == [1, 2]


def test_no_run_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("nowhere", "file", ""):
        with pytest.raises(CallError, match=r"not a run folder: it has no run\.json"):
            load_run(tmp_path / place)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(CallError, match="damaged"):
        load_run(str(tmp_path))


def test_a_record_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(CallError, match="cannot be read"):
        load_run(tmp_path)


def test_a_run_that_still_runs(tmp_path: Path) -> None:
    here, me = socket.gethostname(), os.getpid()
    assert status(tmp_path, host=here, pid=me) == "running"
    assert status(tmp_path, host=here, pid=me, started=process_start(me)) == "running"
    assert status(tmp_path, host="elsewhere", pid=2**22 + 1) == "running"
    for pid in (None, "x"):
        assert status(tmp_path, host=here, pid=pid) == "running"
    assert load_run(recorded(tmp_path, status="running", process=None)).record["status"] == "running"


def test_a_run_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    here = socket.gethostname()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_start(process.pid)
    assert status(tmp_path, host=here, pid=process.pid, started=started) == "running"
    assert status(tmp_path, host=here, pid=process.pid, started="1") == "killed"  # its number was given away
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not looked yet
    assert status(tmp_path, host=here, pid=process.pid, started=started) == "killed"
    process.communicate()
    run = load_run(recorded(tmp_path, status="running", process={"host": here, "pid": process.pid, "started": started}))
    assert run.record["status"] == "killed"
    assert run.record["reason"] == "the process ended without a word"
    assert status(tmp_path, host=here, pid=10**12) == "killed"


def test_a_finished_record_is_left_as_it_is(tmp_path: Path) -> None:
    gone = {"host": socket.gethostname(), "pid": 10**12}
    for ended in ("complete", "failed", "interrupted"):
        assert load_run(recorded(tmp_path, status=ended, process=gone)).record["status"] == ended


def test_a_table_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.run_dir.ROWS", 3)
    table = pd.DataFrame({"path": [*TEXTS, None], "n": range(len(TEXTS) + 1), "x": 0.5, "flag": True})
    table.loc[2, "x"] = float("nan")
    ARTIFACTS["reading"].save(table, tmp_path)
    back = ARTIFACTS["reading"].load(tmp_path)
    pd.testing.assert_frame_equal(back, table)
