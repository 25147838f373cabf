"""Folders of images, on disk or inside a zip archive: the names in them, and where each file's bytes lie."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from inference.places import inside
from pipeline.errors import CallError


class Tree(Protocol):
    """A folder. Hidden names (a dot first) are not looked at; str() names it for people."""

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted."""

    def below(self, name: str) -> Tree:
        """One of these folders."""

    def files(self, recursive: bool, elsewhere: Iterable[str] = ()) -> Iterator[str]:
        """Names of its files, with '/' for those of folders inside it; folders `elsewhere` (as `real` calls them),
        which links may lead to, are left to others."""

    def place(self, name: str) -> str:
        """Where the bytes of such a file lie (inference.places)."""

    def real(self) -> str:
        """The folder itself, whatever links lead to it."""


@dataclass(frozen=True)
class Disk:
    """A folder on disk. links: those among its files and, where these were looked into, folders; filled by `files`;
    key: the setting to name in errors."""

    path: Path
    links: set[str] = field(default_factory=set, compare=False)
    key: str = "dataset"

    def __str__(self) -> str:
        return str(self.path)

    def folders(self) -> list[str]:
        """Raises CallError for one whose name is not UTF-8."""
        names = sorted(e.name for e in _entries(self.path, self.key) if _is_folder(e) and not e.name.startswith("."))
        for name in names:
            if not is_utf8(name):
                raise CallError(f"dataset.root: a folder's name is not valid UTF-8, rename it: {printable(name)}")
        return names

    def below(self, name: str) -> Disk:
        """One of these folders."""
        return Disk(self.path / name)

    def files(self, recursive: bool, elsewhere: Iterable[str] = ()) -> Iterator[str]:
        """In the order of the names' bytes, folder by folder; a folder reached twice counts once."""
        seen = {os.path.realpath(self.path), *elsewhere}
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for entry in _entries(self.path / below, self.key):
                if entry.name.startswith("."):
                    continue
                name = f"{below}{entry.name}"
                if entry.is_symlink():
                    self.links.add(name)
                if not _is_folder(entry):
                    yield name
                elif recursive and (real := os.path.realpath(self.path / name)) not in seen:
                    seen.add(real)
                    waiting.append(f"{name}/")

    def place(self, name: str) -> str:
        """Its path."""
        return os.path.join(self.path, name)  # noqa: PTH118  # a Path object for each of a million takes seconds

    def real(self) -> str:
        """Links resolved."""
        try:
            return os.path.realpath(self.path)
        except ValueError:  # a NUL in the name: no such folder, which is said elsewhere
            return str(self.path)

    def leaving(self, root: str) -> int:
        """How many of its links, and of the folder itself, lead out of `root`, the real path of a folder above it."""
        ends = [self.path, *(self.path / name for name in self.links)]
        return sum(os.path.commonpath([os.path.realpath(end), root]) != root for end in ends)


@dataclass
class Zipped:
    """A folder inside a zip archive, '' for all of it. members: name of a file in it -> its name in the archive."""

    archive: Path
    prefix: str = ""
    members: dict[str, str] = field(default_factory=dict)
    inner: dict[str, Zipped] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.archive}/{self.prefix}".rstrip("/")

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted."""
        return sorted(self.inner)

    def below(self, name: str) -> Zipped:
        """One of these folders."""
        return self.inner[name]

    def files(self, recursive: bool, elsewhere: Iterable[str] = ()) -> Iterator[str]:
        """In the order of the names."""
        yield from sorted(self.members)
        for name in sorted(self.inner) if recursive else ():
            yield from (f"{name}/{below}" for below in self.inner[name].files(True))

    def place(self, name: str) -> str:
        """The place of the archive's member."""
        *folders, last = name.split("/")
        folder = self
        for part in folders:
            folder = folder.inner[part]
        return inside("zip", folder.members[last], self.archive)

    def real(self) -> str:
        """There are no links in it that would be followed."""
        return str(self)


def opened_zip(archive: Path, key: str) -> tuple[Zipped, int]:
    """All of an archive, and how many of its files have a name that another one after them has too: these are out of
    reach. key: the setting to name in errors. Raises CallError.

    Names are looked up in the archive and never used as paths, so '..' in them reaches nothing; what is hidden, and
    macOS' own files, are left out.
    """
    if "::" in str(archive):
        raise CallError(f"{key}: {archive}: the path of an archive must not have '::' in it")
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CallError(f"{key}: {archive.name} cannot be read as a zip archive: {reason}") from error
    root = Zipped(archive)
    for info in infos:
        windows = info.create_system == 0 and "/" not in info.filename
        parts = [part for part in re.split(r"[/\\]" if windows else "/", info.filename) if part]
        if not parts or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        *folders, name = parts
        folder = root
        for part in folders:
            folder = folder.inner.setdefault(part, Zipped(archive, f"{folder.prefix}{part}/"))
        folder.members[name] = info.filename
    return root, sum(count - 1 for count in Counter(info.filename for info in infos).values())


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """The same with what is not UTF-8 as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _entries(folder: Path, key: str) -> list[os.DirEntry[str]]:
    """What lies in a folder, in the order of the names' bytes."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise CallError(f"{key}: a folder cannot be opened: {printable(str(folder))} ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that is closed to us
        return False
