"""Clouds without clusters and halves of the data, through the same projection: what `significance` compares with.

Nothing here depends on the number of clusters, so a sweep over k makes them once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.schema import NoProjection, plain
from pipeline.stage import Facts, Stage, Workspace
from pipeline.stages.clouds import REPLICATES, SHARED, refuse_to_compare, replicates
from pipeline.stages.projection import too_few
from pipeline.stages.side_by_side import run_all

log = logging.getLogger(__name__)


def run(
    settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray, projection: np.ndarray
) -> dict[str, Any]:
    """`replicate_rows` (m,): the rows that are compared, all or a sample. `half_rows` (S, m) and `null_half_rows` (at
    most S, m) bool. Coordinates in the projection, empty without one: `sample_projection` (m, d'), `null_projections`
    (R, m, d'); with NaN outside the halves `half_projections` and `null_half_projections`."""
    from pipeline.metrics.stability import half_samples

    chosen = settings.significance
    rows = sample(len(image_embeddings), chosen.max_images, chosen.seed)
    groups = images["group"].iloc[rows].tolist() if images["group"].notna().any() else None
    halves = null_halves = np.zeros((0, len(rows)), bool)
    try:
        drawn = half_samples(len(rows), groups, chosen.half_samples, (chosen.seed, 1))
        of_nulls = half_samples(len(rows), None, min(replicates(settings), chosen.half_samples), (chosen.seed, 2))
        smallest = min((int(half.sum()) for half in (*drawn, *of_nulls)), default=len(rows))
        if why := too_few(settings.projection, smallest):
            raise ValueError(why)
        halves, null_halves = drawn, of_nulls
    except ValueError as error:
        log.warning("no half-samples, so no intervals and no stability: %s", error)
    made = {"replicate_rows": rows, "half_rows": halves, "null_half_rows": null_halves}
    if isinstance(settings.projection, NoProjection):
        return made | {name: np.zeros((0, len(rows), 0), np.float32) for name in PROJECTED} | {
            "sample_projection": np.zeros((len(rows), 0), np.float32)
        }  # fmt: skip
    folder = workspace.folder
    np.save(folder / "vectors.npy", image_embeddings[rows])
    jobs = _jobs(folder, settings, len(rows), halves, null_halves, len(rows) < len(image_embeddings))
    run_all(jobs, len(rows), workspace)
    return made | _collected(folder, settings, rows, projection, halves, null_halves)


PROJECTED = ("null_projections", "half_projections", "null_half_projections")


def sample(n: int, most: int, seed: int) -> np.ndarray:
    """All rows, or a random `most` of them in their order; (m,) int64."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 0]).permutation(n)[:most])


@dataclass(frozen=True)
class Job:
    """One projection. target: the file that it ends in; null: which replicate's cloud, None for the data; half: file
    with the rows, None for all; seed: of the projection."""

    folder: Path
    target: str
    projection: Any
    null: tuple[str, int, int] | None  # kind, seed, number
    half: str | None

    def run(self) -> None:
        """The file appears complete or not at all; one that is there is left as it is."""
        target = self.folder / self.target
        if target.is_file():
            return
        vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")
        cloud: np.ndarray = np.asarray(vectors)
        if self.null is not None:
            from pipeline.metrics.nulls import draw_null

            kind, seed, number = self.null
            cloud = draw_null(cloud, kind, (seed, number)).astype(np.float32)
        if self.half is not None:
            cloud = cloud[np.load(self.folder / self.half)]
        made = projected(self.projection, cloud)
        scratch = target.with_suffix(f".{os.getpid()}.tmp")
        with scratch.open("wb") as file:
            np.save(file, made)
        os.replace(scratch, target)


def projected(chosen: Any, vectors: np.ndarray) -> np.ndarray:
    """(m, d) vectors through the projection `chosen`, on neighbours of their own."""
    from pipeline.geometry.neighbours import nearest_neighbours
    from pipeline.stages.neighbours import NEEDED
    from pipeline.stages.projection import PROJECT

    count = min(NEEDED[type(chosen)](chosen), len(vectors))
    none = np.empty((len(vectors), 0), np.int32), np.empty((len(vectors), 0), np.float32)
    near = nearest_neighbours(vectors, count) if count else none
    return PROJECT[type(chosen)](chosen, vectors, near, Workspace(Path()))


def _jobs(folder: Path, settings: Any, m: int, halves: np.ndarray, null_halves: np.ndarray, sampled: bool) -> list[Job]:
    chosen = settings.significance
    base = settings.projection

    def seeded(number: int) -> Any:
        return replace(base, seed=(base.seed or 0) + number) if hasattr(base, "seed") else base

    jobs = [Job(folder, "sample.npy", seeded(0), None, None)] if sampled else []
    for r in range(chosen.replicates):
        null = (chosen.null_model.value, chosen.seed, r)
        jobs.append(Job(folder, f"null-{r}.npy", seeded(1 + r), null, None))
        if r < len(null_halves):
            np.save(folder / f"null-half-rows-{r}.npy", null_halves[r])
            jobs.append(Job(folder, f"null-half-{r}.npy", seeded(1001 + r), null, f"null-half-rows-{r}.npy"))
    for s in range(len(halves)):
        np.save(folder / f"half-rows-{s}.npy", halves[s])
        jobs.append(Job(folder, f"half-{s}.npy", seeded(2001 + s), None, f"half-rows-{s}.npy"))
    return jobs


def _collected(
    folder: Path, settings: Any, rows: np.ndarray, projection: np.ndarray, halves: np.ndarray, null_halves: np.ndarray
) -> dict[str, np.ndarray]:
    count = settings.significance.replicates
    sampled = (folder / "sample.npy").is_file()
    dimensions = projection.shape[1]
    return {
        "sample_projection": np.load(folder / "sample.npy") if sampled else np.asarray(projection[rows]),
        "null_projections": _stacked([np.load(folder / f"null-{r}.npy") for r in range(count)], len(rows), dimensions),
        "half_projections": _spread(folder, "half", halves, dimensions),
        "null_half_projections": _spread(folder, "null-half", null_halves, dimensions),
    }


def _stacked(arrays: list[np.ndarray], m: int, dimensions: int) -> np.ndarray:
    return np.stack(arrays) if arrays else np.zeros((0, m, dimensions), np.float32)


def _spread(folder: Path, name: str, chosen: np.ndarray, dimensions: int) -> np.ndarray:
    made = np.full((*chosen.shape, dimensions), np.nan, np.float32)
    for i, rows in enumerate(chosen):
        made[i, rows] = np.load(folder / f"{name}-{i}.npy")
    return made


def refuse(facts: Facts, settings: Any) -> str | None:
    """significance=none leaves it out, and so does a sample that is too small to be projected."""
    why = refuse_to_compare(settings)
    return why or too_few(settings.projection, min(facts.images, settings.significance.max_images))


def keyed(settings: Any) -> dict[str, Any]:
    """Nothing of the clusters: a sweep over their number makes all this once."""
    chosen = plain(settings.significance)
    return {"projection": plain(settings.projection)} | {name: chosen[name] for name in SHARED}


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """How many images were compared."""
    return {"images": len(made["replicate_rows"])}


STAGE = Stage(
    name="replicates",
    version=2,
    needs=("images", "image_embeddings", "projection"),
    makes=REPLICATES,
    settings=("projection", "significance"),
    keyed=keyed,
    run=run,
    refuse=refuse,
    metrics=metrics,
    unseeded=lambda settings: False,
    packages=("umap-learn", "numba", "openTSNE", "numpy", "scikit-learn"),
)  # fmt: skip
