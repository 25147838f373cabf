"""Runs that are killed, interrupted, raced, or whose disk, cache or data change under them: what is finished is kept,
and in the end the same command gives the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope, Result
from tests.cli.data import class_folders, picture
from tests.making import smooth, waited_for

MARK = "CLIPSCOPE_TEST_MARK"  # an environment variable by which a run's processes are found
IMAGES = 2048  # eight shards
KILLS = 20


def photographs(root: Path, count: int, side: int = 480) -> Path:
    """JPEGs that take a while to decode, in three classes; each content has up to twelve names."""
    for i in range(count):
        file, first = (root / "abc"[n % 3] / f"{n:05d}.jpg" for n in (i, i % -(-count // 12)))
        file.parent.mkdir(parents=True, exist_ok=True)
        if i < -(-count // 12):
            cv2.imwrite(str(file), smooth(side, side + side // 3, 3, i))
        else:
            os.link(first, file)
    return root


def processes(mark: str) -> dict[int, str]:
    """Process id -> command line of all that were started with this mark, zombies left out."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def workers(mark: str) -> list[int]:
    return [pid for pid, command in processes(mark).items() if "spawn_main" in command]


def said_cleanly(err: str) -> bool:
    return not any(word in err for word in ("Traceback", "Exception ignored", "Logging error"))


def results(folder: Path) -> dict[str, bytes]:
    """What must be equal to the byte."""
    names = ("embeddings/img_emb/img_emb_0000.npy", "projection/projection.npy", "metrics.json", "skipped.csv")
    return {name: (folder / name).read_bytes() for name in names}


def shards(place: Path) -> dict[str, int]:
    """The shards that are finished, and when they were."""
    files = place.glob(str(Path("cache/embedding/*.partial", "work", "shards/*.json")))
    return {file.name: file.stat().st_mtime_ns for file in files}


@pytest.mark.slow
class TestKills:
    WORDS = ("dataset=folders", "dataset.pixel_size=16", "projection=pca", "embedding.workers=2",
             "stages=[projection]")  # fmt: skip

    def test_twenty_kills_at_random_points(self, tmp_path: Path) -> None:
        words = (*self.WORDS, f"dataset.root={photographs(tmp_path / 'images', IMAGES)}")
        start = time.monotonic()
        undisturbed = results(Clipscope(tmp_path / "undisturbed")(*words).folder)
        whole = time.monotonic() - start
        chance = random.Random(5)
        delays = [whole * (i + chance.random()) / KILLS for i in range(KILLS)]  # spread over all of its time
        chance.shuffle(delays)
        kept: list[int] = []  # shards that were finished at each kill
        chain = 0
        while len(kept) < KILLS:
            cli = Clipscope(tmp_path / f"chain {chain}", environment={MARK: f"chain {chain}"})
            for _ in range(5):
                if len(kept) == KILLS or not self._kill(cli, words, delays[len(kept)], len(kept) % 4):
                    delays = [0.9 * delay for delay in delays]  # resumed, or the machine has become faster
                    break
                kept.append(len(shards(cli.place)))
            assert results(cli(*words).folder) == undisturbed
            assert not processes(f"chain {chain}")
            chain += 1
        assert any(kept), "no kill came while shards were made: the test tests nothing"

    def _kill(self, cli: Clipscope, words: tuple[str, ...], delay: float, way: int) -> bool:
        """Whether the run was still going after `delay`, and was killed: the group of its processes, the main one
        only, or a worker only."""
        mark, before = cli.environment[MARK], shards(cli.place)
        process = cli.start(*words, start_new_session=True)
        try:
            process.communicate(timeout=delay)
            assert process.returncode == 0
            return False
        except subprocess.TimeoutExpired:
            pass
        victims = workers(mark) if way == 3 else []
        if victims:
            os.kill(victims[0], signal.SIGKILL)
        elif way % 2:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert waited_for(lambda: not processes(mark), 20), f"left behind: {processes(mark)}"
        if process.returncode == 0 and not victims:  # it ended of itself a moment before
            return False
        if victims:  # one image is given up, for this time only, or the batch that it was in
            assert process.returncode in (0, 1), err
            assert said_cleanly(err), err
        else:
            assert process.returncode == -signal.SIGKILL
            after = shards(cli.place)
            if after:  # else the embedding is finished
                assert {name: after.get(name) for name in before} == before
        return True


@pytest.fixture(scope="module")
def umap_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("umap"), 1200, side=160)


def interrupted(cli: Clipscope, *words: str, when: Callable[[subprocess.Popen[str]], None], again: float = 0) -> Result:
    """Start, wait, Ctrl-C (to all of the terminal's processes), and again after so many seconds; ended in ten."""
    cli.environment[MARK] = f"{cli.place}"
    process = cli.start(*words, start_new_session=True)
    when(process)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    if again:
        time.sleep(again)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    out, err = process.communicate(timeout=60)
    took = time.monotonic() - start
    assert process.returncode == 130, f"{process.returncode}\n{out}\n{err}"
    assert took < 10, f"{took:.1f} s"
    assert said_cleanly(err), err
    assert err.count("interrupted") <= 2, err
    assert waited_for(lambda: not processes(f"{cli.place}"), 10)
    return Result(process.returncode, out, err, (cli.folders() or [cli.place])[-1])


def hashing(cli: Clipscope) -> None:
    assert waited_for(lambda: bool(cli.folders()))
    time.sleep(0.5)


def reached(cli: Clipscope, stage: str) -> Callable[[subprocess.Popen[str]], None]:
    """Waits until the stage before `stage` is done."""

    def wait(process: subprocess.Popen[str]) -> None:
        def there() -> bool:
            try:
                stages = load_run(cli.folders()[0]).record["stages"] if cli.folders() else []
            except Exception:
                return False
            names = [entry["name"] for entry in stages]
            return stage in names and all(entry["status"] == "done" for entry in stages[: names.index(stage)])

        assert waited_for(there, 90), process.poll()

    return wait


LIBRARY = """
import os, signal
from hydra._internal.config_loader_impl import ConfigLoaderImpl

usual, left = ConfigLoaderImpl._load_configuration_impl, [{call}]

def composed(self, *words, **more):
    left[0] -= 1
    if not left[0]:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100_000):  # Python looks for signals between steps
                pass
        except KeyboardInterrupt:
            {then}
    return usual(self, *words, **more)

ConfigLoaderImpl._load_configuration_impl = composed
"""


class TestInterrupted:
    @pytest.mark.parametrize("then", ["pass", "raise AttributeError('half set')", "raise ValueError('half read')"])
    @pytest.mark.parametrize("call", [1, 2])  # Hydra composes once to see whether it is a sweep
    @pytest.mark.parametrize("mode", [(), ("-m",)])
    def test_while_a_library_composes(
        self, cli: Clipscope, tmp_path: Path, then: str, call: int, mode: tuple[str, ...]
    ) -> None:
        """Libraries swallow what they are interrupted by, or fail of it."""
        (tmp_path / "sitecustomize.py").write_text(LIBRARY.format(call=call, then=then))
        cli.environment["PYTHONPATH"] = str(tmp_path)
        result = cli(*mode, "dataset=digits", "stages=[class_distances]", status=130)
        assert result.err.endswith("interrupted\n") and "Traceback" not in result.err
        assert not cli.folders() and "complete" not in result.out

    STAGES = "stages=[class_distances,k_selection,cluster_metrics]"

    @pytest.mark.slow
    @pytest.mark.parametrize("stage", ["embedding", "class_distances", "projection", "k_selection", "clustering"])
    def test_at_a_stage(self, cli: Clipscope, umap_data: Path, stage: str) -> None:
        words = ("dataset=folders", f"dataset.root={umap_data}", "dataset.pixel_size=16", "embedding.workers=2",
                 self.STAGES)  # fmt: skip
        result = interrupted(cli, *words, when=reached(cli, stage))
        record = load_run(result.folder).record
        assert record["status"] == "interrupted"
        assert "interrupted by the user, at stage" in record["reason"]
        assert "interrupted by the user, at stage" in result.err
        assert (result.folder / "report.html").is_file()
        done = [entry["name"] for entry in record["stages"] if entry["status"] == "done"]
        again = cli(*words)
        assert {again.hits[name] for name in done} <= {"hit", "off"}

    @pytest.mark.slow
    def test_while_starting_listing_and_at_any_other_moment(self, cli: Clipscope, umap_data: Path) -> None:
        words = ("dataset=folders", f"dataset.root={umap_data}", "dataset.pixel_size=16", "projection=pca",
                 self.STAGES)  # fmt: skip
        for tenths in (1, 3, 6, 10, 15, 20, 25):
            interrupted(cli, *words, when=lambda process, wait=tenths / 10: time.sleep(wait))  # type: ignore[misc]

    def test_while_one_large_file_is_hashed(self, cli: Clipscope, three_classes: Path) -> None:
        large = three_classes / "dogs" / "large.png"
        with large.open("wb") as file:
            file.truncate(2**38)  # 256 GB of nothing: minutes of hashing
        words = ("dataset=folders", f"dataset.root={three_classes}")
        result = interrupted(cli, *words, when=lambda process: hashing(cli))
        assert load_run(result.folder).record["status"] == "interrupted"
        assert "at stage listing" in result.err

    @pytest.mark.slow
    @pytest.mark.parametrize("again", [0.05, 0.3, 0.6, 1.0])
    def test_twice(self, cli: Clipscope, umap_data: Path, again: float) -> None:
        words = ("dataset=folders", f"dataset.root={umap_data}", "dataset.pixel_size=16", "projection=pca",
                 self.STAGES)  # fmt: skip
        result = interrupted(cli, *words, when=reached(cli, "k_selection"), again=again)
        assert load_run(result.folder).record["status"] in ("interrupted", "killed")


def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, where this machine lets us make one."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can only be made by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def statuses(place: Path) -> set[str]:
    """What readers are told of the runs in this folder."""
    return {load_run(file.parent).record["status"] for file in place.glob("**/2*/*/run.json")}


class TestFullDisk:
    """48 images at 224 x 224 are 2.4 MB of vectors, more than there is room for."""

    WORDS = ("dataset=folders", "stages=[class_distances]")

    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        yield from disk(tmp_path / "small", 1)

    @pytest.mark.parametrize(("full", "workers"), [("cache", 0), ("cache", 2), ("outputs", 0)])
    def test_one_line_nothing_lost_and_on_it_goes(
        self, cli: Clipscope, tmp_path: Path, small: Path, full: str, workers: int
    ) -> None:
        images = class_folders(tmp_path / "images", {"a": 24, "b": 24})
        words = (*self.WORDS, f"dataset.root={images}", f"embedding.workers={workers}", f"paths.{full}={small}/x")
        result = cli(*words, status=1)
        assert said_cleanly(result.err), result.err
        lines = [line for line in result.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, result.err
        assert "no space left on" in lines[0].lower()
        assert f"{small}/x" in lines[0]
        assert statuses(tmp_path) in ({"failed"}, {"killed"})  # 'running' in a file that could not be written anew
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        cli(*words)
        last = sorted(tmp_path.glob("**/outputs/2*/*") if full == "cache" else small.glob("x/2*/*"))[-1]
        assert results_of_distances(last) == results_of_distances(
            Clipscope(tmp_path / "elsewhere")(*self.WORDS, f"dataset.root={images}").folder
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("kilobytes", [8, 40, 90, 180])
    def test_wherever_the_room_ends(self, cli: Clipscope, three_classes: Path, small: Path, kilobytes: int) -> None:
        """Everything on one disk, full at another moment each time."""
        (small / "other").write_bytes(bytes(2**20 - 1024 * kilobytes))
        words = (*self.WORDS, f"dataset.root={three_classes}", "encoder.size=16")
        there = (f"paths.cache={small}/cache", f"paths.outputs={small}/outputs")
        result = cli(*words, *there, status=None)
        assert result.status in (1, 2), result.err
        assert said_cleanly(result.err), result.err
        assert "o space left on" in result.err
        assert statuses(small) <= {"failed", "killed"}
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        cli(*words, *there)
        found = sorted(file.parent for file in small.glob("outputs/2*/*/report.html"))[-1]
        assert results_of_distances(found) == results_of_distances(Clipscope(cli.place / "elsewhere")(*words).folder)


class TestAtOnce:
    @pytest.mark.slow
    def test_four_runs_share_what_they_make(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "projection=pca", "encoder.size=16",
                 "stages=[cluster_metrics]")  # fmt: skip
        same, other = ("clustering.k=3",), ("clustering.k=4",)
        started = [cli.start(*words, *more) for more in (same, other, same, other)]
        ended = [(process.communicate(timeout=200), process.returncode) for process in started]
        assert [status for _, status in ended] == [0] * 4, ended
        runs = [load_run(folder) for folder in cli.folders()]
        made: dict[str, set[float]] = {}
        for run in runs:
            for stage in run.record["stages"]:
                if stage.get("key"):
                    made.setdefault(stage["key"], set()).add(stage["computed_seconds"])
        assert len(made) > 6
        assert all(len(seconds) == 1 for seconds in made.values()), made  # what it took is the maker's
        by_k: dict[int, set[bytes]] = {}
        for run in runs:
            by_k.setdefault(run.config["clustering"]["k"], set()).add((run.folder / "metrics.json").read_bytes())
        assert sorted(by_k) == [3, 4]
        assert all(len(found) == 1 for found in by_k.values())

    @pytest.mark.slow
    def test_one_killed_while_others_wait_for_it(self, cli: Clipscope, tmp_path: Path) -> None:
        images = photographs(tmp_path / "images", 1024)
        words = ("dataset=folders", f"dataset.root={images}", "encoder.size=16", "stages=[class_distances]",
                 "embedding.workers=1")  # fmt: skip
        first = cli.start(*words)
        assert waited_for(lambda: bool(shards(cli.place)), 60)
        others = [cli.start(*words) for _ in range(2)]
        assert waited_for(lambda: len(cli.folders()) == 3, 60)
        first.kill()
        first.communicate()
        for process in others:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
        found = [results_of_distances(folder) for folder in cli.folders()[1:]]
        assert found[0] == found[1] == results_of_distances(Clipscope(tmp_path / "alone")(*words).folder)


def results_of_distances(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("embeddings/img_emb/img_emb_0000.npy", "metrics.json")]


def flip(file: Path) -> None:
    """One bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    replace(file, bytes(data))


def replace(file: Path, data: bytes) -> None:
    """Other content under the name; what run folders link to stays as it is."""
    file.unlink()
    file.write_bytes(data)


def into_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def into_link(file: Path) -> None:
    elsewhere = file.parents[4] / f"elsewhere {file.name}"
    elsewhere.write_bytes(b"another file altogether")
    file.unlink()
    file.symlink_to(elsewhere)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "cut": lambda file: replace(file, file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: replace(file, b""),
    "gone": lambda file: file.unlink(),
    "a folder": into_folder,
    "a link elsewhere": into_link,
}
KINDS = {"array": "**/*.npy", "table": "**/*.parquet", "made": "made.json", "key": "key.json", "picture": "**/*.png"}


class TestDamagedCache:
    @pytest.mark.slow
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_is_seen_and_made_again(self, cli: Clipscope, three_classes: Path, damage: str) -> None:
        """Every kind of file of every entry."""
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "projection=pca",
                 "stages=[class_distances,cluster_metrics]")  # fmt: skip
        before = cli(*words)
        entries = [file.parent for file in cli.place.glob("cache/*/*/key.json")]
        for number, pattern in enumerate(KINDS.values()):
            for entry in entries[number % 2 :: 2]:
                for file in sorted(entry.glob(pattern))[:1]:
                    if file.is_file():
                        DAMAGES[damage](file)
        again = cli(*words)
        assert "miss" in again.hits.values()
        assert results(again.folder) == results(before.folder)
        assert "miss" not in cli(*words).hits.values()

    @pytest.mark.parametrize("kind", ["made", "array"])
    def test_each_by_itself(self, cli: Clipscope, three_classes: Path, kind: str) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "stages=[class_distances]")
        before = cli(*words)
        stage = {"made": "class_distances", "array": "embedding"}[kind]
        entry = next(cli.place.glob(f"cache/{stage}/*/key.json")).parent
        flip(next(entry.glob(KINDS[kind])))
        again = cli(*words)
        assert again.hits[stage] == "miss"
        assert again.metrics == before.metrics

    def test_the_whole_entry_replaced_by_a_link(self, cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "stages=[class_distances]")
        before = cli(*words)
        entry = next(cli.place.glob("cache/class_distances/*/key.json")).parent
        entry.rename(tmp_path / "moved")
        flip(tmp_path / "moved" / "made.json")
        entry.symlink_to(tmp_path / "moved")
        again = cli(*words)
        assert again.hits["class_distances"] == "miss"
        assert again.metrics == before.metrics
        assert (tmp_path / "moved" / "key.json").is_file()


class TestChangingData:
    """The data set is another when its files are read than when they were hashed."""

    def test_typed_reasons_and_nothing_kept(self, cli: Clipscope, tmp_path: Path) -> None:
        images = photographs(tmp_path / "images", 1280)
        late = sorted(images.rglob("*.jpg"))[-4:]  # read last
        words = ("dataset=folders", f"dataset.root={images}", "encoder.size=16", "stages=[class_distances]",
                 "embedding.workers=1")  # fmt: skip
        process = cli.start(*words)
        assert waited_for(lambda: bool(shards(cli.place)), 60)
        replaced, emptied, _, broken = late
        for file in late:
            file.unlink()  # it has other names
        cv2.imwrite(str(replaced), np.full((480, 640, 3), 7, np.uint8))
        emptied.write_bytes(b"")
        broken.write_bytes(b"no image")
        picture(images / "a" / "appended.jpg", 1)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        first = load_run(cli.folders()[0])
        assert dict(first.record["skipped_reasons"]) == {"changed": 4}
        assert "the next run tries them again" in err
        second = load_run(cli(*words).folder)
        assert dict(second.record["skipped_reasons"]) == {"empty": 1, "not an image": 1}
        assert second.record["images"]["read"] == 1280 - 3 + 1
        alone = load_run(Clipscope(tmp_path / "alone")(*words).folder)
        assert second.metrics == alone.metrics

    def test_a_file_that_is_back_is_not_missing_for_ever(self, cli: Clipscope, tmp_path: Path) -> None:
        images = photographs(tmp_path / "images", 1280)
        last = sorted(images.rglob("*.jpg"))[-1]
        words = ("dataset=folders", f"dataset.root={images}", "encoder.size=16", "stages=[class_distances]",
                 "embedding.workers=1")  # fmt: skip
        process = cli.start(*words)
        assert waited_for(lambda: bool(shards(cli.place)), 60)
        last.rename(tmp_path / "away.jpg")
        _, err = process.communicate(timeout=120)
        assert dict(load_run(cli.folders()[0]).record["skipped_reasons"]) == {"changed": 1}, err
        (tmp_path / "away.jpg").rename(last)
        assert cli(*words).metrics["images/skipped"] == 0


def test_deleted_run_folders_and_cache_are_no_harm_to_each_other(cli: Clipscope, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"a": 6, "b": 6})
    words = ("dataset=folders", f"dataset.root={images}", "stages=[class_distances]")
    import shutil

    first = cli(*words)
    kept = results_of_distances(first.folder)
    shutil.rmtree(cli.place / "cache")
    assert results_of_distances(first.folder) == kept
    second = cli(*words)
    shutil.rmtree(first.folder)
    assert results_of_distances(second.folder) == kept
    assert results_of_distances(cli(*words).folder) == kept
