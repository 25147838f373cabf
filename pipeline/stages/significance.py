"""Are the clusters more than one cloud cut up? Scores against clouds without clusters, intervals, gaps, a verdict."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.metrics.significance import LOGARITHMIC, LOWER_IS_BETTER
from pipeline.metrics.verdict import GATE
from pipeline.schema import NoProjection, NullModel, Space, plain
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.clustering import CLUSTER
from pipeline.stages.projection import NAMES
from pipeline.stages.quiet import quietly

if TYPE_CHECKING:
    from pipeline.geometry.clouds import Cloud
    from pipeline.plots.significance import Score

log = logging.getLogger(__name__)

N_INIT = 3  # starts of k-means for each k of the range, of the data and of the clouds alike
FEWEST_PER_CLUSTER = 2  # images of a half-sample for each cluster, else halves are not clustered
SCORES = {
    "projection": ("silhouette", "calinski_harabasz", "davies_bouldin"),
    "embedding": ("silhouette_cosine", "silhouette_euclidean", "calinski_harabasz", "davies_bouldin"),
}


def run(
    settings: Any,
    workspace: Workspace,
    image_embeddings: np.ndarray,
    clusters: np.ndarray,
    k_scores: pd.DataFrame,
    replicate_rows: np.ndarray,
    half_rows: np.ndarray,
    null_half_rows: np.ndarray,
    sample_projection: np.ndarray,
    null_projections: np.ndarray,
    half_projections: np.ndarray,
    null_half_projections: np.ndarray,
) -> dict[str, Any]:
    """`null_scores`: a row per score. `cluster_support`: a row per cluster. `k_choice`: a row per number of clusters.
    `verdict`: one row."""
    from pipeline.metrics.nulls import isometric

    given = np.asarray(image_embeddings[replicate_rows])
    whole = len(given) == len(image_embeddings)
    k = len(np.unique(clusters[clusters >= 0]))
    grid = [int(n) for n in k_scores.loc[k_scores["silhouette_projection"].notna(), "k"] if 4 * n <= len(given)]
    rules = _Rules(settings, max(k, 2), grid)
    done = _counter(workspace, 2 + len(half_rows) + rules.replicates)

    vectors = isometric(given)
    if settings.significance.null_model is not NullModel.features:  # the others would find these coordinates again
        given = vectors
    data = rules.cloud(vectors, rules.at(sample_projection), clusters if whole else None)
    done()
    nulls, null_halves = [], []
    for r, cloud in enumerate(_null_vectors(settings, given, rules.replicates)):
        nulls.append(rules.cloud(cloud, rules.at(null_projections, r)))
        null_halves += rules.halves(cloud, null_half_rows[r : r + 1], null_half_projections[r : r + 1])
        done()
    halves = rules.halves(vectors, half_rows, half_projections, done)
    own = _own(rules, given, vectors) if rules.projects and not rules.in_embedding else None
    table = _scores(rules, data, nulls, halves, own)
    support = _support(settings, data, nulls, halves, null_halves)
    choice, said = _choice(rules, data, nulls, halves, null_halves, k_scores)
    done()
    verdict = _verdict(settings, rules, table, support, nulls, (len(given), len(image_embeddings), k), said)
    return {"null_scores": table, "cluster_support": support, "k_choice": choice, "verdict": verdict}


Halved = tuple[np.ndarray, "Cloud"]  # which rows (m,) bool, and their cloud


@dataclass(frozen=True)
class _Rules:
    """How every cloud is treated: the data, the nulls and the halves alike."""

    settings: Any
    k: int
    grid: list[int]

    @property
    def projects(self) -> bool:
        return not isinstance(self.settings.projection, NoProjection)

    @property
    def in_embedding(self) -> bool:
        return self.settings.clustering.space is Space.embedding

    @property
    def replicates(self) -> int:
        return replicates(self.settings)

    def at(self, places: np.ndarray, row: int | None = None) -> np.ndarray | None:
        """Coordinates in the projection, None where there is none."""
        if not self.projects:
            return None
        return places if row is None else places[row]

    def cloud(
        self,
        vectors: np.ndarray,
        projection: np.ndarray | None,
        clusters: np.ndarray | None = None,
        in_embedding: bool = False,
        grid: Sequence[int] | None = None,
    ) -> Cloud:
        from pipeline.geometry.clouds import cloud

        ks = self.grid if grid is None else grid
        with quietly():
            return cloud(vectors, projection, self.cluster, ks, N_INIT, in_embedding or self.in_embedding, clusters)

    def cluster(self, vectors: np.ndarray) -> np.ndarray:
        """By the run's clusterer, its k that of the run's clusters. All noise where it cannot."""
        chosen = self.settings.clustering
        try:
            return CLUSTER[type(chosen)](chosen, vectors, self.k if hasattr(chosen, "k") else None).clusters
        except ValueError:  # vectors that are all the same
            return np.full(len(vectors), -1, dtype=np.int64)

    def halves(
        self, vectors: np.ndarray, rows: np.ndarray, projections: np.ndarray, done: Any = lambda: None
    ) -> list[Halved]:
        """Clouds of half-samples, those left out that are too small for so many clusters."""
        found = []
        for i, half in enumerate(rows):
            if half.sum() >= FEWEST_PER_CLUSTER * self.k:
                at = projections[i][half] if self.projects else None
                grid = [k for k in self.grid if k < half.sum()]
                found.append((half, self.cloud(vectors[half], at, grid=grid if grid == self.grid else [])))
            done()
        return found


def replicates(settings: Any) -> int:
    """Clouds without clusters: projecting them takes long, so there are fewer than where nothing is projected."""
    chosen = settings.significance
    flat = isinstance(settings.projection, NoProjection)
    return int(chosen.embedding_replicates if flat else chosen.replicates)


def _counter(workspace: Workspace, total: int) -> Any:
    state = [0]

    def done() -> None:
        state[0] += 1
        workspace.progress(min(state[0], total), total)

    return done


def _null_vectors(settings: Any, vectors: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The same clouds that were projected: drawn again from their seeds."""
    from pipeline.metrics.nulls import draw_null

    chosen = settings.significance
    return (draw_null(vectors, chosen.null_model.value, (chosen.seed, r)) for r in range(count))


def _own(rules: _Rules, given: np.ndarray, vectors: np.ndarray) -> tuple[Cloud, list[Cloud]]:
    """Clusters found in the embedding itself, of the data and of more clouds."""
    count = rules.settings.significance.embedding_replicates
    data = rules.cloud(vectors, None, in_embedding=True, grid=[])
    nulls = [
        rules.cloud(cloud, None, in_embedding=True, grid=[]) for cloud in _null_vectors(rules.settings, given, count)
    ]
    return data, nulls


def _scores(
    rules: _Rules, data: Cloud, nulls: list[Cloud], halves: list[Halved], own: tuple[Cloud, list[Cloud]] | None
) -> pd.DataFrame:
    """space: where it is measured; clusters_of: where they were found."""
    found_in = _clustered(rules.settings)
    rows = []
    for space, names in SCORES.items():
        for name in names:
            if (space, name) in data.scores:
                rows.append(_row(space, found_in, name, data, nulls, halves))
    if own is not None:
        rows += [_row("embedding", "embedding", name, *own, []) for name in SCORES["embedding"]]
    if len(data.range_silhouettes):
        best = [float(np.nanmax(cloud.range_silhouettes)) for cloud in nulls]
        row = _compared(found_in, found_in, "best_silhouette", float(np.nanmax(data.range_silhouettes)), best, [])
        rows.append(row | {"of": f"the best of k = {rules.grid[0]} to {rules.grid[-1]}"})
    return pd.DataFrame(rows).assign(images=len(data.vectors))


def _clustered(settings: Any) -> str:
    """The space in which clusters are found."""
    flat = isinstance(settings.projection, NoProjection) or settings.clustering.space is Space.embedding
    return "embedding" if flat else "projection"


def _row(space: str, found_in: str, name: str, data: Cloud, nulls: list[Cloud], halves: list[Halved]) -> dict[str, Any]:
    key = (space, name)
    of_nulls, of_halves = [null.scores[key] for null in nulls], [half.scores[key] for _, half in halves]
    return _compared(space, found_in, name, data.scores[key], of_nulls, of_halves)


def _compared(
    space: str, found_in: str, name: str, observed: float, nulls: list[float], halves: list[float]
) -> dict[str, Any]:
    from pipeline.metrics.significance import excess
    from pipeline.metrics.significance import halves as over_halves

    found, spread = excess(name, observed, nulls), over_halves(observed, halves)
    known = [value for value in nulls if math.isfinite(value) and (value > 0 or name not in LOGARITHMIC)]
    return {
        "space": space,
        "clusters_of": found_in,
        "name": name,
        "of": "",
        "observed": observed,
        "half_mean": spread.mean,
        "half_sd": spread.sd,
        "depends_on_n": spread.depends_on_n and name != "calinski_harabasz",  # which grows with n by its definition
        "null_mean": found.null_mean,
        "null_sd": found.null_sd,
        "null_low": min(known, default=math.nan),
        "null_high": max(known, default=math.nan),
        "replicates": found.replicates,
        "excess": found.excess,
        "p": found.p,
    }


def _support(
    settings: Any, data: Cloud, nulls: list[Cloud], halves: list[Halved], null_halves: list[Halved]
) -> pd.DataFrame:
    """Per cluster: the gap to its nearest in the embedding; how much of it halves find again, beside the clouds'."""
    from pipeline.metrics.gaps import gaps
    from pipeline.metrics.stability import jaccard

    found = {gap.cluster: gap for gap in gaps(data.vectors, data.clusters, settings.significance.seed)}
    again = _means([jaccard(data.clusters[rows], half.clusters) for rows, half in halves])
    found_again = [
        jaccard(null.clusters[rows], half.clusters) for null, (rows, half) in zip(nulls, null_halves, strict=False)
    ]
    of_nulls = [float(one[~np.isnan(one)].mean()) for one in found_again if not np.isnan(one).all()]
    rows = []
    for cluster in np.unique(data.clusters[data.clusters >= 0]).tolist():
        rows.append(
            {
                "cluster": cluster,
                "size": int((data.clusters == cluster).sum()),
                "nearest": found[cluster].nearest if cluster in found else -1,
                "gap": found[cluster].value if cluster in found else math.nan,
                "jaccard": again[cluster] if cluster < len(again) else math.nan,
                "null_jaccard": float(np.mean(of_nulls)) if of_nulls else math.nan,
            }
        )
    columns = ["cluster", "size", "nearest", "gap", "jaccard", "null_jaccard"]
    return pd.DataFrame(rows, columns=columns)


def _means(values: list[np.ndarray]) -> np.ndarray:
    """Over halves, of clusters that each may lack at the end or in between."""
    if not values:
        return np.empty(0)
    table = np.full((len(values), max(map(len, values))), np.nan)
    for row, value in zip(table, values, strict=True):
        row[: len(value)] = value
    known = ~np.isnan(table)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan)


def _choice(
    rules: _Rules,
    data: Cloud,
    nulls: list[Cloud],
    halves: list[Halved],
    null_halves: list[Halved],
    k_scores: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`k_choice`, and what follows: lowest and highest k that the criteria give, or why none."""
    from pipeline.geometry.clouds import range_stability
    from pipeline.metrics.k_selection import knee

    columns = ["k", "silhouette", "null_silhouette", "stability", "null_stability"]
    if not rules.grid or not nulls:
        return pd.DataFrame(columns=columns, dtype=float), {"low": None, "high": None, "gate": math.nan}
    usable = [pair for pair in halves if pair[1].range_clusters.shape[1] == len(rules.grid)]
    of_nulls = [
        range_stability(null, [pair])
        for null, pair in zip(nulls, null_halves, strict=False)
        if pair[1].range_clusters.shape[1] == len(rules.grid)
    ]
    stable = range_stability(data, usable)
    null_silhouettes = np.array([null.range_silhouettes for null in nulls])
    table = pd.DataFrame(
        {
            "k": rules.grid,
            "silhouette": data.range_silhouettes,
            "null_silhouette": null_silhouettes.mean(axis=0),
            "stability": stable,
            "null_stability": np.mean(of_nulls, axis=0) if of_nulls else math.nan,
        }
    )
    gate = float(np.nanmax(data.range_silhouettes) - np.nanmax(null_silhouettes, axis=1).mean())
    if gate < GATE:
        return table, {"low": None, "high": None, "gate": gate}
    votes = [rules.grid[int(np.nanargmax(data.range_silhouettes))]]
    if np.isfinite(stable).any():
        votes.append(rules.grid[int(np.nanargmax(stable - (table["null_stability"].fillna(0.0).to_numpy())))])
    inertia = k_scores[["k", "inertia_projection"]].dropna()
    if found := knee(inertia["k"].tolist(), inertia["inertia_projection"].tolist()):
        votes.append(found[0])
    if max(votes) - min(votes) <= 1:
        middle = int(np.median(votes))
        return table, {"low": middle, "high": middle, "gate": gate}
    return table, {"low": min(votes), "high": max(votes), "gate": gate}


def _verdict(
    settings: Any,
    rules: _Rules,
    table: pd.DataFrame,
    support: pd.DataFrame,
    nulls: list[Cloud],
    counts: tuple[int, int, int],
    k_said: Mapping[str, Any],
) -> pd.DataFrame:
    from pipeline.metrics.gaps import REAL, gaps, median_gap
    from pipeline.metrics.nulls import is_unit
    from pipeline.metrics.verdict import Evidence, decide, sentence

    images, of, k = counts
    known = support["gap"].dropna()
    scored = "silhouette_cosine" if is_unit(nulls[0].vectors) else "silhouette_euclidean"
    evidence = Evidence(
        images=images,
        of=of,
        clusters=k,
        method=NAMES.get(type(settings.projection), ""),
        projection=_excess(table, "projection", "silhouette") if rules.projects else None,
        embedding=_excess(table, "embedding", scored),
        gap=float(known.median()) if len(known) else math.nan,
        real_gaps=int((known <= REAL).sum()),
        null=settings.significance.null_model.value,
    )
    level, why = decide(evidence)
    seed = settings.significance.seed
    null_gaps = [median_gap(gaps(null.vectors, null.clusters, seed)) for null in nulls]
    row = {
        "verdict": level,
        "sentence": sentence(evidence),
        "why": why,
        "images": images,
        "of": of,
        "clusters": k,
        "null": settings.significance.null_model.value,
        "score": scored,
        "excess": evidence.embedding.excess,
        "p": evidence.embedding.p,
        "gap": evidence.gap,
        "null_gap": float(np.nanmean(null_gaps)) if np.isfinite(null_gaps).any() else math.nan,
        "k_low": k_said["low"],
        "k_high": k_said["high"],
        "k_gate": k_said["gate"],
    }
    return pd.DataFrame([row]).astype({"k_low": "Int64", "k_high": "Int64"})


def _excess(table: pd.DataFrame, space: str, name: str) -> Any:
    """The first such row: of the run's own clusters."""
    from pipeline.metrics.significance import Excess

    row = table[(table["space"] == space) & (table["name"] == name)].iloc[0]
    return Excess(row["observed"], row["null_mean"], row["null_sd"], int(row["replicates"]), row["excess"], row["p"])


SHARED = ("null_model", "replicates", "embedding_replicates", "half_samples", "max_images", "seed")


def keyed(settings: Any) -> dict[str, Any]:
    """Not how often labels are permuted, nor what the settings are called."""
    chosen = plain(settings.significance)
    sections = {"projection": plain(settings.projection), "clustering": plain(settings.clustering)}
    return sections | {name: chosen[name] for name in SHARED}


def refuse(facts: Facts, settings: Any) -> str | None:
    """significance=none leaves it out."""
    return None if replicates(settings) else nothing_to_compare(settings)


def nothing_to_compare(settings: Any) -> str:
    """Why there are no clouds."""
    if settings.significance.name == "none":
        return "significance=none"
    flat = isinstance(settings.projection, NoProjection)
    return f"significance.{'embedding_replicates' if flat else 'replicates'} = 0"


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<space>/<name>/{null_mean,null_sd,excess,p,half_mean,half_sd} of the run's clusters; gap, k and gate."""
    numbers: dict[str, float] = {}
    table = made["null_scores"]
    for row in table.drop_duplicates(["space", "name"]).to_dict("records"):
        for what in ("null_mean", "null_sd", "excess", "p", "half_mean", "half_sd"):
            numbers[f"{row['space']}/{row['name']}/{what}"] = row[what]
    verdict = made["verdict"].iloc[0]
    for name in ("gap", "null_gap", "k_low", "k_high", "k_gate"):
        if not pd.isna(verdict[name]):
            numbers[name] = float(verdict[name])
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Every score against the clouds, each cluster's gap and stability, both over the number of clusters."""
    from pipeline.plots.significance import gaps, k_choice, observed_against_null

    table, support, choice = made["null_scores"], made["cluster_support"], made["k_choice"]
    verdict = made["verdict"].iloc[0]
    silhouettes: list[Score] = []
    ratios: list[Score] = []
    for row in table.sort_values(["space", "clusters_of"], ascending=False, kind="stable").to_dict("records"):
        if row["name"] not in LOGARITHMIC:
            silhouettes.append(_drawn(row))
        elif math.isfinite(row["excess"]):  # else there is nothing that it could be a ratio to
            ratios.append(_drawn(row))
    figures = {"observed_against_null": observed_against_null(silhouettes, ratios)}
    if len(support) > 1:
        figures["gaps"] = gaps(
            support["cluster"].tolist(),
            support["size"].tolist(),
            support["gap"].to_numpy(dtype=float),
            support["jaccard"].to_numpy(dtype=float),
            (float(verdict["null_gap"]), float(support["null_jaccard"].iloc[0])),
        )
    if len(choice):
        columns = {name: choice[name].to_numpy(dtype=float) for name in choice}
        figures["k_choice"] = k_choice(
            choice["k"].to_numpy(),
            (columns["silhouette"], columns["null_silhouette"]),
            (columns["stability"], columns["null_stability"]),
            float(np.nanmax(columns["silhouette"]) - verdict["k_gate"] + GATE),
            None if pd.isna(verdict["k_low"]) else (int(verdict["k_low"]), int(verdict["k_high"])),
            _clustered(settings),
        )
    return figures


def _drawn(row: Mapping[str, Any]) -> Score:
    """A row of `null_scores` as the picture wants it: ratios as logarithms of what the clouds' mean is to them."""
    from pipeline.metrics.verdict import excess_in_words, measured, p_in_words, score_in_words
    from pipeline.plots.significance import Score

    name = row["name"]
    p = p_in_words(row["p"])
    said = f"{excess_in_words(name, row['excess'], 2)}, p {p if p.startswith('<') else f'= {p}'}" if p else ""
    group = measured(row["space"], row["clusters_of"])
    if name not in LOGARITHMIC:
        numbers = [row[of] for of in ("observed", "half_sd", "null_mean", "null_sd", "null_low", "null_high")]
    else:
        turned = -1 if name in LOWER_IS_BETTER else 1
        ends = sorted(turned * np.log(np.array([row["null_low"], row["null_high"]]) / row["null_mean"]))
        spread = row["half_sd"] / row["half_mean"] if row["half_mean"] else math.nan
        numbers = [row["excess"], spread, 0.0, row["null_sd"], *ends]
    label = row["of"].removeprefix("the ") or score_in_words(name)
    observed, sd, mean, null_sd, low, high = map(float, numbers)
    return Score(group, label, observed, sd, mean, null_sd, low, high, said)


STAGE = Stage(
    name="significance",
    version=3,
    needs=(
        "image_embeddings", "clusters", "k_scores", "replicate_rows", "half_rows", "null_half_rows",
        "sample_projection", "null_projections", "half_projections", "null_half_projections",
    ),
    makes=("null_scores", "cluster_support", "k_choice", "verdict"),
    settings=("projection", "clustering", "significance"),
    keyed=keyed,
    run=run,
    draw=draw,
    refuse=refuse,
    metrics=metrics,
    packages=("numpy", "scipy", "scikit-learn"),
)  # fmt: skip
