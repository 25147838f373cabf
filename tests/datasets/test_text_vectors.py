"""Vectors of texts beside those of images: every format, what is refused, and how they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.vectors import Precomputed, open_vectors
from pipeline.errors import CallError, RunError
from tests.making import precomputed

IMAGES = np.eye(3, dtype=np.float32)
TEXTS = np.array([[3, 0, 4], [0, 2, 0]], np.float32)
NAMES = ["a photo of a dog", "a photo of a cat"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path / "images.npy"


def opened(images: Path, text_path: Path | None, **more: Any) -> Precomputed:
    settings = precomputed(images, text_path=text_path, **more)
    return open_vectors(settings, lambda files: [Path(file).read_bytes().hex() for file in files])


def npy(folder: Path, array: np.ndarray = TEXTS) -> Path:
    np.save(folder / "texts.npy", array)
    return folder / "texts.npy"


def lines(folder: Path, text: str = "\n".join(NAMES) + "\n") -> Path:
    (folder / "names.txt").write_text(text, encoding="utf-8")
    return folder / "names.txt"


def npz(folder: Path, array: str = "texts") -> Path:
    np.savez(folder / "texts.npz", embedding=TEXTS, **{array: np.array(NAMES)})
    return folder / "texts.npz"


def parquet(folder: Path, column: str = "text") -> Path:
    pq.write_table(pa.table({"embedding": TEXTS.tolist(), column: NAMES}), folder / "texts.parquet")
    return folder / "texts.parquet"


def clip_retrieval(folder: Path) -> Path:
    for place in ("text_emb", "metadata"):
        (folder / "cr" / place).mkdir(parents=True)
    np.save(folder / "cr" / "text_emb" / "text_emb_0.npy", TEXTS.astype(np.float16))
    pd.DataFrame({"image_path": ["x", "y"], "caption": NAMES}).to_parquet(
        folder / "cr" / "metadata" / "metadata_0.parquet"
    )
    return folder / "cr"


@pytest.mark.parametrize("make", [npz, parquet, clip_retrieval])
def test_every_format_in_the_order_asked_for(images: Path, tmp_path: Path, make: Any) -> None:
    given = opened(images, make(tmp_path))
    made = given.encode_texts([NAMES[1], NAMES[0], NAMES[1]])
    np.testing.assert_array_equal(made, TEXTS[[1, 0, 1]])
    assert made.dtype == np.float32
    assert given.texts is not None
    assert given.texts.count == 2
    assert given.encode_texts([]).shape == (0, 3)


def test_npy_with_a_line_for_each(images: Path, tmp_path: Path) -> None:
    given = opened(images, npy(tmp_path), text_names=str(lines(tmp_path, "\ufeff" + "\r\n".join(NAMES) + "\r\n")))
    np.testing.assert_array_equal(given.encode_texts(NAMES), TEXTS)


def test_names_of_ones_own(images: Path, tmp_path: Path) -> None:
    assert opened(images, npz(tmp_path, "prompts"), text_names="prompts").encode_texts(NAMES[:1]).shape == (1, 3)
    assert opened(images, parquet(tmp_path, "prompts"), text_names="prompts").encode_texts(NAMES[:1]).shape == (1, 3)


def test_normalize_is_for_both_sides(images: Path, tmp_path: Path) -> None:
    np.testing.assert_allclose(opened(images, npz(tmp_path), normalize=True).encode_texts(NAMES)[0], [0.6, 0, 0.8])
    np.testing.assert_array_equal(opened(images, npz(tmp_path)).encode_texts(NAMES)[0], [3, 0, 4])


def test_the_fingerprint_follows_texts_and_vectors(images: Path, tmp_path: Path) -> None:
    names = lines(tmp_path)
    first = opened(images, npy(tmp_path), text_names=str(names))
    lines(tmp_path, "one\ntwo\n")
    second = opened(images, tmp_path / "texts.npy", text_names=str(names))
    third = opened(images, npy(tmp_path, 2 * TEXTS), text_names=str(names))
    assert len({given.text_fingerprint for given in (first, second, third)}) == 3
    assert first.image_fingerprint == third.image_fingerprint, "texts change no vector of an image"
    assert opened(images, None).text_fingerprint is None


def test_what_is_asked_for_in_vain(images: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no vector for the text 'a photo of a dgo'; did you mean a photo of a dog"):
        opened(images, npz(tmp_path)).encode_texts(["a photo of a dgo"])
    with pytest.raises(RunError, match=r"encoder.text_path: needed for texts"):
        opened(images, None).encode_texts(NAMES)
    with pytest.raises(RunError, match=r"encoder.logit_scale: needed for probabilities"):
        opened(images, npz(tmp_path)).similarity_to_probability(np.zeros((1, 2)))


def test_probabilities_are_a_softmax_of_scaled_cosines(images: Path, tmp_path: Path) -> None:
    given = opened(images, npz(tmp_path), logit_scale=100.0)
    made = given.similarity_to_probability(np.array([[0.25, 0.25], [0.26, 0.25], [1.0, -1.0]], np.float32))
    np.testing.assert_allclose(made[0], [0.5, 0.5])
    np.testing.assert_allclose(made[1, 0] / made[1, 1], np.e, rtol=1e-5)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    assert np.isfinite(made).all()


def test_a_text_may_stand_twice_if_its_vector_is_the_same(images: Path, tmp_path: Path) -> None:
    twice = np.array([[3, 0, 4], [0, 2, 0], [3.001, 0, 4]], np.float32)
    names = str(lines(tmp_path, f"{NAMES[0]}\n{NAMES[1]}\n{NAMES[0]}"))
    given = opened(images, npy(tmp_path, twice), text_names=names)
    assert given.texts is not None
    assert given.texts.count == 2
    np.testing.assert_array_equal(given.encode_texts(NAMES[:1])[0], twice[0])
    with pytest.raises(CallError, match=r"the text 'a photo of a dog' has two different vectors"):
        opened(images, npy(tmp_path, np.array([[3, 0, 4], [0, 2, 0], [3.1, 0, 4]])), text_names=names)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((2, 4)), "has vectors of 4 numbers, those of images have 3"),
        (np.ones((3, 3)), "2 texts for the 3 vectors of texts.npy"),
        (np.array([[1, 0, 0], [0, np.nan, 0]]), r"the vector of 'a photo of a cat' \(row 2\) has NaN"),
        (np.array([[0, 0, 0], [0, 1, 0]]), r"the vector of 'a photo of a dog' \(row 1\) is all zero"),
        (np.ones(2), "must be a table of vectors"),
        (np.zeros((0, 3)), "has no vectors"),
    ],
)
def test_vectors_that_are_refused(images: Path, tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(CallError, match=said):
        opened(images, npy(tmp_path, array), text_names=str(lines(tmp_path)))


def test_names_that_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"encoder.text_names: texts.npy holds vectors only: give a .txt file"):
        opened(images, npy(tmp_path))
    with pytest.raises(CallError, match=r"encoder.text_names: nowhere.txt cannot be read: No such file"):
        opened(images, npy(tmp_path), text_names=str(tmp_path / "nowhere.txt"))
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CallError, match=r"names.txt cannot be read: not UTF-8"):
        opened(images, npy(tmp_path), text_names=str(tmp_path / "names.txt"))
    with pytest.raises(CallError, match=r"the text of vector 2 of texts.npy is empty"):
        opened(images, npy(tmp_path), text_names=str(lines(tmp_path, "a\n\n")))
    with pytest.raises(
        CallError, match=r"encoder.text_names: texts.parquet has no 'prompt' .*; did you mean prompts\?"
    ):
        opened(images, parquet(tmp_path, "prompts"), text_names="prompt")
    with pytest.raises(CallError, match=r"encoder.text_names: texts.npz has no 'text' or 'texts' or 'caption'"):
        opened(images, npz(tmp_path, "prompts"))
    with pytest.raises(CallError, match=r"encoder.text_path: no such file"):
        opened(images, tmp_path / "nothing.npz")
    with pytest.raises(CallError, match=r"clip-retrieval folder with vectors of texts: it has no text_emb/\*.npy"):
        opened(images, tmp_path)
