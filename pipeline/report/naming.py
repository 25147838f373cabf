"""Names of clusters and classes in words, for the report and the console."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.metrics.verdict import ALPHA, p_in_words
from pipeline.report.words import is_missing
from pipeline.report.zero_shot import Tables

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3  # names of a group in a line


def in_words(name: Any) -> str:
    """What a group's first name shows: a row of `group_names`, by keys.

    That some entry sets a group apart is little: parts of any cloud pass that. What counts is that no other group is
    nearer to this name.
    """
    said = []
    if not is_missing(name["p"]):
        small = "p < 0.001" if name["p"] < 0.001 else f"p = {p_in_words(name['p'])}"
        if name["p"] >= ALPHA:
            return f"no more than chance gives ({small})"
        said = [f"beats chance ({small})"]
    if not is_missing(name["margin"]):
        other = f"fits {name['runner_up']} {'better' if name['margin'] < 0 else 'as well'}"
        said.append("fits no other as well" if name["margin"] > 0 else f"but {other}" if said else other)
    return ", ".join(said)


def holds(name: Any) -> bool:
    """Whether a group's first name beats chance and fits no other group as well."""
    return not is_missing(name["p"]) and name["p"] < ALPHA and not (name["margin"] <= 0)


def firsts(run: Tables, kind: str) -> pd.DataFrame:
    """The first name of each cluster, or of each class: rows of `group_names`."""
    names = run.table("group_names")
    return names[(names["kind"] == kind) & (names["rank"] == 1)]


def short_lists(run: Tables, kind: str, entry: Callable[[object], str]) -> dict[str, str]:
    """Group -> its first three names, as `entry` writes them."""
    if not run.has("group_names"):
        return {}
    names = run.table("group_names")
    names = names[(names["kind"] == kind) & (names["rank"] <= SHOWN)]
    return {
        group: "; ".join(dict.fromkeys(map(entry, some["text"]))) for group, some in names.groupby("group", sort=False)
    }


def of_clusters(run: Tables, entry: Callable[[object], str]) -> dict[int, str]:
    """The same by the numbers of clusters."""
    return {int(group.removeprefix("cluster ")): text for group, text in short_lists(run, "cluster", entry).items()}


def answer(run: Tables, kind: str) -> str:
    """How many groups have a name that holds, in a sentence; '' where none was named."""
    if not run.has("group_names") or not len(first := firsts(run, kind)):
        return ""
    groups, unnamed = int(first["groups"].iloc[0]), int(first["groups"].iloc[0]) - len(first)
    if first["p"].isna().all():
        them = "this beats" if len(first) == 1 else "these beat"
        why = f"whether {them} chance was not asked (naming.permutations = 0)"
        return f"{_of(len(first), groups, kind)}; {why}."
    beyond = first[first["p"] < ALPHA]
    said = f"{_of(len(beyond), groups, kind)} that beats chance"
    if len(beyond) and not beyond["margin"].isna().all():
        said += f"; {_fitting(sum(holds(row) for row in beyond.to_dict('records')), len(beyond))}"
    return f"{said}; without any name: {unnamed}." if unnamed else f"{said}."


def _of(count: int, groups: int, kind: str) -> str:
    several = {"cluster": "clusters", "class": "classes"}[kind]
    if groups == 1:
        return f"The one {kind} has {'a' if count else 'no'} name"
    if count == groups:
        return f"{'Both' if groups == 2 else f'All {groups}'} {several} have a name"
    return f"{count or 'None'} of {groups} {several} {'have' if count > 1 else 'has'} a name"


def _fitting(alone: int, count: int) -> str:
    """How many of so many names fit no other group as well."""
    if count == 1:
        return "it fits no other as well" if alone else "it fits another as well"
    if alone in (0, count):
        return "none of these fits another as well" if alone else "each of these fits another as well"
    return f"{alone} of these fit{'s' if alone == 1 else ''} no other as well"
