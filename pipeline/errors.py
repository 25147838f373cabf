"""Mistakes that a user can mend: said in a line, without a traceback, with the exit status that they lead to."""

from __future__ import annotations

import difflib
import errno
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

FULL = 2**20  # bytes free, below which a write that failed for an unknown reason failed for want of room


class UserError(Exception):
    """Something that the user can mend. `problems` has one line each."""

    status = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CallError(UserError):
    """The call was wrong: a setting, a name, a path. Nothing was done."""

    status = 2


class RunError(UserError):
    """The run could not go on: the data or the machine did not let it."""

    status = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean x?' for the known name that is nearest, '' if none is near.

    >>> nearest("umpa", ["umap", "pca"])
    '; did you mean umap?'
    >>> nearest("zzz", ["umap", "pca"])
    ''

    Capitals do not count:

    >>> nearest("vit-b/32", ["RN50", "ViT-B/32"])
    '; did you mean ViT-B/32?'
    """
    spelled = {known_name.lower(): known_name for known_name in known}
    found = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f"; did you mean {spelled[found[0]]}?" if found else ""


def one_of(name: str, known: Iterable[str]) -> str:
    """The nearest name and all names, to end a message with.

    >>> one_of("umpa", ["umap", "pca"])
    '; did you mean umap? Known: umap, pca'
    >>> one_of("zzz", ["umap", "pca"])
    '; known: umap, pca'
    """
    names = list(known)
    near = nearest(name, names)
    return f"{near} Known: {', '.join(names)}" if near else f"; known: {', '.join(names)}"


def of_system(error: OSError, folders: Mapping[str, Path]) -> str:
    """What the system said, in a line. Of a full disk it does not say which: then that is the one among `folders`
    (config key -> folder that is written in) with the least room."""
    where = error.filename2 or error.filename or ""  # of a copy the second is the one that is written
    if where or error.errno not in (errno.ENOSPC, errno.EDQUOT, None):
        return f"{error.strerror or error} {where}".strip()
    room = {key: shutil.disk_usage(folder).free for key, folder in folders.items() if folder.is_dir()}
    if not room or (error.errno is None and min(room.values()) >= FULL):  # numpy says no more than that it failed
        return str(error.strerror or error)
    least = min(room.values())
    full = " and ".join(f"{key} ({folders[key]})" for key, free in room.items() if free == least)
    return f"no space left on the disk of {full}: {least / 2**20:,.1f} MB are free"
