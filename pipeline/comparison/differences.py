"""Paired differences: of each score that two runs of the same images may be compared by, with an interval where both
know the same half-samples, or the same answers image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.entries import Entry
from pipeline.comparison.identity import key_of
from pipeline.comparison.pairs import SHOWN, Pair, pairs
from pipeline.comparison.scores import SEPARATION, TOLD, WAYS
from pipeline.metrics.catalog import METRICS
from pipeline.metrics.paired import Paired, over_halves, over_images
from pipeline.metrics.resampling import units
from pipeline.report.words import look_up
from pipeline.stages.groups import group_numbers

COLUMNS = (
    "a", "b", "model_a", "model_b", "k_a", "k_b", "seeds", "score", "value_a", "value_b", "difference", "low", "high",
    "over", "count", "better", "note",
)  # fmt: skip

HALVES, IMAGES = "half-samples", "images"
BY_COSINE = "by cosine for both, though one verdict rests on the Euclidean silhouette: vectors not of length 1"
OF_LABELS = ("ari", "ami", "nmi")
AT = (1, 5, 10)


@dataclass(frozen=True)
class Known:
    """A score of one run. halves: half-sample -> the same score of it; error: standard error of what else it is made
    of, and of how many values that is; None: of nothing else."""

    value: float
    halves: Mapping[int, float]
    error: tuple[float, int] | None = None


def differences(entries: Sequence[Entry]) -> pd.DataFrame:
    """A row for each pair and score: a, b: jobs; value_a less value_b; its 95 % interval, over what, and of how many;
    note: why there is none, or what to know of it."""
    rows = [row for pair in pairs(entries) for row in _of(pair)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shown(table: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """Those of the differences that a page has room for: of many models or numbers of clusters, with the first."""
    kept = {(pair.a.name, pair.b.name) for pair in pairs(entries, SHOWN)}
    has_room = np.array([names in kept for names in zip(table["a"], table["b"], strict=True)], bool)
    return table[has_room].reset_index(drop=True)


def _of(pair: Pair) -> Iterator[dict[str, Any]]:
    clusters = [key_of(entry.run, "clustering") for entry in (pair.a, pair.b)]
    if clusters[0] is None or clusters[0] != clusters[1]:  # prompts, say, change no cluster
        yield from _of_clusters(pair)
    if pair.first:
        yield from _without_clusters(pair)


def _of_clusters(pair: Pair) -> Iterator[dict[str, Any]]:
    shared, why = shared_halves(pair.a, pair.b)
    one, other = pair.a.identity, pair.b.identity
    assert one is not None and other is not None
    for name in OF_LABELS if one.same_labels(other) else ():
        if name != "nmi" or pair.same_k:  # it grows with k
            yield from _row(pair, f"labels/{name}", name, partial(label_score, name=name), shared, why)
    if one.same_projection(other):
        of = partial(raw, space="projection", name="silhouette")
        yield from _row(pair, "projection/silhouette", "silhouette", of, shared, why)
    if one.same_embedding(other):
        name = _embedding_score(pair)
        yield from _row(pair, f"embedding/{name}", name, partial(raw, space="embedding", name=name), shared, why)
    for space in ("projection", "embedding"):
        name = "silhouette" if space == "projection" else _embedding_score(pair)
        yield from _row(pair, f"{space}/{name}/excess", name, partial(excess, space=space, name=name), shared, why)


def _without_clusters(pair: Pair) -> Iterator[dict[str, Any]]:
    """What does not change with the clusters: once for two models, and not where both see the same vectors."""
    one, other = pair.a.identity, pair.b.identity
    assert one is not None and other is not None
    if one.same_labels(other) and not one.same_embedding(other):
        for key in (SEPARATION, *TOLD):
            if key in TOLD and _sample(pair.a) != _sample(pair.b):
                continue
            values = [entry.run.metrics.get(key, math.nan) for entry in (pair.a, pair.b)]
            why = "no interval: it is not known of half-samples"
            yield from _written(pair, key, key.rsplit("/", 1)[1], values, None, why, clusters=False)
    if one.same_words(other):
        yield from _answers(pair)


def _sample(entry: Entry) -> tuple[Any, ...]:
    """The images of which labels are told from vectors."""
    return tuple(look_up(entry.run.record, f"config.significance.{name}") for name in ("max_images", "seed"))


def _row(
    pair: Pair, key: str, name: str, known: Callable[[Entry], Known | None], shared: Sequence[int], why: str
) -> Iterator[dict[str, Any]]:
    found = [known(entry) for entry in (pair.a, pair.b)]
    a, b = found
    if a is None or b is None:
        return
    both = [half for half in shared if half in a.halves and half in b.halves]
    errors = [one.error for one in found if one is not None and one.error is not None]
    paired = over_halves(a.value - b.value, [a.halves[half] - b.halves[half] for half in both], errors)
    note = ""
    if math.isnan(paired.low):
        note = f"no interval: {why or 'fewer than two half-samples have this score of both'}"
    elif sampled := _sampled(pair):
        note = sampled
    if key.startswith("embedding/") and embedding_score(pair.a) != embedding_score(pair.b):
        note = "; ".join(filter(None, [note, BY_COSINE]))
    yield from _written(pair, key, name, [a.value, b.value], paired, note)


def _sampled(pair: Pair) -> str:
    verdict = pair.a.table("verdict")
    if verdict is None or verdict["images"].iloc[0] == verdict["of"].iloc[0]:
        return ""
    return f"half-samples of {verdict['images'].iloc[0]:,} images, not of all: the interval is wider than it need be"


def _written(
    pair: Pair, key: str, name: str, values: Sequence[float], paired: Paired | None, note: str, clusters: bool = True
) -> Iterator[dict[str, Any]]:
    a, b = values
    if not (math.isfinite(a) and math.isfinite(b)):
        return
    found = paired or Paired(a - b, math.nan, math.nan, 0)
    has = math.isfinite(found.low)
    over = (IMAGES if key.startswith(("zero_shot/", "retrieval/")) else HALVES) if has else ""
    yield {
        "a": pair.a.name, "b": pair.b.name, "model_a": pair.a.model, "model_b": pair.b.model,
        "k_a": pair.a.k if clusters else math.nan, "k_b": pair.b.k if clusters else math.nan,
        "seeds": ", ".join(f"{key}={value}" for key, value in pair.a.seeds), "score": key, "value_a": a, "value_b": b,
        "difference": found.value, "low": found.low, "high": found.high,
        "over": over, "count": found.count if has else 0,
        "better": "higher" if key.endswith("/excess") else METRICS[name].better or "", "note": note,
    }  # fmt: skip


def shared_halves(a: Entry, b: Entry) -> tuple[list[int], str]:
    """The half-samples that are the same images in both, by their numbers, and why there are none."""
    if not (a.run.has("half_scores") and b.run.has("half_scores")):
        missing = a if not a.run.has("half_scores") else b
        return [], f"{missing.name} has no half-samples (significance=none, or made before they were kept)"
    rows = [entry.run["replicate_rows"] for entry in (a, b)]
    if not np.array_equal(*rows):
        return [], "their half-samples are of other images (significance.seed or significance.max_images differ)"
    halves = [entry.run["half_rows"] for entry in (a, b)]
    count = min(map(len, halves))
    same = [i for i in range(count) if np.array_equal(halves[0][i], halves[1][i])]
    if len(same) < 2:
        return [], "they share fewer than two half-samples (significance.seed or significance.half_samples differ)"
    return same, ""


def label_score(entry: Entry, name: str) -> Known | None:
    """Agreement of the run's clusters with the labels."""
    value = entry.run.metrics.get(f"cluster_metrics/labels/{name}")
    if value is None:
        return None
    table = entry.table("half_label_scores")
    return Known(value, {} if table is None else _by_half(table[table["name"] == name]))


def raw(entry: Entry, space: str, name: str) -> Known | None:
    """A silhouette of the run's own clusters, as it is."""
    value, row = entry.run.metrics.get(f"cluster_metrics/{space}/{name}"), _null_row(entry, space, name)
    return None if value is None else Known(value, {} if row is None else _half_values(entry, row))


def excess(entry: Entry, space: str, name: str) -> Known | None:
    """Of the silhouette of the run's own clusters beyond its own clouds'; its error is that of the clouds' mean."""
    row = _null_row(entry, space, name)
    if row is None or not math.isfinite(row["excess"]):
        return None
    count = int(row["replicates"])
    return Known(row["excess"], _half_values(entry, row), (row["null_sd"] / math.sqrt(count), count))


def _null_row(entry: Entry, space: str, name: str) -> dict[str, Any] | None:
    """The first such row: of the run's own clusters."""
    table = entry.table("null_scores")
    if table is None:
        return None
    found = table[(table["space"] == space) & (table["name"] == name)]
    return None if not len(found) else dict(found.iloc[0])


def _half_values(entry: Entry, row: Mapping[str, Any]) -> dict[int, float]:
    """Of the same clusters in the same space."""
    table = entry.table("half_scores")
    if table is None:
        return {}
    same = (table["space"] == row["space"]) & (table["clusters_of"] == row["clusters_of"])
    return _by_half(table[same & (table["name"] == row["name"])])


def _by_half(table: pd.DataFrame) -> dict[int, float]:
    return dict(zip(table["half"].astype(int).tolist(), table["value"].astype(float).tolist(), strict=True))


def embedding_score(entry: Entry) -> str:
    """The silhouette that the verdict rests on: by cosine for vectors of length 1, else Euclidean."""
    table = entry.table("verdict")
    name = "" if table is None else str(table["score"].iloc[0])
    return name if name.startswith("silhouette") else "silhouette_cosine"


def _embedding_score(pair: Pair) -> str:
    """The same of both: by cosine where they differ."""
    names = {embedding_score(entry) for entry in (pair.a, pair.b)}
    return names.pop() if len(names) == 1 else "silhouette_cosine"


@dataclass(frozen=True)
class _Asked:
    """A score that each image answers by itself: where, and how it is told from the table whether it is right."""

    artifact: str
    key: str
    column: str
    most: int

    def right(self, table: pd.DataFrame) -> pd.Series:
        """(q,) whether each is right; missing where that is not known."""
        return table[self.column] if self.column == "right" else table[self.column] <= self.most


ASKED = (
    _Asked("predictions", "zero_shot/top1", "right", 1),
    *(
        _Asked("retrieval_ranks", f"retrieval/{way}/recall_at_{k}", rank, k)
        for way, rank in zip(WAYS, ("caption_rank", "image_rank"), strict=True)
        for k in AT
    ),
)


def _answers(pair: Pair) -> Iterator[dict[str, Any]]:
    """Zero-shot and retrieval, over the images that both answered."""
    for asked in ASKED:
        a, b = (entry.table(asked.artifact) for entry in (pair.a, pair.b))
        if a is None or b is None or not (asked.column in a and asked.column in b):
            continue
        if a["id"].tolist() != b["id"].tolist():
            continue
        answers = asked.right(a), asked.right(b)
        known = (answers[0].notna() & answers[1].notna()).to_numpy()
        first, second = (answer[known].astype(bool).to_numpy() for answer in answers)
        chosen = look_up(pair.a.run.record, f"config.{asked.key.split('/')[0]}", {})
        resamples, seed = int(chosen.get("resamples") or 1000), int(chosen.get("seed") or 0)
        unit = _units(pair.a, a["id"][known])
        paired = over_images(first, second, unit, resamples, seed)
        note = "no interval: there is one image, or one group" if math.isnan(paired.low) else ""
        if len(first):
            values = [float(first.mean()), float(second.mean())]
            yield from _written(pair, asked.key, asked.key.rsplit("/", 1)[1], values, paired, note, clusters=False)


def _units(entry: Entry, ids: pd.Series) -> np.ndarray:
    """Images that are drawn together: those of a group."""
    images = entry.table("images")
    assert images is not None
    groups = group_numbers(images["group"])
    rows = pd.Series(np.arange(len(images)), index=images["id"])[ids].to_numpy()
    return units(len(rows), None if groups is None else groups[rows])
