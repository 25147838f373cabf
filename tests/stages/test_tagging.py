"""Tags, against products written out by hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import RunError
from pipeline.stage import Drawing
from pipeline.stages import text_index
from pipeline.stages.tagging import STAGE
from tests.stages.words import cloud, entries, run, section, table_of, unit

WORDS = {"right": (1, 0), "up": (0, 1), "left": (-1, 0), "down": (0, -1)}
IMAGES = np.array([(3, 1), (1, 2), (-5, 0.1), (2, 0)], np.float32)


def tagged(
    folder: Path, vectors: np.ndarray = IMAGES, words: dict[str, Any] | None = None, labels: Sequence[Any] = (),
    categories: Sequence[str] | None = None, clusters: np.ndarray | None = None, table: pd.DataFrame | None = None,
    index: Any = None, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    words = words or WORDS
    texts, embeddings = entries(list(words), categories), unit(list(words.values()))
    given = {"tagging": section("tagging", **changes), "index": section("index", **(index or {}))}
    built = run(text_index.STAGE, folder / "index", given, texts=texts, text_embeddings=embeddings)["text_index"]
    table = table_of(labels or [None] * len(vectors)) if table is None else table
    needs = {"images": table, "image_embeddings": vectors, "texts": texts, "text_embeddings": embeddings}
    return run(STAGE, folder / "work", given, **needs, text_index=built, clusters=clusters)


def of(made: dict[str, Any]) -> dict[str, list[str]]:
    return made["tags"].groupby("id")["text"].agg(list).to_dict()


def test_by_hand(tmp_path: Path) -> None:
    made = tagged(tmp_path, k=2, categories=["x.txt", "y.txt", "x.txt", "y.txt"])
    assert of(made) == {
        "image 0": ["right", "up"], "image 1": ["up", "right"], "image 2": ["left", "up"], "image 3": ["right", "up"]
    }  # fmt: skip
    tags = made["tags"]
    assert tags["rank"].tolist() == [1, 2] * 4
    assert tags["category"].tolist()[:2] == ["x.txt", "y.txt"]
    np.testing.assert_allclose(tags["score"][:2], np.array([3, 1]) / 10**0.5, rtol=1e-6)
    counts = made["tag_counts"].set_index("text")
    assert counts["images"].to_dict() == {"up": 4, "right": 3, "left": 1}
    assert counts["share"]["right"] == 0.75
    hub = made["hubness"].iloc[0]
    assert (hub["way"], hub["top_text"], hub["top_share"], hub["unused"]) == ("cosine", "up", 0.5, 0.25)
    assert STAGE.metrics is not None
    numbers = STAGE.metrics(made)
    assert numbers["tagged"] == 4
    assert numbers["best_score"] == pytest.approx(np.mean([3 / 10**0.5, 2 / 5**0.5, 5 / np.hypot(5, 0.1), 1]))


def test_against_all_products(tmp_path: Path) -> None:
    vectors, words = cloud(200, 8), {f"text {i}": row for i, row in enumerate(cloud(500, 8, 1))}
    made = tagged(tmp_path / "a", vectors, words, k=7)
    products = unit(vectors).astype(np.float64) @ unit(list(words.values())).astype(np.float64).T
    best = np.argsort(-products, axis=1, kind="stable")[:, :7]
    assert of(made) == {f"image {i}": [f"text {j}" for j in best[i]] for i in range(200)}
    order = np.random.default_rng(0).permutation(200)
    permuted = table_of([None] * 200).iloc[order].reset_index(drop=True)
    assert of(tagged(tmp_path / "b", vectors[order] * 3, words, table=permuted, k=7)) == of(made)
    shuffled = dict(sorted(words.items(), key=lambda item: item[0][::-1]))
    assert of(tagged(tmp_path / "c", vectors, shuffled, k=7)) == of(made)


def test_more_tags_than_entries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = tagged(tmp_path, k=9)
    assert "tagging.k = 9: the index has only 4 entries" in caplog.text
    assert [len(texts) for texts in of(made).values()] == [4] * 4
    one = tagged(tmp_path / "one", words={"right": (1, 0)}, k=1)
    assert set(one["tags"]["text"]) == {"right"}
    assert np.isnan(one["hubness"]["skewness"][0])


def test_texts_that_are_not_those_of_the_vectors(tmp_path: Path) -> None:
    needs = {"images": table_of([None] * 4), "image_embeddings": IMAGES, "texts": entries(list(WORDS)[:3])}
    given, embeddings = {"tagging": section("tagging"), "index": section("index")}, unit(list(WORDS.values()))
    index = run(text_index.STAGE, tmp_path, given, texts=entries(list(WORDS)), text_embeddings=embeddings)["text_index"]
    with pytest.raises(RunError, match=r"^tagging.index: damaged: 4 vectors, but 3 texts: build it anew$"):
        run(STAGE, tmp_path, given, **needs, text_embeddings=embeddings, text_index=index)


def test_a_smallest_score(tmp_path: Path) -> None:
    made = tagged(tmp_path, k=4, min_score=0.95)
    assert of(made) == {"image 2": ["left"], "image 3": ["right"]}
    assert made["tag_counts"]["images"].tolist() == [1, 1]
    assert (made["tags"]["score"] >= 0.95).all()
    assert STAGE.metrics is not None
    none = tagged(tmp_path / "none", np.array([(1, 1)], np.float32), k=1, min_score=0.9)
    assert none["tags"].empty and none["tag_counts"].empty
    assert STAGE.metrics(none)["tagged"] == 0


def test_hubs_come_down(tmp_path: Path) -> None:
    """An entry in the middle of everything is every image's tag by cosine; corrected, each image has its own."""
    own, hub = np.eye(16), np.full(16, 0.25)
    words: dict[str, Any] = {f"own {i}": own[i] for i in range(16)} | {"hub": hub}
    images = np.concatenate([np.repeat(own, 10, axis=0) + 1.1 * hub, np.tile(hub, (10, 1))]).astype(np.float32)
    plain = tagged(tmp_path / "a", images, words, k=1)
    assert set(plain["tags"]["text"]) == {"hub"}
    made = tagged(tmp_path / "b", images, words, k=1, hub_correction="csls")
    assert made["tags"]["text"].tolist() == [f"own {i // 10}" for i in range(160)] + ["hub"] * 10
    measured = made["hubness"].set_index("way")
    assert measured.loc["cosine", "top_text"] == "hub"
    assert measured.loc["cosine", "top_share"] == 1
    assert measured.loc["csls", "top_share"] == pytest.approx(10 / 170)
    products = unit(images).astype(np.float64) @ unit(list(words.values())).astype(np.float64).T
    around = [np.sort(some)[::-1][:10].mean() for some in (products[0], products[:, 0])]
    first = made["tags"].iloc[0]
    assert first["score"] == pytest.approx(products[0, 0], abs=1e-6)
    assert first["corrected"] == pytest.approx(2 * products[0, 0] - sum(around), abs=1e-5)


def test_categories_describe_classes_and_clusters(tmp_path: Path) -> None:
    vectors = np.repeat(np.array([(1, 0.1), (0.1, 1)], np.float32), 10, axis=0)
    labels, clusters = ["a"] * 10 + ["b"] * 10, np.array([1] * 10 + [0] * 10)
    made = tagged(tmp_path, vectors, labels=labels, clusters=clusters, k=1,
                  categories=["x.txt", "y.txt", "z.txt", "z.txt"])  # fmt: skip
    found = made["tag_categories"].set_index(["kind", "group", "category"])
    assert found.loc[("class", "a", "x.txt"), "tags"] == 10
    assert found.loc[("class", "a", "x.txt"), "lift"] == pytest.approx(np.log2(10.5 / 5.5))
    assert found.loc[("cluster", "cluster 0", "y.txt"), "share"] == 1
    assert np.isnan(found.loc[("class", "a", "z.txt"), "lift"]), "too few to say anything"
    assert tagged(tmp_path / "one", vectors, labels=labels, k=1)["tag_categories"] is None, "one category"
    alone = tagged(tmp_path / "b", vectors, k=1, categories=["x.txt", "y.txt", "z.txt", "z.txt"])
    assert alone["tag_categories"] is None, "no groups"
    drawing = Drawing(lambda path: np.zeros((8, 8, 3), np.uint8), captions=True, seed=0)
    assert STAGE.draw is not None
    figures = STAGE.draw(None, made, {"images": table_of(labels)}, drawing)
    assert set(figures) == {"tags", "categories_by_class", "categories_by_cluster"}


def test_an_image_without_a_direction(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^tagging: an image has an all-zero vector, which is near to nothing$"):
        tagged(tmp_path, np.array([(1, 0), (0, 0)], np.float32))


def test_an_index_of_other_entries(tmp_path: Path) -> None:
    given = {"tagging": section("tagging"), "index": section("index")}
    texts, vectors = entries(["a", "b"]), unit([(1, 0), (0, 1)])
    index = run(text_index.STAGE, tmp_path / "i", given, texts=texts, text_embeddings=vectors)["text_index"]
    needs = {"images": table_of([None]), "image_embeddings": IMAGES[:1], "texts": texts, "text_index": index}
    with pytest.raises(RunError, match=r"^index: the index is of 2 vectors, not 1: it belongs to other entries$"):
        run(STAGE, tmp_path / "w", given, **needs, text_embeddings=vectors[:1])
    other = unit([(1, 0, 0), (0, 1, 0)])
    with pytest.raises(RunError, match=r"of 2 values, not 3: it belongs to another encoder$"):
        run(STAGE, tmp_path / "x", given, **needs, text_embeddings=other)


def test_an_approximate_index_gives_exact_scores(tmp_path: Path) -> None:
    vectors, words = cloud(250, 16), {f"text {i}": row for i, row in enumerate(cloud(2000, 16, 1))}
    exact = tagged(tmp_path / "a", vectors, words, k=5)
    fast = tagged(tmp_path / "b", vectors, words, k=5, index={"query_ms": 0.001, "recall": 0.9})
    shared = exact["tags"].merge(fast["tags"], on=["id", "text"])
    assert 0.8 * 1250 < len(shared) < 1250, "it is approximate"
    np.testing.assert_array_equal(shared["score_x"], shared["score_y"])
    assert len(fast["tags"]) == 1250


def test_sidecars_change_no_key() -> None:
    assert STAGE.keyed is not None
    from tests.making import settings

    keys = [
        STAGE.keyed(settings(tagging=section("tagging", **changes), index=section("index", **index)))
        for changes, index in (
            ({}, {}), ({"sidecars": True, "overwrite": True, "index": "/elsewhere"}, {"device": "cuda"}),
            ({"k": 6}, {}), ({}, {"recall": 0.5}),
        )
    ]  # fmt: skip
    assert keys[0] == keys[1] and keys[2] != keys[0] != keys[3]
