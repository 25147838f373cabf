"""What has to be known of a run to believe it later: code, versions, machine, process."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.run_dir import process_start
from pipeline.schema import Config, plain

FORMAT = 1  # of run.json

_INSTEAD = {"faiss-cpu": "faiss-gpu"}  # the one that is installed (requirements-gpu.txt)


def git_state(home: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it; None outside a repository or without git."""
    commit = _git(home, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(home, "status", "--porcelain", "--untracked-files=no"))}


def _git(home: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(home), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def version(package: str) -> str:
    """Installed version of a package, or of the one that stands in for it."""
    for name in (package, _INSTEAD.get(package, package)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "not installed"


def versions(home: Path) -> dict[str, str]:
    """Versions of every direct dependency, those for DICOM included, and of Python."""
    return {"python": platform.python_version(), **{name: version(name) for name in _direct(home)}}


def _direct(home: Path) -> Iterator[str]:
    for file in ("requirements.txt", "requirements-dicom.txt"):
        for line in (home / file).read_text(encoding="utf-8").splitlines():
            name = line.split("#")[0].split(">")[0].split("=")[0].split("<")[0].strip()
            if name and not name.startswith("-"):
                yield name


def machine() -> dict[str, Any]:
    """Where it ran."""
    return {
        "platform": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gb": _memory_gb(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def process() -> dict[str, Any]:
    """Which process writes: readers tell from it whether a run that says 'running' still does."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": process_start(os.getpid())}


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def first_record(
    config: Config, found: Any, plan: Any, command: str, sweep: dict[str, Any] | None, home: Path
) -> dict[str, Any]:
    """run.json as it is when a run starts. found: what the data set listed; plan: the stages to come."""
    stages: list[dict[str, Any]] = [
        {"name": s.name, "status": "not reached", "cache": "off", "seconds": None, "warnings": []} for s in plan.stages
    ]
    return _begun(config, command, home) | {
        "dataset": {"name": config.dataset.name, "fingerprint": None, "facts": found.facts},
        "encoder": {"name": config.encoder.name},
        "images": {
            "listed": len(found.table),
            "classes": len(found.classes),
            "labelled": bool(found.classes),
            "captioned": bool(found.table["caption"].notna().any()),
            "grouped": bool(found.table["group"].notna().any()),
            "ignored": found.ignored,
        },
        "skipped_reasons": {},
        "stages": stages,
        "left_out": [{"stage": name, "reason": reason} for name, reason in plan.left_out],
        "warnings": [],
        "seeds": _seeds(plain(config)),
        "device": "cpu",
        "sweep": sweep,
    }


def comparison_record(config: Config, command: str, compared: Sequence[str], home: Path) -> dict[str, Any]:
    """run.json of a comparison of finished runs. compared: their folders."""
    return _begun(config, command, home) | {"compared": list(compared), "stages": []}


def _begun(config: Config, command: str, home: Path) -> dict[str, Any]:
    """What is known of every run when it starts."""
    return {
        "format": FORMAT,
        "status": "running",
        "reason": None,
        "started": now(),
        "finished": None,
        "seconds": None,
        "command": command,
        "config": plain(config),
        "git": git_state(home),
        "versions": versions(home),
        "machine": machine(),
        "process": process(),
    }


def refused_record(reason: str, config: dict[str, Any], sweep: dict[str, Any]) -> dict[str, Any]:
    """run.json of a job of a sweep that never started."""
    time = now()
    return {
        "format": FORMAT,
        "status": "failed",
        "reason": reason,
        "started": time,
        "finished": time,
        "seconds": 0.0,
        "config": config,
        "stages": [],
        "sweep": sweep,
        "process": process(),
    }


def sweep_record(number: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Which job of a sweep, and what makes it differ from the others."""
    return {"job": number, "overrides": list(overrides)}


def encoder_facts(handle: Any, fingerprint: str | None) -> dict[str, Any]:
    """What the record says of an encoder before it is used: a handle's facts, and what enters the keys."""
    facts: dict[str, Any] = handle.facts()
    return facts | {"fingerprint": fingerprint}


def encoding_facts(encoding: Any) -> dict[str, Any]:
    """How the vectors were computed in the end: the one row of the artifact of that name."""
    row: dict[str, Any] = json.loads(encoding.iloc[0].to_json())
    return row


def training_facts(checkpoint: Path) -> dict[str, Any]:
    """What was really set for a training, and what it came to, from the card in the checkpoint's folder."""
    card = json.loads((checkpoint / "card.json").read_text(encoding="utf-8"))
    told = ("base", "texts", "recipe", "architecture", "stopped", "metrics")
    return {name: card[name] for name in told if name in card}


def _seeds(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every seed in the config by its dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _seeds(value, f"{prefix}{key}.")
        elif key == "seed" or key.endswith("_seed"):
            found[prefix + key] = value
    return found


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
