"""Paired differences: the numbers, and why there is no interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from pipeline.comparison.differences import differences
from tests.comparison.made import HALVES, entries, run


def table(*runs: Any) -> pd.DataFrame:
    return differences(entries(*runs)).set_index("score")


def two(**other: Any) -> pd.DataFrame:
    one = run(0, ("encoder=a",), encoder="a", ari=0.6, silhouette=0.5, cloud=0.2, halves=(0.0, 0.1, 0.2, 0.1))
    return table(one, run(1, ("encoder=b",), encoder="b", ari=0.5, silhouette=0.9, cloud=0.7, **other))


def test_label_scores_over_the_shared_halves() -> None:
    row = two().loc["labels/ari"]
    of_halves = 0.6 + np.array([0.0, 0.1, 0.2, 0.1]) - 0.5 - np.array([0.0, 0.1, -0.1, 0.05])
    reach = t.ppf(0.975, 3) * of_halves.std(ddof=1)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.1, 0.1 - reach, 0.1 + reach))
    assert (row["over"], row["count"], row["better"], row["note"]) == ("half-samples", 4, "higher", "")


def test_excess_has_the_error_of_both_ones_clouds() -> None:
    row = two().loc["embedding/silhouette_cosine/excess"]
    of_halves = np.array([0.0, 0.1, 0.2, 0.1]) - np.array([0.0, 0.1, -0.1, 0.05])
    spread = np.sqrt(of_halves.var(ddof=1) + 2 * 0.02**2 / 5)
    assert row["difference"] == pytest.approx(0.3 - 0.2)
    assert row["high"] - row["difference"] == pytest.approx(t.ppf(0.975, 3) * spread)


def test_raw_scores_only_within_one_space() -> None:
    assert not {"embedding/silhouette_cosine", "projection/silhouette"} & set(two().index)
    ks = table(run(0, ("clustering.k=3",), k=3), run(1, ("clustering.k=4",), k=4, silhouette=0.4))
    assert ks.loc["embedding/silhouette_cosine", "difference"] == pytest.approx(-0.1)
    assert ks.loc["projection/silhouette", "count"] == 4
    assert "labels/nmi" not in ks.index, "it grows with k"
    assert "labels/nmi" in two().index


@pytest.mark.parametrize(
    ("other", "count", "note"),
    [
        ({"rows": np.arange(12)[::-1]}, 0, "no interval: their half-samples are of other images"),
        ({"half_rows": ~HALVES[:3]}, 0, "no interval: they share fewer than two half-samples"),
        ({"half_rows": np.concatenate([HALVES[:3], ~HALVES])}, 3, ""),
        ({"half_scores": None, "half_label_scores": None}, 0, "no interval: 1 has no half-samples"),
    ],
)
def test_halves_that_are_not_shared(other: dict[str, Any], count: int, note: str) -> None:
    found = two(**other).loc["labels/ari"]
    assert found["difference"] == pytest.approx(0.1)
    assert found["count"] == count and np.isfinite(found["low"]) == (count > 0)
    assert found["note"].startswith(note)


def test_what_is_lost_with_labels_and_clusters() -> None:
    assert not [key for key in two(labels="xxxxxxyyyyyy").index if key.startswith("labels/")]
    same = run(1, ("prompts=b",))
    same.record["stages"][1]["key"] = "clusters of 0"
    assert not len(table(run(0, ("prompts=a",)), same)), "the same clusters of the same vectors: nothing differs"
    assert not len(two(null_scores=None, labels="xxxxxxyyyyyy"))


def test_scores_without_clusters_come_once_and_without_interval() -> None:
    auc = {"class_distances/separation/all/auc": 0.7, "label_structure/knn_accuracy": 0.6}
    runs = [
        run(number, (f"encoder={e}", f"clustering.k={k}"), encoder=e, k=k, metrics=auc | {"x": 1.0})
        for number, (e, k) in enumerate((e, k) for e in "ab" for k in (2, 3))
    ]
    found = table(*runs)
    assert (found.index == "class_distances/separation/all/auc").sum() == 1
    row = found.loc["label_structure/knn_accuracy"]
    assert row["difference"] == 0 and np.isnan(row["low"]) and np.isnan(row["k_a"])
    assert row["note"].startswith("no interval: it is not known of half-samples")


def answered(right: str, ranks: str) -> dict[str, Any]:
    ids = list("abcdefghijkl")
    known = pd.array([{"1": True, "0": False}.get(c) for c in right], dtype="boolean")
    return {
        "predictions": pd.DataFrame({"id": ids, "right": known}),
        "retrieval_ranks": pd.DataFrame({"id": ids, "caption_rank": [int(c) for c in ranks], "image_rank": 1}),
        "zero_shot_classes": pd.DataFrame({"class": ["x", "y"]}),
    }


def test_zero_shot_and_retrieval_image_by_image() -> None:
    found = table(
        run(0, ("encoder=a",), encoder="a", **answered("11111111110-", "111111111111")),
        run(1, ("encoder=b",), encoder="b", **answered("111110000000", "222222222222")),
    )
    row = found.loc["zero_shot/top1"]
    assert row["difference"] == pytest.approx(5 / 11) and row["count"] == 11 and row["over"] == "images"
    assert 0 < row["low"] < 5 / 11 < row["high"] < 1
    assert found.loc["retrieval/image_to_text/recall_at_1", "difference"] == 1
    assert found.loc["retrieval/text_to_image/recall_at_1", "difference"] == 0
    other = answered("1" * 12, "1" * 12) | {"zero_shot_classes": pd.DataFrame({"class": ["x", "z"]})}
    unlike = table(run(0, ("encoder=a",), encoder="a", **answered("1" * 12, "1" * 12)),
                   run(1, ("encoder=b",), encoder="b", **other))  # fmt: skip
    assert not [key for key in unlike.index if key.startswith("zero_shot")], "other classes"


def test_a_sample_of_the_images_is_said() -> None:
    verdict = pd.DataFrame([{"verdict": "weak", "excess": 0.1, "p": 0.1, "gap": 1.0, "score": "silhouette_cosine",
                             "images": 2000, "of": 9000}])  # fmt: skip
    found = table(run(0, ("encoder=a",), encoder="a", verdict=verdict), run(1, ("encoder=b",), encoder="b"))
    assert found.loc["labels/ari", "note"].startswith("half-samples of 2,000 images, not of all")


def test_silhouettes_of_one_kind_though_verdicts_rest_on_two() -> None:
    verdict = pd.DataFrame([{"verdict": "weak", "excess": 0.1, "p": 0.1, "gap": 1.0, "score": "silhouette_euclidean",
                             "images": 12, "of": 12}])  # fmt: skip
    assert two(verdict=verdict).loc["embedding/silhouette_cosine/excess", "note"].startswith("by cosine for both")
    assert two().loc["embedding/silhouette_cosine/excess", "note"] == ""
