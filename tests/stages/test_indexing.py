"""The stages text_embedding, text_index and image_index: what they record is what a fresh search finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import CallError, RunError
from pipeline.geometry import indexes
from pipeline.run_dir import ARTIFACTS
from pipeline.schema import TextSettings
from pipeline.stage import Facts, Workspace
from pipeline.stages import image_index, text_embedding, text_index
from pipeline.stages.indexing import CHECKED, QUERIES, found_in, indexed, suited
from tests.making import settings
from tests.stages.words import cloud, encoder_of, entries, run, section, unit


def of_images(folder: Path, vectors: np.ndarray, **changes: Any) -> dict[str, Any]:
    return run(image_index.STAGE, folder, {"index": section("index", **changes)}, image_embeddings=vectors)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("exact", {}),
        ("ivf_flat", {"query_ms": 0.02}),
        ("ivf_pq", {"memory": "1000kB", "query_ms": 0.02, "recall": 0.9}),
    ],
)
def test_the_recall_is_what_a_fresh_exact_search_finds(
    tmp_path: Path, kind: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    vectors = cloud(12_000, 32)
    made = of_images(tmp_path, vectors, k=5, seed=3, **changes)
    told = made["image_index_quality"].iloc[0]
    assert told["kind"] == kind
    queries = indexes.perturbed(vectors, QUERIES, 4)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    products = queries.astype(np.float64) @ (vectors / lengths[:, None]).T
    nearest = np.argsort(-products, axis=1)[:, :5]
    rows, cosines = found_in(made["image_index"], queries, 5, vectors)
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(rows, nearest, strict=True)])
    assert told["recall"] == pytest.approx(recall)
    reached = told["recall"] >= section("index", **changes).recall - 0.03
    assert reached or "finds less than 0.9 of the true nearest: give it more memory" in caplog.text
    np.testing.assert_allclose(cosines, np.take_along_axis(products, rows, axis=1), atol=1e-6)
    assert (told["entries"], told["dimension"], told["queries"], told["k"]) == (12_000, 32, QUERIES, 5)
    assert told["explanation"].startswith(f"{kind}")
    assert image_index.metrics(made)["recall"] == told["recall"]
    artifact = ARTIFACTS["image_index"]
    artifact.save(made["image_index"], tmp_path / "run")
    assert (tmp_path / "run" / artifact.files()[0]).stat().st_size == told["bytes"]
    loaded = artifact.load(tmp_path / "run")
    for mine, saved in zip((rows, cosines), found_in(loaded, queries, 5, vectors), strict=True):
        np.testing.assert_array_equal(mine, saved)


def test_no_index_fits(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^index.memory = 10kB: no index of 2,000 vectors of 8 values fits into"):
        of_images(tmp_path, cloud(2000, 8), memory="10kB")


def test_an_index_of_one(tmp_path: Path) -> None:
    made = of_images(tmp_path, cloud(1, 8))
    told = made["image_index_quality"].iloc[0]
    assert (told["entries"], told["recall"]) == (1, 1)
    assert found_in(made["image_index"], cloud(2, 8, 1), 5, cloud(1, 8))[0].tolist() == [[0], [0]]


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    import faiss

    if hasattr(faiss, "GpuIndexFlatIP") and faiss.get_num_gpus():
        pytest.skip("there is one")
    with pytest.raises(RunError, match=r"^index: device 'cuda': .*(CPU alone|Faiss sees 0 GPUs)"):
        of_images(tmp_path, cloud(100, 8), device="cuda")


@pytest.mark.parametrize("content", [b"", b"<html><body>404</body></html>", b"IxFI" + bytes(4)])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text_index").mkdir()
    (tmp_path / "text_index" / "text.index").write_bytes(content)
    with pytest.raises(CallError, match=r"text.index: damaged: not a Faiss index$"):
        ARTIFACTS["text_index"].load(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("changes", [{}, {"query_ms": 0.02}])
def test_a_cut_file_is_one_line(tmp_path: Path, share: float, changes: dict[str, Any]) -> None:
    vectors = cloud(2000, 16)
    artifact = ARTIFACTS["image_index"]
    artifact.save(of_images(tmp_path / "w", vectors, **changes)["image_index"], tmp_path)
    file = tmp_path / artifact.files()[0]
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises((CallError, RunError), match=r"damaged"):
        found_in(artifact.load(tmp_path), cloud(3, 16, 1), 5, vectors)


def test_texts_beside_their_index(tmp_path: Path) -> None:
    """In clip-retrieval's layout: a row of metadata for each vector of the index."""
    texts = entries(["up", "right", "down"], ["a.txt", "a.txt", "b/c.txt"])
    vectors = unit([(0, 1), (1, 0), (0, -1)])
    made = run(text_index.STAGE, tmp_path, {"index": section("index")}, texts=texts, text_embeddings=vectors)
    assert made["text_index_metadata"].to_dict("list") == {
        "caption": ["up", "right", "down"], "category": ["a.txt", "a.txt", "b/c.txt"], "kind": ["line"] * 3
    }  # fmt: skip
    rows, cosines = found_in(made["text_index"], np.array([(2.0, 1.0)]), 9, vectors)
    assert rows.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(cosines, np.array([[2, 1, -1]]) / 5**0.5, rtol=1e-6)


def embedded(folder: Path, texts: Any, encoder: Any, prefix: str | None = None) -> dict[str, Any]:
    given = {"text": settings(prefix=prefix) if prefix is not None else TextSettings("none", "none")}
    return run(text_embedding.STAGE, folder, given, texts=texts, text_encoder=encoder)


def test_texts_are_encoded_with_their_prefix(tmp_path: Path) -> None:
    encoder = encoder_of({"a photo of a cat": (3, 4), "a cat": (0, 2)}, tmp_path / "e")
    made = embedded(tmp_path, entries(["a cat"]), encoder, "a photo of ")
    np.testing.assert_allclose(made["text_embeddings"], [[0.6, 0.8]], rtol=1e-6)
    assert text_embedding.metrics(made) == {"texts": 1, "truncated": 0, "unknown": 0, "fidelity": 1}
    plain = embedded(tmp_path / "plain", entries(["a cat"]), encoder, "")
    np.testing.assert_allclose(plain["text_embeddings"], [[0, 1]])


def test_only_the_prefix_is_keyed() -> None:
    keyed = text_embedding.STAGE.keyed
    assert keyed is not None
    assert keyed(settings(text=TextSettings("none", "none"))) == keyed(settings(text=settings(prefix="")))
    assert keyed(settings(text=settings(prefix="a "))) != keyed(settings(text=settings(prefix="")))


def test_an_encoder_that_sees_images_only() -> None:
    refuse = text_embedding.STAGE.refuse
    assert refuse is not None
    words = settings(text=settings(source="words"))
    assert "encoder=timm sees images only" in str(refuse(Facts(3, (), encoder="timm"), words))
    assert refuse(Facts(3, (), encoder="openai", text_side=True), words) is None


def texts_and_images(n: int = 4000, d: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Entries in cells, and images that lie between them: far harder to find the nearest of than of an entry."""
    random = np.random.default_rng(0)
    centers = unit(random.normal(size=(80, d)))
    entries = unit(centers[random.integers(0, 80, n)] + 0.05 * random.normal(size=(n, d)))
    return entries, unit(random.normal(size=(600, d)))


def test_an_index_looks_further_for_images_than_for_its_entries() -> None:
    """The recall that is told is of images that nothing was tuned by, by a fresh search."""
    entries, images = texts_and_images()
    index = section("index", query_ms=0.001, recall=0.97, seed=2)
    built, quality = indexed(index, entries, Workspace(Path(), workers=0))
    assert quality["kind"][0] == "ivf_flat"
    before = indexes.probed(built)
    shuffled = np.random.default_rng(2).permutation(600)
    held_out = images[np.sort(shuffled[:CHECKED])]
    truth = np.sort(held_out.astype(np.float64) @ entries.T.astype(np.float64))[:, ::-1][:, 4:5]

    def recall(found: Any) -> float:
        return float((found_in(found, held_out, 5, entries)[1] >= truth - 1e-7).mean())

    assert recall(built) < 0.9 < quality["recall"][0], "else there is nothing to mend"
    searched, told = suited(index, built, images, 5, entries)
    assert told["probed"] == indexes.probed(searched) > told["probed_before"] == before
    assert told["recall"] == pytest.approx(recall(searched))
    assert told["recall"] > 0.95
    assert (told["images"], told["k"]) == (CHECKED, 5)
    _, again = suited(index, searched, images, 5, entries)
    assert again == told | {"probed_before": told["probed"]}, "what is enough stays as it is"
    few, exact = suited(index, built, images[:CHECKED], 5, entries)
    assert few is None and (exact["kind"], exact["recall"]) == ("exact", 1)


def test_an_exact_index_needs_no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, images = texts_and_images(50)
    index = section("index")
    built, _ = indexed(index, entries, Workspace(Path(), workers=0))
    monkeypatch.setattr(indexes, "recall_of", None)
    searched, told = suited(index, built, images, 5, entries)
    assert searched is built and (told["kind"], told["recall"], told["images"]) == ("exact", 1, 0)
    with pytest.raises(RunError, match="of 50 vectors, not 49"):
        suited(index, built, images, 5, entries[:49])
