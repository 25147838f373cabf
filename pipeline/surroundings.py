"""What surrounds a run: its log file, the warnings that belong to a result, and memory that it gives back."""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def log_file(file: Path) -> Iterator[None]:
    """run.log: what the libraries and we have to say, tracebacks included."""
    handler = _Lines(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before or logging.WARNING, logging.INFO))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


class _Lines(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk: the run says it itself, in a line instead of a traceback for every line of the log."""


@contextlib.contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings that our own code logs meanwhile: they belong to the result and are shown again with it."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = record.getMessage()
            if record.name.startswith(("pipeline.", "inference.")) and line not in lines:
                lines.append(line)

    collector = Collector(logging.WARNING)
    logging.getLogger().addHandler(collector)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(collector)


def give_memory_back() -> None:
    """To the system, what this process has freed: glibc keeps it, in pieces that the next table may not fit into."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
