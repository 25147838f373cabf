"""`sweep.resume=<folder>`: the command line of an earlier sweep, to be gone through again in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import CallError, nearest
from pipeline.sweep_words import is_of_the_job, key_of, load_sweep

KEY = "sweep.resume"


def resumed(words: Sequence[str]) -> list[str]:
    """The words of the call; with `sweep.resume` those of the sweep that is resumed, in its folder, and the present
    directory is the one where it was typed.

    Words that the call repeats must be the sweep's; others may only say how it is done (a launcher, workers). Raises
    CallError.
    """
    from hydra._internal.utils import get_args_parser

    called = get_args_parser().parse_known_args(list(words))[0]
    given = [word for word in called.overrides if key_of(word) == KEY]
    value = _value(given[-1]) if given else None
    if value is None:
        return list(words)
    rest = [word for word in called.overrides if key_of(word) != KEY]
    if not called.multirun and "hydra.mode=MULTIRUN" not in rest:
        raise CallError(f"{KEY}: goes on with a sweep: add -m")
    from pipeline.call import quoted
    from pipeline.run_dir import must_be_writable
    from pipeline.sweep_record import sweep_to_resume

    folder = sweep_to_resume(value, Path(os.path.normpath(Path.cwd() / Path(value).expanduser())), _outputs(rest))
    must_be_writable(folder, KEY)
    record = load_sweep(folder)
    _same_sweep(rest, record["overrides"], folder)
    recorded = [*record["overrides"], *record.get("hydra", [])]
    if "hydra/sweeper=optuna" in recorded:
        raise CallError(f"{KEY}: {folder}: Optuna chose its jobs one after the other and keeps that in memory only")
    if Path(record["folder"]).is_dir():
        os.chdir(record["folder"])  # where paths of its words begin
    how = {key_of(word): word for word in rest if not is_of_the_job(word)}
    kept = [word for word in recorded if key_of(word) not in {*how, "hydra.sweep.dir", "hydra.mode"}]
    options = [word for word in words if word not in called.overrides]
    return [*options, *kept, *how.values(), f"hydra.sweep.dir={quoted(str(folder))}"]


def _value(word: str) -> str | None:
    """What `sweep.resume=...` gives, without the quotes of Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = OverridesParser.create().parse_override(word).value()
    if value is not None and not isinstance(value, str):
        raise CallError(f"{word}: must be the folder of a sweep, or last")
    return value


def _outputs(words: Sequence[str]) -> Path:
    """`paths.outputs` of the call."""
    from hydra import compose, initialize_config_dir

    from pipeline.config import CONF, at_home

    given = [word for word in words if key_of(word) == "paths.outputs"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return at_home(compose("config", overrides=given).paths.outputs)


def _same_sweep(words: Sequence[str], recorded: Sequence[str], folder: Path) -> None:
    """What the call repeats must be as it was: another grid would give the jobs other numbers."""
    problems = []
    for word in words:
        if not is_of_the_job(word) or word in recorded:
            continue
        was = [other for other in recorded if key_of(other) == key_of(word)]
        known = f"it was called with {was[0]}" if was else f"it was called without{nearest(word, recorded)}"
        problems.append(f"{KEY}: {word}: another sweep than the one in {folder}: {known}")
    if problems:
        raise CallError(*problems)
