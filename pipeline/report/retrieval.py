"""Retrieval scores in words, for the report and the console."""

from __future__ import annotations

from typing import Any

from pipeline.report.words import NONE, number, score
from pipeline.report.zero_shot import Tables, ends

AT = (1, 5, 10)
HEADS = ["given", "equal captions of other images", "queries", "candidates", *(f"recall at {k} (95 %)" for k in AT),
         "by chance", "median rank (95 %)", "mean rank"]  # fmt: skip
_WAYS = {"image_to_text": "an image, its caption", "text_to_image": "a caption, its image"}
_JUDGED = {"shared": "right", "strict": "wrong"}


def found(run: Tables) -> list[dict[str, Any]]:
    """A row of `retrieval_scores` for each way and way of judging, with `given` and `judged` in words; equal captions
    judged one way only where that makes no difference. Empty where nothing was measured."""
    if not run.has("retrieval_scores"):
        return []
    rows = run.table("retrieval_scores").to_dict("records")
    alike = _alike(rows)
    return [
        row | {"given": _WAYS[row["way"]], "judged": NONE if alike else _JUDGED[row["judged"]]}
        for row in rows
        if row["judged"] == "shared" or not alike
    ]


def _alike(rows: list[dict[str, Any]]) -> bool:
    names = (*(f"recall_at_{k}" for k in AT), "median_rank", "mean_rank")
    return len({(row["way"], *(row[name] for name in names)) for row in rows}) == len({row["way"] for row in rows})


def cells(run: Tables) -> list[list[str]]:
    """The same as texts, below HEADS."""
    return [
        [
            row["given"],
            row["judged"],
            number(row["queries"]),
            number(row["candidates"]),
            *(recall(row, k) for k in AT),
            " / ".join(score(row[f"chance_at_{k}"]) for k in AT),
            _median(row),
            number(row["mean_rank"], 1),
        ]
        for row in found(run)
    ]


def recall(row: dict[str, Any], k: int) -> str:
    """Recall at k, with its interval."""
    name = f"recall_at_{k}"
    span = ends(row, f"{name}_low", f"{name}_high")
    return score(row[name]) + (f" ({span})" if span else "")


def _median(row: dict[str, Any]) -> str:
    middle, low, high = (number(row[name], 1) for name in ("median_rank", "median_low", "median_high"))
    return middle if NONE in (low, high) else f"{middle} ({low} to {high})"
