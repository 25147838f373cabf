"""The table of a comparison: a row for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.comparison.entries import Entry, is_seed
from pipeline.comparison.identity import same_columns
from pipeline.comparison.scores import COMPARED
from pipeline.report.privacy import Privacy

NULLS = ("excess", "null_mean", "null_sd", "null_low", "null_high")
GROUPS = ("dataset", "encoder", "projection")


def rows(entries: Sequence[Entry], reports: Sequence[str], privacy: Privacy) -> pd.DataFrame:
    """job, status, reason, the settings that vary, what it was, how long it took, its verdict, its scores, and of each
    of these the clouds'."""
    noise = {entry.name: entry.run.metrics.get("clustering/noise_share", 0.0) for entry in entries}
    found = []
    for entry, report in zip(entries, reports, strict=True):
        config = entry.run.record.get("config") or {}
        chosen = {group: (config.get(group) or {}).get("name") for group in GROUPS}
        metrics = entry.run.metrics
        found.append(
            {
                "job": entry.number,
                **({} if entry.name == str(entry.number) else {"run": entry.name}),
                "status": entry.run.record["status"],
                "reason": privacy.text(entry.run.record.get("reason") or ""),
                **entry.settings,
                **{key: value for key, value in chosen.items() if key not in entry.settings},
                "k": entry.k,
                "model": entry.model,
                "images": metrics.get("images/read"),
                **({"noise": f"{noise[entry.name]:.1%}"} if any(noise.values()) else {}),
                **(_verdict(entry) if any(other.run.has("verdict") for other in entries) else {}),
                "seconds": entry.run.record.get("seconds"),
                "report": report,
                "overrides": entry.overrides,
                **{key: value for key, value in metrics.items() if key.startswith(COMPARED)},
                **_nulls(entry),
            }
        )
    same = same_columns([entry.identity for entry in entries])
    return pd.concat([pd.DataFrame(found), same], axis=1)


def _verdict(entry: Entry) -> dict[str, Any]:
    """The verdict and what it rests on."""
    table = entry.table("verdict")
    found: Any = {} if table is None else table.iloc[0]
    return {name: found.get(name) for name in ("verdict", "excess", "p", "gap")}


def _nulls(entry: Entry) -> dict[str, float]:
    """<key of the score>/<name> for each of NULLS, of the run's own clusters."""
    table = entry.table("null_scores")
    if table is None:
        return {}
    numbers: dict[str, float] = {}
    for row in table.drop_duplicates(["space", "name"]).to_dict("records"):
        key = f"cluster_metrics/{row['space']}/{row['name']}"
        if key in entry.run.metrics:
            numbers |= {f"{key}/{name}": row[name] for name in NULLS}
    return numbers


def over_seeds(table: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """A row for each model and number of clusters: complete runs that differ in their seeds only, together. Numbers are
    means; `<column>/sd` their standard deviations where there are several; seeds: how many."""
    done = [place for place, entry in enumerate(entries) if entry.complete]
    settings = [key for key in (entries[0].settings if entries else {}) if not is_seed(key)]
    made = []
    by: dict[tuple[Any, ...], list[int]] = {}
    for place in done:
        entry = entries[place]
        of = tuple(entry.settings[key] for key in settings)
        same = table.loc[place, "same_images"]
        by.setdefault((-1.0 if math.isnan(same) else same, entry.model, *of), []).append(place)
    for places in by.values():
        part = table.loc[places]
        row = part.iloc[0].to_dict()
        numeric = [name for name in part if "/" in str(name) or name in ("excess", "gap", "k")]
        for name in numeric if len(places) > 1 else ():
            values = pd.to_numeric(part[name]).dropna()
            row[name] = values.mean()
            row[f"{name}/sd"] = values.std(ddof=1)
        if len(places) > 1 and "verdict" in part:
            counts = part["verdict"].value_counts()
            row["verdict"] = " / ".join(f"{count} {level}" for level, count in counts.items())
        made.append(row | {"seeds": len(places)})
    return pd.DataFrame(made)
