"""Plan, look up, call the stage, save, time, record; then the report. The only writer of run folders and the cache."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import record as facts_of
from pipeline.cache import Entry, Store
from pipeline.console import Say
from pipeline.content_hashes import ContentHashes
from pipeline.errors import CallError, UserError, of_system
from pipeline.interrupts import terminated_is_interrupted
from pipeline.keys import Keys, captions_shown, settings_of
from pipeline.plan import Plan, order, plan
from pipeline.run_dir import (
    ARTIFACTS,
    LOG,
    METRICS,
    POINTS,
    RECORD,
    REPORT,
    Run,
    Values,
    claim_folder,
    link,
    must_be_writable,
    new_folder,
    write_json,
)
from pipeline.schema import CacheUse, Config, PrecomputedEncoder, SweepJob, plain
from pipeline.stage import Facts, Stage, Workspace, by_choice
from pipeline.stages import known_stages
from pipeline.surroundings import collected_warnings, give_memory_back, log_file
from pipeline.taken import Taken, nothing_found, same_encoder, takings

log = logging.getLogger(__name__)

HOME = Path(__file__).resolve().parents[1]
LINKED_FROM = 2**20  # bytes from which a run folder links into the cache instead of copying
INTERRUPTED = 130  # the shell's own status for Ctrl-C


@dataclass(frozen=True)
class Job:
    """What is known before a run folder is made."""

    config: Config
    found: Any  # pipeline.datasets.candidates.Found
    plan: Plan
    taken: tuple[Taken, ...] = ()


def run(config: Config, command: str, sweep: SweepJob | None = None, say: Say | None = None) -> int:
    """One run, from the checked config to the report. Returns the exit status; KeyboardInterrupt only in a sweep."""
    say = say or Say()
    if config.analysis.name in ("redraw", "compare"):
        return _of_finished(config, command, sweep, say)
    folders = _folders(config)
    if "paths.cache" in folders:  # read when numba is imported
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folders["paths.cache"] / "numba"))
    try:
        job = prepare(config, say)
        if config.dry_run:
            from pipeline.dry_run import show

            show(job, say)
            return 0
        going = Going(job, command, sweep, say)
        del job  # what the data set listed is let go once it is no longer needed
    except OSError as error:
        say.error(of_system(error, folders))
        return 1
    except UserError as error:
        for problem in () if sweep else error.problems:
            say.error(problem)
        if sweep:
            record_refused(sweep.folder, sweep.number, sweep.overrides, "; ".join(error.problems), plain(config))
        return error.status
    return going.go()


def _folders(config: Config) -> dict[str, Path]:
    """Config key -> folder, of what the run writes in."""
    cache = {"paths.cache": Path(config.paths.cache)} if config.cache is CacheUse.use else {}
    return {"paths.outputs": Path(config.paths.outputs)} | cache


def _of_finished(config: Config, command: str, sweep: SweepJob | None, say: Say) -> int:
    """An analysis of finished runs: it has no stages."""
    from pipeline.comparison.finished import compare
    from pipeline.redraw import redraw

    if sweep is None and config.analysis.name == "compare":
        return compare(config, command, HOME, say)
    if sweep is None:
        return redraw(config, command, say)
    does = "writes into the run that it draws" if config.analysis.name == "redraw" else "compares runs that have ended"
    reason = f"analysis={config.analysis.name} {does}: it is no job of a sweep"
    record_refused(sweep.folder, sweep.number, sweep.overrides, reason, plain(config))
    return 2


def prepare(config: Config, say: Say) -> Job:
    """List the data set and plan the stages: all that can be found wrong before anything is made. Raises CallError."""
    known = known_stages()
    taken = takings(config, known)
    given = {"found", *(name for some in taken for name in some.keys)}
    settings = {name: settings_of(stage, config) for name, stage in known.items()}
    wanted = [name for name in config.stages if not given.issuperset(known[name].makes)]
    wanted = wanted or list(config.stages)  # the run has it all: from the cache, or once more
    coming = {stage.name for stage in order(wanted, known, given, settings)}
    with _what_it_needs(config):
        found = _found(config, taken, "listing" in coming, say)
    if config.from_run is not None and "listing" in coming and not len(found.table):
        raise CallError(f"from_run: {config.from_run}: the run has no images, which '{wanted[0]}' needs")
    with say.progress("looking"), collected_warnings():  # the stages themselves will say them again
        with _what_it_needs(config):
            encoder, handle = _encoder_facts(config, known["encoder"], settings, taken, "encoder" in coming)
        facts = _facts(config, found, encoder, handle)
        # what was read and what was not is said of every run with images
        told = "listing" not in coming or "images" in given or all(known[name].reads for name in wanted)
        always = () if told else ("images",)
        planned = plan(wanted, known, facts, settings, _strict(config), given, always)
        for stage in planned.stages:
            if stage.first_look:
                stage.first_look(settings[stage.name])
    return Job(config, found, planned, taken)


@contextlib.contextmanager
def _what_it_needs(config: Config) -> Iterator[None]:
    """Where data or weights are not there, what the experiment that was named takes them from."""
    try:
        yield
    except CallError as error:
        chosen = plain(config.experiment)
        needs = chosen.get("needs") if isinstance(chosen, dict) else None
        told = [f"experiment={chosen['name']} needs {needs}"] if needs else []
        raise CallError(*error.problems, *told) from error


def _found(config: Config, taken: Sequence[Taken], listed: bool, say: Say) -> Any:
    """What the data set lists; what the run listed whose images are taken; nothing where no stage looks at images."""
    from pipeline.datasets import find

    of_run = [some.found() for some in taken if some.key == "from_run"]
    if of_run:
        return of_run[0]
    if not listed:
        return nothing_found()
    with say.progress("looking") as progress:
        return find(config.dataset, Path(config.paths.data), fetch=not config.dry_run, progress=progress)


def _encoder_facts(
    config: Config, stage: Stage, settings: Mapping[str, Any], taken: Sequence[Taken], coming: bool
) -> tuple[dict[str, Any], Any]:
    """What is known of the encoder before it is loaded, and its handle; where a run's vectors are taken, it must be
    theirs."""
    if not coming:
        return (taken[0].encoder if taken else {}), None
    workspace = Workspace(Path())
    if taken:  # only then the weights are read before the run has its folder
        hashes = ContentHashes(Path(config.paths.cache) if config.cache is CacheUse.use else None)
        workspace.content_hashes = lambda paths: hashes.of(paths, workspace.progress)
        workspace.sha256 = lambda paths: hashes.sha256(paths, workspace.progress)
    handle = stage.run(settings[stage.name], workspace)["encoder"]
    facts: dict[str, Any] = handle.facts()
    for some in taken:
        for side, vectors in (("images", "image_embeddings"), ("texts", "text_embeddings")):
            if vectors in some.keys:
                same_encoder(some, facts, side)
    return facts, handle


def _facts(config: Config, found: Any, encoder: Mapping[str, Any], handle: Any) -> Facts:
    captions = found.table["caption"].dropna()
    several = found.labels is not None
    facts = Facts(
        len(found.table), found.classes, bool(len(captions)), several, config.encoder.name, bool(encoder.get("texts"))
    )
    if handle is None or not isinstance(config.encoder, PrecomputedEncoder) or handle.texts is None:
        return facts
    from pipeline.datasets.vectors import NO_SCALE

    no_scale = NO_SCALE if handle.logit_scale is None else None
    no_caption = handle.texts.lack([text for text in captions.str.strip().unique() if text])
    return replace(facts, no_vector=handle.texts.lack, no_caption=no_caption, no_probability=no_scale)


def _strict(config: Config) -> bool:
    """Stages that were named one by one are refused when impossible, like those of a strict analysis."""
    return config.analysis.strict or config.stages != config.analysis.stages


def record_refused(
    folder: Path, number: int, overrides: Sequence[str], reason: str, config: dict[str, Any] | None = None
) -> None:
    """A job of a sweep that never started: its record says why."""
    folder.mkdir(parents=True, exist_ok=True)
    about = facts_of.sweep_record(number, overrides)
    write_json(folder / RECORD, facts_of.refused_record(reason, config or {}, about))


class Going:
    """A run that has its folder."""

    def __init__(self, job: Job, command: str, place: SweepJob | None, say: Say) -> None:
        self.job, self.config, self.say, self.place = replace(job, found=None), job.config, say, place
        self.began = time.monotonic()
        self.folders = _folders(self.config)
        if "paths.cache" in self.folders:
            must_be_writable(self.folders["paths.cache"], "paths.cache", "; cache=none does without")
        self.folder = claim_folder(place.folder) if place else new_folder(Path(self.config.paths.outputs))
        self.keys = Keys(self.config)
        self.scratch = Store(self.folder / ".work")
        use = self.config.cache is CacheUse.use
        self.store = Store(Path(self.config.paths.cache)) if use else self.scratch
        self.hashes = ContentHashes(self.store.root if use else None)
        self.made: dict[str, Any] = {"found": job.found}
        self.values = Values(self.folder, self.made)
        self.metrics: dict[str, float] = {}
        self.asked: list[str] = []
        about = facts_of.sweep_record(place.number, place.overrides) if place else None
        self.record = facts_of.first_record(self.config, job.found, job.plan, command, about, HOME)
        self._write()
        for taken in job.taken:
            self._take(taken)

    def go(self) -> int:
        """All stages, then whatever can be said of them, however they ended."""
        with log_file(self.folder / LOG), terminated_is_interrupted() as self.asked:
            status, ended, reason = self._stages()
            try:
                self._finish(ended, reason)
            except KeyboardInterrupt:  # the record must not say 'running' for ever
                status, ended, reason = INTERRUPTED, "interrupted", "interrupted while the report was written"
                self._close(ended, reason)
            except Exception as error:
                log.exception("report")
                status, ended = status or 1, "failed"
                reason = reason or f"report: {self._said_of(error)}"
                with contextlib.suppress(OSError):  # a full disk: what is there is there
                    self._close(ended, reason)
            try:
                self._track()
            except KeyboardInterrupt:  # what the run made is there all the same
                status = INTERRUPTED
        try:
            self._last_words(ended, reason)
        except OSError as error:
            self.say.error(f"standard output: {error.strerror or error}")
            status = status or 1
        if status == INTERRUPTED and self.place:
            raise KeyboardInterrupt
        return status

    def _take(self, taken: Taken) -> None:
        """What the stages to come need of a finished run, as it was made there."""
        needed = {"images", "skipped"}
        for stage in self.job.plan.stages:
            needed |= {*stage.needs, *stage.uses, *stage.draw_needs}
        self.keys.found({name: key for name, key in taken.keys.items() if name in needed})
        for file in taken.files(needed):
            link(taken.run.folder / file, self.folder / file)
        told = self.record.setdefault("taken", {"runs": {}, "stages": {}})
        told["runs"][taken.key] = str(taken.run.folder)
        known = known_stages()
        brought = {name: key for name, key in taken.makers.items() if needed.intersection(known[name].makes)}
        told["stages"] |= brought
        self.metrics |= {key: value for key, value in taken.run.metrics.items() if key.split("/")[0] in brought}
        if taken.key == "from_run":
            self.record |= {name: taken.run.record[name] for name in ("dataset", "images", "skipped_reasons", "device")}
        if "encoder" not in [stage.name for stage in self.job.plan.stages]:
            self.record["encoder"] = taken.encoder

    def _stages(self) -> tuple[int, str, str | None]:
        """(exit status, status, reason). Nothing that a stage raises goes further."""
        current = "start"
        try:
            for note in self.made["found"].notes:
                self._warn(note)
            for stage, entry in zip(self.job.plan.stages, self.record["stages"], strict=True):
                current = stage.name
                self._one(stage, entry)
                if self.asked:  # and swallowed by a library
                    raise KeyboardInterrupt(self.asked[-1])
            return 0, "complete", None
        except UserError as error:
            return self._failed(current, "; ".join(error.problems), error.status)
        except KeyboardInterrupt as error:
            self._mark(current, "interrupted")
            return INTERRUPTED, "interrupted", f"{str(error) or 'interrupted by the user'}, at stage {current}"
        except MemoryError:
            log.exception("stage %s", current)
            return self._failed(current, f"{current}: out of memory", 1)
        except Exception as error:
            log.exception("stage %s", current)
            return self._failed(current, f"{current}: {self._said_of(error)}", 1)

    def _said_of(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return of_system(error, self.folders)
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]} (traceback in {LOG})"

    def _failed(self, current: str, reason: str, status: int) -> tuple[int, str, str]:
        self._mark(current, "failed")
        log.error("%s", reason)
        return status, "failed", reason

    def _mark(self, name: str, status: str) -> None:
        for entry in self.record["stages"]:
            if entry["name"] == name and entry["status"] != "done":
                entry["status"] = status

    def _one(self, stage: Stage, entry: dict[str, Any]) -> None:
        """A stage, its numbers, its check and its pictures."""
        start = time.monotonic()
        with self.say.progress(stage.name) as progress:
            if stage.fingerprints:
                with collected_warnings() as warnings:
                    self._look(stage, progress)
                made: dict[str, Any] = {"warnings": warnings, "metrics": self._numbers(stage)}
                made["seconds"] = time.monotonic() - start
            else:
                made = self._kept(stage, entry, progress)
        self._forget(stage)
        entry["seconds"] = round(time.monotonic() - start, 3)
        entry["computed_seconds"] = round(made["seconds"], 3)
        entry["peak_memory_mb"] = facts_of.peak_memory_mb()
        entry["warnings"] = made["warnings"]
        for warning in made["warnings"]:
            self._warn(warning)
        self.metrics |= made["metrics"]
        self._learn(stage)
        write_json(self.folder / METRICS, self.metrics)
        self._write()
        for line in stage.check(self.values, self.config) if stage.check else ():
            self._warn(line)
        if stage.deliver:
            for line in stage.deliver(settings_of(stage, self.config), self.values):
                self._warn(line)
        if stage.draw:
            with self.say.progress(f"{stage.name} pictures") as progress:
                self._try_pictures(stage)
        entry["status"] = "done"
        entry["seconds"] = round(time.monotonic() - start, 3)
        self._write()
        how = "cached" if entry["cache"] == "hit" else f"{entry['seconds']:.1f} s"
        self.say.note(f"{stage.name:<16} {how}")

    def _forget(self, done: Stage) -> None:
        """What no stage to come needs leaves memory. What is asked for all the same is read from the run folder again;
        what is not there is kept for what this stage still has to do."""
        stages = self.job.plan.stages
        needed = {name for stage in stages[stages.index(done) + 1 :] for name in _looked_at(stage)}
        rest = _looked_at(done) if done.check or done.draw or done.deliver else set()
        needed |= {*rest, *done.makes} - ARTIFACTS.keys()
        for name in self.made.keys() - needed:
            del self.made[name]
        give_memory_back()

    def _look(self, stage: Stage, progress: Callable[[int, int], None]) -> None:
        """A stage that looks at the world: never cached, what it finds is what the others' keys start from."""
        made = stage.run(settings_of(stage, self.config), self._workspace(self.folder, progress), **self._needs(stage))
        assert stage.fingerprints is not None
        self.keys.found(stage.fingerprints(made))
        for name in stage.makes:
            if name in stage.unsaved:
                self.made[name] = made[name]
            elif made[name] is not None:
                ARTIFACTS[name].save(made[name], self.folder)

    def _kept(self, stage: Stage, entry: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
        """A stage from the cache, or made and put there; either way its files are in the run folder."""
        key = self.keys.of(stage)
        store = self.store if key else self.scratch
        name = key or "unseeded"
        kept = store.find(stage.name, name)
        entry["key"] = key
        entry["cache"] = "hit" if kept else "miss"
        if kept is None:
            with store.making(stage.name, name) as partial:
                kept = store.find(stage.name, name)  # another process may have made it while this one waited
                if kept is None:
                    kept = self._make(stage, store, partial, name, progress)
                else:
                    entry["cache"] = "hit"
                    shutil.rmtree(partial, ignore_errors=True)
        if kept.folder.is_relative_to(self.scratch.root):
            entry["cache"] = "off"
        self._bring(kept)
        return kept.made

    def _make(self, stage: Stage, store: Store, partial: Path, key: str, progress: Callable[[int, int], None]) -> Entry:
        start = time.monotonic()
        shutil.rmtree(partial / "files")
        (partial / "files").mkdir()
        with collected_warnings() as warnings:
            workspace = self._workspace(partial / "work", progress)
            made = stage.run(settings_of(stage, self.config), workspace, **self._needs(stage))
        for name in stage.makes:
            if made[name] is not None:
                ARTIFACTS[name].save(made[name], partial / "files")
        numbers = self._numbers(stage, made)
        cost = {"seconds": time.monotonic() - start, "images": self.record["images"]["listed"]}
        result = {"metrics": numbers, "warnings": warnings, **cost}
        if not stage.settled(made):
            self.keys.unsettle(stage)
            return self._this_time_only(stage.name, partial, result)
        return store.complete(partial, stage.name, key, self.keys.explain(stage), result)

    def _needs(self, stage: Stage) -> dict[str, Any]:
        return {need: self.values[need] for need in stage.needs} | {use: self.values.get(use) for use in stage.uses}

    def _workspace(self, folder: Path, progress: Callable[[int, int], None]) -> Workspace:
        return Workspace(
            folder,
            progress,
            content_hashes=lambda paths: self.hashes.of(paths, progress),
            each_content_hash=lambda paths: self.hashes.each(paths, progress),
            sha256=lambda paths: self.hashes.sha256(paths, progress),
            workers=self.config.embedding.workers,
            timeout=self.config.embedding.timeout,
            batch_size=self.config.embedding.batch_size,
            command=self.record["command"],
        )

    def _numbers(self, stage: Stage, made: Mapping[str, Any] | None = None) -> dict[str, float]:
        """The stage's numbers for metrics.json; what is not defined is left out."""
        if stage.metrics is None:
            return {}
        numbers = stage.metrics(made if made is not None else self.values)
        return {f"{stage.name}/{key}": _number(value) for key, value in numbers.items() if math.isfinite(value)}

    def _bring(self, kept: Entry) -> None:
        """The files of a finished stage into the run folder."""
        for file in sorted(kept.files.rglob("*")):
            if file.is_file():
                target = self.folder / file.relative_to(kept.files)
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.stat().st_size >= LINKED_FROM:
                    link(file, target)
                else:
                    shutil.copyfile(file, target)

    def _try_pictures(self, stage: Stage) -> None:
        """No picture is worth the numbers of the stages to come."""
        try:
            self._pictures(stage)
        except (UserError, OSError):
            raise
        except Exception as error:
            log.exception("pictures of %s", stage.name)
            self._warn(f"{stage.name}: its pictures could not be drawn: {self._said_of(error)}")

    def _pictures(self, stage: Stage) -> None:
        key = self.keys.of_pictures(stage)
        store = self.store if key else self.scratch
        name = f"{stage.name}.pictures"
        kept = store.find(name, key or "unseeded")
        if kept is None:
            with store.making(name, key or "unseeded") as partial:
                kept = store.find(name, key or "unseeded") or self._draw(stage, store, partial, name, key)
        self._bring(kept)

    def _draw(self, stage: Stage, store: Store, partial: Path, name: str, key: str | None) -> Entry:
        from pipeline import figure_files, pictures

        start = time.monotonic()
        config, settings = self.config, settings_of(stage, self.config)
        captions = captions_shown(config)
        figures, lost = pictures.draw(stage, settings, self.values, config.images, config.plots, captions, config.seed)
        figure_files.save(figures, partial / "files" / stage.name, config.plots)
        cost = {"seconds": time.monotonic() - start, "images": self.record["images"]["listed"]}
        if lost and store is not self.scratch:  # drawn with gaps: shown, but not kept for later
            self._warn(f"{stage.name}: {lost} images for the pictures can no longer be read")
            return self._this_time_only(name, partial, cost)
        return store.complete(partial, name, key or "unseeded", {"pictures": stage.name}, cost)

    def _this_time_only(self, name: str, partial: Path, result: dict[str, Any]) -> Entry:
        """What was made in the store's `partial` goes into this run's folder only; unfinished work stays."""
        with self.scratch.making(name, "this time") as other:
            shutil.copytree(partial / "files", other / "files", dirs_exist_ok=True)
            shutil.rmtree(partial / "files")
            return self.scratch.complete(other, name, "this time", {}, result)

    def _learn(self, stage: Stage) -> None:
        """What the record says about data and encoder, once the stage that knows has run."""
        if stage.name == "encoder":
            facts = facts_of.encoder_facts(self.made["encoder"], self.keys.artifacts["encoder"])
            for taken in self.job.taken:
                facts |= taken.encoder if "image_embeddings" in taken.keys else {}  # how they were computed
            self.record["encoder"] = facts | {"kind": facts["name"], "name": self.config.encoder.name}
        elif stage.name == "embedding":
            self.record["encoder"] |= facts_of.encoding_facts(self.values["encoding"])
            self.record["device"] = self.record["encoder"]["device"] or "cpu"
            self.record["images"]["sixteen_bit"] = int(self.values["reading"]["range_used"].notna().sum())
        elif stage.name == "listing":
            self.record["dataset"]["fingerprint"] = self.keys.artifacts["files"]
        elif stage.name == "training":
            used = int((self.values["training_images"]["part"] != "").sum())
            self.record["images"] |= {"read": used, "skipped": self.record["images"]["listed"] - used}
            self.record["device"] = self.made["training_base"].device
            self.record["training"] = facts_of.training_facts(self.values["checkpoint"])
        elif stage.name == "images":
            skipped = self.values["skipped"]
            left = {"read": len(self.values["images"]), "classes": int(self.values["images"]["label"].nunique())}
            self.record["images"] |= left | {"skipped": len(skipped)}
            self.record["skipped_reasons"] = skipped["reason"].value_counts().to_dict()
            if len(skipped):
                reasons = ", ".join(f"{count} {why}" for why, count in self.record["skipped_reasons"].items())
                images = f"{len(skipped):,} image{'s' * (len(skipped) != 1)}"
                self._warn(f"{images} could not be read ({reasons}); see skipped.csv")

    def _warn(self, line: str) -> None:
        self.record["warnings"].append(line)
        self.say.warning(line)

    def _finish(self, status: str, reason: str | None) -> None:
        """points.parquet and the report; the record last."""
        if "images" in self.values:
            from pipeline.points import points_table

            points_table(self.values).to_parquet(self.folder / POINTS, index=False)
            self.made.clear()  # the report reads what it needs
            give_memory_back()
        shutil.rmtree(self.scratch.root, ignore_errors=True)
        self._close(status, reason, write=False)
        from pipeline.report.build import render

        page = render(Run(self.folder, self.record))
        (self.folder / REPORT).write_text(page, encoding="utf-8")
        self._write()

    def _track(self) -> None:
        """Log the run in a tracker, if one is chosen: what that cannot do costs the run nothing."""
        from pipeline import tracking

        if not tracking.is_chosen(self.config):
            return
        try:
            with self.say.progress("tracking"):
                self.record["tracked"] = tracking.log(self.config, Run(self.folder, self.record))
        except Exception as error:
            log.exception("tracking")
            self._warn(f"tracking={self.config.tracking.name}: {self._said_of(error)}")
        with contextlib.suppress(OSError):
            self._write()

    def _close(self, status: str, reason: str | None, write: bool = True) -> None:
        self.record |= {
            "status": status,
            "reason": reason,
            "finished": facts_of.now(),
            "seconds": round(time.monotonic() - self.began, 3),
            "peak_memory_mb": facts_of.peak_memory_mb(),
        }
        if write:
            self._write()

    def _last_words(self, status: str, reason: str | None) -> None:
        if self.place:
            self.say.job(self.place.number, self.place.overrides, status, self.record["seconds"])
            return
        if self.metrics:
            self.say.summary(Run(self.folder, self.record))
        for name, why in self.job.plan.left_out:
            if not by_choice(why):  # a choice, and nothing that the data lack
                self.say.warning(f"left out {name}: {why}")
        if status != "complete":
            self.say.error(f"{reason}" if status == "failed" else f"interrupted: {reason}")
        if self.metrics:
            self.say.verdict(Run(self.folder, self.record))
        if "checkpoint" in self.values:
            self.say.place("checkpoint", self.values["checkpoint"])
            self.say.place("to use it", f"python run.py encoder=checkpoint encoder.path={self.values['checkpoint']}")
        if (self.folder / REPORT).is_file():
            self.say.place("report", self.folder / REPORT)

    def _write(self) -> None:
        write_json(self.folder / RECORD, self.record)


def _looked_at(stage: Stage) -> set[str]:
    """The artifacts that a stage gets."""
    return {*stage.needs, *stage.uses, *stage.draw_needs}


def _number(value: Any) -> float:
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
