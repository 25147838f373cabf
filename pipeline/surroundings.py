"""What surrounds a run: its log file, the warnings that belong to a result, and polite kills."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import threading
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


@contextlib.contextmanager
def terminated_is_interrupted() -> Iterator[list[str]]:
    """A polite kill ends like Ctrl-C: recorded, nothing lost. Yields what was asked so far: a library may swallow the
    KeyboardInterrupt that arrives in its callback, so the runner looks there between stages."""
    asked: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def interrupt(number: int, frame: object) -> None:
        asked.append("terminated from outside" if number == signal.SIGTERM else "interrupted by the user")
        raise KeyboardInterrupt(asked[-1])

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def give_memory_back() -> None:
    """To the system, what this process has freed: glibc keeps it, in pieces that the next table may not fit into."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
