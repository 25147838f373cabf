"""Verdicts on published values, from tables made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import schema as s
from pipeline.stage import Facts, Workspace
from pipeline.stages import experiment as stage
from tests.making import settings

SILHOUETTE, NMI, TOP1 = "cluster_metrics/projection/silhouette", "cluster_metrics/labels/nmi", "zero_shot/top1"


def compared(scores: dict[str, float | None], differs: Any = (), **row: Any) -> s.Comparison:
    known = s.PublishedRow("a row", {}, row.get("images"), row.get("classes"), scores)
    return s.Comparison("mine", "a paper", 3, known, [s.Difference(*one) for one in differs], [])


def judged(*told: s.Comparison, name: str = "mine", identity: Any = None, **tables: Any) -> pd.DataFrame:
    """images: ten of two classes; silhouettes 0.40 and, repeated, 0.42 and 0.44; NMI 0.5, not repeated."""
    images = pd.DataFrame({"label": ["a", "b"] * 5})
    given = {
        "cluster_scores": scores(("projection", "silhouette", 0.40), ("labels", "nmi", 0.5)),
        "clustering_summary": pd.DataFrame({"name": ["k"], "value": [2.0]}),
        "repeat_scores": scores(("projection", "silhouette", 0.42), ("projection", "silhouette", 0.44)),
        **dict.fromkeys(("null_scores", "label_structure", "zero_shot_scores")),
    } | tables
    chosen = s.ExperimentSettings(name, None, None, 3, 3, None, [], list(told))
    made = stage.run(settings(experiment=chosen), Workspace(Path()), images, identity or {}, **given)
    return made["experiment_scores"]


def scores(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["space", "name", "value"])


def only(table: pd.DataFrame) -> dict[str, Any]:
    (row,) = table.to_dict("records")
    return row


def test_a_published_value_among_the_runs() -> None:
    row = only(judged(compared({SILHOUETTE: 0.45}, images=10, classes=2)))
    assert (row["score"], row["runs"], row["over"]) == ("projection/silhouette", 3, "seeds")
    assert (row["mean"], row["sd"]) == (pytest.approx(0.42), pytest.approx(0.02))
    assert row["high"] == pytest.approx(0.42 + 4.302653 * 0.02 * math.sqrt(4 / 3))  # t(0.975, 2)
    assert (row["verdict"], row["differs"]) == ("inside", "")


def test_one_beyond_them() -> None:
    assert only(judged(compared({SILHOUETTE: 0.60})))["verdict"] == "outside"


def test_one_run_and_nothing_published() -> None:
    assert only(judged(compared({NMI: 0.5})))["verdict"] == "one run"
    row = only(judged(compared({SILHOUETTE: None})))
    assert row["verdict"] == "nothing published" and math.isnan(row["published"])


def test_settings_that_differ_are_said_and_leave_no_other_verdict() -> None:
    differs = [("clustering.k", None, 6), ("encoder.normalize", True, False), ("dataset.splits", ["train"], ["test"])]
    row = only(judged(compared({SILHOUETTE: 0.45}, differs, images=9827, classes=5)))
    assert row["verdict"] == "protocol differs"
    assert row["differs"] == (
        "clustering.k = 2, not 6; encoder.normalize = true, not false; dataset.splits = [train], not [test]; "
        "10 images, not 9,827; 2 classes, not 5"
    )


def test_a_number_of_clusters_that_comes_out_the_same_is_no_difference() -> None:
    assert only(judged(compared({SILHOUETTE: 0.45}, [("clustering.k", 2, None)], classes=2)))["verdict"] == "inside"
    assert only(judged(compared({SILHOUETTE: 0.45}, [("clustering.k", None, 2)])))["verdict"] == "inside"
    row = only(judged(compared({SILHOUETTE: 0.45}, [("clustering.k", 2, None)], classes=3)))
    assert row["differs"] == "clustering.k = 2, not 3; 2 classes, not 3"


def of_model(name: str, *differs: Any) -> s.Comparison:
    """A row of this model, of a run that leaves to its weights which model it is."""
    row = s.PublishedRow(name, {"encoder.model": name}, scores={SILHOUETTE: 0.45})
    told = [s.Difference(*one) for one in (("encoder.model", None, name), *differs)]
    return s.Comparison("mine", "a paper", 3, row, told)


def weights(model: str, published: bool = False) -> dict[str, Any]:
    return {"model": model, "weights": ["w.pt"], "published": published}


def test_the_row_is_that_of_the_model_that_the_weights_are_of() -> None:
    table = judged(of_model("RN50"), of_model("ViT-B/32"), of_model("RN50x4"), identity=weights("ViT-B/32", True))
    row = only(table)
    assert (row["row"], row["verdict"], row["differs"], row["notes"]) == ("ViT-B/32", "inside", "", "")


def test_weights_of_a_model_without_a_row() -> None:
    row = only(judged(of_model("RN50"), of_model("RN101"), identity=weights("ViT-L/14")))
    assert (row["row"], row["verdict"], row["differs"], row["notes"]) == (
        "RN50", "protocol differs", "encoder.model = ViT-L/14, not RN50", "",
    )  # fmt: skip
    assert judged(of_model("RN50"), name="none", identity=weights("ViT-L/14")).empty  # it was not asked for


def test_repetitions_are_told_where_the_weights_are_of_no_published_row() -> None:
    own = s.Comparison("none", "", 3, s.PublishedRow("own", scores={SILHOUETTE: None}))
    given = {"name": "none", "repeat_scores": scores(("projection", "silhouette", 0.42))}
    row = only(judged(of_model("RN50"), own, identity=weights("ViT-L/14"), **given))
    assert (row["row"], row["runs"], row["verdict"]) == ("own", 2, "nothing published")
    assert only(judged(of_model("RN50"), own, identity=weights("RN50"), **given))["row"] == "RN50"
    assert only(judged(of_model("RN50"), own, **given))["row"] == "own"  # vectors of a finished run


def test_a_difference_in_the_model_that_was_named_is_kept() -> None:
    """Whatever the experiment is called: it was the user's."""
    named = compared({SILHOUETTE: 0.45}, [("encoder.model", "RN50", "ViT-B/32")])
    row = only(judged(named, name="none", identity=weights("RN50")))
    assert row["differs"] == "encoder.model = RN50, not ViT-B/32"


def test_weights_that_only_claim_to_be_published_are_told() -> None:
    """Their name and form are not their numbers; and another protocol needs no such word."""
    row = only(judged(of_model("ViT-B/32"), identity=weights("ViT-B/32")))
    assert (row["verdict"], row["notes"]) == (
        "inside", "the weights (w.pt) are not known to be the published ones, by their hash or as the hub's",
    )  # fmt: skip
    kind = ("encoder.kind", "timm", "openai")
    assert only(judged(of_model("ViT-B/32", kind), identity=weights("ViT-B/32")))["notes"] == ""


def test_beside_what_chance_gives() -> None:
    nulls = pd.DataFrame(
        {"space": ["projection"] * 2, "name": ["silhouette", "calinski_harabasz"], "null_mean": [0.3, 9.0], "images": 5}
    )
    permuted = pd.DataFrame({"name": ["nmi"], "permuted_mean": [0.01]})
    found = scores(("projection", "silhouette", 0.4), ("projection", "calinski_harabasz", 50.0), ("labels", "nmi", 0.5))
    told = compared({SILHOUETTE: 0.4, "cluster_metrics/projection/calinski_harabasz": 40.0, NMI: 0.5})
    table = judged(told, cluster_scores=found, null_scores=nulls, label_structure=permuted).set_index("score")
    assert table["null"].tolist() == ["clouds without clusters", "", "permuted labels"]
    assert table["null_mean"].tolist()[::2] == [0.3, 0.01]
    assert math.isnan(table["null_mean"]["projection/calinski_harabasz"])  # which grows with n: not that of a sample


def test_zero_shot_goes_by_its_interval_over_images() -> None:
    found = pd.DataFrame(
        [("top1", 0.90, 0.88, 0.92), ("majority", 0.1, math.nan, math.nan)], columns=["name", "value", "low", "high"]
    )
    row = only(judged(compared({TOP1: 0.8983}), zero_shot_scores=found))
    assert (row["verdict"], row["over"], row["null_mean"]) == ("inside", "images", 0.1)
    assert only(judged(compared({TOP1: 0.95}), zero_shot_scores=found))["verdict"] == "outside"


def test_what_was_not_measured_has_no_row() -> None:
    assert judged(compared({TOP1: 0.9})).empty
    assert judged(compared({SILHOUETTE: 0.4}), cluster_scores=None).empty
    assert stage.metrics({"experiment_scores": judged(compared({TOP1: 0.9}))}) == {}


def test_metrics_are_those_of_the_first_row() -> None:
    table = judged(compared({SILHOUETTE: 0.45}), s.Comparison("other", "", 3, s.PublishedRow(scores={SILHOUETTE: 9.0})))
    numbers = stage.metrics({"experiment_scores": table})
    assert numbers["projection/silhouette/published"] == 0.45
    assert set(numbers) == {f"projection/silhouette/{name}" for name in ("published", "mean", "sd", "low", "high")}


def test_what_an_experiment_cannot_do_without() -> None:
    def chosen(name: str, *told: s.Comparison) -> Any:
        return settings(experiment=s.ExperimentSettings(name, None, None, 3, 1, None, [], list(told)))

    assert stage.requires(chosen("mine", compared({NMI: 0.5}))) == ("cluster_scores",)
    assert stage.requires(chosen("mine", compared({TOP1: 0.5}))) == ("zero_shot_scores",)
    assert stage.requires(chosen("none", compared({NMI: 0.5}))) == ()
    assert stage.refuse(Facts(3, ()), chosen("none")) == "experiment=none"
    assert stage.refuse(Facts(3, ()), chosen("mine")) == "experiment=mine has no published values"
