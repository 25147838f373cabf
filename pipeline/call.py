"""The command line from Python: `run = clipscope("encoder=none")`, in a notebook for example."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import CallError, RunError
from pipeline.run_dir import REPORT, Run, load_run

HOME = Path(__file__).resolve().parents[1]
GRACE = 10  # seconds to end in after an interrupt, before it is asked again
_COLOURS = {"FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"}  # notebooks ask for them, and we read what is said


def clipscope(*words: str, from_run: Run | str | Path | None = None) -> Run:
    """`python run.py <words>` in a process of its own; then the run that it made.

    Args:
        words: settings as on the command line, without the quotes that are for the shell.
        from_run: a finished run, or its folder, whose vectors and results are taken as they are.

    Raises CallError (a wrong call, or one that makes no run: a sweep, a dry run) and RunError, with what was said.

    >>> clipscope("clustering.k=8").metrics["cluster_metrics/labels/ari"]    # doctest: +SKIP
    """
    if {"-m", "--multirun"} & set(words):
        raise CallError("-m: a sweep has many runs: start it by the command line, then load_run each of its folders")
    if from_run is not None:
        folder = from_run.folder if isinstance(from_run, Run) else Path(from_run).resolve()
        words = (*words, f"from_run={quoted(str(folder))}")
    status, out, err = _result([sys.executable, str(HOME / "run.py"), *words])
    errors = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
    if status:
        raise (CallError if status == CallError.status else RunError)(*(errors or [f"exit status {status}: {err}"]))
    reports = [line.removeprefix("report: ") for line in out.splitlines() if line.startswith("report: ")]
    if not reports:
        raise CallError(f"this call makes no run: {' '.join(words)}")
    return load_run(Path(reports[-1].removesuffix(REPORT)))


def _result(command: list[str]) -> tuple[int, str, str]:
    """Exit status and what was said. An interrupt reaches the process too, and it is left to keep what it has."""
    environment = {name: value for name, value in os.environ.items() if name not in _COLOURS} | {"CI": "1"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=GRACE)
            process.terminate()  # nothing, where it has ended
            process.communicate()
            raise
    return process.returncode, out, err


def quoted(text: str) -> str:
    """A value as the grammar of overrides takes it, whatever is in it.

    >>> print(quoted("/my dir/[a], it's"))
    '/my dir/[a], it\\'s'
    """
    return "'" + text.replace("'", "\\'") + "'"
