#!/usr/bin/env python3
"""clipscope: `python run.py --help`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pipeline.interrupts import heard, listen

HOME = Path(__file__).resolve().parent


def main() -> int:
    """0 done, 1 a run failed, 2 the call was wrong, 130 interrupted."""
    listen()
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


def _flag_first(words: list[str]) -> list[str]:
    """`-m` may stand anywhere; Hydra's parser takes no words on both sides of it."""
    flags = [word for word in words if word in ("-m", "--multirun")]
    return [*flags, *(word for word in words if word not in flags)]


def _run() -> int:
    from pipeline.task import Task, prepare, refuse

    prepare(str(HOME))

    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from pipeline import config, sweep
    from pipeline.config.extras import must_be_installed
    from pipeline.config.messages import explain
    from pipeline.config.resume import resumed
    from pipeline.errors import CallError

    config.register()
    task = Task(config.typed_command())
    start = hydra.main(version_base="1.3", config_path=str(HOME / "conf"), config_name="config")
    try:
        with heard():
            sys.argv[1:] = resumed(_flag_first(sys.argv[1:]))
            must_be_installed(sys.argv[1:])
            start(task)()
    except CallError as error:  # of a sweep as a whole
        return refuse(error.problems)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: `clustering=null`
        return refuse([explain(error)])
    except OSError as error:  # the sweep's folder, the only one that Hydra makes
        return refuse([f"paths.outputs: cannot write in {error.filename}: {error.strerror}"])
    except KeyboardInterrupt:
        sweep.finish(interrupted=True)
        raise
    return max(task.statuses, default=0) if sweep.outcome is None else sweep.outcome


if __name__ == "__main__":
    try:
        with heard():
            status = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and written: another Ctrl-C must not change the status
    sys.exit(status)
