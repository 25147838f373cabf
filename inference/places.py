"""Where the bytes of an image lie: in a file of its own, or inside an archive or a table that holds many.

A place is a string: a path, or `scheme://member::container`, with the container's path last:

    zip://test/a.jpg::/data/test_images.zip          a member of a zip archive, by its name in there
    tar://1536+20480/a.jpg::/data/000000.tar         offset and size of its bytes in a plain tar, then its name
    parquet://17/image::/data/train-00000.parquet    row of the file and column: bytes, or a struct with 'bytes'
    arrow://17/image::/data/saved/data-0.arrow       the same of a file that `datasets` keeps

    turned://90::<any of these, or a path>           the same image, to be turned counter-clockwise before it is used
    perturbed://<recipe>::<any of these>             the same image, its pixels changed (inference/perturbations.py)

Nothing is ever unpacked to disk. Names inside archives are looked up, never used as paths.
"""

from __future__ import annotations

import bisect
import itertools
import os
import re
import stat
import threading
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20  # a decoder scanning junk for longer would be taken for a hang
OPEN = 4  # containers that a process keeps open
HELD = 64 * 2**20  # bytes of each open Parquet column that a process keeps
READ = 4 * 2**20  # of them read at a time, about

_INSIDE = re.compile(r"(zip|tar|parquet|arrow)://(.*)::([^:].*)", re.DOTALL)
TURNED = "turned://"  # begins the place of an image that is to be turned
_TURNED = re.compile(rf"{TURNED}(90|180|270)::(.+)", re.DOTALL)
_PERTURBED = re.compile(r"perturbed://([a-z0-9_/]+)::(.+)", re.DOTALL)


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


def turned(place: str, degrees: int) -> str:
    """The same image turned counter-clockwise by 0, 90, 180 or 270 degrees: of its pixels as they are stored, in place
    of what an EXIF block says. ValueError for other angles."""
    if degrees not in (0, 90, 180, 270):
        raise ValueError(f"an image is turned by 0, 90, 180 or 270 degrees, not by {degrees}")
    return f"{TURNED}{degrees}::{place}" if degrees else place


def turn_of(place: str) -> int:
    """Degrees counter-clockwise by which the image is to be turned: 0, 90, 180 or 270."""
    match = _TURNED.fullmatch(_unperturbed(place))
    return int(match[1]) if match else 0


def unturned(place: str) -> str:
    """Where the bytes are, without the turn and what is done to pixels."""
    place = _unperturbed(place)
    match = _TURNED.fullmatch(place)
    return match[2] if match else place


def perturbed(place: str, recipe: str) -> str:
    """The same image after its pixels were changed as `recipe` says: small letters, digits, '_' and '/'."""
    return f"perturbed://{recipe}::{place}"


def recipe_of(place: str) -> str:
    """How its pixels are to be changed; '' where they are not."""
    match = _PERTURBED.fullmatch(place)
    return match[1] if match else ""


def _unperturbed(place: str) -> str:
    match = _PERTURBED.fullmatch(place)
    return match[2] if match else place


def container_of(place: str) -> str:
    """The file (or folder) on disk that has the image in it; the path itself where it is a file of its own."""
    place = unturned(place)
    match = _INSIDE.fullmatch(place)
    return match[3] if match else place


def member_of(place: str) -> str:
    """The member's name for people, '' for a file of its own."""
    match = _INSIDE.fullmatch(unturned(place))
    if not match:
        return ""
    return match[2].partition("/")[2] if match[1] == "tar" else match[2]


def read_bytes(place: str | Path, limit: int = MAX_BYTES) -> bytes:
    """All bytes of the image. Refuses what is no regular file (a pipe would hang), empty, or larger than `limit`.

    Raises UnreadableImage with reason 'missing', 'not a file', 'not readable', 'too large', 'empty' or 'damaged'.
    """
    place = unturned(str(place))
    match = _INSIDE.fullmatch(place)
    try:
        data = READERS[match[1]](match[2], _regular(match[3]), limit) if match else _file(place, limit)
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
    if not stat.S_ISREG(os.stat(container).st_mode):
        raise UnreadableImage("not a file", "its archive is a folder, pipe or device")
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
    return _bytes_of(_PARQUET.value(container, int(row), column), limit)


def _from_arrow(member: str, container: str, limit: int) -> bytes:
    row, _, column = member.partition("/")
    try:
        value = _ARROWS.of(container).column(column)[int(row)].as_py()
    except (KeyError, IndexError) as error:
        raise _gone() from error
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


def _gone() -> UnreadableImage:
    return UnreadableImage("missing", "its table has no such row or column any more")


def _damaged(error: Exception) -> UnreadableImage:
    return UnreadableImage("damaged", f"its table: {(str(error).splitlines() or [''])[0]}")


class _Cells:
    """The cells of one column in one row group. They can only be read from its start on, so what was read last is
    kept; a row group as large as the file (pandas writes such) is never in memory whole."""

    def __init__(self, file: Any, group: int, column: str) -> None:
        self.file, self.group, self.column = file, group, column
        facts = file.metadata.row_group(group)
        leaves = [facts.column(i) for i in range(facts.num_columns)]
        size = sum(leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema.split(".")[0] == column)
        self.step = max(1, min(facts.num_rows, facts.num_rows * READ // max(1, size)))
        self._begin()

    def _begin(self) -> None:
        self.batches: Iterator[Any] = self.file.iter_batches(
            self.step, row_groups=[self.group], columns=[self.column], use_threads=False
        )
        self.kept: deque[tuple[int, Any]] = deque()  # (first row, cells)
        self.end = 0

    def value(self, row: int) -> Any:
        """The cell as Python has it."""
        import pyarrow as pa

        if self.kept and row < self.kept[0][0]:
            self._begin()
        try:
            while row >= self.end:
                self._read()
        except (StopIteration, KeyError) as error:
            raise _gone() from error
        except pa.ArrowException as error:
            self._begin()
            raise _damaged(error) from error
        first, cells = next(some for some in reversed(self.kept) if some[0] <= row)
        return cells[row - first].as_py()

    def _read(self) -> None:
        cells = next(self.batches).column(self.column)
        self.kept.append((self.end, cells))
        self.end += len(cells)
        while len(self.kept) > 2 and sum(some.nbytes for _, some in self.kept) > HELD:
            self.kept.popleft()


class _Parquet:
    """Single cells of Parquet files; shared by threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: OrderedDict[tuple[str, int, int, str], _Cells] = OrderedDict()

    def value(self, container: str, row: int, column: str) -> Any:
        """The cell of a row of the file."""
        file, starts = _PARQUET_FILES.of(container)
        group = bisect.bisect_right(starts, row) - 1
        if group == len(starts) - 1:  # the last start is the number of rows
            raise _gone()
        key = (container, id(file), group, column)
        with self.lock:
            if key not in self.held:
                self.held[key] = _Cells(file, group, column)
                while len(self.held) > OPEN:
                    self.held.popitem(last=False)
            self.held.move_to_end(key)
            return self.held[key].value(row - starts[group])


def _opened_parquet(container: str) -> tuple[Any, list[int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(container, buffer_size=2**20, pre_buffer=False)
    except pa.ArrowException as error:
        raise _damaged(error) from error
    counts = (file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
    return file, list(itertools.accumulate(counts, initial=0))


def _opened_arrow(container: str) -> Any:
    import pyarrow as pa

    try:
        return read_arrow(container)
    except pa.ArrowException as error:
        raise _damaged(error) from error


def read_arrow(file: str | Path) -> Any:
    """The pyarrow.Table of an Arrow file, a stream or not, memory-mapped. Raises OSError and pyarrow.ArrowException."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as mapped:
        try:
            return pa.ipc.open_stream(mapped).read_all()
        except pa.ArrowInvalid:
            mapped.seek(0)
            return pa.ipc.open_file(mapped).read_all()


_ZIPS = _Kept(zipfile.ZipFile)
_PARQUET_FILES = _Kept(_opened_parquet)
_PARQUET = _Parquet()
_ARROWS = _Kept(_opened_arrow)

READERS: dict[str, Callable[[str, str, int], bytes]] = {
    "zip": _from_zip,
    "tar": _from_tar,
    "parquet": _from_parquet,
    "arrow": _from_arrow,
}
