"""Published values beside the run's in words, for the report and the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.metrics.catalog import METRICS
from pipeline.report.words import NONE, counted, is_missing, score
from pipeline.report.zero_shot import Tables, ends

HEADS = ["score", "published", "measured", "95 % of single runs", "by chance", "verdict"]
MEANING = (
    "Measured: mean and standard deviation over runs with other seeds. Inside: the published value lies where 95 % of "
    "single runs do. By chance: what the same steps give where there is nothing to find: of clouds without clusters, "
    "permuted labels, or always the largest class."
)
_SPACES = {"projection": ", in the projection", "embedding": ", in the embedding"}


@dataclass(frozen=True)
class Block:
    """A published row. told: sentences about how far the protocol was kept; rows: texts below HEADS."""

    title: str
    source: str
    told: list[str]
    rows: list[list[str]]


def blocks(run: Tables) -> list[Block]:
    """A block for each published row that the run is compared with; empty where there is none."""
    if not run.has("experiment_scores"):
        return []
    table = run.table("experiment_scores")
    return [_block(of_row.to_dict("records")) for _, of_row in table.groupby(["experiment", "row"], sort=False)]


def _block(rows: list[dict[str, Any]]) -> Block:
    first = rows[0]
    own = first["experiment"] == "none"
    title = "repeated with other seeds" if own else f"{first['experiment']}: {first['row']}"
    return Block(title, _text(first["source"]), _told(first, own), [_cells(row) for row in rows])


def _told(row: Mapping[str, Any], own: bool) -> list[str]:
    lines = []
    if _text(row["differs"]):
        lines.append(f"The protocol differs: {row['differs']}.")
    elif not own:
        lines.append("By the published protocol.")
    if _text(row["notes"]):
        lines.append(f"{row['notes'][0].upper()}{row['notes'][1:]}.")
    if row["runs"] == 1 and row["over"] == "seeds":
        how = "experiment.repeats=5" if _text(row["differs"]) or own else f"experiment={row['experiment']}"
        lines.append(f"One run says nothing of chance: {how} repeats it.")
    elif row["over"] == "seeds":
        lines.append(f"{counted(row['runs'], 'run')} with different seeds.")
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    space, _, name = row["score"].rpartition("/")
    label = METRICS[name].label + _SPACES.get(space, "")
    spread = "" if is_missing(row["sd"]) else f" ± {score(row['sd'])}"
    span = ends(row) + (" (over images)" if row["over"] == "images" else "")
    verdict = NONE if row["verdict"] == "nothing published" else row["verdict"]
    return [label, score(row["published"]), score(row["mean"]) + spread, span or NONE, score(row["null_mean"]), verdict]


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)
