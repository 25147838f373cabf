"""A sweep's folder as it lies on disk: its own record, which jobs are done, and room for those that run again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import record as facts_of
from pipeline.errors import CallError, nearest
from pipeline.run_dir import LOG, RECORD, is_alive, load_run, write_json
from pipeline.sweep_words import NOT_OF_THE_JOB, SWEEP, is_of_the_job, load_sweep

FORMAT = 1  # of sweep.json


def begin(folder: Path, command: str, overrides: Sequence[str], hydra: Sequence[str]) -> bool:
    """Write the sweep's record before its first job; that of a sweep that is resumed gets one command more.

    command: as it was typed; overrides: its words but for those of Hydra, `hydra` these. Returns whether it is resumed.
    Raises CallError where the folder holds another sweep.
    """
    began = {"started": facts_of.now(), "finished": None, "process": facts_of.process(), "status": "running"}
    if (folder / SWEEP).is_file():
        before = load_sweep(folder)
        if set(filter(is_of_the_job, before["overrides"])) != set(filter(is_of_the_job, overrides)):
            raise CallError(f"hydra.sweep.dir: {folder} holds another sweep: name another folder")
        write_json(folder / SWEEP, {**before, **began, "commands": [*before["commands"], command]})
        return True
    words = {"overrides": list(overrides), "hydra": list(hydra), "folder": str(Path.cwd())}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SWEEP, {"format": FORMAT, **began, "commands": [command], **words})
    return False


def end(folder: Path, status: str) -> None:
    """All jobs have ended: 'complete', 'failed' (one of them did) or 'interrupted'."""
    if (folder / SWEEP).is_file():
        write_json(folder / SWEEP, {**load_sweep(folder), "status": status, "finished": facts_of.now()})


def sweeps(outputs: Path) -> list[Path]:
    """The sweeps' folders below `paths.outputs`, oldest first."""
    return sorted(file.parent for file in outputs.glob(f"multirun/*/*/{SWEEP}"))


def sweep_to_resume(given: str, folder: Path, outputs: Path) -> Path:
    """The folder to go on in. given: as the user wrote it; folder: the same, absolute. Raises CallError with the way
    out where it cannot be resumed."""
    known = sweeps(outputs)
    if given == "last":
        if not known:
            raise CallError(f"sweep.resume=last: there is no sweep in {outputs / 'multirun'}")
        folder = known[-1]
    elif not (folder / SWEEP).is_file():
        raise CallError(f"sweep.resume: {_no_sweep(folder, known)}")
    record = load_sweep(folder)
    if record.get("status") == "running" and _runs_here(record):
        raise CallError(f"sweep.resume: {folder}: the sweep is still running, as process {record['process']['pid']}")
    _no_job_is_running(folder)
    return folder


def _no_sweep(folder: Path, known: Sequence[Path]) -> str:
    if (folder.parent / SWEEP).is_file():
        return f"{folder}: a job of a sweep; its sweep is {folder.parent}"
    newest = f"; the newest is {known[-1]}" if known else ""
    if (folder / RECORD).is_file():
        return f"{folder}: a run, not a sweep{newest}"
    if folder.exists():
        return f"{folder}: not the folder of a sweep: it has no {SWEEP}{newest}"
    return f"{folder}: no such folder{_near(folder, known) or newest}"


def _near(folder: Path, known: Sequence[Path]) -> str:
    """The sweep whose date and time are nearest."""
    ends = {"/".join(sweep.parts[-2:]): sweep for sweep in known}
    near = nearest("/".join(folder.parts[-2:]), ends)
    return next((near.replace(end, str(sweep)) for end, sweep in ends.items() if end in near), "")


def _runs_here(record: Mapping[str, Any]) -> bool:
    """Whether the process still runs, of one on this machine; jobs on others are looked at one by one."""
    process = record.get("process") or {}
    return process.get("host") == facts_of.process()["host"] and is_alive(process)


def _no_job_is_running(folder: Path) -> None:
    for job in job_folders(folder):
        _must_have_ended(job)


def _must_have_ended(folder: Path) -> None:
    """Raises CallError where the job in `folder` still runs, or where that cannot be told from here."""
    try:
        record = load_run(folder).record
    except CallError:  # cut short before anything was written into it
        return
    if record["status"] != "running":
        return
    process = record.get("process") or {}
    if _runs_here(record):
        raise CallError(f"{folder}: the job is still running, as process {process['pid']}")
    where = f"the job runs on {process.get('host')}, as far as can be told from here"
    raise CallError(f"{folder}: {where}; if it does not, remove that folder")


def job_folders(folder: Path) -> list[Path]:
    """The jobs' folders, by number."""
    return sorted((f for f in folder.iterdir() if f.name.isdigit() and f.is_dir()), key=lambda f: int(f.name))


@dataclass(frozen=True)
class Standing:
    """How a job of a sweep that is resumed stands: `done`, or to be run again and `why`."""

    done: bool
    why: str = ""


def standing(folder: Path, config: Mapping[str, Any] | None) -> Standing:
    """Whether the job in `folder` is complete and was this one. config: the settings that it would have now, plain;
    None where they are wrong."""
    try:
        record = load_run(folder).record
    except CallError:
        return Standing(False, "missing")
    if record["status"] != "complete":
        return Standing(False, str(record["status"]))
    if config is None:
        return Standing(False, "other settings")
    keys = differing(record.get("config") or {}, config)
    shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
    return Standing(False, f"{shown} changed since") if keys else Standing(True)


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The dotted keys of the settings that differ and that make a job what it is.

    >>> differing({"seed": 0, "clustering": {"k": 2}}, {"seed": 0, "clustering": {"k": 3}, "cache": "use"})
    ['clustering.k', 'cache']
    """
    one, other = flat(before), flat(now)
    keys = dict.fromkeys([*one, *other])
    unlike = [key for key in keys if key not in one or key not in other or one[key] != other[key]]
    return [key for key in unlike if not key.startswith(NOT_OF_THE_JOB)]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted keys.

    >>> flat({"seed": 0, "clustering": {"k": 2}})
    {'seed': 0, 'clustering.k': 2}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def make_room(folder: Path) -> None:
    """Before a job begins: what an earlier try left in its folder is kept aside, as `<number>.before-<n>`, which no
    comparison takes for a job; removed where it is no more than a record. Raises CallError where that try still runs.
    """
    if not (folder / RECORD).exists():
        return
    _must_have_ended(folder)
    if all(file.name in (RECORD, LOG) for file in folder.iterdir()):
        shutil.rmtree(folder)
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    folder.rename(aside)
