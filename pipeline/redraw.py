"""The pictures and the report of a finished run once more, in other formats, sizes and colours. Nothing is computed:
the run's own folder is enough, wherever it was copied to, and thumbnails come from image files that are still there."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import record as facts_of
from pipeline.console import Say
from pipeline.errors import CallError, UserError, of_system
from pipeline.keys import settings_of
from pipeline.report.privacy import made_of_images
from pipeline.run_dir import RECORD, REPORT, Run, Values, load_run, must_be_writable, write_json
from pipeline.schema import Config, plain, restored
from pipeline.stage import Stage
from pipeline.stages import known_stages

log = logging.getLogger(__name__)

SCRATCH = ".redraw"


def redraw(config: Config, command: str, say: Say) -> int:
    """Draw the run `config.run` again as `config.plots` says. The exit status: 1 where a stage cannot be drawn."""
    try:
        run = _finished(Path(str(config.run)))
        stages = _drawable(run)
        if config.dry_run:
            say.place(f"would draw again ({', '.join(stage.name for stage in stages)})", run.folder)
            return 0
        must_be_writable(run.folder, "run")
        return _redraw(run, stages, config, command, say)
    except UserError as error:
        for problem in error.problems:
            say.error(problem)
        return error.status
    except OSError as error:  # a full disk: pictures are replaced one by one, so what is there is whole
        say.error(of_system(error, {"run": Path(str(config.run))}))
        return 1


def _finished(folder: Path) -> Run:
    """The run, if it is one and not at work. Raises CallError."""
    if not (folder / RECORD).is_file() and (jobs := sorted(folder.glob(f"[0-9]*/{RECORD}"))):
        raise CallError(
            f"run: {folder}: a sweep; its {len(jobs)} jobs are drawn one by one, as in run={jobs[0].parent}"
        )
    try:
        run = load_run(folder)
    except CallError as error:
        raise CallError(*(f"run: {problem}" for problem in error.problems)) from error
    if run.record.get("status") == "running":
        raise CallError(f"run: {folder}: still running")
    if not run.record.get("config"):
        raise CallError(f"run: {folder}: it never started, so there is nothing to draw")
    return run


def _drawable(run: Run) -> list[Stage]:
    """The stages with pictures whose numbers are there, also of a run that failed later. Raises CallError: none."""
    there = Values(run.folder, {})
    found = [
        stage
        for stage in known_stages().values()
        if stage.draw and all(name in there for name in (stage.makes[0], *stage.needs, *stage.draw_needs))
    ]
    if not found:
        raise CallError(f"run: {run.folder}: no stage came so far that it could be drawn")
    return found


def _redraw(run: Run, stages: list[Stage], config: Config, command: str, say: Say) -> int:
    before = (run.config.get("report") or {}, run.record.get("redrawn") or {})
    hide = sorted({*plain(config.report.hide), *(name for some in before for name in some.get("hide") or [])})
    scratch = run.folder / SCRATCH
    notes, failed = [], False
    try:
        for stage in stages:
            with say.progress(f"{stage.name} pictures"):
                try:
                    kept = _pictures(run, stage, config, "caption" not in hide, scratch)
                except OSError:
                    raise
                except Exception as error:  # numbers of another version, say: the others are drawn all the same
                    log.debug("redraw %s", stage.name, exc_info=True)
                    kept, failed = [], True
                    line = (str(error).splitlines() or [""])[0]
                    notes.append(f"{stage.name}: cannot be drawn from this run: {type(error).__name__}: {line}")
            if kept:
                notes.append(f"{stage.name}: images can no longer be read; left as they were: {', '.join(kept)}")
    except KeyboardInterrupt:
        say.error("interrupted: some pictures are new, some as they were")
        return 130
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for note in notes:
        say.warning(note)
    _report(run, config, command, hide, notes)
    say.place("report", run.folder / REPORT)
    return 1 if failed else 0


def _pictures(run: Run, stage: Stage, config: Config, captions: bool, scratch: Path) -> list[str]:
    """Draw a stage and put its pictures in place. Returns those left alone: made of images that are gone."""
    from pipeline import figure_files, pictures

    made = restored(run.config)
    values = Values(run.folder, {})
    figures, lost = pictures.draw(
        stage, settings_of(stage, made), values, made.images, config.plots, captions, made.seed
    )
    target = run.folder / stage.name
    kept = [name for name in figures if lost and made_of_images(name) and (target / f"{name}.png").is_file()]
    figure_files.save({name: figures[name] for name in figures if name not in kept}, scratch / stage.name, config.plots)
    target.mkdir(exist_ok=True)
    for file in sorted((scratch / stage.name).iterdir()):
        os.replace(file, target / file.name)  # never into a file that the cache shares
    return kept


def _report(run: Run, config: Config, command: str, hide: list[str], notes: list[str]) -> None:
    """The report, then the record: as it was, and when and how it was drawn again."""
    from pipeline.report.build import render

    told = {"time": facts_of.now(), "command": command, "plots": plain(config.plots), "hide": hide, "warnings": notes}
    shown: dict[str, Any] = copy.deepcopy(run.record) | {"redrawn": told}
    shown["config"].setdefault("report", {})["hide"] = hide
    page = render(Run(run.folder, shown))
    scratch = run.folder / f"{REPORT}.{os.getpid()}.tmp"
    scratch.write_text(page, encoding="utf-8")
    os.replace(scratch, run.folder / REPORT)
    write_json(run.folder / RECORD, {**_as_written(run.folder), "redrawn": told})


def _as_written(folder: Path) -> Mapping[str, Any]:
    """The record as it stands on disk: readers call a run killed that says it runs, and the file goes on saying so."""
    found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return found
