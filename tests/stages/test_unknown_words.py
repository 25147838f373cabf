"""Texts of which a tokeniser knows nothing, with the shipped checkpoint, whose tokeniser knows a few words alone."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from inference.encoders import EncoderHandle
from pipeline.stages import search, text_embedding
from tests.inference.training.models import handle_of
from tests.making import ROOT, image_settings, settings
from tests.stages.words import cloud, entries, run, section, table_of

TOLD = "texts of which the model's tokeniser knows nothing: {} of {}; their vectors mean nothing"


@pytest.fixture(scope="module")
def digits_clip() -> EncoderHandle:
    return handle_of(ROOT / "model_checkpoints" / "digits_clip")


def test_a_query_in_a_script_that_it_does_not_know(
    tmp_path: Path, digits_clip: EncoderHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered, with a warning that says that the answer means nothing; with a query that it knows there is
    none."""
    images = cloud(5, digits_clip.load().dimension)
    needs = {"images": table_of([None] * 5), "image_embeddings": images, "encoder": digits_clip}
    needs |= {"text_encoder": digits_clip, "query_images": table_of([])[["path"]]}

    def hits(name: str, *queries: str) -> int:
        given = {"search": section("search", queries=list(queries), k=2), "images": image_settings()}
        made = run(search.STAGE, tmp_path / name, given | {"index": section("index")}, **needs)
        return len(made["hits"])

    assert hits("known", "a photo of a seven", "seven") == 4
    assert "knows nothing" not in caplog.text
    with caplog.at_level(logging.WARNING):
        assert hits("unknown", "привет", "seven", "数字") == 6
    assert TOLD.format(2, 3) in caplog.text


def test_they_are_counted(tmp_path: Path, digits_clip: EncoderHandle, caplog: pytest.LogCaptureFixture) -> None:
    texts = entries(["seven", "привет мир", "数字", "a eight qwertz"])
    given = {"text": settings(prefix="")}
    made = run(text_embedding.STAGE, tmp_path, given, texts=texts, text_encoder=digits_clip)
    assert text_embedding.metrics(made)["unknown"] == 2
    assert TOLD.format(2, 4) in caplog.text
    np.testing.assert_allclose(np.linalg.norm(made["text_embeddings"], axis=1), 1, rtol=1e-6)
