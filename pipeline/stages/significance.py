"""Are the clusters more than one cloud cut up? Scores against clouds without clusters, intervals, gaps, a verdict."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd

from pipeline.metrics.significance import LOGARITHMIC, LOWER_IS_BETTER
from pipeline.schema import HdbscanClustering, Space, plain
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.clouds import (
    REPLICATES,
    SHARED,
    clustered_space,
    compared,
    coordinates,
    counter,
    flat,
    null_vectors,
    refuse_to_compare,
    replicates,
)
from pipeline.stages.clustering import CLUSTER
from pipeline.stages.projection import NAMES
from pipeline.stages.quiet import quietly

if TYPE_CHECKING:
    from pipeline.geometry.clouds import Cloud
    from pipeline.plots.significance import Score

log = logging.getLogger(__name__)

OWN_STARTS = 3  # at most, where the data and many clouds are clustered in the embedding, many numbers each
FEWEST_PER_CLUSTER = 2  # images of a half-sample for each cluster, else halves are not clustered
SHARE = "clustered_share"
SCORES = {
    "projection": ("silhouette", "calinski_harabasz", "davies_bouldin"),
    "embedding": ("silhouette_cosine", "silhouette_euclidean", "calinski_harabasz", "davies_bouldin"),
}


def run(
    settings: Any,
    workspace: Workspace,
    image_embeddings: np.ndarray,
    clusters: np.ndarray,
    k_gate: pd.DataFrame,
    replicate_rows: np.ndarray,
    half_rows: np.ndarray,
    null_half_rows: np.ndarray,
    sample_projection: np.ndarray,
    null_projections: np.ndarray,
    half_projections: np.ndarray,
    null_half_projections: np.ndarray,
) -> dict[str, Any]:
    """`null_scores`: a row per score. `half_scores`: a row per half-sample and score. `half_clusters` (S, m): the
    clusters of each half-sample, -1 outside it and for noise. `cluster_support`: a row per cluster. `verdict`: one
    row."""
    given = np.asarray(image_embeddings[replicate_rows])
    whole = len(given) == len(image_embeddings)
    k = len(np.unique(clusters[clusters >= 0]))
    rules = _Rules(settings, max(k, 2), settings.clustering)
    owned = 1 + settings.significance.embedding_replicates + len(half_rows) if rules.owns else 0
    done = counter(workspace, 2 + len(half_rows) + replicates(settings) + owned)

    vectors, drawn_from = coordinates(settings, given)
    data = rules.cloud(vectors, rules.at(sample_projection), clusters if whole else None)
    done()
    nulls, null_halves = [], []
    draw = null_vectors(settings, drawn_from)
    for r in range(replicates(settings)):
        cloud = draw(r)
        nulls.append(rules.cloud(cloud, rules.at(null_projections, r)))
        null_halves += rules.halves(cloud, null_half_rows[r : r + 1], null_half_projections[r : r + 1])
        done()
    halves = rules.halves(vectors, half_rows, half_projections, done)
    own = _own(rules, draw, vectors, half_rows, done) if rules.owns else None
    table = _scores(rules, data, nulls, halves, own, k_gate)
    support, gap_sd = _support(settings, data, nulls, halves, null_halves, half_rows)
    verdict = _verdict(rules, table, support, (data, nulls), gap_sd, (len(given), len(image_embeddings), k), k_gate)
    done()
    return {
        "null_scores": table,
        "half_scores": _half_scores(rules, halves, None if own is None else own[2], half_rows),
        "half_clusters": _half_clusters(rules, halves, half_rows),
        "cluster_support": support,
        "verdict": verdict,
    }


Halved = tuple[np.ndarray, "Cloud"]  # which rows (m,) bool, and their cloud


@dataclass(frozen=True)
class _Rules:
    """How every cloud is treated: the data, the nulls and the halves alike."""

    settings: Any
    k: int
    clusterer: Any

    @property
    def projects(self) -> bool:
        return not flat(self.settings)

    @property
    def in_embedding(self) -> bool:
        return self.settings.clustering.space is Space.embedding

    @property
    def owns(self) -> bool:
        """Whether clusters of the embedding itself are others than the run's."""
        return self.projects and not self.in_embedding

    def at(self, places: np.ndarray, row: int | None = None) -> np.ndarray | None:
        """Coordinates in the projection, None where there is none."""
        if not self.projects:
            return None
        return places if row is None else places[row]

    def cloud(self, vectors: np.ndarray, projection: np.ndarray | None, clusters: np.ndarray | None = None) -> Cloud:
        from pipeline.geometry.clouds import cloud

        with quietly():
            return cloud(vectors, projection, self.cluster, self.in_embedding, clusters)

    def cluster(self, vectors: np.ndarray) -> np.ndarray:
        """By the run's clusterer, its k that of the run's clusters. All noise where it cannot."""
        chosen = self.clusterer
        places = np.asarray(vectors, np.float32)  # as the run's own vectors are
        try:
            return CLUSTER[type(chosen)](chosen, places, self.k if hasattr(chosen, "k") else None).clusters
        except ValueError:  # vectors that are all the same
            return np.full(len(vectors), -1, dtype=np.int64)

    def halves(
        self, vectors: np.ndarray, rows: np.ndarray, projections: np.ndarray, done: Any = lambda: None
    ) -> list[Halved]:
        """Clouds of half-samples, those left out that are too small for so many clusters."""
        found, large = [], self.large(rows)
        for i, half in enumerate(rows):
            if i in large:
                at = projections[i][half] if self.projects else None
                found.append((half, self.cloud(vectors[half], at)))
            done()
        return found

    def large(self, rows: np.ndarray) -> list[int]:
        """The numbers of the half-samples that are large enough for so many clusters."""
        return [i for i, half in enumerate(rows) if half.sum() >= FEWEST_PER_CLUSTER * self.k]


Scores = Mapping[tuple[str, str], float]


def _own(
    rules: _Rules, draw: Callable[[int], np.ndarray], vectors: np.ndarray, half_rows: np.ndarray, done: Any
) -> tuple[Scores, list[Scores], list[Scores]]:
    """Scores of clusters found in the embedding itself, of the data, of more clouds and of halves: side by side, as
    they are by far the most numbers."""
    from pipeline.metrics.blocks import map_blocks

    clusterer = rules.clusterer
    if hasattr(clusterer, "n_init"):
        clusterer = replace(clusterer, n_init=min(clusterer.n_init, OWN_STARTS))
    apart = replace(rules, clusterer=clusterer)
    halves = [half_rows[i] for i in rules.large(half_rows)]
    count = rules.settings.significance.embedding_replicates

    def scores(number: int) -> Scores:
        """0: the data, then clouds, then halves."""
        if number > count:
            return apart.cloud(vectors[halves[number - count - 1]], None).scores
        return apart.cloud(draw(number - 1) if number else vectors, None).scores

    found: list[Scores] = []
    with quietly(), catch_warnings():  # outside, as threads change and restore both in any order
        simplefilter("ignore")
        for one in map_blocks(scores, range(1 + count + len(halves))):
            found.append(one)
            done()
    return found[0], found[1 : 1 + count], found[1 + count :]


def _scores(
    rules: _Rules, data: Cloud, nulls: list[Cloud], halves: list[Halved],
    own: tuple[Scores, list[Scores], list[Scores]] | None, k_gate: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """space: where it is measured; clusters_of: where they were found."""
    found_in = clustered_space(rules.settings)
    of_all = data.scores, [null.scores for null in nulls], [half.scores for _, half in halves]
    rows = []
    for space, names in SCORES.items():
        for name in names:
            if (space, name) in data.scores:
                rows.append(_row(space, found_in, name, *of_all))
    if own is not None:
        rows += [_row("embedding", "embedding", name, *own) for name in SCORES["embedding"]]
    if isinstance(rules.clusterer, HdbscanClustering):  # which finds as many as it likes, or none
        of_halves = _shares([half for _, half in halves])
        rows.append(compared(found_in, found_in, SHARE, _shares([data])[0], _shares(nulls), of_halves))
    table = pd.DataFrame(rows).assign(images=len(data.vectors))
    return pd.concat([table, k_gate[list(table.columns)]], ignore_index=True) if len(k_gate) else table


HALF_SCORES = ["half", "space", "clusters_of", "name", "value"]


def _half_scores(rules: _Rules, halves: list[Halved], own: list[Scores] | None, half_rows: np.ndarray) -> pd.DataFrame:
    """The values whose mean and spread stand in `null_scores`; half: row of `half_rows`. Those that are not defined are
    left out."""
    found_in = clustered_space(rules.settings)
    rows = []
    of_embedding: Sequence[Scores | None] = [None] * len(halves) if own is None else own
    for number, of_run, of_own in zip(rules.large(half_rows), halves, of_embedding, strict=True):
        scores = [(found_in, of_run[1].scores), *([("embedding", of_own)] if of_own is not None else [])]
        for clusters_of, values in scores:
            rows += [
                {"half": number, "space": space, "clusters_of": clusters_of, "name": name, "value": values[space, name]}
                for space, names in SCORES.items()
                for name in names
                if (space, name) in values and (clusters_of == found_in or space == "embedding")
            ]
    table = pd.DataFrame(rows, columns=HALF_SCORES)
    return table[table["value"].notna()].astype({"half": int, "value": float}).reset_index(drop=True)


def _half_clusters(rules: _Rules, halves: list[Halved], half_rows: np.ndarray) -> np.ndarray:
    """(S, m) int32, -1 outside the half, for noise, and all over a half that is too small."""
    found = np.full(half_rows.shape, -1, dtype=np.int32)
    for number, (rows, cloud) in zip(rules.large(half_rows), halves, strict=True):
        found[number, rows] = cloud.clusters
    return found


def _shares(clouds: Sequence[Cloud]) -> list[float]:
    from pipeline.geometry.clouds import share_in_clusters

    return [share_in_clusters(cloud.clusters) for cloud in clouds]


def _row(
    space: str, found_in: str, name: str, data: Scores, nulls: list[Scores], halves: list[Scores]
) -> dict[str, Any]:
    key = (space, name)
    return compared(space, found_in, name, data[key], [null[key] for null in nulls], [half[key] for half in halves])


def _support(
    settings: Any, data: Cloud, nulls: list[Cloud], halves: list[Halved], null_halves: list[Halved],
    half_rows: np.ndarray,
) -> tuple[pd.DataFrame, float]:  # fmt: skip
    """Per cluster: the gap to its nearest in the embedding; how much of it halves find again, beside the clouds'. And
    the standard deviation of the median gap."""
    from pipeline.metrics.gaps import gaps
    from pipeline.metrics.stability import jaccard

    seed = settings.significance.seed
    found = {gap.cluster: gap for gap in gaps(data.vectors, data.clusters, seed)}
    spread, of_median = _gap_spread(data, half_rows, seed)
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
                "gap_sd": spread.get(cluster, math.nan),
                "jaccard": again[cluster] if cluster < len(again) else math.nan,
                "null_jaccard": float(np.mean(of_nulls)) if of_nulls else math.nan,
            }
        )
    columns = ["cluster", "size", "nearest", "gap", "gap_sd", "jaccard", "null_jaccard"]
    return pd.DataFrame(rows, columns=columns), of_median


def _gap_spread(data: Cloud, half_rows: np.ndarray, seed: int) -> tuple[dict[int, float], float]:
    """Standard deviations over half-samples of each cluster's gap, and of their median: the same clusters, half of
    their members."""
    from pipeline.metrics.gaps import gaps, median_gap
    from pipeline.metrics.significance import halves as over_halves

    of_halves = [gaps(data.vectors[rows], data.clusters[rows], seed) for rows in half_rows]
    values: dict[int, list[float]] = {}
    for found in of_halves:
        for gap in found:
            values.setdefault(gap.cluster, []).append(gap.value)
    spread = {cluster: over_halves(0.0, of).sd for cluster, of in values.items()}
    return spread, over_halves(0.0, [median_gap(found) for found in of_halves]).sd


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


def _verdict(
    rules: _Rules,
    table: pd.DataFrame,
    support: pd.DataFrame,
    clouds: tuple[Cloud, list[Cloud]],
    gap_sd: float,
    counts: tuple[int, int, int],
    k_gate: pd.DataFrame,
) -> pd.DataFrame:
    from pipeline.metrics.gaps import REAL, gaps, median_gap
    from pipeline.metrics.nulls import is_unit
    from pipeline.metrics.verdict import Evidence, decide, sentence

    (data, nulls), (images, of, k) = clouds, counts
    chosen = rules.settings.significance
    known = support["gap"].dropna()
    scored = "silhouette_cosine" if is_unit(nulls[0].vectors) else "silhouette_euclidean"
    null_gaps = [median_gap(gaps(null.vectors, null.clusters, chosen.seed)) for null in nulls]
    evidence = Evidence(
        images=images,
        of=of,
        clusters=k,
        method=NAMES.get(type(rules.settings.projection), ""),
        projection=_excess(table, "projection", "silhouette") if rules.projects else None,
        embedding=_excess(table, "embedding", scored),
        gap=float(known.median()) if len(known) else math.nan,
        gap_sd=gap_sd,
        real_gaps=int((known <= REAL).sum()),
        null_gaps=[gap for gap in null_gaps if math.isfinite(gap)],
        share=_shares([data])[0],
        null_shares=_shares(nulls),
        null=chosen.null_model.value,
    )
    level, why = decide(evidence)
    row = {
        "verdict": level,
        "sentence": sentence(evidence),
        "why": why,
        "images": images,
        "of": of,
        "clusters": k,
        "null": chosen.null_model.value,
        "score": SHARE if evidence.by_share else scored,
        "excess": evidence.excess,
        "p": evidence.p,
        "gap": evidence.gap,
        "gap_sd": evidence.gap_sd,
        "null_gap": float(np.mean(evidence.null_gaps)) if evidence.null_gaps else math.nan,
        "gap_p": evidence.gap_p,
    } | _supported_k(k_gate)
    return pd.DataFrame([row]).astype({"k_low": "Int64", "k_high": "Int64"})


def _supported_k(k_gate: pd.DataFrame) -> dict[str, Any]:
    """The lowest and highest k that are supported, and by how much the best silhouette exceeds the clouds' best."""
    if not len(k_gate):
        return {"k_low": None, "k_high": None, "k_gate": math.nan}
    row = k_gate.iloc[0]
    return {"k_low": row["k_low"], "k_high": row["k_high"], "k_gate": float(row["observed"] - row["null_mean"])}


def _excess(table: pd.DataFrame, space: str, name: str) -> Any:
    """The first such row: of the run's own clusters."""
    from pipeline.metrics.significance import Excess

    row = table[(table["space"] == space) & (table["name"] == name)].iloc[0]
    return Excess(row["observed"], row["null_mean"], row["null_sd"], int(row["replicates"]), row["excess"], row["p"])


def keyed(settings: Any) -> dict[str, Any]:
    """Not how often labels are permuted, nor what the settings are called."""
    chosen = plain(settings.significance)
    sections = {"projection": plain(settings.projection), "clustering": plain(settings.clustering)}
    return sections | {name: chosen[name] for name in SHARED}


def refuse(facts: Facts, settings: Any) -> str | None:
    """significance=none leaves it out."""
    return refuse_to_compare(settings)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<space>/<name>/{null_mean,null_sd,excess,p,half_mean,half_sd} of the run's clusters; gaps, k and gate."""
    numbers: dict[str, float] = {}
    table = made["null_scores"]
    for row in table.drop_duplicates(["space", "name"]).to_dict("records"):
        for what in ("null_mean", "null_sd", "excess", "p", "half_mean", "half_sd"):
            numbers[f"{row['space']}/{row['name']}/{what}"] = row[what]
    verdict = made["verdict"].iloc[0]
    for name in ("gap", "gap_sd", "null_gap", "k_low", "k_high", "k_gate"):
        if not pd.isna(verdict[name]):
            numbers[name] = float(verdict[name])
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Every score against the clouds, each cluster's gap and stability."""
    from pipeline.plots.significance import gaps, observed_against_null

    table, support = made["null_scores"], made["cluster_support"]
    verdict = made["verdict"].iloc[0]
    table = table[table["name"] != SHARE]  # no silhouette and no ratio: in the table and the sentence
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
            support["gap_sd"].to_numpy(dtype=float),
            support["jaccard"].to_numpy(dtype=float),
            (float(verdict["null_gap"]), float(support["null_jaccard"].iloc[0])),
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
    version=5,
    needs=("image_embeddings", "clusters", "k_gate", *REPLICATES),
    makes=("null_scores", "half_scores", "half_clusters", "cluster_support", "verdict"),
    settings=("projection", "clustering", "significance"),
    keyed=keyed,
    run=run,
    draw=draw,
    refuse=refuse,
    metrics=metrics,
    packages=("numpy", "scipy", "scikit-learn"),
)  # fmt: skip
