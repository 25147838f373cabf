"""Two ways of the same work, timed in turns in one process or in new ones, and where that was."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


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


class Cost(NamedTuple):
    """What a process and those that it started took: wall and processor seconds, largest memory in GB."""

    wall: float
    cpu: float
    memory: float

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        """Of each by itself."""
        return cls(*(statistics.median(values) for values in zip(*costs, strict=True)))


def process_cost(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a command in a new process, with this process's environment and more; SystemExit where it fails."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        errors = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a benchmark failed with status {process.returncode}: {errors.decode()[-2000:]}")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)


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
