"""Texts to vectors: every text has its row, the same bytes whoever does the work and whatever dies on the way."""

from __future__ import annotations

import logging
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import inference.texts as texting
from inference.encoders import EncoderHandle, NoTextSide, Runtime, describe
from inference.encoders.tokens import CHARACTERS
from inference.texts import EmbeddedTexts, EmbeddingFailed, embed_texts
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors
from tests.making import ROOT, UnloadableHandle, pixels_handle, python_call, waited_for
from tests.model_files import look_at

WORDS = ["a", "photo", "of", "cat", "dog", "chest", "x", "ray", "hand", "skull", "lungs", "bright", "new"]
ARGUMENTS = {"model": None, "preprocessing": "openai"}


def some(count: int) -> list[str]:
    """Different texts of 1 to 12 words."""
    rng = np.random.default_rng(0)
    return [f"{' '.join(rng.choice(WORDS, rng.integers(0, 12)))} {i}" for i in range(count)]


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> EncoderHandle:
    path = save_safetensors(tmp_path_factory.mktemp("w") / "x.safetensors", random_state(TINY_VIT))
    return describe("openai", ARGUMENTS | {"weights": str(path)}, False, look_at(path.parent))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texting, "SHARD", 16)


def golden(handle: EncoderHandle, texts: list[str]) -> np.ndarray:
    """One by one, with the whole context, by the network itself."""
    from inference.encoders.openai import _tokenizer

    encoder: Any = handle.load()
    found = []
    for text in texts:
        ids = [49406, *_tokenizer().encode(text), 49407]
        with torch.no_grad():
            found.append(encoder.network.encode_text(torch.tensor([ids + [0] * (77 - len(ids))]))[0].numpy())
    rows = np.stack(found).astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def same(a: EmbeddedTexts, b: EmbeddedTexts) -> bool:
    return a.vectors.tobytes() == b.vectors.tobytes() and (a.truncated, a.unknown) == (b.truncated, b.unknown)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_every_text_has_its_row(tmp_path: Path, handle: EncoderHandle, count: int) -> None:
    made = embed_texts(some(count), handle, tmp_path, batch_size=4)
    np.testing.assert_allclose(made.vectors, golden(handle, some(count)), atol=1e-6)
    assert made.vectors.dtype == np.float32 and isinstance(made.vectors, np.memmap)
    assert not made.vectors.flags.writeable
    assert (made.truncated, made.unknown, made.fidelity, made.handle) == (0, 0, None, handle)


@pytest.mark.slow
def test_workers_give_the_same_bytes_as_this_process(tmp_path: Path, handle: EncoderHandle) -> None:
    texts = [*some(70), "dog " * 200, "", "odd\udcff.jpg"]
    made = [embed_texts(texts, handle, tmp_path / str(n), workers=n) for n in (0, 1, 2)]
    assert same(made[0], made[1]) and same(made[0], made[2])
    assert (made[0].truncated, made[0].unknown) == (1, 1)
    cosines = np.array([[0.3, 0.28, -0.1]])
    expected = handle.load().similarity_to_probability(cosines)
    for one in made:  # whoever loaded the network, its rule came with the vectors
        assert one.rule is not None
        np.testing.assert_array_equal(one.rule(cosines), expected)


def test_columns_are_read_as_lists(tmp_path: Path, handle: EncoderHandle) -> None:
    texts = some(40)
    expected = embed_texts(texts, handle, tmp_path / "list")
    chunked = pa.chunked_array([pa.array(texts[:21]), pa.array(texts[21:])])
    columns = (pa.array(texts), chunked, pd.Series(texts, dtype=object), pd.Series(texts, dtype="str"), tuple(texts))
    for i, column in enumerate(columns):
        assert same(embed_texts(column, handle, tmp_path / str(i), workers=0), expected)
    gaps = pa.array(["a", None, "b"])
    assert same(embed_texts(gaps, handle, tmp_path / "n"), embed_texts(["a", "", "b"], handle, tmp_path / "s"))


def test_a_worker_is_sent_its_own_texts_only(tmp_path: Path) -> None:
    import pickle

    column = pa.array([f"text {i}" for i in range(100_000)])
    task = texting._Task(3, range(5, 8), column, "a photo of ", None)
    sent = pickle.dumps(task)
    assert len(sent) < 500
    assert pickle.loads(sent).texts() == task.texts() == [f"a photo of text {i}" for i in (5, 6, 7)]  # noqa: S301


def test_the_prefix_stands_before_each_text(tmp_path: Path, handle: EncoderHandle) -> None:
    made = embed_texts(["cat", "dog"], handle, tmp_path / "a", prefix="a photo of ")
    assert same(made, embed_texts(["a photo of cat", "a photo of dog"], handle, tmp_path / "b"))
    assert not same(made, embed_texts(["cat", "dog"], handle, tmp_path / "c"))


def test_no_texts(tmp_path: Path, handle: EncoderHandle) -> None:
    assert len(embed_texts([], handle, tmp_path).vectors) == 0


def test_bad_texts_do_no_harm(tmp_path: Path, handle: EncoderHandle, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["", "  \n", "\0", "\ud800", "a" * 10**6, " " * 10**6 + "cat", "cat " * 300, "猫", "cat"] * 3
    with caplog.at_level(logging.WARNING):
        made = embed_texts(texts, handle, tmp_path, workers=0)
    np.testing.assert_allclose(np.linalg.norm(made.vectors.astype(float), axis=1), 1, atol=1e-6)
    assert [record.message for record in caplog.records] == [
        f"texts longer than the model takes, which were cut: 9 of {len(texts)}",
        f"texts of which the model's tokeniser knows nothing: 12 of {len(texts)}; their vectors mean nothing",
    ]
    assert len(texts[5]) > CHARACTERS


def test_texts_of_an_unknown_script_are_counted(tmp_path: Path) -> None:
    from tests.inference.encoders.test_huggingface import OWN, SETTINGS, save_tokenizer, saved

    folder = saved("chinese_clip", tmp_path / "model")
    save_tokenizer(folder, 1000)
    arguments = {**dict.fromkeys(SETTINGS), "model": str(folder), "feature": "auto", **OWN}
    made = embed_texts(
        ["cat", "猫", "a 猫", "собака кошка", ""], describe("huggingface", arguments, True, look_at(tmp_path)), tmp_path
    )
    assert (made.truncated, made.unknown) == (0, 3)


def test_an_encoder_without_a_text_side_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoTextSide, match="raw pixels sees images only; with a text side: openai, open_clip"):
        embed_texts(["a"], pixels_handle(), tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_progress_goes_up_to_all(tmp_path: Path, handle: EncoderHandle, workers: int) -> None:
    seen: list[int] = []
    embed_texts(
        some(40), handle, tmp_path, workers=workers, batch_size=4, progress=lambda done, total: seen.append(done)
    )
    assert seen == sorted(seen) and seen[-1] == 40 and len(set(seen)) > 2


def test_complete_shards_are_not_made_again_and_torn_ones_are(tmp_path: Path, handle: EncoderHandle) -> None:
    first = embed_texts(some(60), handle, tmp_path)
    shards = tmp_path / "texts"
    (shards / "00001.json").unlink()
    torn = shards / "00002.npy"
    torn.write_bytes(torn.read_bytes()[:-1])
    before = (shards / "00000.npy").stat()
    assert same(first, embed_texts(some(60), handle, tmp_path))
    after = (shards / "00000.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    unloadable = UnloadableHandle("none", (), False, handle.description)
    assert same(first, embed_texts(some(60), unloadable, tmp_path))  # nothing is left to do


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, handle: EncoderHandle, workers: int) -> None:
    expected = embed_texts(some(800), handle, tmp_path / "whole", workers=0)
    weights = dict(handle.arguments)["weights"]
    call = python_call("embed_texts_slowly", weights, tmp_path / "w", workers)
    with subprocess.Popen(call, cwd=ROOT) as process:
        shards = tmp_path / "w" / "texts"
        assert waited_for(lambda: len(list(shards.glob("*.json"))) >= 2, 120)
        process.send_signal(signal.SIGKILL)
    made = len(list(shards.glob("*.json")))
    assert 2 <= made < 50
    assert same(embed_texts(some(800), handle, tmp_path / "w", workers=0), expected)


def fast(handle: EncoderHandle, min_fidelity: float) -> EncoderHandle:
    return replace(handle, runtime=Runtime("cpu", "bf16", False), min_fidelity=min_fidelity)


def test_a_near_way_is_kept(tmp_path: Path, handle: EncoderHandle) -> None:
    made = embed_texts(some(40), fast(handle, 0.9), tmp_path / "f")
    exact = embed_texts(some(40), handle, tmp_path / "e")
    assert made.handle.runtime.precision == "bf16" and made.fidelity is not None
    cosines = (made.vectors[:16].astype(float) * exact.vectors[:16]).sum(axis=1)
    assert made.fidelity.cosine == pytest.approx(cosines.min(), abs=1e-5) and made.fidelity.cosine < 1
    assert made.fidelity.images == 16


def test_few_texts_are_computed_exactly(tmp_path: Path, handle: EncoderHandle) -> None:
    """A query: nothing is loaded twice to compare ways."""
    made = embed_texts(some(16), fast(handle, 0.9), tmp_path / "f")
    assert made.handle.runtime == Runtime() and made.fidelity is None
    assert same(made, embed_texts(some(16), handle, tmp_path / "e"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_far_way_is_given_up(
    tmp_path: Path, handle: EncoderHandle, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    exact = embed_texts(some(40), handle, tmp_path / "e")
    with caplog.at_level(logging.WARNING):
        made = embed_texts(some(40), fast(handle, 1.1), tmp_path / "f", workers=workers)
    assert same(made, exact) and made.handle.runtime == Runtime()
    assert made.fidelity is not None and made.fidelity.cosine < 1
    assert "bf16 gives vectors of texts whose cosine to the exact ones is 0.9" in caplog.text
    (tmp_path / "f/texts_exact/00001.json").unlink()
    kept = (tmp_path / "f/texts_exact/00000.npy").stat().st_mtime_ns
    assert same(embed_texts(some(40), fast(handle, 1.1), tmp_path / "f", workers=0), exact)
    assert (tmp_path / "f/texts_exact/00000.npy").stat().st_mtime_ns == kept


def test_what_fails_in_a_worker_is_told(tmp_path: Path, handle: EncoderHandle) -> None:
    with pytest.raises(EmbeddingFailed, match="no weights here"):
        embed_texts(some(3), UnloadableHandle("none", (), False, handle.description), tmp_path, workers=1)
