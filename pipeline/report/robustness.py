"""Perturbed pixels in words, for the report and the console: what changes most, and what would not have shown it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.words import NONE, counted, is_missing, number, score
from pipeline.report.zero_shot import Tables, percent

CLEAN = "none"
_SETS = {
    "imagenet_c": "ImageNet-C (made for images of 224 pixels a side)",
    "cifar10_c": "CIFAR-10-C (made for images of 32 pixels a side)",
}
HEADS = ["perturbation", "severity", "images", "changed cluster", "95 % interval", "ARI with before",
         "cosine to before", "nearest to own class", "clustered anew: silhouette", "ARI with before"]  # fmt: skip


def rows(run: Tables) -> list[dict[str, Any]]:
    """Rows of `robustness_scores`: the images as they are first, then those perturbations that change most clusters.
    Empty where nothing was perturbed."""
    if not run.has("robustness_scores"):
        return []
    table = run.table("robustness_scores")
    perturbed = table[table["severity"] > 0].sort_values(["severity", "flip_rate"], ascending=False, kind="stable")
    return [*table[table["severity"] == 0].to_dict("records"), *perturbed.to_dict("records")]


def name(row: Mapping[str, Any]) -> str:
    """Of a perturbation, in words."""
    if row["perturbation"] == CLEAN:
        return "as they are"
    return "JPEG" if row["perturbation"] == "jpeg" else str(row["perturbation"]).replace("_", " ")


def span(row: Mapping[str, Any]) -> str:
    """The 95 % interval of the share that changed, '' where there is none."""
    low, high = row["flip_low"], row["flip_high"]
    return "" if is_missing(low) or is_missing(high) else f"{100 * low:.1f} to {percent(high)}"


def cells(run: Tables) -> list[list[str]]:
    """The same as texts, below HEADS."""
    return [
        [
            name(row),
            number(row["severity"]) if row["severity"] else NONE,
            number(row["images"]),
            percent(row["flip_rate"]),
            span(row) or NONE,
            *(score(row[key]) for key in ("ari", "cosine")),
            percent(row["accuracy"]),
            *(score(row[key]) for key in ("reclustered_silhouette", "reclustered_ari")),
        ]
        for row in rows(run)
    ]


def answer(run: Tables) -> str:
    """What changes most and by how much, in a sentence; '' where nothing was perturbed or there are no clusters."""
    found = [row for row in rows(run) if row["severity"] and not is_missing(row["flip_rate"])]
    if not found:
        return ""
    most, least = found[0], min(found, key=lambda row: row["flip_rate"])
    severity = most["severity"]
    text = (
        f"{percent(most['flip_rate'])} of the images change their cluster under {name(most)} of severity {severity}"
        + (f" (95 %: {ends})" if (ends := span(most)) else "")
    )
    if name(least) != name(most):
        text += f", {percent(least['flip_rate'])} under {name(least)}" + (
            "" if least["severity"] == severity else f" of severity {least['severity']}"
        )
    return f"{text}. {_accuracy(run, most)}".strip()


def _accuracy(run: Tables, most: Mapping[str, Any]) -> str:
    clean = rows(run)[0]["accuracy"]
    if is_missing(clean) or is_missing(most["accuracy"]):
        return ""
    return (
        f"Nearest to the centre of their own class are {percent(clean)} as they are, {percent(most['accuracy'])} then."
    )


def caution(run: Tables) -> str:
    """That the silhouette of clusters found anew does not tell; with this run's own numbers where they show it."""
    found = [row for row in rows(run) if not is_missing(row["reclustered_silhouette"])]
    text = (
        "Clustering the perturbed images anew says little: its silhouette can stay high (0.63, say) while most images "
        "(83 %) have changed sides"
    )
    perturbed = [row for row in found if row["severity"] and not is_missing(row["flip_rate"])]
    if not perturbed or found[0]["severity"]:
        return f"{text}."
    most = max(perturbed, key=lambda row: row["flip_rate"])
    return (
        f"{text}. Here, under {name(most)} of severity {most['severity']}, it is "
        f"{score(most['reclustered_silhouette'])} (as they are: {score(found[0]['reclustered_silhouette'])}), and "
        f"{percent(most['flip_rate'])} have changed."
    )


def protocol(run: Tables) -> str:
    """How it was done, in a sentence or two; '' where nothing was perturbed."""
    if not run.has("robustness_protocol"):
        return ""
    told = run.table("robustness_protocol").to_dict("records")[0]
    centre = told["rule"] == "centre"
    rule = "the nearest of the run's own centres" if centre else "the cluster of the nearest other image"
    text = (
        f"{counted(told['images'], 'image')}, perturbed as in {_SETS[told['definitions']]}, were embedded again, and "
        f"each was assigned to {rule}, in the {told['space']}"
    )
    text += f", because {told['why']}. " if told["why"] else ". "
    agrees = told["agrees"]
    return text + f"Assigned so as they are, {percent(agrees)} of them are in the run's own clusters."
