"""How many clusters are supported: a range of k, of the images, of clouds without clusters and of halves of both.

Nothing here depends on the run's own number of clusters, so a sweep over k does all this once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.metrics.verdict import GATE
from pipeline.schema import plain
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.clouds import (
    REPLICATES,
    SHARED,
    clustered_space,
    compared,
    coordinates,
    counter,
    null_vectors,
    refuse_to_compare,
    replicates,
)
from pipeline.stages.quiet import quietly

if TYPE_CHECKING:
    from pipeline.geometry.clouds import Range

    Halved = tuple[np.ndarray, Range]  # which rows (m,) bool, and k-means of them

N_INIT = 3  # starts of k-means for each k of the range, of the data and of the clouds alike
IMAGES_PER_CLUSTER = 4  # on average: k with fewer are left out
ALL = "all"


def run(
    settings: Any,
    workspace: Workspace,
    image_embeddings: np.ndarray,
    k_scores: pd.DataFrame,
    replicate_rows: np.ndarray,
    half_rows: np.ndarray,
    null_half_rows: np.ndarray,
    sample_projection: np.ndarray,
    null_projections: np.ndarray,
    half_projections: np.ndarray,
    null_half_projections: np.ndarray,
) -> dict[str, Any]:
    """`k_choice`: a row per k. `k_votes`: a row per criterion, for all images and for each half. `k_gate`: the best
    silhouette of the range against the clouds', and which k are supported; no row where no k could be scored."""
    scored = k_scores.loc[k_scores["silhouette_projection"].notna(), "k"]
    grid = [int(k) for k in scored if IMAGES_PER_CLUSTER * k <= len(replicate_rows)]
    done = counter(workspace, 1 + len(half_rows) + replicates(settings))
    if not grid:
        return _nothing()

    def ranged(places: np.ndarray) -> Range:
        from pipeline.geometry.clouds import clustered_range

        with quietly():
            return clustered_range(np.asarray(places, np.float32), grid, N_INIT)  # as the run's own vectors are

    def halved(rows: np.ndarray, at: np.ndarray, projected: np.ndarray) -> list[Halved]:
        """None where there are fewer images than clusters."""
        if grid[-1] >= rows.sum():
            return []
        return [(rows, ranged(at[rows] if not projected.shape[1] else projected[rows]))]

    in_projection = clustered_space(settings) == "projection"
    if in_projection:
        places, drawn = sample_projection, iter(null_projections)
    else:
        places, given = coordinates(settings, np.asarray(image_embeddings[replicate_rows]))
        drawn = map(null_vectors(settings, given), range(replicates(settings)))
    nothing = np.empty((len(replicate_rows), 0))
    whole = ranged(places)
    done()
    nulls: list[Range] = []
    null_halves: list[list[Halved]] = []
    for r, cloud in enumerate(drawn):
        nulls.append(ranged(cloud))
        of_half = null_half_projections[r] if in_projection and r < len(null_half_rows) else nothing
        null_halves.append(halved(null_half_rows[r], cloud, of_half) if r < len(null_half_rows) else [])
        done()
    halves: list[Halved] = []
    for i, rows in enumerate(half_rows):
        halves += halved(rows, places, half_projections[i] if in_projection else nothing)
        done()
    return _told(settings, grid, whole, nulls, halves, null_halves)


CHOICE = ["k", "silhouette", "null_silhouette", "stability", "null_stability"]
VOTES = {"criterion": str, "sample": str, "k": int}
ENDS = {"k_low": "Int64", "k_high": "Int64"}


def _nothing() -> dict[str, Any]:
    row = compared("", "", "", math.nan, [], [])
    return {
        "k_choice": pd.DataFrame(columns=CHOICE, dtype=float),
        "k_votes": pd.DataFrame(columns=list(VOTES)).astype(VOTES),
        "k_gate": pd.DataFrame([row]).assign(images=0, k_low=pd.NA, k_high=pd.NA).astype(ENDS).iloc[:0],
    }


def _told(
    settings: Any, grid: list[int], whole: Range, nulls: list[Range], halves: list[Halved],
    null_halves: list[list[Halved]],
) -> dict[str, Any]:  # fmt: skip
    from pipeline.geometry.clouds import range_stability
    from pipeline.metrics.k_selection import agreed

    again = range_stability(whole, halves)
    of_nulls = [range_stability(null, half)[0] for null, half in zip(nulls, null_halves, strict=True) if half]
    by_chance = np.mean(of_nulls, axis=0) if of_nulls else np.full(len(grid), np.nan)
    of_clouds = np.array([null.silhouettes for null in nulls])
    choice = pd.DataFrame(
        {
            "k": grid,
            "silhouette": whole.silhouettes,
            "null_silhouette": of_clouds.mean(axis=0),
            "stability": again.mean(axis=0) if len(again) else math.nan,
            "null_stability": by_chance,
        }
    )
    votes = _votes(grid, ALL, whole, again.mean(axis=0) - np.nan_to_num(by_chance) if len(again) else None)
    for i, (_, half) in enumerate(halves):
        votes += _votes(grid, f"half {i + 1}", half, again[i] - np.nan_to_num(by_chance))
    space = clustered_space(settings)
    best = [float(np.nanmax(null.silhouettes)) for null in nulls]
    row = compared(space, space, "best_silhouette", float(np.nanmax(whole.silhouettes)), best, [])
    row |= {"of": f"the best of k = {grid[0]} to {grid[-1]}", "images": len(whole.clusters)}
    passed = row["observed"] - row["null_mean"] >= GATE
    low, high = agreed([vote["k"] for vote in votes if vote["sample"] == ALL]) if passed else (None, None)
    return {
        "k_choice": choice,
        "k_votes": pd.DataFrame(votes, columns=list(VOTES)).astype(VOTES),
        "k_gate": pd.DataFrame([row | {"k_low": low, "k_high": high}]).astype(ENDS),
    }


def _votes(grid: Sequence[int], sample: str, found: Range, stable: np.ndarray | None) -> list[dict[str, Any]]:
    """The k of the best silhouette, of the most stable clusters beyond the clouds' (None: no halves), and of the knee
    of the inertia, where it has one."""
    from pipeline.metrics.k_selection import knee

    chosen = {"silhouette": grid[int(np.nanargmax(found.silhouettes))]}
    if stable is not None:
        chosen["stability"] = grid[int(np.nanargmax(stable))]
    one = ([1], [found.of_one]) if grid[0] == 2 else ([], [])
    if bent := knee([*one[0], *grid], [*one[1], *found.inertias.tolist()]):
        chosen["knee"] = bent[0]
    return [{"criterion": name, "sample": sample, "k": k} for name, k in chosen.items()]


def keyed(settings: Any) -> dict[str, Any]:
    """Nothing of the run's own clusters but where they are found."""
    chosen = plain(settings.significance)
    return {"space": clustered_space(settings)} | {name: chosen[name] for name in SHARED}


def refuse(facts: Facts, settings: Any) -> str | None:
    """significance=none leaves it out."""
    return refuse_to_compare(settings)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<criterion>/k of all images, and the gate: by how much the best silhouette exceeds the clouds' best."""
    votes = made["k_votes"]
    numbers = {f"{row.criterion}/k": float(row.k) for row in votes[votes["sample"] == ALL].itertuples(index=False)}
    for gate in made["k_gate"].itertuples(index=False):
        numbers["gate"] = float(gate.observed - gate.null_mean)
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Silhouette and stability over k, with the gate and the votes."""
    from pipeline.plots.significance import k_choice

    choice, votes = made["k_choice"], made["k_votes"]
    if not len(choice):
        return {}
    gate = made["k_gate"].iloc[0]
    columns = {name: choice[name].to_numpy(dtype=float) for name in choice}
    ballots = {
        criterion: (
            [int(k) for k in of.loc[of["sample"] == ALL, "k"]],
            [int(k) for k in of.loc[of["sample"] != ALL, "k"]],
        )
        for criterion, of in votes.groupby("criterion", sort=False)
    }
    return {
        "k_choice": k_choice(
            choice["k"].to_numpy(),
            (columns["silhouette"], columns["null_silhouette"]),
            (columns["stability"], columns["null_stability"]),
            float(gate["null_mean"] + GATE),
            None if pd.isna(gate["k_low"]) else (int(gate["k_low"]), int(gate["k_high"])),
            clustered_space(settings),
            ballots,
        )
    }


STAGE = Stage(
    name="k_support",
    needs=("image_embeddings", "k_scores", *REPLICATES),
    makes=("k_choice", "k_votes", "k_gate"),
    settings=("projection", "clustering", "significance"),
    keyed=keyed,
    run=run,
    draw=draw,
    refuse=refuse,
    metrics=metrics,
    packages=("numpy", "scipy", "scikit-learn"),
)  # fmt: skip
