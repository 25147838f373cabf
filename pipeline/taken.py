"""What is taken from finished runs as it was made: `from_run`, and the text index that `tagging.index` names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.datasets.candidates import COLUMNS, Found, candidates
from pipeline.errors import CallError
from pipeline.keys import keyed_settings
from pipeline.run_dir import ARTIFACTS, RECORD, Run, load_run
from pipeline.schema import Config, restored
from pipeline.stage import Stage

OF_TEXTS = ("texts", "text_embedding", "text_index")  # stages that an index comes from


@dataclass(frozen=True)
class Taken:
    """key: the setting that names the run; makers: stages taken as done -> their keys, None where never cached; makes:
    artifact -> the stage that made it."""

    key: str
    run: Run
    makers: dict[str, str | None]
    makes: dict[str, str]

    @property
    def keys(self) -> dict[str, str | None]:
        """Artifact -> its key, as pipeline.keys.Keys names them."""
        return {name: f"{name}:{key}" if (key := self.makers[maker]) else None for name, maker in self.makes.items()}

    @property
    def encoder(self) -> dict[str, Any]:
        """What the run's record says of its encoder."""
        return dict(self.run.record.get("encoder") or {})

    def files(self, names: Iterable[str]) -> list[str]:
        """Paths below the run folder of those artifacts that are taken."""
        taken = (ARTIFACTS[name] for name in names if name in self.keys and self.run.has(name))
        return [file for artifact in taken for file in artifact.files() if (self.run.folder / file).is_file()]

    def found(self) -> Found:
        """The data set as the run listed it."""
        if not self.run.has("images"):
            return nothing_found()
        table = self.run["candidates"] if self.run.has("candidates") else self.run["images"]
        rows = table[[name for name in COLUMNS if name in table]]
        facts = (self.run.record.get("dataset") or {}).get("facts") or {}
        return Found(candidates(rows), facts=facts, labels=self.run.get("image_labels"))


def nothing_found() -> Found:
    """The data set of a run without images."""
    return Found(candidates([]))


def takings(config: Config, known: Mapping[str, Stage]) -> tuple[Taken, ...]:
    """What the call takes from finished runs. Raises CallError."""
    found = []
    if config.from_run is not None:
        found.append(_of_run(config, known))
    if config.tagging.index is not None and "tagging" in config.stages:
        found.append(_of_index(Path(config.tagging.index), known))
    return tuple(found)


def _of_run(config: Config, known: Mapping[str, Stage]) -> Taken:
    run = load_run(str(config.from_run))
    if run.record.get("status") == "running":
        raise CallError(f"from_run: {run.folder}: still running")
    before = restored(run.config)
    done = _done(run)
    makes: dict[str, str] = {}
    for stage in known.values():  # makers stand before those that need them
        if stage.fingerprints or stage.name not in done or not run.has(stage.makes[0]):
            continue
        inputs = [name for name in stage.needs if name in ARTIFACTS and _cached(name, known)]
        if all(name in makes for name in inputs) and _as_before(stage, config, before):
            makes |= dict.fromkeys(stage.makes, stage.name)
    if not makes:
        raise CallError(f"from_run: {run.folder}: no stage came so far that it could be taken")
    return Taken("from_run", run, {name: done[name] for name in set(makes.values())}, makes)


def _cached(artifact: str, known: Mapping[str, Stage]) -> bool:
    """Whether a stage makes it that does not look at the world: those run anew, if at all."""
    return any(artifact in stage.makes and not stage.fingerprints for stage in known.values())


def _as_before(stage: Stage, config: Config, before: Config) -> bool:
    """Whether the settings that its result depends on are the run's, as far as that knew them."""
    return _within(keyed_settings(stage, before), keyed_settings(stage, config))


def _within(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return all(value is None or (key in new and _within(value, new[key])) for key, value in old.items())
    return bool(old == new)


def _of_index(folder: Path, known: Mapping[str, Stage]) -> Taken:
    key = "tagging.index"
    try:
        run = load_run(folder.parent if (folder.parent / RECORD).is_file() else folder)
    except CallError as error:
        raise CallError(f"{key}: {folder}: must be the text_index folder of a finished run") from error
    done = _done(run)
    missing = [name for name in OF_TEXTS if name not in done or not run.has(known[name].makes[0])]
    if missing:
        raise CallError(f"{key}: {folder}: the run has no finished '{missing[0]}'")
    makes = {made: name for name in OF_TEXTS for made in known[name].makes}
    return Taken(key, run, {name: done[name] for name in OF_TEXTS}, makes)


def _done(run: Run) -> dict[str, str | None]:
    """Stage -> its key, of all whose results are there, those included that the run itself has taken."""
    own = {entry["name"]: entry.get("key") for entry in run.record.get("stages", []) if entry["status"] == "done"}
    return {**(run.record.get("taken") or {}).get("stages", {}), **own}


def same_encoder(taken: Taken, facts: Mapping[str, Any], side: str) -> None:
    """Raises CallError where the run's vectors of `side`, 'images' or 'texts', are of another encoder than `facts`,
    what its handle says of it."""
    theirs = (taken.encoder.get("fingerprints") or {}).get(side)
    ours = facts["fingerprints"][side]
    if theirs != ours:
        them, us = (f"{told.get('name')} {told.get('model')}" for told in (taken.encoder, facts))
        others = "with other weights or settings" if them == us else f"not with {us}"
        raise CallError(
            f"{taken.key}: its {side} were encoded with {them}, {others}: vectors of different encoders do not compare"
        )
