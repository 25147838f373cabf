"""Where the bytes of an image lie: in a file of its own, or inside an archive or a table that holds many.

A place is a string: a path, or `scheme://member::container`, with the container's path last:

    zip://test/a.jpg::/data/test_images.zip          a member of a zip archive, by its name in there
    tar://1536+20480/a.jpg::/data/000000.tar         offset and size of its bytes in a plain tar, then its name
    parquet://17/image::/data/train-00000.parquet    row of the file and column: bytes, or a struct with 'bytes'
    arrow://17/image::/data/saved                    the same of a data set that `datasets` saved to disk

Nothing is ever unpacked to disk. Names inside archives are looked up, never used as paths.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20  # a decoder scanning junk for longer would be taken for a hang
OPEN = 4  # containers that a process keeps open
HELD = 256 * 2**20  # bytes of Parquet's row groups that a process keeps

_INSIDE = re.compile(r"(zip|tar|parquet|arrow)://(.*)::([^:].*)", re.DOTALL)


class UnreadableImage(Exception):
    """An image that cannot be used: `reason` is one of a few words, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def inside(scheme: str, member: str, container: str | Path) -> str:
    """The place of a member of a container. ValueError for a container whose path has '::' in it."""
    if "::" in str(container):
        raise ValueError("the path of an archive must not have '::' in it")
    return f"{scheme}://{member}::{container}"


def container_of(place: str) -> str:
    """The file (or folder) on disk that has the image in it; the path itself where it is a file of its own."""
    match = _INSIDE.fullmatch(place)
    return match[3] if match else place


def member_of(place: str) -> str:
    """The member's name for people, '' for a file of its own."""
    match = _INSIDE.fullmatch(place)
    if not match:
        return ""
    return match[2].partition("/")[2] if match[1] == "tar" else match[2]


def read_bytes(place: str | Path, limit: int = MAX_BYTES) -> bytes:
    """All bytes of the image. Refuses what is no regular file (a pipe would hang), empty, or larger than `limit`.

    Raises UnreadableImage with reason 'missing', 'not a file', 'not readable', 'too large', 'empty' or 'damaged'.
    """
    match = _INSIDE.fullmatch(str(place))
    try:
        data = READERS[match[1]](match[2], _regular(match[3]), limit) if match else _file(str(place), limit)
    except FileNotFoundError as error:
        raise UnreadableImage("missing", "no such file, or a broken link") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UnreadableImage("not readable", getattr(error, "strerror", None) or str(error)) from error
    if not data:
        raise UnreadableImage("empty", "0 bytes")
    return data


def _file(path: str, limit: int) -> bytes:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("not a file", "a folder, pipe or device")
    _must_fit(status.st_size, limit)
    return Path(path).read_bytes()


def _must_fit(size: int, limit: int) -> None:
    if size > limit:
        raise UnreadableImage("too large", f"{size:,} bytes, at most {limit:,}")


def _regular(container: str) -> str:
    mode = os.stat(container).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnreadableImage("not a file", "its archive is a pipe or device")
    return container


class _Kept:
    """A few opened containers of this process, the ones used last; shared by threads."""

    def __init__(self, opened: Callable[[str], Any]) -> None:
        self.opened, self.held, self.lock = opened, OrderedDict[tuple[str, int], Any](), threading.Lock()

    def of(self, container: str) -> Any:
        key = (container, os.stat(container).st_mtime_ns)
        with self.lock:
            if key not in self.held:
                self.held[key] = self.opened(container)
                while len(self.held) > OPEN:
                    self.held.popitem(last=False)
            self.held.move_to_end(key)
            return self.held[key]


def _from_zip(member: str, container: str, limit: int) -> bytes:
    try:
        archive = _ZIPS.of(container)
        found = archive.getinfo(member)
        _must_fit(found.file_size, limit)
        if found.flag_bits & 1:
            raise UnreadableImage("not readable", "it is encrypted in its archive")
        with archive.open(found) as file:
            return bytes(file.read(limit + 1))  # never more, whatever the header says
    except KeyError as error:
        raise UnreadableImage("missing", "no such member of its archive") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise UnreadableImage("damaged", f"in its archive: {error}") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "_bz2", "lzma", "_lzma"):  # their errors have no common base
            raise UnreadableImage("damaged", f"in its archive: {error}") from error
        raise


def _from_tar(member: str, container: str, limit: int) -> bytes:
    offset, size = (int(number) for number in member.partition("/")[0].split("+"))
    _must_fit(size, limit)
    with Path(container).open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise UnreadableImage("truncated", "its archive ends before it does")
    return data


def _from_parquet(member: str, container: str, limit: int) -> bytes:
    row, _, column = member.partition("/")
    value = _PARQUET.value(container, int(row), column)
    return _bytes_of(value, limit)


def _from_arrow(member: str, container: str, limit: int) -> bytes:
    row, _, column = member.partition("/")
    value = _DATASETS.of(container)[int(row)][column]
    return _bytes_of(value, limit)


def _bytes_of(value: Any, limit: int) -> bytes:
    """Of a cell: bytes, or what Hugging Face writes, {'bytes': ..., 'path': ...}."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        raise UnreadableImage("missing", "its cell is empty")
    if not isinstance(data, bytes):
        raise UnreadableImage("not an image", f"its cell holds {type(data).__name__}, not bytes")
    _must_fit(len(data), limit)
    return data


class _RowGroups:
    """Single cells of Parquet files: whole row groups are read, a few of them kept."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: OrderedDict[tuple[str, int, int, str], Any] = OrderedDict()

    def value(self, container: str, row: int, column: str) -> Any:
        import pyarrow as pa

        file, starts = _PARQUET_FILES.of(container)
        group = max(i for i, start in enumerate(starts) if start <= row)
        key = (container, os.stat(container).st_mtime_ns, group, column)
        with self.lock:
            if key not in self.held:
                try:
                    self.held[key] = file.read_row_group(group, columns=[column]).column(0)
                except pa.ArrowException as error:
                    raise UnreadableImage("damaged", f"in its table: {str(error).splitlines()[0]}") from error
                while len(self.held) > 1 and sum(cells.nbytes for cells in self.held.values()) > HELD:
                    self.held.popitem(last=False)
            self.held.move_to_end(key)
            cells = self.held[key]
        if row - starts[group] >= len(cells):
            raise UnreadableImage("missing", "its table has no such row any more")
        return cells[row - starts[group]].as_py()


def _opened_parquet(container: str) -> tuple[Any, list[int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(container)
    except pa.ArrowException as error:
        raise UnreadableImage("damaged", f"its table: {str(error).splitlines()[0]}") from error
    counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    return file, [sum(counts[:i]) for i in range(len(counts))]


def _opened_dataset(container: str) -> Any:
    from datasets import Image, load_from_disk

    found = load_from_disk(container)
    pictures = [name for name, feature in found.features.items() if isinstance(feature, Image)]
    for name in pictures:
        found = found.cast_column(name, Image(decode=False))
    return found


_ZIPS = _Kept(zipfile.ZipFile)
_PARQUET_FILES = _Kept(_opened_parquet)
_PARQUET = _RowGroups()
_DATASETS = _Kept(_opened_dataset)

READERS: dict[str, Callable[[str, str, int], bytes]] = {
    "zip": _from_zip,
    "tar": _from_tar,
    "parquet": _from_parquet,
    "arrow": _from_arrow,
}
