"""The real command line as a process, in folders of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[2]


@dataclass
class Clipscope:
    """`run.py` with its outputs, cache and data below `place`. quick: without `significance`, which takes as long as
    all else together, unless a call names it."""

    place: Path
    home: Path = HOME
    environment: dict[str, str] = field(default_factory=dict)
    quick: bool = True

    def arguments(self, *words: str) -> list[str]:
        folders = {"outputs": self.place / "outputs", "cache": self.place / "cache", "data": self.place / "data"}
        given = {word.split("=")[0] for word in words}
        paths = [f"paths.{name}={path}" for name, path in folders.items() if f"paths.{name}" not in given]
        alone = []
        of_finished = {"analysis=redraw", "analysis=compare"} & {*words}
        if not (of_finished or given & {"from_run", "experiment", "sweep.resume"}):
            alone += [] if "encoder" in given else ["encoder=none"]
            alone += [] if not self.quick or "significance" in given else ["significance=none"]
        return [sys.executable, str(self.home / "run.py"), *words, *paths, *alone]

    def start(self, *words: str, **kwargs: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "CI": "1", "NUMBA_CACHE_DIR": str(HOME / ".cache" / "numba"), **self.environment}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.arguments(*words), env=environment, **{**pipes, **kwargs})

    def __call__(self, *words: str, cwd: Path | None = None, status: int | None = 0) -> Result:
        process = self.start(*words, cwd=cwd)
        out, err = process.communicate(timeout=240)
        result = Result(process.returncode, out, err, (self.folders() or [self.place])[-1])
        if status is not None:
            assert result.status == status, f"{' '.join(words)}: exit {result.status}\n{out}\n{err}"
        assert "could not be drawn" not in err, err
        return result

    def folders(self) -> list[Path]:
        """Run folders so far, oldest first; those of sweeps left out."""
        return sorted(file.parent for file in self.place.glob("outputs/2*/*/run.json"))

    def sweeps(self) -> list[Path]:
        return sorted(file.parent for file in self.place.glob("outputs/multirun/*/*/multirun.yaml"))


@dataclass
class Result:
    status: int
    out: str
    err: str
    folder: Path  # of the newest run when the call had ended

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "run.json").read_text(encoding="utf-8"))

    @property
    def metrics(self) -> dict[str, float]:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    @property
    def hits(self) -> dict[str, str]:
        """Stage -> 'hit', 'miss' or 'off'."""
        return {stage["name"]: stage["cache"] for stage in self.record["stages"]}
