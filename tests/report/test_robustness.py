"""Perturbed pixels in words, and as methods."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.report import robustness
from pipeline.report.methods import methods_paragraph, protocol_lines

NAN = float("nan")


class Made:
    """A run with these scores: (perturbation, severity, flip rate, silhouette anew, accuracy)."""

    def __init__(self, *rows: tuple[str, int, float, float, float]) -> None:
        self.record: dict[str, Any] = {}
        scores = pd.DataFrame(rows, columns=["perturbation", "severity", "flip_rate", "silhouette", "accuracy"])
        scores = scores.rename(columns={"silhouette": "reclustered_silhouette"})
        told = {"images": 200, "flip_low": scores["flip_rate"] - 0.05, "flip_high": scores["flip_rate"] + 0.05}
        protocol = {"images": 200, "definitions": "imagenet_c", "space": "embedding", "rule": "neighbour"}
        self.tables = {
            "robustness_scores": scores.assign(ari=0.5, cosine=0.9, reclustered_ari=0.4, **told),
            "robustness_protocol": pd.DataFrame([protocol | {"agrees": 0.97, "why": "gmm has no centres"}]),
        }

    def has(self, name: str) -> bool:
        return name in self.tables

    def table(self, name: str) -> pd.DataFrame:
        return self.tables[name]


def test_the_worst_is_said_beside_what_would_not_have_shown_it() -> None:
    run = Made(("none", 0, 0, 0.6, 0.9), ("jpeg", 3, 0.1, 0.61, 0.85), ("gaussian_blur", 3, 0.83, 0.63, 0.2))
    assert robustness.answer(run) == (
        "83.0 % of the images change their cluster under gaussian blur of severity 3 (95 %: 78.0 to 88.0 %), 10.0 % "
        "under JPEG. Nearest to the centre of their own class are 90.0 % as they are, 20.0 % then."
    )
    assert robustness.caution(run).endswith(
        "Here, under gaussian blur of severity 3, it is 0.630 (as they are: 0.600), and 83.0 % have changed."
    )
    assert [row[0] for row in robustness.cells(run)] == ["as they are", "gaussian blur", "JPEG"]
    assert robustness.protocol(run) == (
        "200 images, perturbed as in ImageNet-C (made for images of 224 pixels a side), were embedded again, and each "
        "was assigned to the cluster of the nearest other image, in the embedding, because gmm has no centres. "
        "Assigned so as they are, 97.0 % of them are in the run's own clusters."
    )


def test_without_labels_clusters_or_anything() -> None:
    unlabelled = Made(("none", 0, 0, NAN, NAN), ("jpeg", 3, 0.1, NAN, NAN))
    assert "class" not in robustness.answer(unlabelled) and "Here" not in robustness.caution(unlabelled)
    none = Made(("none", 0, NAN, NAN, 0.9), ("jpeg", 3, NAN, NAN, 0.8))
    assert robustness.answer(none) == "" and robustness.cells(none)[1][3] == "–"
    empty = Made()
    empty.tables = {}
    assert robustness.cells(empty) == [] and robustness.protocol(empty) == ""


def test_methods_cite_the_definitions_and_own_what_is_ours() -> None:
    chosen = {"perturbations": ["jpeg", "occlusion"], "severities": [1, 3], "images": 200, "definitions": "imagenet_c"}
    record: dict[str, Any] = {
        "stages": [{"name": "robustness", "status": "done"}],
        "config": {"robustness": chosen | {"resamples": 1000, "seed": 0}},
        "images": {"read": 5000},
    }
    paragraph, references = methods_paragraph(record)
    assert "(JPEG compression, occlusion, severities 1, 3; parameters of ImageNet-C [1]; occlusion hides" in paragraph
    assert "random sample of 200 images" in paragraph and "Hendrycks" in references[0] and "Efron" in references[1]
    assert protocol_lines(record)[0].startswith("Robustness: the pixels of a random sample of 200 images")
    record["images"] = {"read": 150, "grouped": True}
    record["config"]["robustness"]["perturbations"] = ["jpeg"]
    assert "all images" in methods_paragraph(record)[0] and "hides" not in methods_paragraph(record)[0]
    assert "Davison" in methods_paragraph(record)[1][1]
