"""What is taken from finished runs as it was made: `from_run`, and the text index that `tagging.index` names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.datasets.candidates import COLUMNS, Found, candidates
from pipeline.errors import CallError
from pipeline.keys import keyed_settings
from pipeline.plan import order, producers
from pipeline.run_dir import ARTIFACTS, RECORD, Run, load_run
from pipeline.schema import CHOICES, Config, plain, restored
from pipeline.stage import Stage

COMPARED = ("listing", "encoder")  # the call names no other data set; encoders are known by their fingerprints
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
        """Paths below the run folder of all that the makers of those artifacts made: what is taken is taken whole, so
        that a run can be taken from the one that takes it."""
        makers = {self.makes[name] for name in names if name in self.makes}
        taken = (ARTIFACTS[name] for name, maker in self.makes.items() if maker in makers and name in ARTIFACTS)
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
    before = _before(run, config)
    done = _done(run)
    maker = producers(known.values())
    coming = {stage.name for stage in order(config.stages, known, ("found",))}
    makes: dict[str, str] = {}

    def as_used(name: str) -> bool:
        """Whether the stage that may make it is as it was: taken, or neither done then nor to be done now."""
        return name in makes if maker[name].name in done else maker[name].name not in coming

    for stage in known.values():  # makers stand before those that need them
        if stage.fingerprints or stage.name not in done or not run.has(stage.makes[0]):
            continue
        if stage.deliver and stage.name in config.stages:  # what it writes elsewhere is asked for anew
            continue
        makers = [maker[name] for name in stage.needs if name in maker]
        inputs = [name for name in stage.needs if name in maker and not maker[name].fingerprints]
        settled = [stage, *(some for some in makers if some.fingerprints and some.name not in COMPARED)]
        if not (all(name in makes for name in inputs) and all(as_used(name) for name in stage.uses)):
            continue
        if all(_as_before(some, config, before) for some in settled):
            makes |= dict.fromkeys(stage.makes, stage.name)
    if not makes:
        why = "all that it has was made with other settings" if done else "no stage of it came to its end"
        raise CallError(f"from_run: {run.folder}: nothing can be taken: {why}")
    return Taken("from_run", run, {name: done[name] for name in set(makes.values())}, makes)


def _before(run: Run, config: Config) -> Config:
    """The run's settings; what it did not know yet is as it is called now."""
    now, then = plain(config), run.config
    for name, section in now.items():
        recorded = then.setdefault(name, section)
        known = isinstance(section, dict) and isinstance(recorded, dict)
        if known and (name not in CHOICES or recorded.get("name") == section["name"]):
            then[name] = {**section, **recorded}
    return restored(then)


def _as_before(stage: Stage, config: Config, before: Config) -> bool:
    """Whether the settings that its result depends on are the run's."""
    return bool(keyed_settings(stage, before) == keyed_settings(stage, config))


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
