"""Wherever and by whomever it is run: a clear message, or it simply works."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.run_dir import load_run
from pipeline.sweep_record import begin, end
from tests.cli.command import HOME, Clipscope
from tests.cli.data import class_folders

WORDS = ("dataset=folders", "stages=[class_distances]")
ODD = "ünïcode & spaces 中"
NOBODY = 65534


def clean(err: str) -> bool:
    return not any(word in err for word in ("Traceback", "Exception ignored", "Logging error", "Warning"))


def shell(cli: Clipscope, line: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`line` in bash, where "$@" is the command."""
    call = ["bash", "-c", line, "bash", *cli.arguments(*words)]
    there = {**os.environ, "CI": "1", **environment}
    return subprocess.run(call, capture_output=True, text=True, env=there, timeout=120)


@pytest.fixture
def words(three_classes: Path) -> tuple[str, ...]:
    return (*WORDS, f"dataset.root={three_classes}")


class TestEnvironment:
    @pytest.mark.parametrize(
        "bare",
        [
            {},
            {"LC_ALL": "C"},
            {"LANG": "", "LC_ALL": "POSIX"},
            {"TERM": "dumb"},
            {"TMPDIR": "/dev/null/none"},
            {"HOME": "/dev/null/none"},
        ],
        ids=["path only", "C", "POSIX", "dumb", "no TMPDIR", "HOME that is none"],
    )
    def test_it_works_with_next_to_nothing(self, cli: Clipscope, tmp_path: Path, bare: dict[str, str]) -> None:
        """Names and classes beyond ASCII among the images."""
        root = class_folders(tmp_path / ODD, {"cats (2)": 4, "Bäume": 4, "中文": 4})
        call = cli.arguments(*WORDS, f"dataset.root='{root}'")
        done = subprocess.run(call, capture_output=True, env={"PATH": os.environ["PATH"], **bare}, timeout=120)
        err = done.stderr.decode()
        assert done.returncode == 0, err
        assert clean(err), err
        images = load_run(cli.folders()[0])["images"]
        assert sorted(set(images["label"])) == ["Bäume", "cats (2)", "中文"]
        assert images["path"].str.startswith(str(root)).all()

    def test_odd_names_of_everything(self, tmp_path: Path) -> None:
        """The project itself, the images, outputs and cache below a folder with spaces and letters of any script."""
        home = tmp_path / ODD / "clipscope"
        for name in ("conf", "pipeline", "inference", "hydra_plugins"):
            shutil.copytree(HOME / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (HOME / "run.py", *HOME.glob("requirements*.txt")):
            shutil.copy(file, home / file.name)
        root = class_folders(tmp_path / ODD / "images", {"a b": 4, "ç": 4})
        words = [*WORDS, f"dataset.root='{root}'", "projection=pca", "encoder=none"]
        call = [sys.executable, str(home / "run.py"), *words]
        (tmp_path / "elsewhere").mkdir()
        done = subprocess.run(
            call, capture_output=True, text=True, cwd=tmp_path / "elsewhere", env={**os.environ, "CI": "1"}, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert clean(done.stderr), done.stderr
        assert list(home.glob("outputs/2*/*/report.html"))  # relative to run.py, wherever it is called from
        assert (home / ".cache").is_dir()
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_relative_paths_of_images_are_those_of_the_caller(self, cli: Clipscope, three_classes: Path) -> None:
        result = cli(*WORDS, f"dataset.root={three_classes.name}", cwd=three_classes.parent)
        assert result.metrics["images/read"] == 24

    def test_from_a_folder_that_is_gone(self, cli: Clipscope, words: tuple[str, ...], tmp_path: Path) -> None:
        gone = tmp_path / "gone"
        done = shell(cli, f'mkdir {gone}; cd {gone}; rmdir {gone}; "$@"', *words)
        assert clean(done.stderr), done.stderr
        assert done.returncode in (0, 2), done.stderr


class TestStreams:
    @pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
    def test_closed(self, cli: Clipscope, words: tuple[str, ...], closed: str) -> None:
        done = shell(cli, f'"$@" {closed}', *words)
        assert done.returncode == 0, done.stderr
        assert clean(done.stderr), done.stderr
        assert load_run(cli.folders()[0]).record["status"] == "complete"

    def test_nobody_reads_on(self, cli: Clipscope, words: tuple[str, ...]) -> None:
        done = shell(cli, '"$@" | true; exit ${PIPESTATUS[0]}', *words)
        assert done.returncode == 0, done.stderr
        assert clean(done.stderr), done.stderr
        assert load_run(cli.folders()[0]).record["status"] == "complete"
        assert (cli.folders()[0] / "report.html").is_file()

    def test_help_to_a_pipe_that_nobody_reads(self, cli: Clipscope) -> None:
        call = [sys.executable, str(HOME / "run.py"), "--help"]
        done = subprocess.run(
            ["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash", *call], capture_output=True, text=True
        )
        assert done.returncode == 0
        assert not done.stderr

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    def test_output_that_cannot_be_written(self, cli: Clipscope, words: tuple[str, ...]) -> None:
        done = shell(cli, '"$@" > /dev/full', *words)
        assert done.returncode == 1
        assert clean(done.stderr), done.stderr
        assert "error: standard output: No space left on device" in done.stderr
        assert load_run(cli.folders()[0]).record["status"] == "complete"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in which nobody can write, not even root."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    with write_protected(folder):
        yield folder


@contextmanager
def write_protected(folder: Path) -> Iterator[None]:
    """What is in the folder can be read meanwhile, and nothing written."""
    if os.geteuid() != 0:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            yield
        finally:
            folder.chmod(stat.S_IRWXU)
        return
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
        pytest.skip("root may write everywhere, and must not mount here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class TestReadOnly:
    def test_outputs(self, cli: Clipscope, words: tuple[str, ...], read_only: Path) -> None:
        result = cli(*words, f"paths.outputs={read_only}", status=2)
        assert result.err.startswith(f"error: paths.outputs: cannot write in {read_only}: ")
        assert len(result.err.splitlines()) == 1

    def test_cache(self, cli: Clipscope, words: tuple[str, ...], read_only: Path) -> None:
        result = cli(*words, f"paths.cache={read_only}/cache", status=2)
        assert result.err.startswith(f"error: paths.cache: cannot write in {read_only}/cache: ")
        assert result.err.endswith("; cache=none does without\n")
        assert not cli.folders()

    def test_no_cache_is_wanted(self, cli: Clipscope, three_classes: Path, read_only: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "stages=[projection]")
        result = cli(*words, f"paths.cache={read_only}/cache", "cache=none")
        assert clean(result.err), result.err
        assert result.record["status"] == "complete"

    def test_a_sweep_to_go_on_with(self, cli: Clipscope, tmp_path: Path) -> None:
        folder = tmp_path / "sweep"
        folder.mkdir()
        begin(folder, "python run.py -m clustering.k=3,4", ["clustering.k=3,4"], [])
        end(folder, "interrupted")
        with write_protected(folder):
            result = cli("-m", f"sweep.resume={folder}", status=2)
        assert result.err.startswith(f"error: sweep.resume: cannot write in {folder}: ")
        assert [file.name for file in folder.iterdir()] == ["sweep.json"]

    def test_images(self, cli: Clipscope, three_classes: Path, read_only: Path, tmp_path: Path) -> None:
        """Nothing is written beside them."""
        before = {file: file.stat().st_mtime_ns for file in three_classes.rglob("*")}
        cli(*WORDS, f"dataset.root={three_classes}")
        assert {file: file.stat().st_mtime_ns for file in three_classes.rglob("*")} == before


class TestAnotherUser:
    @pytest.fixture
    def nobody(self, tmp_path: Path) -> tuple[str, ...]:
        """What a command starts with to be run by a user without a home who owns nothing here."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            pytest.skip("only root can become another user")
        call = (
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        )
        tried = subprocess.run([*call, sys.executable, "-c", "import numpy"], capture_output=True, cwd="/")
        if tried.returncode:
            pytest.skip("this Python lies where other users may not look")
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | stat.S_IROTH | stat.S_IXOTH)
        return call

    def test_in_folders_of_its_own(self, cli: Clipscope, words: tuple[str, ...], nobody: tuple[str, ...]) -> None:
        for name in ("outputs", "cache"):
            (cli.place / name).mkdir()
            os.chown(cli.place / name, NOBODY, NOBODY)
        done = self._run(nobody, cli.arguments(*words, "projection=umap"))
        assert done.returncode == 0, done.stderr
        assert clean(done.stderr), done.stderr

    def test_what_it_must_not_write_or_read(self, cli: Clipscope, three_classes: Path, nobody: tuple[str, ...]) -> None:
        words = (*WORDS, f"dataset.root={three_classes}")
        done = self._run(nobody, cli.arguments(*words))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "cannot write in" in done.stderr
        for name in ("outputs", "cache"):
            (cli.place / name).mkdir()
            os.chown(cli.place / name, NOBODY, NOBODY)
        (three_classes / "dogs" / "image 000.png").chmod(0)
        done = self._run(nobody, cli.arguments(*words))
        assert done.returncode == 0, done.stderr
        assert dict(load_run(cli.folders()[0]).record["skipped_reasons"]) == {"not readable": 1}
        (three_classes / "dogs").chmod(0)
        done = self._run(nobody, cli.arguments(*words))
        assert done.returncode == 2, done.stderr
        assert clean(done.stderr), done.stderr
        assert "dogs" in done.stderr

    def _run(self, nobody: tuple[str, ...], call: list[str]) -> subprocess.CompletedProcess[str]:
        there = {"PATH": os.environ["PATH"]}
        return subprocess.run([*nobody, *call], capture_output=True, text=True, env=there, cwd="/", timeout=120)
