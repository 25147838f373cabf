"""Jobs that do not depend on each other, in processes of their own where that is worth it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Protocol

from pipeline.stage import Workspace
from pipeline.stages.quiet import quietly

ALONE_UP_TO = 6_000  # rows to project in all: fewer are done sooner here than processes are started


class Job(Protocol):
    """Plain data that can be sent to another process; its result is a file."""

    def run(self) -> None:
        """The file appears complete or not at all; one that is there is left as it is."""


def run_all(jobs: Sequence[Job], m: int, workspace: Workspace) -> None:
    """Jobs of `m` rows each, side by side where there are cores; the result does not depend on how many."""
    from pipeline.metrics.blocks import workers

    cores = min(workers(), len(jobs))
    workspace.progress(0, len(jobs))
    if cores < 2 or m * len(jobs) <= ALONE_UP_TO:
        with quietly():
            for done, job in enumerate(jobs):
                job.run()
                workspace.progress(done + 1, len(jobs))
        return
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=_silent) as pool:
        waiting: list[Future[None]] = [pool.submit(job.run) for job in jobs]
        try:
            for done, future in enumerate(as_completed(waiting)):
                future.result()
                workspace.progress(done + 1, len(jobs))
        except BaseException:  # none is cancelled: the pool itself gives up all, where its processes are gone
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise


def _silent() -> None:
    """For a process of the pool: quiet; Ctrl-C is the main process's business, whose end is the end."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_main_process, daemon=True).start()


def _end_with_the_main_process() -> None:
    """Else it would wait for work for ever where that was killed."""
    if parent := parent_process():
        parent.join()
        os._exit(1)
