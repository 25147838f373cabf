"""Captions and images found by each other, counted by hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.stage import Drawing, Facts
from pipeline.stages.retrieval import STAGE
from tests.making import settings
from tests.stages.words import cloud, encoder_of, run, section, table_of, unit

TEXTS = {"a": (1, 0), "b": (0, 1), "c": (-1, 0)}
IMAGES = np.array([(3, 1), (2, 1), (-1, 1), (0, 2)], np.float32)
CAPTIONS = ["a", "b", "c", "b"]


def retrieved(
    folder: Path, vectors: np.ndarray = IMAGES, captions: Sequence[str | None] = CAPTIONS, texts: Any = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    columns = {"caption": pd.Series(list(captions), dtype="str")}
    columns |= {"group": pd.Series(groups, dtype="str")} if groups else {}
    table = table_of([None] * len(vectors), **columns)
    encoder = encoder_of(texts or TEXTS, folder)
    given = {"retrieval": section("retrieval", resamples=100)}
    return run(STAGE, folder / "work", given, images=table, image_embeddings=vectors, text_encoder=encoder)


def row(made: dict[str, Any], way: str, judged: str = "shared") -> pd.Series:
    return made["retrieval_scores"].set_index(["way", "judged"]).loc[(way, judged)]


def test_by_hand(tmp_path: Path) -> None:
    made = retrieved(tmp_path)
    ranks = made["retrieval_ranks"]
    assert ranks["id"].tolist() == [f"image {i}" for i in range(4)]
    assert ranks["caption_rank"].tolist() == [1, 2, 2, 1], "of equal ones the wrong come first"
    assert ranks["right_captions"].tolist() == [1, 1, 1, 1]
    assert ranks["image_rank"].tolist() == [1, 1, 1, 1]
    assert ranks["right_images"].tolist() == [1, 2, 1, 2]
    to_text, to_image = row(made, "image_to_text"), row(made, "text_to_image")
    assert (to_text["queries"], to_text["candidates"], to_text["recall_at_1"]) == (4, 3, 0.5)
    assert (to_text["median_rank"], to_text["mean_rank"]) == (1.5, 1.5)
    assert (to_image["queries"], to_image["candidates"]) == (4, 4)
    strict = row(made, "text_to_image", "strict")
    assert strict["recall_at_1"] == 0.75, "of the two images with caption b the nearer one is the other's wrong answer"
    assert STAGE.metrics is not None
    assert STAGE.metrics(made)["image_to_text/recall_at_1"] == 0.5


def test_against_all_products(tmp_path: Path) -> None:
    vectors, captions = cloud(120, 8), [f"caption {i}" for i in range(120)]
    embeddings = unit(vectors) + 0.5 * unit(cloud(120, 8, 1))
    made = retrieved(tmp_path / "a", vectors, captions, dict(zip(captions, embeddings, strict=True)))
    products = unit(vectors).astype(np.float64) @ unit(embeddings).astype(np.float64).T
    own = np.diag(products)
    expected = {"caption_rank": (products >= own[:, None]).sum(axis=1), "image_rank": (products >= own).sum(axis=0)}
    for name, ranks in expected.items():
        assert made["retrieval_ranks"][name].tolist() == ranks.tolist()
    for way, ranks in zip(("image_to_text", "text_to_image"), expected.values(), strict=True):
        for k in (1, 5, 10):
            assert row(made, way)[f"recall_at_{k}"] == pytest.approx((ranks <= k).mean())
            low, high = (row(made, way)[f"recall_at_{k}_{end}"] for end in ("low", "high"))
            assert low <= (ranks <= k).mean() <= high
    order = np.random.default_rng(0).permutation(120)
    mixed = retrieved(tmp_path / "b", 3 * vectors[order], [captions[i] for i in order],
                      dict(zip(captions, 5 * embeddings, strict=True)))  # fmt: skip
    values = ["recall_at_1", "recall_at_5", "median_rank", "mean_rank", "chance_at_1"]
    pd.testing.assert_frame_equal(mixed["retrieval_scores"][values], made["retrieval_scores"][values])


def test_images_without_a_caption_are_candidates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = retrieved(tmp_path, captions=["a", None, "  ", "b"])
    assert "retrieval: 2 of 4 images have no caption" in caplog.text
    assert made["retrieval_ranks"]["id"].tolist() == ["image 0", "image 3"]
    assert row(made, "text_to_image")["candidates"] == 4


def test_captions_that_images_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        retrieved(tmp_path)
    assert "retrieval: 2 images share their caption with others" in caplog.text
    same = retrieved(tmp_path / "same", captions=["b"] * 4)
    assert row(same, "image_to_text")["recall_at_1"] == row(same, "text_to_image")["recall_at_1"] == 1


def test_one_caption(tmp_path: Path) -> None:
    made = retrieved(tmp_path, captions=["a", None, None, None])
    told = row(made, "text_to_image")
    assert (told["queries"], told["recall_at_1"]) == (1, 1)
    assert np.isnan(told["recall_at_1_low"])


def test_groups(tmp_path: Path) -> None:
    one = retrieved(tmp_path, groups=["p"] * 4)
    assert np.isnan(row(one, "image_to_text")["recall_at_1_low"]), "one patient says nothing of others"


def test_pictures(tmp_path: Path) -> None:
    drawing = Drawing(lambda path: None, captions=True, seed=0)
    assert STAGE.draw is not None
    assert list(STAGE.draw(None, retrieved(tmp_path), {}, drawing)) == ["recall"]


def test_refusals() -> None:
    def why(images: int = 3, captioned: bool = True, text_side: bool = True) -> str | None:
        assert STAGE.refuse is not None
        facts = Facts(images, (), captioned, encoder="timm", text_side=text_side)
        return STAGE.refuse(facts, settings(retrieval=section("retrieval")))

    assert why() is None
    assert why(captioned=False) == "the data set has no captions"
    assert "encoder=timm sees images only" in str(why(text_side=False))
    assert why(images=1) == "one image cannot be told from others"
