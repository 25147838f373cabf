"""What may be compared with what, and which runs are set against each other."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.comparison.differences import differences, shown
from pipeline.comparison.entries import of_runs
from pipeline.comparison.pairs import pairs
from pipeline.comparison.words import not_compared, of_other_versions
from pipeline.comparison.writing import unfinished
from pipeline.report.privacy import Privacy
from tests.comparison.made import MadeRun, entries, run


def of(*runs: MadeRun) -> list[tuple[str, str]]:
    return [(pair.a.name, pair.b.name) for pair in pairs(entries(*runs))]


def test_what_is_the_same() -> None:
    one, other, moved, relabelled, bare = [
        entry.identity
        for entry in entries(
            run(0), run(1, encoder="openai"), run(2, ids=tuple("bcdefghijkla")), run(3, labels="xxxxxxyyyyyy"),
            run(4, contents=False, encoder="precomputed"),
        )
    ]  # fmt: skip
    assert one and other and moved and relabelled and bare
    assert one.same_images(other) and one.same_labels(other) and not one.same_embedding(other)
    assert not one.same_images(moved)
    assert one.same_images(relabelled) and not one.same_labels(relabelled)
    assert one.same_images(bare) and bare.same_images(one), "vectors without images are known by their ids"
    assert one.same_projection(one)
    one, other = (entry.identity for entry in entries(run(0, projection=None), run(1, projection=None)))
    assert one and other and not one.same_projection(other), "unseeded"
    assert one.same_embedding(other)
    assert entries(run(0, images=None))[0].identity is None


def test_tables_of_one_key_are_read_once() -> None:
    key: dict[str, Any] = {"record": {"stages": [{"name": "images", "key": "k"}]}, "projection": None}
    first, second = run(0, **key), run(1, images=pd.DataFrame({"id": []}), **key)
    one, other = entries(first, second)
    assert one.identity and other.identity and one.identity.ids == other.identity.ids != ()


def test_models_at_the_same_k() -> None:
    grid = [
        run(number, (f"encoder={encoder}", f"clustering.k={k}"), encoder=encoder, k=k)
        for number, (encoder, k) in enumerate((e, k) for e in ("none", "openai") for k in (2, 3))
    ]
    assert of(*grid) == [("0", "2"), ("1", "3")]
    assert [pair.first for pair in pairs(entries(*grid))] == [True, False]
    assert of(*grid[:2]) == [("0", "1")], "a single model: its numbers of clusters"
    grid[3].record["status"] = "failed"
    assert of(*grid) == [("0", "2")]


def test_protocols_with_a_k_each_are_compared_all_the_same() -> None:
    experiments = [run(i, (f"experiment=e{i}",), encoder=f"e{i}", k=k) for i, k in enumerate((6, 8, 10))]
    found = pairs(entries(*experiments))
    assert [(pair.a.name, pair.b.name) for pair in found] == [("0", "1"), ("0", "2"), ("1", "2")]
    assert not any(pair.same_k for pair in found)


def test_seeds_go_with_their_like_and_other_images_with_none() -> None:
    runs = [
        run(number, (f"encoder={encoder}", f"seed={seed}"), encoder=encoder)
        for number, (encoder, seed) in enumerate((e, s) for e in ("none", "openai") for s in (0, 1))
    ]
    assert of(*runs) == [("0", "2"), ("1", "3")]
    assert of(run(0, ("encoder=a",)), run(1, ("encoder=b",), ids=tuple("klm"))) == []


def test_many_models_are_compared_with_the_first() -> None:
    models = [run(i, (f"encoder=e{i}",), encoder=f"e{i}") for i in range(13)]
    assert len(of(*models[:12])) == 66
    assert of(*models) == [("0", str(i)) for i in range(1, 13)]


def test_a_page_shows_fewer_pairs_than_are_known() -> None:
    """Of more than six models those with the first; all of fewer."""
    models = [run(i, (f"encoder=e{i}",), encoder=f"e{i}") for i in range(7)]
    known = differences(entries(*models))
    some = shown(known, entries(*models))
    assert known.groupby(["a", "b"]).ngroups == 21
    assert some.groupby(["a", "b"]).ngroups == 6 and set(some["a"]) == {"0"}
    few = differences(entries(*models[:6]))
    assert len(shown(few, entries(*models[:6]))) == len(few)


@pytest.mark.parametrize(
    ("other", "said", "expected"),
    [
        ({"ids": tuple("klm")}, "job 1 and job 0: other images (3 images and 12 images, of which 2 have the", False),
        ({"labels": "xxxxxxyyyyyy"}, "job 1 and job 0: other labels: agreement with labels", False),
        ({"encoder": "b"}, "other encoders, so other spaces: raw silhouettes", True),
        ({"projection": "b"}, "projections made by other versions, or unseeded", False),
        ({"images": None}, "job 1: no images", False),
        ({"contents": False}, "taken for the same images by their ids alone", True),
    ],
)  # fmt: skip
def test_what_is_not_compared_is_said(other: dict[str, object], said: str, expected: bool) -> None:
    found = not_compared(entries(run(0), run(1, **other)))  # type: ignore[arg-type]
    assert said in found[0].text and found[0].expected == expected


def test_alike_runs_have_nothing_to_refuse() -> None:
    assert not_compared(entries(run(0), run(1))) == []
    assert of_other_versions(entries(run(0), run(1))) == []
    newer = run(1, record={"git": {"commit": "b" * 40}, "versions": {"numpy": "3.0"}})
    assert of_other_versions(entries(run(0), newer)) == ["clipscope aaaaaaaaa and bbbbbbbbb", "numpy 2.4.6 and 3.0"]


def test_runs_made_one_by_one_are_told_apart_by_their_settings() -> None:
    def made(encoder: dict[str, str], seed: int) -> MadeRun:
        config = {"encoder": encoder, "seed": seed, "clustering": {"name": "kmeans", "k": 3, "seed": seed}}
        return run(seed, record={"config": config})

    runs = [made({"name": "openai", "model": "ViT-B/32"}, 0), made({"name": "openai", "model": "RN50"}, 1),
            made({"name": "precomputed", "path": "/secret/x.npy"}, 2)]  # fmt: skip
    found = of_runs(runs, Privacy(()))  # type: ignore[arg-type]
    assert [entry.model for entry in found] == ["openai, ViT-B/32", "openai, RN50", "precomputed"]
    assert found[0].settings == {"encoder": "openai", "encoder.model": "ViT-B/32", "seed": "0"}
    runs.append(made({"name": "precomputed", "path": "/secret/y.npy"}, 3))
    assert of_runs(runs, Privacy(()))[2].model == "precomputed, x.npy"  # type: ignore[arg-type]
    twice = of_runs([run(0), run(1)], Privacy(()))  # type: ignore[list-item]
    assert [entry.model for entry in twice] == ["none, sweep/0", "none, sweep/1"], "the same settings on other days"
    hidden = [entry.model for entry in of_runs(runs, Privacy(("path",)))]  # type: ignore[arg-type]
    assert hidden == ["openai, ViT-B/32", "openai, RN50", "precomputed, (hidden) 1", "precomputed, (hidden) 2"]


def test_words_are_not_compared_with_those_of_runs_that_have_none() -> None:
    """Raw pixels know no texts: that is no other captions, and nothing to warn of."""
    classes = [pd.DataFrame({"class": list(names)}) for names in ("xy", "xz")]
    spoken = [
        run(i, encoder="openai", predictions=pd.DataFrame({"id": []}), zero_shot_classes=classes[of])
        for i, of in ((1, 0), (2, 0), (3, 1))
    ]
    assert all(line.expected for line in not_compared(entries(run(0), *spoken[:2])))
    said = [line.text for line in not_compared(entries(run(0), *spoken)) if not line.expected]
    assert said == [
        "job 3 and job 1: other captions or classes: zero-shot accuracy and retrieval are not compared between them."
    ]


def test_jobs_that_failed_for_the_same_reason_are_told_once() -> None:
    rows = pd.DataFrame(
        [
            (0, "k=2", "complete", ""), (1, "k=3", "failed", "no weights"), (2, "k=4", "killed", ""),
            (3, "k=5", "failed", "no weights"), (4, "k=6", "failed", "no weights"),
        ],
        columns=["job", "overrides", "status", "reason"],
    )  # fmt: skip
    assert unfinished(rows) == [
        "job 1 (k=3) and 2 more (3, 4): failed: no weights", "job 2 (k=4): killed",
    ]  # fmt: skip
