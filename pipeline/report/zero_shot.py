"""Zero-shot classes in words, for the report and the console: how often right, how sure, what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.report.words import NONE, is_missing, number, score

if TYPE_CHECKING:
    import pandas as pd


class Tables(Protocol):
    """What is needed of a run; `pipeline.run_dir.Run` has it."""

    record: dict[str, Any]

    def has(self, name: str) -> bool: ...

    def table(self, name: str) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Row:
    """A score as text. name: in the catalogue of metrics; floor: what needs no images to be reached."""

    name: str
    value: str
    interval: str
    floor: str


def _scores(run: Tables) -> dict[str, dict[str, float]]:
    """name -> value, low, high; empty where nothing was scored."""
    if not run.has("zero_shot_scores"):
        return {}
    return {row["name"]: row for row in run.table("zero_shot_scores").to_dict("records")}


def percent(value: Any) -> str:
    """A share of 1, with one decimal.

    >>> percent(0.9725), percent(float("nan"))
    ('97.2 %', '–')
    """
    return NONE if is_missing(value) else f"{100 * float(value):.1f} %"


def ends(row: Mapping[str, Any], low: str = "low", high: str = "high") -> str:
    """A 95 % interval, '' where there is none."""
    return "" if is_missing(row[low]) or is_missing(row[high]) else f"{score(row[low])} to {score(row[high])}"


def rows(run: Tables) -> list[Row]:
    """The scores of all images together; empty where none was scored."""
    found = _scores(run)
    if not found:
        return []
    value = {name: row["value"] for name, row in found.items()}
    chance = score(value["chance1"])
    floors = {
        "top1": f"largest class {score(value['majority'])}, guesses {chance}",
        "top5": f"guesses {score(value['chance5'])}",
        "macro": f"guesses {chance}",
        "ece": f"up to {score(found['calibrated_ece']['high'])} by chance alone",
    }
    shown = [name for name in ("top1", "top5", "macro", "ece", "adaptive_ece") if not is_missing(value[name])]
    return [Row(name, score(value[name]), ends(found[name]), floors.get(name, "")) for name in shown]


def answer(run: Tables) -> str:
    """The result in a sentence, '' where nothing was scored.

    Accuracy never stands alone: the share of the largest class is beside it.
    """
    found = _scores(run)
    if not found:
        return ""
    top1 = found["top1"]
    span = "" if is_missing(top1["low"]) else f" (95 %: {percent(top1['low'])} to {percent(top1['high'])})"
    one = found["images"]["value"] == 1
    called = "image is called by its own class" if one else "images are called by their own class"
    return (
        f"{percent(top1['value'])}{span} of {number(found['images']['value'])} {called}, "
        f"of {number(found['classes']['value'])}; always saying the most frequent class gives "
        f"{percent(found['majority']['value'])}, guessing {percent(found['chance1']['value'])}."
    )


def calibration(run: Tables) -> str:
    """Whether probabilities say how often a prediction is right; '' where nothing was scored."""
    found = _scores(run)
    if not found or is_missing(found["ece"]["value"]):
        return ""
    ece, chance = found["ece"]["value"], found["calibrated_ece"]["high"]
    beyond, error = found["overconfidence"]["value"], score(ece)
    if ece <= chance:
        return (
            "No evidence of miscalibration: a model that is right exactly as often as it says would show an error "
            f"(ECE) of up to {score(chance)} with so many images, and this one shows {error}."
        )
    if abs(beyond) < ece / 2:
        return f"Its probabilities are too high in places and too low in others: they are off by {error} (ECE)."
    kind, than = ("over", "above") if beyond > 0 else ("under", "below")
    return (
        f"Its probabilities are {kind}confident by {score(abs(beyond))}: on average so far {than} the share that is "
        f"right (ECE {error}; {score(chance)} could be chance)."
    )


def withheld(run: Tables) -> list[str]:
    """What 'none of these' does, a sentence each."""
    found, lines = _scores(run), []
    if "called_none" in found:
        lines.append(f"Called ‘none of these’: {percent(found['called_none']['value'])} of all images.")
    if "coverage" in found:
        value = {name: found[name]["value"] for name in ("coverage", "accuracy", "named_outside")}
        said = f"At the threshold {percent(value['coverage'])} of the scored images are named"
        said += "" if is_missing(value["accuracy"]) else f", {percent(value['accuracy'])} of these rightly"
        if not is_missing(value["named_outside"]):
            outside = percent(value["named_outside"])
            said += f"; of images of other classes {outside} are named all the same, always wrongly"
        lines.append(f"{said}.")
    return lines


def confusions(run: Tables) -> pd.DataFrame | None:
    """Wrong pairs, the most frequent first: label, predicted, images, share (of the label's images); None where nothing
    was scored."""
    if not run.has("zero_shot_confusion"):
        return None
    pairs = run.table("zero_shot_confusion")
    wrong = pairs[pairs["label"] != pairs["predicted"]]
    of_label = dict(zip(*(run.table("zero_shot_classes")[name] for name in ("class", "images")), strict=True))
    return wrong.assign(share=[n / of_label[label] for label, n in zip(wrong["label"], wrong["images"], strict=True)])
