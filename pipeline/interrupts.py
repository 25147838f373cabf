"""Ctrl-C and polite kills. Libraries swallow them or fail of them in odd ways, so what was asked is remembered here:
by `listen` while Hydra composes and libraries are imported, by `terminated_is_interrupted` in a run. Imports nothing
heavy."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_asked: list[int] = []


def listen() -> None:
    """From now on."""
    signal.signal(signal.SIGINT, _hear)


def raise_if_asked() -> None:
    """Raises KeyboardInterrupt where there was one and a library swallowed it."""
    if _asked:
        raise KeyboardInterrupt


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """What fails within after Ctrl-C has failed of it: KeyboardInterrupt, whatever was raised."""
    try:
        yield
    except Exception:
        raise_if_asked()
        raise


def _hear(number: int, frame: object) -> None:
    _asked.append(number)
    raise KeyboardInterrupt


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
