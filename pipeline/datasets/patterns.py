"""Files that one setting names: itself, all in a folder, or all that fit a pattern with {000..099}, * and ?."""

from __future__ import annotations

import glob
import itertools
from pathlib import Path

from pipeline.errors import CallError, nearest

MOST = 1_000_000  # files that braces may stand for


def files_of(pattern: str, ending: str, key: str) -> list[Path]:
    """In the order of a brace's numbers, else of their names. ending: of the files in a folder, which are looked for in
    the folders inside it, too; key: the setting to name in errors. Raises CallError where a name has no file."""
    if Path(pattern).exists():
        return _of_path(Path(pattern), ending, key)
    return [file for name in _without_braces(pattern, key) for file in _of_name(name, ending, key)]


def _without_braces(pattern: str, key: str) -> list[str]:
    from braceexpand import braceexpand

    try:
        names = list(itertools.islice(braceexpand(pattern), MOST + 1)) if "{" in pattern else [pattern]
    except ValueError as error:
        raise CallError(f"{key}: a brace in {pattern} is not closed") from error
    if len(names) > MOST:
        raise CallError(f"{key}: {pattern} stands for more than {MOST:,} files")
    return names


def _of_name(name: str, ending: str, key: str) -> list[Path]:
    path = Path(name)
    if path.exists():
        return _of_path(path, ending, key)
    if glob.has_magic(name):
        found = sorted(Path(file) for file in glob.glob(name, recursive=True))  # noqa: PTH207 - the pattern is absolute
        if not found:
            raise CallError(f"{key}: no file fits the pattern {name}")
        return [file for file in found if file.is_file()]
    siblings = [place.name for place in path.parent.iterdir()] if path.parent.is_dir() else []
    raise CallError(f"{key}: no such file or folder: {path}{nearest(path.name, siblings)}")


def _of_path(path: Path, ending: str, key: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob(f"*{ending}") if not file.name.startswith(".") and file.is_file())
    if not files:
        raise CallError(f"{key}: no file in {path} ends in {ending}")
    return files
