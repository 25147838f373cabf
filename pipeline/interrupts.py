"""Ctrl-C outside a run, while Hydra composes and libraries are imported: some swallow it, some fail of it in odd ways.
What was asked is remembered here, whatever they make of it. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import signal
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
