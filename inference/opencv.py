"""Decoding by OpenCV, with an ear on what its C libraries think of a file: they say it on standard error only."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

# how the words of libjpeg, libpng and libtiff begin
_SAID = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS|Unknown Adobe|Unsupported marker|"
    rb"Warning: unknown JFIF|Application transferred|libpng|TIFF|OpenCV TIFF"
)
_one_at_a_time = threading.Lock()


def decoded(data: bytes, flags: int) -> tuple[np.ndarray | None, bytes]:
    """The pixels by `cv2.imdecode`, not turned, in OpenCV's order unless the flags say otherwise, None where it cannot;
    and what was said of them."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with _one_at_a_time, _listening() as said:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # wider or higher than it reads
            pixels = None
    return (None if pixels is None else np.asarray(pixels)), b"".join(said)


@contextlib.contextmanager
def _listening() -> Iterator[list[bytes]]:
    """Lines that are said on standard error meanwhile; those of others, another thread say, go where they should."""
    said: list[bytes] = []
    try:
        file, before = _ear(), os.dup(2)
    except OSError:  # no standard error, or nowhere to put what it says
        yield said
        return
    os.dup2(file, 2)
    try:
        yield said
    finally:
        os.dup2(before, 2)
        os.close(before)
        for line in _heard(file):
            if _SAID.match(line):
                said.append(line)
            else:
                with contextlib.suppress(OSError):
                    os.write(2, line)


@lru_cache(maxsize=1)
def _ear() -> int:
    """A file without a name, kept open as long as the process."""
    file, name = tempfile.mkstemp()
    Path(name).unlink()
    return file


def _heard(file: int) -> list[bytes]:
    """What stands in it by now, which is taken out."""
    size = os.fstat(file).st_size
    if not size:
        return []
    lines = os.pread(file, size, 0).splitlines(keepends=True)
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    return lines
