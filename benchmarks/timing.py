"""Two ways of the same work, timed in turns in one process, and where that was."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def in_turns(theirs: Callable[[], Any], ours: Callable[[], Any], times: int = 5) -> tuple[float, float, float]:
    """Median seconds of both and the median of the ratios theirs / ours of each turn; whatever else the machine does
    meanwhile meets both. Each is run once before, untimed: imports and first calls are not what is compared."""
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    ours()
    theirs()
    for _ in range(times):
        for name, work in (("theirs", theirs), ("ours", ours)):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["theirs"], seconds["ours"], strict=True)]
    return statistics.median(seconds["theirs"]), statistics.median(seconds["ours"]), statistics.median(ratios)


def machine(*packages: str) -> str:
    """Processor, cores and versions, in a line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
