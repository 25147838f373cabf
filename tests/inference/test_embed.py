"""Embedding: the same bytes whoever does the work, whatever dies on the way, and only the guilty row is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from blake3 import blake3

import inference.embed as embedding
from inference.embed import Embedded, EmbeddingFailed, embed
from inference.encoders import EncoderHandle
from inference.images import ImageFile, ReadingRules
from pipeline.run_dir import process_start
from tests.making import (
    ROOT,
    UnloadableHandle,
    pixels_handle,
    png_file,
    png_files,
    python_call,
    trapped,
    waited_for,
)
from tests.nasty_images import CASES

HANDLE = pixels_handle()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHARD", 8)


def golden(paths: list[str]) -> np.ndarray:
    return np.stack([cv2.imread(path, 0).ravel() for path in paths])


def same(a: Embedded, b: Embedded) -> bool:
    arrays = [(a.vectors, b.vectors), (a.rows, b.rows)]
    equal = all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)
    return equal and a.seen.equals(b.seen) and sorted(a.unreadable) == sorted(b.unreadable)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 30])
def test_every_image_has_its_row(tmp_path: Path, count: int) -> None:
    paths = png_files(tmp_path / "i", count)[::-1]
    made = embed(paths, HANDLE, tmp_path / "w")
    np.testing.assert_array_equal(made.vectors, golden(paths))
    assert made.vectors.dtype == np.uint8
    assert made.rows.tolist() == list(range(count))
    assert made.seen[["width", "height"]].to_numpy().tolist() == [[8, 8]] * count
    assert made.unreadable == []


def test_the_result_is_a_read_only_file(tmp_path: Path) -> None:
    made = embed(png_files(tmp_path / "i", 9), HANDLE, tmp_path / "w")
    assert isinstance(made.vectors, np.memmap)
    assert not made.vectors.flags.writeable


def test_unreadable_rows_are_listed_and_the_rest_keep_their_order(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20)
    Path(paths[3]).write_bytes(b"")
    Path(paths[8]).write_bytes(b"<html>")
    Path(paths[19]).unlink()
    made = embed(paths, HANDLE, tmp_path / "w", workers=0)
    left = [i for i in range(20) if i not in (3, 8, 19)]
    assert made.rows.tolist() == left
    np.testing.assert_array_equal(made.vectors, golden([paths[i] for i in left]))
    assert [(row, reason) for row, reason, _ in made.unreadable] == [(3, "empty"), (8, "not an image"), (19, "missing")]


def test_no_images(tmp_path: Path) -> None:
    made = embed([], HANDLE, tmp_path)
    assert len(made.vectors) == len(made.rows) == len(made.seen) == len(made.unreadable) == 0


@pytest.mark.parametrize("normalize", [False, True])
def test_nothing_readable_still_has_the_right_shape(tmp_path: Path, normalize: bool) -> None:
    made = embed([str(tmp_path / "none.png")] * 20, pixels_handle(normalize=normalize), tmp_path / "w")
    assert made.vectors.shape == (0, 64)
    assert made.vectors.dtype == (np.float32 if normalize else np.uint8)
    assert made.seen.shape == (0, 8)
    assert [row for row, _, _ in made.unreadable] == list(range(20))


def test_a_first_shard_without_a_readable_image(tmp_path: Path) -> None:
    paths = [str(tmp_path / "none.png")] * 8 + png_files(tmp_path / "i", 3)
    made = embed(paths, HANDLE, tmp_path / "w")
    assert made.rows.tolist() == [8, 9, 10]
    np.testing.assert_array_equal(made.vectors, golden(paths[8:]))


def test_normalized_vectors_have_length_one_and_black_stays_black(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 10)
    cv2.imwrite(paths[4], np.zeros((8, 8), np.uint8))
    made = embed(paths, pixels_handle(normalize=True), tmp_path / "w")
    assert made.vectors.dtype == np.float32
    lengths = np.linalg.norm(made.vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 0, 1, 1, 1, 1, 1], atol=1e-6)
    exact = golden(paths).astype(np.float64)
    exact[4] = 0
    expected = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(made.vectors, expected, atol=1e-7)


def test_batches_do_not_show_in_the_result(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20)
    Path(paths[2]).write_bytes(b"x")
    handle = pixels_handle(normalize=True)
    whole = embed(paths, handle, tmp_path / "a", workers=0)
    assert same(whole, embed(paths, handle, tmp_path / "b", workers=0, batch_size=3))


def test_progress_goes_up_to_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = png_files(tmp_path / "i", 20)
    embed(paths, HANDLE, tmp_path / "w", workers=0, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (20, 20)
    seen.clear()
    embed(paths, HANDLE, tmp_path / "w2", workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)
    assert max(done for done, _ in seen) == 20


def test_shards_that_are_complete_are_not_made_again(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 24)
    first = embed(paths, HANDLE, tmp_path / "w", workers=0)
    (tmp_path / "w/shards/00001.json").unlink()
    (tmp_path / "w/shards/00002.npy").unlink()
    before = (tmp_path / "w/shards/00000.npy").stat()
    again = embed(paths, trapped(), tmp_path / "w", workers=0)
    after = (tmp_path / "w/shards/00000.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert same(first, again)


@pytest.mark.parametrize(("files", "workers", "expected"), [(20, None, 0), (20, 0, 0), (20, 9, 3), (20, 2, 2)])
def test_how_many_processes(tmp_path: Path, files: int, workers: int | None, expected: int) -> None:
    paths = png_files(tmp_path, files)
    assert embedding._workers(workers, paths, 3, HANDLE) == expected


def test_paths_and_contents_may_be_columns_of_a_table(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20)
    contents = [blake3(Path(path).read_bytes()).hexdigest() for path in paths]
    contents[3] = "0" * 64
    lists = embed(paths, HANDLE, tmp_path / "a", contents=contents)
    table = pd.DataFrame({"path": paths, "content": contents})
    columns = embed(table["path"].array, HANDLE, tmp_path / "b", contents=table["content"].array)
    assert same(lists, columns)
    assert [row for row, _, _ in columns.unreadable] == [3]


def test_tasks_are_made_when_their_turn_comes() -> None:
    """Those of a million rows, with their paths and hashes, would take gigabytes."""
    made: list[int] = []

    def task(number: int) -> Any:
        made.append(number)
        return number

    tasks = embedding._Tasks([4, 6, 9], task)
    assert len(tasks) == 3 and not made
    assert next(iter(tasks)) == 4 and made == [4]
    assert list(tasks) == [4, 6, 9]


def test_many_or_large_files_get_processes(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(embedding.SMALL + 1)
    assert embedding._workers(None, [str(large)], 1, HANDLE) == 1
    assert embedding._workers(None, ["absent"] * (embedding.MANY + 1), 1, HANDLE) == 1


def test_workers_crashing_and_hanging_cost_one_row_each_and_nothing_else(tmp_path: Path) -> None:
    tails = {2: b"trap:segfault", 3: b"trap:exit", 9: b"trap:hang"}
    paths = png_files(tmp_path / "i", 24, tails)
    Path(paths[20]).write_bytes(b"")
    made = embed(paths, trapped(), tmp_path / "w", workers=2, timeout=2.0)
    reasons = {row: (reason, detail) for row, reason, detail in made.unreadable}
    assert reasons == {
        2: ("crashed", "the decoder ended with signal SIGSEGV"),
        3: ("crashed", "the decoder ended with exit status 139"),
        9: ("timeout", "not decoded within 2 s"),
        20: ("empty", "0 bytes"),
    }
    left = [i for i in range(24) if i not in reasons]
    assert made.rows.tolist() == left
    np.testing.assert_array_equal(made.vectors, golden([paths[i] for i in left]))
    assert len(made.seen) == 20
    undisturbed = embed([paths[i] for i in left], trapped(), tmp_path / "w2", workers=0)
    assert made.vectors.tobytes() == undisturbed.vectors.tobytes()
    assert children_of(os.getpid()) == []


def test_workers_make_the_same_bytes_as_this_process(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 30)
    Path(paths[11]).write_bytes(b"x")
    handle = pixels_handle(normalize=True, scaling="unit")
    here = embed(paths, handle, tmp_path / "a", workers=0)
    assert same(here, embed(paths, handle, tmp_path / "b", workers=2))


def test_loading_libraries_is_not_charged_to_the_first_image(tmp_path: Path) -> None:
    code = (
        "import sys; from inference.images import ImageFile, warm_up; warm_up(); before = set(sys.modules); "
        "ImageFile(sys.argv[1]).gray(); print([m for m in set(sys.modules) - before if m.startswith(('PIL', 'cv2'))])"
    )
    command = [sys.executable, "-c", code, str(png_file(tmp_path / "x.png"))]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_the_environment_is_as_before_after_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    embed(png_files(tmp_path / "i", 2), HANDLE, tmp_path / "w", workers=1)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_error_that_is_no_images_fails_with_its_own_words(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20, {5: b"trap:raise"})
    with pytest.raises(EmbeddingFailed, match="RuntimeError: no such kernel"):
        embed(paths, trapped(), tmp_path / "w", workers=2)
    assert children_of(os.getpid()) == []


def test_an_encoder_that_cannot_be_loaded(tmp_path: Path) -> None:
    handle = UnloadableHandle("none", (), False, HANDLE.description)
    with pytest.raises(EmbeddingFailed, match="no weights here"):
        embed(png_files(tmp_path / "i", 2), handle, tmp_path / "w", workers=1)


def test_a_crash_that_is_no_single_images_is_told_from_one_that_is(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 4)
    cv2.imwrite(paths[1], np.zeros((8, 8), np.uint8))
    with pytest.raises(EmbeddingFailed, match="exit status 3") as caught:
        embed(paths, trapped(), tmp_path / "w", workers=1)
    assert str(caught.value).endswith("while it encoded images")


def children_of(pid: int) -> list[int]:
    """Processes that `pid` started and that still run, multiprocessing's own helper aside."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
                tracker = b"resource_tracker" in (place / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent == pid and not tracker and runs(int(place.name)):
                found.append(int(place.name))
    return found


def runs(pid: int) -> bool:
    return process_start(pid) is not None


def complete(shards: Path) -> dict[str, tuple[int, int]]:
    """The shards that are done: name -> inode and time."""
    done = [file.with_suffix(".npy") for file in shards.glob("*.json")] if shards.is_dir() else []
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in done}


def start(images: Path, work: Path, workers: int, pause: float, group: bool = False) -> subprocess.Popen[bytes]:
    command = python_call("embed_slowly", images, work, workers, pause)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=group)


def killed_at(images: Path, work: Path, workers: int, moment: float) -> None:
    """Embed, and die by SIGKILL once a shard more is done and a random moment has passed."""
    before = len(complete(work / "shards"))
    process = start(images, work, workers, 0.01)
    assert waited_for(lambda: len(complete(work / "shards")) > before or process.poll() is not None)
    time.sleep(moment)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    assert waited_for(lambda: not any(runs(child) for child in children)), "workers outlive their parent"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_again_and_again_the_result_is_the_same_to_the_byte(tmp_path: Path, workers: int) -> None:
    paths = png_files(tmp_path / "i", 60, {33: b"trap:exit"} if workers else {})
    Path(paths[13]).write_bytes(b"")
    dice = random.Random(workers)
    kept: dict[str, tuple[int, int]] = {}
    for _ in range(3):
        killed_at(tmp_path / "i", tmp_path / "w", workers, dice.uniform(0, 0.15))
        now = complete(tmp_path / "w/shards")
        assert kept.items() <= now.items(), "a shard that was done was made again"
        kept = now
    resumed = embed(paths, trapped(0.001), tmp_path / "w", workers=workers)
    assert kept.items() <= complete(tmp_path / "w/shards").items()
    undisturbed = embed(paths, trapped(0.001), tmp_path / "u", workers=workers)
    assert same(resumed, undisturbed)
    assert resumed.rows.tolist() == [i for i in range(60) if i not in {13, *([33] if workers else [])}]


@pytest.mark.parametrize("moment", ["while they start", pytest.param("while they work", marks=pytest.mark.slow)])
def test_ctrl_c_in_a_terminal_leaves_no_processes_and_no_noise(tmp_path: Path, moment: str) -> None:
    png_files(tmp_path / "i", 60)
    process = start(tmp_path / "i", tmp_path / "w", 2, 0.05, group=True)
    assert waited_for(lambda: len(children_of(process.pid)) == 2)
    if moment == "while they work":
        assert waited_for(lambda: bool(complete(tmp_path / "w/shards")))
    else:
        time.sleep(0.07)  # the moment in which Python starts
    children = children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert waited_for(lambda: not any(runs(child) for child in children))
    assert errors.decode().count("Traceback") == 1, errors.decode()


def test_handles_travel_to_workers_by_name() -> None:
    import pickle

    for handle in (HANDLE, trapped()):
        assert pickle.loads(pickle.dumps(handle)) == handle  # noqa: S301
    assert isinstance(HANDLE, EncoderHandle)


def test_a_file_that_changes_its_row_only(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 10)
    first = embed(paths, HANDLE, tmp_path / "a")
    png_file(Path(paths[6]), value=999)
    second = embed(paths, HANDLE, tmp_path / "b")
    changed = (np.asarray(first.vectors) != np.asarray(second.vectors)).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [6]


@pytest.mark.parametrize("workers", [0, 2])
def test_nasty_files_cost_themselves_and_no_other_row(tmp_path: Path, workers: int) -> None:
    cases = [case for case in CASES if case.rules == ReadingRules()]
    paths = [str(tmp_path / f"{i:03d}_{case.name}") for i, case in enumerate(cases)]
    for path, case in zip(paths, cases, strict=True):
        Path(path).write_bytes(case.make())
    made = embed(paths, HANDLE, tmp_path / "w", workers=workers, timeout=30)
    assert made.rows.tolist() == [i for i, case in enumerate(cases) if not case.reasons]
    assert all(reason in cases[row].reasons for row, reason, _ in made.unreadable)
    assert len(made.unreadable) + len(made.rows) == len(cases)
    encoder = HANDLE.load()
    for row, vector in zip(made.rows, made.vectors, strict=True):
        alone = encoder.encode_images(encoder.preprocess(ImageFile(paths[row]))[None])[0]
        np.testing.assert_array_equal(vector, alone)
    assert made.seen["bytes"].tolist() == [Path(paths[row]).stat().st_size for row in made.rows]


@pytest.mark.parametrize("file", ["00001.npy", "00001.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "emptied"])
def test_a_damaged_shard_is_made_again_and_the_others_are_kept(tmp_path: Path, file: str, damage: str) -> None:
    """A power cut leaves what it likes."""
    paths = png_files(tmp_path / "i", 24)
    whole = embed(paths, HANDLE, tmp_path / "w", workers=0)
    expected = np.array(whole.vectors)
    shards = tmp_path / "w/shards"
    before = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    data = bytearray((shards / file).read_bytes())
    data[len(data) // 2] ^= 1
    left = {"flipped": bytes(data), "cut": bytes(data[: len(data) // 2]), "emptied": b"", "gone": None}[damage]
    (shards / file).unlink()
    if left is not None:
        (shards / file).write_bytes(left)
    again = embed(paths, HANDLE, tmp_path / "w", workers=0)
    np.testing.assert_array_equal(again.vectors, expected)
    assert again.rows.tolist() == list(range(24))
    after = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"00001.npy", "00001.json"}


def test_what_is_not_what_was_listed_is_left_out_for_this_time(tmp_path: Path) -> None:
    from blake3 import blake3

    paths = png_files(tmp_path / "i", 6)
    contents = [blake3(Path(path).read_bytes()).hexdigest() for path in paths]
    contents[5] = "unreadable: FileNotFoundError"  # and there by now
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes())
    Path(paths[2]).unlink()
    Path(paths[3]).write_bytes(b"")
    made = embed(paths, HANDLE, tmp_path / "w", contents=contents, workers=0)
    assert made.rows.tolist() == [0, 4]
    assert [(row, reason) for row, reason, _ in made.unreadable] == [(row, "changed") for row in (1, 2, 3, 5)]
    assert "changed" in embedding.PASSING
    again = embed(paths, HANDLE, tmp_path / "w", workers=0)  # their shard was not kept
    assert again.rows.tolist() == [0, 1, 4, 5]


def test_what_could_not_be_read_when_it_was_listed_keeps_its_reason(tmp_path: Path) -> None:
    from blake3 import blake3

    (tmp_path / "empty.png").touch()
    paths = [str(tmp_path / "none.png"), str(tmp_path / "empty.png")]
    contents = ["unreadable: FileNotFoundError", blake3(b"").hexdigest()]
    made = embed(paths, HANDLE, tmp_path / "w", contents=contents, workers=0)
    assert [reason for _, reason, _ in made.unreadable] == ["missing", "empty"]
