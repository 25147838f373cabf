"""What surrounds a run: its log file, the warnings that belong to a result, and polite kills."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def log_file(file: Path) -> Iterator[None]:
    """run.log: what the libraries and we have to say, tracebacks included."""
    handler = logging.FileHandler(file, encoding="utf-8")
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
        handler.close()


@contextlib.contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings that our own code logs meanwhile: they belong to the result and are shown again with it."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith(("pipeline.", "inference.")):
                lines.append(record.getMessage())

    collector = Collector(logging.WARNING)
    logging.getLogger().addHandler(collector)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(collector)


@contextlib.contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """A polite kill ends like Ctrl-C: recorded, nothing lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt("terminated from outside")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
