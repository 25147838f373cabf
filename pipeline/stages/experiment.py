"""The run's scores beside published ones: mean over seeds, where one more run would lie, and how protocols differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pipeline.metrics.published import Repeated, repeated, verdict
from pipeline.schema import MODEL, Comparison, Difference, ExperimentSettings
from pipeline.stage import Facts, Stage, Workspace

COLUMNS = (
    "experiment", "row", "score", "published", "mean", "sd", "low", "high", "over", "runs", "null_mean", "null",
    "verdict", "differs", "notes", "source",
)  # fmt: skip
CLUSTERS, ZERO_SHOT = "cluster_metrics", "zero_shot"
DIFFERS = "protocol differs"


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    encoder_identity: Mapping[str, Any] | None,
    cluster_scores: pd.DataFrame | None,
    clustering_summary: pd.DataFrame | None,
    repeat_scores: pd.DataFrame | None,
    null_scores: pd.DataFrame | None,
    label_structure: pd.DataFrame | None,
    zero_shot_scores: pd.DataFrame | None,
) -> dict[str, Any]:
    """`experiment_scores`: a row for each published score that this run has too."""
    identity = encoder_identity or {}  # vectors of a finished run need no encoder
    measured = _Measured(len(images), cluster_scores, repeat_scores, null_scores, label_structure, zero_shot_scores)
    k = None if clustering_summary is None else int(clustering_summary.set_index("name")["value"]["k"])
    rows = []
    for told in _of_the_model(settings.experiment, identity):
        differs = "; ".join(_differences(told, images, k))
        for key, value in told.row.scores.items():
            if (found := measured.of(key)) is None:
                continue
            published = math.nan if value is None else value
            null, what = measured.null(key)
            rows.append(
                {
                    "experiment": told.experiment,
                    "row": told.row.row,
                    "score": key.removeprefix(f"{CLUSTERS}/"),
                    "published": published,
                    "mean": found.mean,
                    "sd": found.sd,
                    "low": found.low,
                    "high": found.high,
                    "over": "images" if key.startswith(ZERO_SHOT) else "seeds",
                    "runs": found.count,
                    "null_mean": null,
                    "null": "" if math.isnan(null) else what,
                    "verdict": DIFFERS if differs else verdict(published, found.low, found.high, told.decimals),
                    "differs": differs,
                    "notes": "; ".join([*told.notes, *_doubts(told, identity)]),
                    "source": told.source,
                }
            )
    return {"experiment_scores": pd.DataFrame(rows, columns=list(COLUMNS))}


@dataclass(frozen=True)
class _Measured:
    """What the run has measured of so many images; None of what it has not."""

    images: int
    clusters: pd.DataFrame | None
    repeats: pd.DataFrame | None
    nulls: pd.DataFrame | None
    labels: pd.DataFrame | None
    zero_shot: pd.DataFrame | None

    def of(self, key: str) -> Repeated | None:
        """A score by its key of metrics.json: over seeds, or as it is with its interval over images."""
        stage, _, name = key.partition("/")
        if stage == ZERO_SHOT:
            return self._by_words(name)
        space, _, name = name.partition("/")
        if stage != CLUSTERS or self.clusters is None:
            return None
        values = [table.loc[(table["space"] == space) & (table["name"] == name), "value"].tolist()
                  for table in (self.clusters, self.repeats) if table is not None]  # fmt: skip
        return repeated([value for some in values for value in some]) if values[0] else None

    def _by_words(self, name: str) -> Repeated | None:
        row = None if self.zero_shot is None else self.zero_shot.set_index("name").loc[name]
        return None if row is None else Repeated(row["value"], math.nan, row["low"], row["high"], 1)

    def null(self, key: str) -> tuple[float, str]:
        """What the same score is where there is nothing to find, and what that is in words; NaN, '' if not known."""
        stage, space, name = [*key.split("/"), ""][:3]
        if stage == ZERO_SHOT and self.zero_shot is not None:
            return float(self.zero_shot.set_index("name")["value"]["majority"]), "always the largest class"
        if space == "labels" and self.labels is not None and name in set(self.labels["name"]):
            return float(self.labels.set_index("name")["permuted_mean"][name]), "permuted labels"
        if self.nulls is not None:
            found = self.nulls[(self.nulls["space"] == space) & (self.nulls["name"] == name)]
            grows = name == "calinski_harabasz" and (found["images"] < self.images).any()  # that of a sample is smaller
            if len(found) and not grows:
                return float(found["null_mean"].iloc[0]), "clouds without clusters"
        return math.nan, ""


def _of_the_model(chosen: ExperimentSettings, identity: Mapping[str, Any]) -> list[Comparison]:
    """Where only the weights say which model it is, the rows of that model; where there are none, the first of an
    experiment that was named, with that difference."""
    if not any(map(_is_open, chosen.compared)):
        return chosen.compared
    found = [_with_model(told, identity.get("model")) for told in chosen.compared]
    fitting = [told for told in found if all(difference.key != MODEL for difference in told.differs)]
    if chosen.name == "none":
        return [told for told in fitting if told.experiment != "none"] or fitting  # repetitions alone, else
    return fitting or found[:1]


def _is_open(told: Comparison) -> bool:
    return any(difference.key == MODEL and difference.value is None for difference in told.differs)


def _with_model(told: Comparison, model: str | None) -> Comparison:
    """The model that was left open is the one that the weights are of."""
    found = [
        replace(difference, value=model) if difference.key == MODEL and difference.value is None else difference
        for difference in told.differs
    ]
    return replace(told, differs=[d for d in found if d.key != MODEL or d.value != d.protocol])


def _doubts(told: Comparison, identity: Mapping[str, Any]) -> list[str]:
    """What a name of a model does not prove."""
    another = any(difference.key in (MODEL, "encoder.kind") for difference in told.differs)
    if another or MODEL not in told.row.where or not identity.get("weights") or identity["published"]:
        return []
    names = ", ".join(identity["weights"])
    return [f"the weights ({names}) are not known to be the published ones, by their hash or as the hub's"]


def _differences(told: Comparison, images: pd.DataFrame, k: int | None) -> list[str]:
    """How the run differs from the protocol, in words: its settings, then what it read."""
    classes = images["label"].nunique()
    lines = [line for difference in told.differs if (line := _in_words(difference, told, k))]
    for name, count, expected in (("images", len(images), told.row.images), ("classes", classes, told.row.classes)):
        if expected is not None and count != expected:
            lines.append(f"{count:,} {name}, not {expected:,}")
    return lines


def _in_words(difference: Difference, told: Comparison, k: int | None) -> str:
    """'clustering.k = 5, not 6'; '' where a number that was left open came out as the protocol has it."""
    value, protocol = difference.value, difference.protocol
    if difference.key == "clustering.k":
        value, protocol = value or k, protocol or told.row.classes or "that of the classes"
        if value == protocol:
            return ""
    return f"{difference.key} = {_written(value)}, not {_written(protocol)}"


def _written(value: Any) -> str:
    """As it is typed."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(_written, value))}]" if isinstance(value, list) else str(value)


def requires(settings: Any) -> tuple[str, ...]:
    """An experiment that was named cannot do without its scores."""
    if settings.experiment.name == "none":
        return ()
    stages = {key.split("/")[0] for told in settings.experiment.compared for key in told.row.scores}
    of_stage = {CLUSTERS: "cluster_scores", ZERO_SHOT: "zero_shot_scores"}
    return tuple(artifact for stage, artifact in of_stage.items() if stage in stages)


def refuse(facts: Facts, settings: Any) -> str | None:
    """There must be something to compare with."""
    chosen = settings.experiment
    if chosen.compared:
        return None
    return "experiment=none" if chosen.name == "none" else f"experiment={chosen.name} has no published values"


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """<score>/{published,mean,sd,low,high} of the first published row."""
    table = made["experiment_scores"]
    first = table[(table["experiment"] == table["experiment"].iloc[0]) & (table["row"] == table["row"].iloc[0])] \
        if len(table) else table  # fmt: skip
    names = ("published", "mean", "sd", "low", "high")
    return {f"{row['score']}/{name}": row[name] for row in first.to_dict("records") for name in names}


STAGE = Stage(
    name="experiment",
    needs=("images",),
    uses=(
        "encoder_identity",
        "cluster_scores",
        "clustering_summary",
        "repeat_scores",
        "null_scores",
        "label_structure",
        "zero_shot_scores",
    ),
    requires=requires,
    makes=("experiment_scores",),
    settings=("experiment",),
    run=run,
    refuse=refuse,
    metrics=metrics,
)
