"""The content-addressed store of stage outputs.

`.cache/<stage>/<key>/` holds a finished stage: `files/` as they lie in a run folder, `made.json` (numbers, warnings,
times) and, written last, `key.json`, which explains the key. `<key>.partial` is one being made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.content_hashes import blake3_of_file
from pipeline.run_dir import write_json


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
            intact = _intact(folder, explained["files"])
            made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
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
        write_json(partial / "made.json", made)
        contents = {
            str(file.relative_to(partial)): {"bytes": file.stat().st_size, "blake3": blake3_of_file(file)}
            for file in [partial / "made.json", *files]
        }
        write_json(partial / "key.json", {**explained, "files": contents})
        folder = self._folder(stage, key)
        _remove(folder)  # damaged if it is there, else `find` had found it
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


def _intact(folder: Path, files: dict[str, dict[str, Any]]) -> bool:
    """Whether all files are, to the last byte, as they were written."""
    return all((folder / name).stat().st_size == said["bytes"] for name, said in files.items()) and all(
        blake3_of_file(folder / name) == said["blake3"] for name, said in files.items()
    )


def _remove(path: Path) -> None:
    """Whatever lies there; a link goes, and what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
