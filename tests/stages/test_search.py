"""Search, against products written out by hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from blake3 import blake3

from inference.embed import embed
from inference.encoders import EncoderHandle, Look, describe
from pipeline.errors import CallError, RunError
from pipeline.stage import Drawing, Facts, Workspace
from pipeline.stages import image_index, query_images
from pipeline.stages.search import STAGE
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors
from tests.making import image_settings, pixels_handle, png_files, settings
from tests.stages.words import cloud, encoder_of, run, section, table_of, unit

TEXTS = {"right": (1, 0), "up": (0, 3), "left": (-2, 0)}
IMAGES = np.array([(2, 1), (1, 2), (-1, 0.1), (0, 5), (4, 2)], np.float32)


def searched(
    folder: Path, vectors: np.ndarray = IMAGES, encoder: Any = None, images: Sequence[str] = (), index: Any = None,
    table: pd.DataFrame | None = None, **changes: Any,
) -> pd.DataFrame:  # fmt: skip
    given = {
        "search": section("search", images=list(images), **changes),
        "images": image_settings(),
        "index": section("index"),
    }
    encoder = encoder or encoder_of(TEXTS, folder)
    asked = query_images.run(settings(**given), Workspace(folder))
    needs = {"images": table_of([None] * len(vectors)) if table is None else table, "image_embeddings": vectors}
    needs |= {"encoder": encoder, "text_encoder": encoder, "image_index": index, **asked}
    found: pd.DataFrame = run(STAGE, folder / "work", given, **needs)["hits"]
    return found


def ids(hits: pd.DataFrame, query: int = 0) -> list[int]:
    return [int(name.split()[1]) for name in hits.loc[hits["query"] == query, "id"]]


def test_by_hand(tmp_path: Path) -> None:
    hits = searched(tmp_path, queries=["right", "up"], k=3)
    assert ids(hits, 0) == [0, 4, 1], "of equal ones the earlier"
    assert ids(hits, 1) == [3, 1, 0]
    assert hits["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    np.testing.assert_allclose(hits["score"], np.array([2, 2, 1, 5**0.5, 2, 1]) / 5**0.5, rtol=1e-6)
    assert hits["query_text"].tolist() == ["right"] * 3 + ["up"] * 3
    assert set(hits["query_image"]) == {""}
    assert STAGE.metrics is not None
    assert STAGE.metrics({"hits": hits}) == {"queries": 2, "best/0": pytest.approx(2 / 5**0.5), "best/1": 1}


def test_against_all_products(tmp_path: Path) -> None:
    vectors, asked = cloud(300, 8), cloud(5, 8, 1)
    encoder = encoder_of({f"text {i}": row for i, row in enumerate(asked)}, tmp_path / "e")
    names = [f"text {i}" for i in range(5)]
    hits = searched(tmp_path / "a", vectors, encoder, queries=names, k=20)
    products = unit(asked).astype(np.float64) @ unit(vectors).astype(np.float64).T
    for number in range(5):
        order = np.argsort(-products[number], kind="stable")[:20]
        assert ids(hits, number) == order.tolist()
        np.testing.assert_allclose(hits.loc[hits["query"] == number, "score"], products[number, order], atol=1e-6)
    longer = searched(tmp_path / "b", vectors * np.geomspace(0.01, 100, 300, dtype=np.float32)[:, None], encoder,
                      queries=names, k=20)  # fmt: skip
    assert longer["id"].tolist() == hits["id"].tolist()
    order = np.random.default_rng(0).permutation(300)
    table = table_of([None] * 300).iloc[order].reset_index(drop=True)
    permuted = searched(tmp_path / "c", vectors[order], encoder, queries=names, k=20, table=table)
    assert permuted["id"].tolist() == hits["id"].tolist()


@pytest.mark.parametrize("recall", [1.0, 0.9])
def test_by_an_index(tmp_path: Path, recall: float) -> None:
    """An index is used where there is one: an exact one changes nothing, another may miss some."""
    vectors = cloud(3000, 16)
    encoder = encoder_of({"text": cloud(1, 16, 1)[0]}, tmp_path / "e")
    given = section("index", recall=recall, query_ms=0.001)
    made = run(image_index.STAGE, tmp_path / "i", {"index": given}, image_embeddings=vectors)
    by_index, exact = (
        searched(tmp_path / name, vectors, encoder, queries=["text"], k=10, index=index)
        for name, index in (("a", made["image_index"]), ("b", None))
    )
    assert (made["image_index_quality"]["kind"][0] == "exact") == (recall == 1)
    assert len(set(ids(by_index)) & set(ids(exact))) >= (10 if recall == 1 else 6)
    common = by_index.merge(exact, on="id")
    np.testing.assert_array_equal(common["score_x"], common["score_y"])
    with pytest.raises(
        RunError, match=r"^index: the index is of 3,000 vectors, not 2,999: it belongs to other entries$"
    ):
        searched(tmp_path / "c", vectors[1:], encoder, queries=["text"], index=made["image_index"])


def test_k_larger_than_the_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hits = searched(tmp_path, queries=["up"], k=20)
    assert ids(hits) == [3, 1, 0, 4, 2]
    assert "search.k = 20: there are only 5 images" in caplog.text
    assert ids(searched(tmp_path / "one", IMAGES[:1], queries=["up"], k=1)) == [0]


def test_sums_and_differences(tmp_path: Path) -> None:
    both = searched(tmp_path / "a", queries=["right", "up"], combine=True, k=5)
    assert both["query_text"].unique().tolist() == ["right + up"]
    np.testing.assert_allclose(both["score"][0], 3 / 10**0.5, rtol=1e-6)
    assert ids(both) == [0, 1, 4, 3, 2], "each text counts by its direction, not its length"
    without = searched(tmp_path / "b", queries=["up"], minus=["right"], combine=True, k=5)
    assert without["query_text"][0] == "up - right"
    assert ids(without)[:2] == [2, 3]
    nothing = {"queries": ["right", "left"], "combine": True}
    with pytest.raises(RunError, match="cancel each other out"):
        searched(tmp_path / "c", **nothing)


def test_a_vector_of_zeros_is_last_of_what_is_near(tmp_path: Path) -> None:
    hits = searched(tmp_path, np.array([(0, 0), (1, 0), (-1, 0)], np.float32), queries=["right"], k=3)
    assert ids(hits) == [1, 0, 2]
    assert hits["score"].tolist() == [1, 0, -1]


@pytest.fixture
def clip(tmp_path: Path) -> EncoderHandle:
    file = save_safetensors(tmp_path / "tiny.safetensors", random_state(TINY_VIT))
    look = Look(tmp_path, lambda path: blake3(Path(path).read_bytes()).hexdigest())
    return describe("openai", {"model": None, "weights": str(file), "preprocessing": "openai"}, True, look)


def test_an_image_finds_itself(tmp_path: Path, clip: EncoderHandle) -> None:
    paths = png_files(tmp_path / "images", 6)
    encoder = clip.load()
    vectors = embed(paths, clip, tmp_path / "vectors", workers=0).vectors
    found = searched(tmp_path / "a", vectors, clip, images=[paths[4], paths[1]], queries=["a dog"], k=2)
    assert found["query_text"].unique().tolist() == ["a dog", "0004.png", "0001.png"]
    assert found["query_image"].unique().tolist() == ["", paths[4], paths[1]]
    for query, own in ((1, 4), (2, 1)):
        assert ids(found, query)[0] == own
        assert found.loc[found["query"] == query, "score"].iloc[0] == pytest.approx(1, abs=1e-5)
    text = found.loc[found["query"] == 0, "score"]
    spoken = unit(encoder.encode_texts(["a dog"])) @ unit(vectors).T
    np.testing.assert_allclose(text, np.sort(spoken[0])[::-1][:2], atol=1e-5)
    both = searched(tmp_path / "b", vectors, clip, images=paths[:1], queries=["a dog"], minus=["a cat"],
                    combine=True, k=6)  # fmt: skip
    dog, cat = unit(encoder.encode_texts(["a dog", "a cat"]))
    expected = unit(unit(vectors)[0] + dog - cat) @ unit(vectors).T
    assert both["query_text"][0] == "0000.png + a dog - a cat"
    assert both["query_image"][0] == ""
    np.testing.assert_allclose(both["score"], np.sort(expected)[::-1], atol=1e-5)


def test_images_that_cannot_be_asked_for(tmp_path: Path, clip: EncoderHandle) -> None:
    (tmp_path / "broken.png").write_bytes(b"<html>not here</html>")
    vectors = cloud(3, 32)
    with pytest.raises(RunError, match=r"^search.images: broken.png cannot be read: .*HTML|not an image"):
        searched(tmp_path, vectors, clip, images=[str(tmp_path / "broken.png")])
    with pytest.raises(RunError, match="precomputed has vectors, but no network for new images"):
        searched(tmp_path, images=[str(tmp_path / "broken.png")])
    assert query_images.STAGE.first_look is not None
    with pytest.raises(CallError, match=r"search.images: no such file: .*gone.png"):
        query_images.STAGE.first_look(settings(search=section("search", images=[str(tmp_path / "gone.png")])))


def test_query_images_are_known_by_their_content(tmp_path: Path) -> None:
    paths = png_files(tmp_path, 2)

    def fingerprint(*names: str) -> str:
        def content(files: Sequence[str]) -> list[str]:
            return [blake3(Path(file).read_bytes()).hexdigest() for file in files]

        workspace = Workspace(tmp_path, content_hashes=content)
        made = query_images.run(settings(search=section("search", images=list(names))), workspace)
        return query_images.fingerprints(made)["query_images"]

    (tmp_path / "copy.png").write_bytes(Path(paths[0]).read_bytes())
    assert fingerprint(paths[0]) == fingerprint(str(tmp_path / "copy.png"))
    assert len({fingerprint(), fingerprint(paths[0]), fingerprint(*paths), fingerprint(*paths[::-1])}) == 4


def test_only_texts_need_an_encoder_of_texts() -> None:
    def why(**changes: Any) -> str | None:
        assert STAGE.refuse is not None
        return STAGE.refuse(Facts(3, (), encoder="none"), settings(search=section("search", **changes)))

    assert why(images=["/a.png"]) is None
    assert "encoder=none sees images only" in str(why(queries=["a"]))
    assert "encoder=none sees images only" in str(why(images=["/a.png"], minus=["a"]))


def test_images_are_found_by_pixels_too(tmp_path: Path) -> None:
    paths = png_files(tmp_path, 4)
    vectors = embed(paths, pixels_handle(8), tmp_path / "vectors", workers=0).vectors
    assert ids(searched(tmp_path, vectors, pixels_handle(8), images=[paths[2]], k=1)) == [2]


def test_pictures(tmp_path: Path) -> None:
    hits = searched(tmp_path, queries=["right", "up"], k=3)
    drawing = Drawing(lambda path: np.zeros((8, 8, 3), np.uint8), captions=True, seed=0)
    assert STAGE.draw is not None
    figures = STAGE.draw(None, {"hits": hits}, {"images": table_of([None] * 5)}, drawing)
    assert set(figures) == {"cosine", "query_00", "query_01"}
