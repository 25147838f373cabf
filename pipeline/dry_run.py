"""`dry_run=true`: what a run would do, what is cached, how long it may take and how much disk it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.cache import Store
from pipeline.console import Say
from pipeline.content_hashes import ContentHashes
from pipeline.keys import Keys, settings_of
from pipeline.schema import CacheUse
from pipeline.stage import Stage, Workspace


def show(job: Any, say: Say) -> None:
    """Print the plan of a prepared job (pipeline.runner.Job). Nothing is written but the content hashes."""
    config, found = job.config, job.found
    use = config.cache is CacheUse.use
    store = Store(Path(config.paths.cache))
    rows, made = _rows(job, store, use, say)
    classes = f", {len(found.classes)} classes" if found.classes else ", no labels"
    say.table(f"plan: {config.dataset.name}, {len(found.table):,} images{classes}", ["stage", "cache", "time"], rows)
    for name, reason in job.plan.left_out:
        say.warning(f"left out {name}: {reason}")
    for ending, count in found.ignored.items():
        say.note(f"{count} files are no images by their name: {ending}")
    if width := _bytes_per_image(made.get("encoder")):
        say.place("disk for the embeddings", f"about {len(found.table) * width / 2**20:,.1f} MB, unless cached")
    say.place("nothing was run; the run would write below", config.paths.outputs)


def _bytes_per_image(encoder: Any) -> int:
    """0 where it is not known before the encoder is loaded."""
    facts = encoder.facts() if encoder else {}
    return {"uint8": 1}.get(facts.get("dtype", ""), 4) * (facts.get("dimension") or 0)


def _rows(job: Any, store: Store, use: bool, say: Say) -> tuple[list[list[str]], dict[str, Any]]:
    keys, made = Keys(job.config), {"found": job.found}
    hashes = ContentHashes(store.root if use else None)
    rows: list[list[str]] = []
    unknown: set[str] = set()
    for taken in job.taken:
        keys.found(taken.keys)
    for stage in job.plan.stages:
        awaited = {*stage.needs, *stage.requires(settings_of(stage, job.config))}
        if awaited & unknown or (stage.fingerprints and awaited - made.keys()):
            unknown |= {*stage.makes}
            rows.append([stage.name, "not known yet", ""])
            continue
        if stage.fingerprints:
            made |= _look(stage, job.config, made, hashes, say)
            keys.found(stage.fingerprints(made))
            rows.append([stage.name, "always run", ""])
            continue
        key = keys.of(stage)
        hit = use and key is not None and store.find(stage.name, key) is not None
        cache = "hit" if hit else "off: no seed" if key is None else "miss" if use else "off"
        rows.append([stage.name, cache, "" if hit else _time(store, stage.name, len(job.found.table))])
    return rows, made


def _look(stage: Stage, config: Any, made: dict[str, Any], hashes: ContentHashes, say: Say) -> dict[str, Any]:
    """A stage that looks at the world runs here too: the others' keys start from what it finds."""
    with say.progress(stage.name) as progress:
        workspace = Workspace(
            Path(),
            progress,
            content_hashes=lambda paths: hashes.of(paths, progress),
            each_content_hash=lambda paths: hashes.each(paths, progress),
            sha256=lambda paths: hashes.sha256(paths, progress),
        )
        needs = {need: made[need] for need in stage.needs} | {use: made.get(use) for use in stage.uses}
        return stage.run(settings_of(stage, config), workspace, **needs)


def _time(store: Store, stage: str, images: int) -> str:
    """From what the stage cost last time, in proportion to the images; pictures included."""
    seconds = 0.0
    for name in (stage, f"{stage}.pictures"):
        last = store.latest(name)
        if last:
            scale = images / max(1, last["images"]) if name == stage else 1.0
            seconds += last["seconds"] * max(scale, 0.1)
    return f"about {seconds:,.1f} s" if seconds else "not known yet"
