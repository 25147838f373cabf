"""A sweep's folder in, its comparison out, at the end of the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from pipeline.schema import Palette, PlotSettings, restored

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.comparison.writing import Compared
    from pipeline.run_dir import Run

running: Path | None = None  # the folder of the sweep that is going on
outcome: int | None = None  # exit status of the sweep that ended: 1 if one of its jobs did not complete


class Comparison(Callback):
    """Hydra calls it before and after a sweep; single runs pass it by."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the folder: an interrupted sweep is compared as far as it came."""
        global running
        running = Path(str(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """All jobs have ended, well or not."""
        finish()


def finish(interrupted: bool = False) -> None:
    """Write and show the comparison of the sweep that is going on, if there is one."""
    global running, outcome
    if running is None:
        return
    folder, running = running, None
    compared = compare(folder)
    rows = compared.rows
    outcome = 0 if len(rows) and (rows["status"] == "complete").all() else 1
    from pipeline.sweep_record import end

    end(folder, "interrupted" if interrupted else "failed" if outcome else "complete")
    from pipeline.comparison.writing import show
    from pipeline.console import Say

    show(compared, "sweep: each score in the space named; compare within one space only", Say())


def compare(folder: Path) -> Compared:
    """All that the records on disk say, failed jobs included, side by side: written into the sweep's folder."""
    from pipeline.comparison.entries import of_sweep
    from pipeline.comparison.writing import write
    from pipeline.report.privacy import privacy_of_all
    from pipeline.run_dir import REPORT

    runs = jobs(folder)
    privacy = privacy_of_all(runs)
    reports = [f"{run.folder.name}/{REPORT}" if (run.folder / REPORT).is_file() else "" for run in runs]
    heading = f"Sweep {'/'.join(folder.parts[-2:])}"
    return write(of_sweep(runs, privacy), reports, folder, heading, privacy, look_of(runs))


def jobs(folder: Path) -> list[Run]:
    """The jobs that have a record, in the order of their numbers."""
    from pipeline.run_dir import RECORD, load_run
    from pipeline.sweep_record import job_folders

    return [load_run(job) for job in job_folders(folder) if (job / RECORD).is_file()]


def look_of(runs: Sequence[Run]) -> PlotSettings:
    """How the first run's pictures look."""
    known = (restored(run.record.get("config") or {}).plots for run in runs)
    return next((plots for plots in known if plots.formats), PlotSettings([], 150, 180.0, Palette.petroff10))
