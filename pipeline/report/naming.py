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
        said.append("fits no other as well" if name["margin"] > 0 else f"but fits {name['runner_up']} as well")
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
    count, several = len(first), {"cluster": "clusters", "class": "classes"}[kind]
    if first["p"].isna().all():
        return f"{count} {several} have names; whether these beat chance was not asked (naming.permutations = 0)."
    held = sum(holds(row) for row in first.to_dict("records"))
    beyond = int((first["p"] < ALPHA).sum())
    said = f"{beyond} of {count} {several} {'has' if beyond == 1 else 'have'} a name that beats chance"
    return f"{said}; names of these that fit no other as well: {held}." if beyond else f"{said}."
