#!/usr/bin/env python3
"""clipscope: `python run.py --help`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent
statuses: list[int] = []  # one a job; a sweep has several, and the worst is the program's


def main() -> int:
    """0 done, 1 a run failed, 2 the call was wrong, 130 interrupted."""
    _open_streams()
    if {"--help", "-h"} & set(sys.argv[1:]):
        from pipeline.help import help_text

        return _print(help_text(HOME / "conf"))
    return _run()


def _open_streams() -> None:
    """Standard streams that the caller closed (`>&-`) lead nowhere: else the next file to be opened gets their number,
    and what libraries print goes into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(nowhere, "r" if number == 0 else "w", encoding="utf-8"))


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run() -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's errors come here instead of being printed by it
    os.environ["CLIPSCOPE_HOME"] = str(HOME)  # conf/config.yaml finds conf/user by it
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps what tables no longer need

    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from pipeline import config, sweep
    from pipeline.config.messages import explain

    config.register()
    start = hydra.main(version_base="1.3", config_path=str(HOME / "conf"), config_name="config")
    try:
        start(_job)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: `clustering=null`
        return _refuse([explain(error)])
    except OSError as error:  # the sweep's folder, the only one that Hydra makes
        return _refuse([f"paths.outputs: cannot write in {error.filename}: {error.strerror}"])
    except KeyboardInterrupt:
        sweep.finish()
        raise
    return max(statuses, default=0) if sweep.outcome is None else sweep.outcome


def _job(composed: Any) -> None:
    """One run, or one of a sweep: nothing that goes wrong in it stops the others."""
    from pipeline import config
    from pipeline.errors import CallError

    sweep = config.sweep_job()
    command = config.typed_command()
    try:
        checked = config.read(composed)
    except CallError as error:
        if sweep is None:
            statuses.append(_refuse(error.problems))
            return
        from pipeline.runner import record_refused

        reason = "; ".join(error.problems)
        record_refused(sweep.folder, sweep.number, sweep.overrides, reason, config.choices(composed))
        return
    from pipeline.runner import run

    statuses.append(run(checked, command, sweep))


def _refuse(problems: Iterable[str]) -> int:
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    return 2


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and written: another Ctrl-C must not change the status
    sys.exit(status)
