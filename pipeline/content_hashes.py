"""Hashes of contents: of images in files, archives and tables, of weights, of what the cache keeps."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from blake3 import blake3

from inference.places import UnreadableImage, container_of, read_bytes

SETTLED = 2.0  # seconds after which a file's time stamps can be believed to change with its content
CHUNK = 8 * 2**20  # bytes read at a time
PARALLEL = 2**20  # bytes from which one hash is worth several threads
REMEMBERED = 10_000  # files after which their hashes are put down and let go, so that a kill costs no more
TOGETHER = 16  # files that a thread takes at a time
MISSING = ("", "")  # mark and hash of a file that is not known

Progress = Callable[[int, int], None]
Told = Callable[[int], None]  # how many are done
Hashed = Callable[..., str]  # of a place, unless `stopped`, a function, tells it to stop


class ContentHashes:
    """Hashes of files, computed once as long as size, times and inode stay the same.

    root: folder of the memory, None for none.
    """

    def __init__(self, root: Path | None) -> None:
        self.file = root / "content_hashes.sqlite" if root else None

    def of(self, places: Sequence[str], progress: Progress) -> list[str]:
        """BLAKE3 of each place (inference.places), 64 hexadecimal digits; for what cannot be read, the reason."""
        return list(self.each(places, progress))

    def each(self, places: Sequence[str], progress: Progress) -> Iterator[str]:
        """The same one after the other: of a million, only some are held here at a time."""
        return self._all("blake3", blake3_of, places, progress)

    def sha256(self, paths: Sequence[str], progress: Progress) -> list[str]:
        """SHA-256 of each file: what published weights are known by."""
        return list(self._all("sha256", sha256_of, paths, progress))

    def _all(self, kind: str, hashed: Hashed, places: Sequence[str], progress: Progress) -> Iterator[str]:
        with _threads() as (pool, stopped):
            for start in range(0, len(places), REMEMBERED):
                part = list(places[start : start + REMEMBERED])

                def told(done: int, start: int = start) -> None:
                    progress(start + done, len(places))

                yield from self._part(kind, partial(hashed, stopped=stopped), part, pool, told)

    def _part(
        self, kind: str, hashed: Callable[[str], str], places: list[str], pool: ThreadPoolExecutor, told: Told
    ) -> list[str]:
        """The hashes of so many places that all may be held."""
        marks = _marks(places)
        known = self._known(kind, places)
        todo = [i for i, place in enumerate(places) if not marks[i] or known.get(place, MISSING)[0] != marks[i]]
        fresh: dict[int, str] = {}
        some = list(_parts(todo, TOGETHER))
        hashes = pool.map(lambda rows: [hashed(places[i]) for i in rows], some)
        for rows, values in zip(some, hashes, strict=True):
            fresh |= zip(rows, values, strict=True)
            told(len(places) - len(todo) + len(fresh))
        settled = [(places[i], marks[i], fresh[i]) for i in todo if marks[i] and len(fresh[i]) == 64]
        self._remember(kind, settled)
        return [fresh[i] if i in fresh else known[place][1] for i, place in enumerate(places)]

    def _known(self, kind: str, places: Sequence[str]) -> dict[str, tuple[str, str]]:
        if self.file is None or not self.file.is_file():
            return {}
        known: dict[str, tuple[str, str]] = {}
        with self._forgiven(), contextlib.closing(sqlite3.connect(self.file, timeout=30)) as memory:
            memory.execute("PRAGMA temp_store = MEMORY")
            memory.execute("CREATE TEMP TABLE wanted (place TEXT)")
            memory.executemany("INSERT INTO wanted VALUES (?)", ((place,) for place in places if _is_text(place)))
            rows = memory.execute(
                "SELECT c.place, mark, hash, checksum FROM wanted "
                "CROSS JOIN checked_contents AS c ON c.kind = ? AND c.place = wanted.place",
                (kind,),
            )
            for place, mark, value, checksum in rows:
                if checksum == _checksum(kind, place, mark, value):
                    known[place] = (mark, value)
        return known

    def _remember(self, kind: str, rows: list[tuple[str, str, str]]) -> None:
        rows = [row for row in rows if _is_text(row[0])]
        if self.file is None or not rows:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        checked = [(kind, *row, _checksum(kind, *row)) for row in rows]
        with self._forgiven(), contextlib.closing(sqlite3.connect(self.file, timeout=30)) as memory:
            memory.execute(
                "CREATE TABLE IF NOT EXISTS checked_contents (kind TEXT, place TEXT, mark TEXT, hash TEXT, "
                "checksum INTEGER, PRIMARY KEY (kind, place))"
            )
            memory.executemany("INSERT OR REPLACE INTO checked_contents VALUES (?, ?, ?, ?, ?)", checked)
            memory.commit()

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Without its memory it only takes longer. A damaged file is removed, or it would never remember again."""
        try:
            yield
        except sqlite3.OperationalError:  # locked, read-only, no room, or no table yet
            pass
        except (sqlite3.DatabaseError, TypeError):  # TypeError: cells that we did not write
            assert self.file is not None
            with contextlib.suppress(OSError):
                self.file.unlink()


def _checksum(*row: str) -> int:
    """A hash with a flipped bit would give an image another's place for ever."""
    return zlib.crc32("\0".join(row).encode())


@contextlib.contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, Callable[[], bool]]]:
    """A pool (reading and hashing both let other threads run) and whether it is to stop: one large file must not keep a
    Ctrl-C waiting."""
    stop = threading.Event()
    pool = ThreadPoolExecutor()
    try:
        yield pool, stop.is_set
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def blake3_of(place: str, stopped: Callable[[], bool] = lambda: False) -> str:
    """64 hexadecimal digits for a file or a member of an archive; for what cannot be read, the reason."""
    if container_of(place) != place:
        try:
            return blake3(read_bytes(place)).hexdigest()
        except UnreadableImage as error:
            return f"unreadable: {error.reason}"
    return _of_file(place, blake3, stopped)


def blake3_of_file(path: Path) -> str:
    """The same of a file of ours, on all cores. Raises OSError."""
    size = path.stat().st_size
    state = blake3(max_threads=blake3.AUTO) if size >= PARALLEL else blake3()
    part = memoryview(bytearray(min(CHUNK, size + 1)))  # one for all: two of them would be alive at a time
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(part):
            state.update(part[:count])
    return state.hexdigest()


def sha256_of(path: str, stopped: Callable[[], bool] = lambda: False) -> str:
    """64 hexadecimal digits; for what cannot be read, the reason."""
    return _of_file(path, hashlib.sha256, stopped)


def _of_file(path: str, kind: Callable[[], blake3] | Callable[[], hashlib._Hash], stopped: Callable[[], bool]) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "not a file"  # a pipe would hang
        state = kind()
        with Path(path).open("rb", buffering=0) as file:
            while not stopped() and (part := file.read(CHUNK)):
                state.update(part)
        return state.hexdigest()
    except (OSError, ValueError) as error:
        return f"unreadable: {type(error).__name__}"


def _marks(places: Sequence[str]) -> list[str]:
    """What changes when a content changes: of each file, or the container that it lies in."""
    containers = [container_of(place) for place in places]
    known = {container: _mark(container) for container in dict.fromkeys(containers)}
    return [known[container] for container in containers]


def _mark(path: str) -> str:
    """'' for what is too young to tell, and for a folder, whose mark says nothing of the files in it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    if stat.S_ISDIR(status.st_mode) or time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _parts(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # SQLite takes no name that is not UTF-8
        return False
    return True
