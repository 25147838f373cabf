"""Names for clusters and classes: the entries that set each apart from the rest, and whether they beat chance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.metrics import naming as metric
from pipeline.stage import Drawing, Stage, Workspace, key_part
from pipeline.stages.groups import group_numbers
from pipeline.stages.word_groups import Groups, groups_of

log = logging.getLogger(__name__)


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    texts: Any,
    text_embeddings: np.ndarray,
    clusters: np.ndarray | None,
    map: np.ndarray | None,
) -> dict[str, Any]:
    """`group_names`: for each cluster and class its names, the best first (pipeline.metrics.naming.Name), with p of the
    group: whether some entry sets it apart more than one would sets of as many random images; groups: how many there
    are of that kind, with those that got no name."""
    known = groups_of(images, clusters)
    if not known:
        raise RunError("naming: there is nothing to name: no clusters, and not several labels")
    together = group_numbers(images["group"])
    chosen, done = settings.naming, 0
    parts = []
    for number, groups in enumerate(known):
        names = metric.group_names(
            image_embeddings, groups.codes, text_embeddings, lambda rows: _texts(texts, rows), together,
            chosen.names, (chosen.seed, number),
        )  # fmt: skip

        def progress(count: int, before: int = done) -> None:
            workspace.progress(before + count, len(known) * chosen.permutations)

        chances = metric.largest_differences(
            image_embeddings, groups.codes, text_embeddings, together, chosen.permutations,
            (chosen.seed, number, 1), progress,
        )  # fmt: skip
        done += chosen.permutations
        names = [name for name in names if name.difference > 0]  # what is nearer to the rest is no name
        parts.append(_table(groups, names, [chance.p for chance in chances], texts))
        if unnamed := sorted(set(range(len(groups.names))) - {name.group for name in names}):
            log.warning(
                "without a name: %d of %d groups (too few images, or no entry is nearer to them than to the rest): %s",
                len(unnamed), len(groups.names), ", ".join(groups.names[number] for number in unnamed[:5]),
            )  # fmt: skip
    return {"group_names": pd.concat(parts, ignore_index=True)}


def _texts(texts: Any, rows: np.ndarray) -> list[str]:
    return list(texts["text"].take(rows).to_pylist())


COLUMNS = ["kind", "group", "rank", "text", "category", "halves", "difference", "low", "high", "effect", "mean",
           "worse", "margin", "runner_up", "p", "groups"]  # fmt: skip


def _table(groups: Groups, names: list[metric.Name], chances: list[float], texts: Any) -> pd.DataFrame:
    entries = np.array([name.entry for name in names], np.int64)
    said, categories = _texts(texts, entries), texts["category"].take(entries).to_pylist()
    rows = [
        (groups.kind, groups.names[name.group], name.rank, text, category, name.halves, name.difference, name.low,
         name.high, name.effect, name.mean, name.worse, name.margin,
         groups.names[name.runner_up] if name.runner_up >= 0 else "", chances[name.group],
         len(groups.names))
        for name, text, category in zip(names, said, categories, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Of each group's first name: difference, margin and p."""
    first = made["group_names"][made["group_names"]["rank"] == 1]
    return {
        f"{row['kind']}/{key_part(row['group'])}/{name}": row[name]
        for row in first.to_dict("records")
        for name in ("difference", "margin", "p")
    }


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The map with the names of the clusters."""
    from pipeline.plots.maps import named_map

    names = first_names(made["group_names"], "cluster")
    clusters, places = needs.get("clusters"), needs.get("map")
    if not names or clusters is None or places is None:
        return {}
    by_number = {
        number: names[name] for number in range(int(clusters.max()) + 1) if (name := f"cluster {number}") in names
    }
    return {"map": named_map(places, clusters, by_number, "named by the entry that sets each cluster apart most")}


def first_names(group_names: pd.DataFrame, kind: str) -> dict[str, str]:
    """Group -> its first name, of one kind of groups."""
    first = group_names[(group_names["rank"] == 1) & (group_names["kind"] == kind)]
    return dict(zip(first["group"], first["text"], strict=True))


STAGE = Stage(
    name="naming",
    needs=("images", "image_embeddings", "texts", "text_embeddings"),
    makes=("group_names",),
    uses=("clusters", "map"),
    settings=("naming",),
    version=2,
    run=run,
    metrics=metrics,
    draw=draw,
    packages=("numpy",),
)
