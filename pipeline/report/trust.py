"""The comparison with clouds without clusters in words, for the report and the console: verdict, k, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.metrics.nulls import WEAK
from pipeline.metrics.significance import LOGARITHMIC
from pipeline.metrics.verdict import CLOUDS, GATE, WORDS, excess_in_words, measured, p_in_words, score_in_words
from pipeline.report.words import NONE, is_missing, look_up, number, score

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Are there clusters?"


class Compared(Protocol):
    """What is needed of a run; `pipeline.run_dir.Run` has it."""

    record: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]: ...

    def has(self, name: str) -> bool: ...

    def table(self, name: str) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Answer:
    """The verdict's sentence, cut around the words that matter.

    level: supported, weak, none, unknown; '' where nothing was compared. text = before + strong + after.
    """

    level: str
    before: str
    strong: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        return f"{self.before}{self.strong}{self.after}"


def answer(run: Compared) -> Answer | None:
    """The verdict, or that nothing was compared and why; None where there are no scores of clusters."""
    if run.has("verdict"):
        row = run.table("verdict").iloc[0]
        before, strong, after = str(row["sentence"]).rpartition(WORDS[row["verdict"]])
        return Answer(str(row["verdict"]), before, strong, after)
    if not any(key.startswith("cluster_metrics/") for key in run.metrics):
        return None
    return Answer("", f"These scores were compared with nothing, so they cannot say ({_why_not(run.record)}).")


def _why_not(record: Mapping[str, Any]) -> str:
    left_out = {item.get("stage"): item.get("reason") for item in record.get("left_out") or []}
    if "significance" in left_out:
        return str(left_out["significance"])
    failed = [stage for stage in record.get("stages") or [] if stage.get("name") in ("replicates", "significance")]
    return "the comparison did not finish" if failed else "significance was not among the stages"


def supported_k(run: Compared) -> str:
    """Which numbers of clusters are supported; '' where that was not asked or cannot be told."""
    if not run.has("verdict"):
        return ""
    row = run.table("verdict").iloc[0]
    if row["verdict"] == "unknown" or is_missing(row["k_gate"]):
        return ""
    if is_missing(row["k_low"]):
        beyond = excess_in_words("silhouette", row["k_gate"], 2)
        return (
            f"No number of clusters is supported: the best silhouette over k is {beyond} beyond the best of the "
            f"clouds, and at least {GATE} is asked for."
        )
    low, high = int(row["k_low"]), int(row["k_high"])
    doubt = "If there are any, " if row["verdict"] == "none" else ""
    votes = _votes(run)
    if low == high:
        said = f"{votes} agree within 1" if " and " in votes else f"by {votes} alone"
        return f"{doubt}k = {low}: {said}."
    return f"{doubt}k = {low} to {high}: {votes} differ by more than 1, so no single k."


_VOTERS = {"silhouette": "the best silhouette", "stability": "the stability over half-samples", "knee": "the knee"}


def _votes(run: Compared) -> str:
    """What each criterion says, on all the images that were compared."""
    of_all = run.table("k_votes").query("sample == 'all'")
    parts = [f"{_VOTERS[name]} ({k})" for name, k in zip(of_all["criterion"], of_all["k"], strict=True)]
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Row:
    """A score as text. where: which clusters are measured in which space."""

    where: str
    label: str
    observed: str
    clouds: str
    count: str
    excess: str
    p: str


def rows(run: Compared) -> list[Row]:
    """Every score that was compared, those of the projection first; empty where none was."""
    if not run.has("null_scores"):
        return []
    table = run.table("null_scores").sort_values(["space", "clusters_of"], ascending=False, kind="stable")
    return [_row(row) for row in table.to_dict("records")]


def _row(row: Mapping[str, Any]) -> Row:
    name = row["name"]
    observed = score(row["observed"])
    if math.isfinite(row["half_sd"]):
        observed += f" ± {score(row['half_sd'])}" + (" *" if row["depends_on_n"] else "")
    clouds = score(row["null_mean"])
    if math.isfinite(row["null_sd"]):
        clouds += f" ×÷ {math.exp(row['null_sd']):.2f}" if name in LOGARITHMIC else f" ± {score(row['null_sd'])}"
    return Row(
        where=measured(row["space"], row["clusters_of"]),
        label=score_in_words(name, row["of"]),
        observed=observed,
        clouds=clouds,
        count=number(row["replicates"]),
        excess=excess_in_words(name, row["excess"]) or NONE,
        p=p_in_words(row["p"]) or NONE,
    )


def labels_in_words(run: Compared) -> str:
    """How far clusters and embedding know the labels, in a sentence or two; '' where there are none."""
    if not run.has("label_structure") or not len(frame := run.table("label_structure")):
        return ""
    found = frame.set_index("name")
    parts = []
    if "ari" in found.index and math.isfinite(ari := found.loc["ari", "value"]):
        value = round(ari, 2) + 0.0  # no -0.00
        index = f"an adjusted Rand index of {value:.2f}{_by_chance(found, 'ari')}"
        parts.append(f"The clusters agree with the labels by {index}.")
    told = {"knn_accuracy": "from the five nearest images", "probe_accuracy": "by a linear probe"}
    known = [f"{found.loc[name, 'value']:.0%} {how}" for name, how in told.items() if name in found.index]
    if known:
        floor = found.loc["majority_share", "value"]
        parts.append(f"Labels told right: {', '.join(known)}; {floor:.0%} by always saying the most frequent.")
    return " ".join(parts)


def _by_chance(found: pd.DataFrame, name: str) -> str:
    mean = found.loc[name, "permuted_mean"]
    return f" (permuted labels: {mean:.2f})".replace("-0.00", "0.00") if math.isfinite(mean) else ""


def sampled(run: Compared) -> str:
    """On how many images it was measured, where not on all; '' else."""
    if not run.has("verdict"):
        return ""
    row = run.table("verdict").iloc[0]
    if row["images"] == row["of"]:
        return ""
    return f"Measured on {number(row['images'])} of {number(row['of'])} images; the run's own scores are those above."


def null_in_words(record: Mapping[str, Any]) -> str:
    """What each cloud has in common with the images, and whether it is a weak one to compare with."""
    kind = str(look_up(record, "config.significance.null_model", "gaussian"))
    weak = " (weak: images without clusters can exceed those too)" if kind in WEAK else ""
    return f"{CLOUDS[kind]}{weak}"
