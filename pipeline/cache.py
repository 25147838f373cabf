"""The content-addressed store of stage outputs, and the memory of files' content hashes.

`.cache/<stage>/<key>/` holds a finished stage: `files/` as they lie in a run folder, `made.json` (numbers, warnings,
times) and, written last, `key.json`, which explains the key. `<key>.partial` is one being made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.run_dir import write_json

SETTLED = 2.0  # seconds after which a file's time stamps can be believed to change with its content


def digest(content: Any) -> str:
    """SHA-256 over canonical JSON, 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A finished stage in the store."""

    folder: Path
    made: dict[str, Any]

    @property
    def files(self) -> Path:
        """The root of its files, laid out as in a run folder."""
        return self.folder / "files"


class Store:
    """A folder of finished stages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, stage: str, key: str) -> Entry | None:
        """The finished stage with this key; None if there is none or its files are not as they were written."""
        folder = self._folder(stage, key)
        try:
            explained = json.loads((folder / "key.json").read_text(encoding="utf-8"))
            made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
            intact = all((folder / "files" / f).stat().st_size == size for f, size in explained["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if not intact:
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)  # pruning goes by when an entry was last used
        return Entry(folder, made)

    @contextlib.contextmanager
    def making(self, stage: str, key: str) -> Iterator[Path]:
        """The folder `<key>.partial` to make a stage in, held by one process at a time.

        Another process that wants the same waits here, and should look again with `find` when it gets in.
        """
        partial = self._folder(stage, key).with_name(f"{key}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(partial.with_name(f"{key}.lock")):
            (partial / "files").mkdir(parents=True, exist_ok=True)
            (partial / "work").mkdir(exist_ok=True)
            yield partial

    def complete(self, partial: Path, stage: str, key: str, explained: dict[str, Any], made: dict[str, Any]) -> Entry:
        """Give a stage that was made its name. Its files become read-only: run folders link to them."""
        shutil.rmtree(partial / "work")
        files = [file for file in sorted((partial / "files").rglob("*")) if file.is_file()]
        for file in files:
            file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        sizes = {str(file.relative_to(partial / "files")): file.stat().st_size for file in files}
        write_json(partial / "made.json", made)
        write_json(partial / "key.json", {**explained, "files": sizes})
        folder = self._folder(stage, key)
        if folder.exists():  # damaged, else `find` had found it
            shutil.rmtree(folder)
        os.rename(partial, folder)
        with contextlib.suppress(OSError):
            partial.with_name(f"{key}.lock").unlink()
        return Entry(folder, made)

    def latest(self, stage: str) -> dict[str, Any] | None:
        """`made` of the stage's newest entry: what it cost last time."""
        folders = [f for f in self.root.glob(f"{stage}/*/made.json") if not f.parent.name.endswith(".partial")]
        if not folders:
            return None
        newest = max(folders, key=lambda file: file.stat().st_mtime)
        return dict(json.loads(newest.read_text(encoding="utf-8")))

    def _folder(self, stage: str, key: str) -> Path:
        return self.root / stage / key


class ContentHashes:
    """SHA-256 of files, computed once as long as size, times and inode stay the same."""

    def __init__(self, root: Path | None) -> None:
        self.file = root / "content_hashes.sqlite" if root else None

    def of(self, paths: Sequence[str], progress: Callable[[int, int], None]) -> list[str]:
        """64 hexadecimal digits for each path; for what cannot be read, the reason instead."""
        marks = [_mark(path) for path in paths]
        known = self._known(paths)
        todo = [i for i, path in enumerate(paths) if not marks[i] or known.get(path, ("",))[0] != marks[i]]
        fresh: dict[int, str] = {}
        with ThreadPoolExecutor(4) as pool:  # reading and hashing both let other threads run
            for done, (i, value) in enumerate(zip(todo, pool.map(lambda i: _sha256(paths[i]), todo), strict=True)):
                fresh[i] = value
                progress(len(paths) - len(todo) + done + 1, len(paths))
        self._remember([(paths[i], marks[i], value) for i, value in fresh.items() if marks[i] and len(value) == 64])
        return [fresh[i] if i in fresh else known[path][1] for i, path in enumerate(paths)]

    def _known(self, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
        if self.file is None or not self.file.is_file():
            return {}
        wanted = set(paths)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.file, timeout=30)) as base:
            rows = base.execute("SELECT path, mark, hash FROM hashes")
            return {path: (mark, value) for path, mark, value in rows if path in wanted}
        return {}

    def _remember(self, rows: list[tuple[str, str, str]]) -> None:
        rows = [row for row in rows if _is_text(row[0])]
        if self.file is None or not rows:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.file, timeout=30)) as base:
            base.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, mark TEXT, hash TEXT)")
            base.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)
            base.commit()


def _is_text(path: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in path)  # SQLite takes no name that is not UTF-8


def _mark(path: str) -> str:
    """What changes when a file's content changes; '' for a file too young to tell."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _sha256(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "not a file"  # a pipe would hang
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        return f"unreadable: {type(error).__name__}"


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m pipeline.cache list|prune`."""
    import argparse
    import sys

    home = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.cache", description="What the cache holds, and less of it."
    )
    parser.add_argument("--cache", type=Path, default=home / ".cache", help="its folder (paths.cache)")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="entries with size, age and what made them")
    prune = actions.add_parser("prune", help="delete entries; run folders keep their files")
    prune.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="only entries unused for so long")
    prune.add_argument("--stage", help="only this stage's")
    given = parser.parse_args(arguments)
    entries = _entries(given.cache)
    if given.action == "prune":
        entries = [e for e in entries if e[2] >= given.older_than and given.stage in (None, e[0].parent.name)]
    for folder, size, days in entries:
        sys.stdout.write(f"{folder.parent.name:<24} {folder.name[:12]}  {size / 2**20:9.1f} MB  {days:6.1f} days\n")
        if given.action == "prune":
            _delete(folder)
    total = sum(size for _, size, _ in entries)
    verb = "deleted" if given.action == "prune" else "in all"
    sys.stdout.write(f"{len(entries)} entries, {total / 2**20:.1f} MB {verb}\n")
    return 0


def _delete(folder: Path) -> None:
    """One entry, unless a run is working in it."""
    lock = folder.with_name(f"{folder.name.removesuffix('.partial')}.lock")
    with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
        shutil.rmtree(folder)
        lock.unlink(missing_ok=True)


def _entries(root: Path) -> list[tuple[Path, int, float]]:
    """(folder, bytes, days since it was last used) of all entries, unfinished ones included."""
    found = []
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir() and ((folder / "key.json").is_file() or folder.name.endswith(".partial")):
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            found.append((folder, size, (time.time() - folder.stat().st_mtime) / 86400))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
