"""analysis=compare: finished runs of different days side by side, in a folder of their own. Nothing of them is computed
again, and nothing is written into them."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from pipeline import record as facts_of
from pipeline.comparison.entries import Entry, of_runs
from pipeline.comparison.pairs import blocks
from pipeline.comparison.words import not_compared, of_other_versions
from pipeline.comparison.writing import show, write
from pipeline.console import Say
from pipeline.errors import CallError, UserError, nearest, of_system
from pipeline.report.privacy import Privacy, privacy_of_all
from pipeline.report.words import counted
from pipeline.run_dir import RECORD, REPORT, Run, load_run, new_folder, write_json
from pipeline.schema import Config, plain

log = logging.getLogger(__name__)


def compare(config: Config, command: str, home: Path, say: Say) -> int:
    """Compare `config.runs`. The exit status: 2 where nothing of them can be compared, and no folder is made then."""
    try:
        runs, unfinished = complete_runs([Path(given) for given in config.runs])
        privacy = privacy_of_all(runs, plain(config.report.hide))
        entries = of_runs(runs, privacy)
        _refuse(entries, privacy)
        for line in [*unfinished, *_other_versions(entries)]:
            say.warning(privacy.text(line))
        if config.dry_run:
            say.place("would compare", ", ".join(entry.name for entry in entries))
            return 0
        return _write(config, command, home, entries, privacy, say)
    except UserError as error:
        for problem in error.problems:
            say.error(problem)
        return error.status
    except Exception as error:  # a full disk; tables that somebody has changed
        log.debug("compare", exc_info=True)
        say.error(_said_of(error, Path(config.paths.outputs)))
        return 1


def _said_of(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError):
        return of_system(error, {"paths.outputs": folder})
    return f"runs: cannot be compared: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def complete_runs(folders: list[Path]) -> tuple[list[Run], list[str]]:
    """Complete runs, jobs of sweeps included, and which of these were left out. Raises CallError."""
    found: list[Run] = []
    left_out: list[str] = []
    for folder in folders:
        if jobs := _jobs(folder):
            done = [run for run in map(load_run, jobs) if run.record.get("status") == "complete"]
            if len(done) < len(jobs):
                left_out.append(f"{folder}: {len(jobs) - len(done)} of {counted(len(jobs), 'job')} are not complete")
            found += done
        else:
            found.append(_complete(folder))
    places = [run.folder for run in found]
    if twice := [place for place in places if places.count(place) > 1]:
        raise CallError(f"runs: {twice[0]}: named twice")
    if len(found) < 2:
        whole = "; ".join([f"{counted(len(found), 'complete run')}", *left_out])
        raise CallError(f"runs: at least two complete runs are needed, as in runs=[outputs/a,outputs/b], not {whole}")
    return found, left_out


def _jobs(folder: Path) -> list[Path]:
    """The jobs of a sweep, in the order of their numbers; none of a run."""
    if (folder / RECORD).is_file() or not folder.is_dir():
        return []
    numbers = sorted(int(job.name) for job in folder.iterdir() if job.name.isdigit() and (job / RECORD).is_file())
    return [folder / str(number) for number in numbers]


def _complete(folder: Path) -> Run:
    if not folder.is_dir():
        beside = [place.name for place in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise CallError(f"runs: {folder}: no such folder{nearest(folder.name, beside)}")
    try:
        run = load_run(folder)
    except CallError as error:
        raise CallError(*(f"runs: {problem}" for problem in error.problems)) from error
    status = run.record.get("status")
    if status != "complete":
        reason = f" ({run.record['reason']})" if run.record.get("reason") else ""
        said = "still running" if status == "running" else f"{status}{reason}"
        raise CallError(f"runs: {folder}: {said}: only complete runs are compared")
    if "compared" in run.record:
        raise CallError(f"runs: {folder}: is itself a comparison; name the runs that it compares")
    return run


def _refuse(entries: list[Entry], privacy: Privacy) -> None:
    """Raises CallError where no two of them have the same images."""
    known = [entry for entry in entries if entry.identity is not None]
    if not any(len(block) > 1 for block in blocks(known)):
        why = [f"runs: {privacy.text(line.text)}" for line in not_compared(entries)]
        raise CallError(*why, "runs: nothing of them can be compared: no two have the same images")


def _other_versions(entries: list[Entry]) -> list[str]:
    found = of_other_versions(entries)
    said = f"the runs were made by other versions: {', '.join(found)}; part of a difference may be theirs"
    return [said] if found else []


def _write(config: Config, command: str, home: Path, entries: list[Entry], privacy: Privacy, say: Say) -> int:
    """The folder, first its record: whatever ends it, that says so."""
    start = time.monotonic()
    folder = new_folder(Path(config.paths.outputs))
    compared_runs = [str(entry.run.folder) for entry in entries]
    record: dict[str, Any] = facts_of.comparison_record(config, command, compared_runs, home)
    write_json(folder / RECORD, record)
    status, reason = "interrupted", "interrupted by the user"
    try:
        hidden = "path" in privacy.hide
        reports = ["" if hidden else _report(entry.run, folder) for entry in entries]
        compared = write(entries, reports, folder, f"Comparison {'/'.join(folder.parts[-2:])}", privacy, config.plots)
        record["not_compared"] = [line.text for line in compared.refused]
        status, reason = "complete", ""
    except Exception as error:
        status, reason = "failed", _said_of(error, folder)
        raise
    finally:
        ended = {"status": status, "reason": reason or None, "finished": facts_of.now()}
        write_json(folder / RECORD, {**record, **ended, "seconds": round(time.monotonic() - start, 3)})
    show(compared, "runs: each score in the space named; compare within one space only", say, all_refused=True)
    return 0


def _report(run: Run, folder: Path) -> str:
    """A link from the comparison to the run's report."""
    return os.path.relpath(run.folder / REPORT, folder.resolve()) if (run.folder / REPORT).is_file() else ""
