"""Files over HTTP: several at a time, with retries, resumed where they stopped, whole or not there at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AT_ONCE = 8  # files
TRIES = 6  # for each file
FIRST_TRIES = 2  # for the first one: a wrong address is said in seconds
PAUSE = 0.5  # seconds before the second try, twice as long before each further one
LONGEST = 8.0  # seconds of a pause
CONNECT = 5.0  # seconds until a server must answer
READ = 30.0  # seconds until more of a file must come
GONE = (404, 410)
AGAIN = (408, 425, 429, 500, 502, 503, 504)

Check = Callable[[Path], str]


@dataclass
class Downloaded:
    """count: files that came; missing: names that the server has not; failed: (name, reason) of what came damaged, or
    not in TRIES tries."""

    count: int = 0
    missing: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


class Unreachable(Exception):
    """The server cannot be reached (any more); done: how many files came before."""

    def __init__(self, reason: str, done: int) -> None:
        super().__init__(reason)
        self.reason, self.done = reason, done


class _Lost(Exception):
    """This try has failed; final: another one would too; unreachable: it is the server, not the file."""

    def __init__(self, reason: str, *, final: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final, self.unreachable = reason, final, unreachable


def download(
    files: Sequence[tuple[str, Path]], check: Check, progress: Callable[[int, int], None], pause: float = PAUSE
) -> Downloaded:
    """Bring each (address, target) that is wanted. A target appears under its name when it is complete and `check` of
    its file says ''; what has come so far lies beside it, with '.part' behind its name, and is gone on with next time.

    Where the server gives an MD5 (Content-MD5, x-goog-hash, Amazon S3's ETag), the bytes must have it. Raises
    Unreachable where no connection can be made.
    """
    import httpx2

    found = Downloaded()
    stop = threading.Event()
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    timeout = httpx2.Timeout(READ, connect=CONNECT)
    with httpx2.Client(timeout=timeout, limits=limits, follow_redirects=True) as client:

        def bring(file: tuple[str, Path], tries: int = TRIES) -> str:
            return _bring(client, *file, check, tries, pause, stop)

        for file in files[:1]:
            _count(found, file, lambda: bring(files[0], FIRST_TRIES))
            progress(1, len(files))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                _all(pool, bring, files[1:], found, lambda done: progress(1 + done, len(files)))
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
    return found


def _all(
    pool: ThreadPoolExecutor,
    bring: Callable[[tuple[str, Path]], str],
    files: Sequence[tuple[str, Path]],
    found: Downloaded,
    progress: Callable[[int], None],
) -> None:
    waiting: dict[Future[str], tuple[str, Path]] = {}
    todo = iter(files)
    done = 0
    while True:
        for file in todo:
            waiting[pool.submit(bring, file)] = file
            if len(waiting) >= 2 * AT_ONCE:
                break
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            _count(found, waiting.pop(future), future.result)
            done += 1
            progress(done)


def _count(found: Downloaded, file: tuple[str, Path], result: Callable[[], str]) -> None:
    try:
        outcome = result()
    except _Lost as lost:
        if lost.unreachable:
            raise Unreachable(lost.reason, found.count) from lost
        found.failed.append((file[1].stem, lost.reason))
        return
    if outcome == "missing":
        found.missing.append(file[1].stem)
    else:
        found.count += 1


def _bring(
    client: Any, address: str, target: Path, check: Check, tries: int, pause: float, stop: threading.Event
) -> str:
    """'done' or 'missing'. Raises _Lost after the last try."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(tries):
        try:
            return _try(client, address, part, target, check)
        except _Lost as lost:
            if lost.final or attempt == tries - 1:
                raise
        if stop.wait(min(LONGEST, pause * 2**attempt)):
            raise _Lost("given up", final=True)
    raise AssertionError("tries is at least 1")


def _try(client: Any, address: str, part: Path, target: Path, check: Check) -> str:
    import httpx2

    start = part.stat().st_size if part.is_file() else 0
    try:
        with client.stream("GET", address, headers={"Range": f"bytes={start}-"} if start else {}) as answer:
            if answer.status_code in GONE:
                return "missing"
            _must_be_content(answer, part)
            with part.open("ab" if answer.status_code == 206 else "wb") as file:
                for chunk in answer.iter_raw():
                    file.write(chunk)
            headers = dict(answer.headers)
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise _Lost(f"no connection ({_said(error)})", unreachable=True) from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise _Lost(f"not an address ({_said(error)})", final=True, unreachable=True) from error
    except httpx2.HTTPError as error:  # what came so far stays, for the next try
        raise _Lost(_said(error)) from error
    reason = _not_whole(part, headers) or check(part)
    if reason:
        part.unlink()
        raise _Lost(reason)
    os.replace(part, target)
    return "done"


def _must_be_content(answer: Any, part: Path) -> None:
    status = answer.status_code
    if status == 416:  # there is no more of it than we have, or less
        part.unlink()
        raise _Lost("its size has changed")
    if status not in (200, 206):
        raise _Lost(f"the server says {status} {answer.reason_phrase}".strip(), final=status not in AGAIN)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _not_whole(part: Path, headers: dict[str, str]) -> str:
    """Why the file is not what the server has, '' if it is, as far as the headers tell."""
    size, wanted = part.stat().st_size, _size(headers)
    if wanted is not None and size != wanted:
        return f"{size:,} bytes came, not {wanted:,}"
    digest = _md5(headers)
    if digest and hashlib.md5(part.read_bytes(), usedforsecurity=False).hexdigest() != digest:
        return "its MD5 is not the one that the server gives"
    return ""


def _size(headers: dict[str, str]) -> int | None:
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", headers.get("content-range", ""))
    if whole:
        return int(whole[1])
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() and "content-range" not in headers else None


def _md5(headers: dict[str, str]) -> str:
    """In hexadecimal digits, '' where there is none."""
    google = re.search(r"md5=([^,\s]+)", headers.get("x-goog-hash", ""))
    given = google[1] if google else headers.get("content-md5", "")
    try:
        if given:
            return base64.b64decode(given, validate=True).hex()
    except binascii.Error:
        return ""
    tag = headers.get("etag", "").strip('"')
    is_digest = headers.get("server") == "AmazonS3" and "x-amz-server-side-encryption-aws-kms-key-id" not in headers
    return tag if is_digest and re.fullmatch(r"[0-9a-f]{32}", tag) else ""
