"""Retrieval against counting it out, with captions that images share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics import retrieval as metric
from pipeline.metrics.blocks import row_blocks
from pipeline.metrics.retrieval import caption_ranks, chance, curve, image_ranks, recall


def shared_captions(d: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """40 images; 0 to 29 have captions, some several, some the same text twice, some that of others."""
    random = np.random.default_rng(0)
    images, texts = random.normal(size=(40, d)), random.normal(size=(25, d))
    image_of, text_of = random.integers(0, 30, 60), random.integers(0, 22, 60)
    return images, texts, image_of, text_of


def cosines(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images, texts)]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize("rows", [5, 512])
def test_ranks_are_those_of_counting(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "tile_blocks", lambda n, d: row_blocks(n, 1, rows))
    monkeypatch.setattr(metric, "_PAIRS", 3)
    images, texts, image_of, text_of = shared_captions()
    near = cosines(images, texts)
    queries, found = image_ranks(images, texts, image_of, text_of)
    assert queries.tolist() == sorted(set(image_of.tolist()))
    used = sorted(set(text_of.tolist()))
    for place, image in enumerate(queries):
        own = set(text_of[image_of == image].tolist())
        best = max(near[image, text] for text in own)
        assert found.shared[place] == 1 + sum(near[image, text] >= best for text in used if text not in own)
        others = [j for j in range(60) if image_of[j] != image]
        assert found.strict[place] == 1 + sum(near[image, text_of[j]] >= best - 1e-9 for j in others)
        assert (found.right_shared[place], found.right_strict[place]) == (len(own), (image_of == image).sum())
    assert (found.candidates_shared, found.candidates_strict) == (len(used), 60)
    back = caption_ranks(images, texts, image_of, text_of)
    for j in range(60):
        own = set(image_of[text_of == text_of[j]].tolist())
        best = max(near[image, text_of[j]] for image in own)
        rest = [image for image in range(40) if image not in own]
        assert back.shared[j] == 1 + sum(near[image, text_of[j]] >= best for image in rest)
        here = near[image_of[j], text_of[j]]
        assert back.strict[j] == sum(near[:, text_of[j]] >= here - 1e-9)
        assert back.right_shared[j] == len(own)


def test_by_hand() -> None:
    images = np.eye(3)
    texts = np.array([[1.0, 0, 0], [0.0, 0.6, 0.8], [0.0, 0.8, 0.6]])
    queries, found = image_ranks(images, texts, np.arange(3), np.arange(3))
    assert (queries.tolist(), found.shared.tolist()) == ([0, 1, 2], [1, 2, 2])
    assert recall(found.shared, found.right_shared, 3, None, 100).recall.tolist() == [1 / 3, 1, 1]
    assert caption_ranks(images, texts, np.arange(3), np.arange(3)).strict.tolist() == [1, 2, 2]


def test_an_equal_caption_is_right_when_shared_and_wrong_when_strict() -> None:
    images, texts = np.array([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    image_of, text_of = np.array([0, 1, 2]), np.array([0, 0, 1])
    _, found = image_ranks(images, texts, image_of, text_of)
    assert (found.shared.tolist(), found.strict.tolist()) == ([1, 1, 1], [2, 2, 1])
    back = caption_ranks(images, texts, image_of, text_of)
    assert (back.shared.tolist(), back.strict.tolist()) == ([1, 1, 1], [1, 2, 1])


def test_of_equal_images_the_wrong_ones_come_first() -> None:
    """An encoder that gives every image the same vector finds nothing."""
    images, texts = np.ones((50, 4), np.float32), np.random.default_rng(0).normal(size=(50, 4))
    found = caption_ranks(images, texts, np.arange(50), np.arange(50))
    assert (found.shared == 50).all() and (found.strict == 50).all()


def test_float32_above_1024_dimensions() -> None:
    images, texts, image_of, text_of = shared_captions(d=1100)
    one = image_ranks(images, texts, image_of, text_of)[1]
    other = image_ranks(images.astype(np.float32), texts.astype(np.float32) * 7, image_of, text_of)[1]
    assert (one.shared == other.shared).all() and (one.strict == other.strict).all()


def test_chance_is_what_random_vectors_reach() -> None:
    random = np.random.default_rng(0)
    right = np.array([1, 3, 40])
    drawn = np.array([[min(random.permutation(50)[:r]) + 1 for r in right] for _ in range(2000)])
    expected = [(drawn <= k).mean() for k in (1, 5, 10)]
    np.testing.assert_allclose(chance(right, 50), expected, atol=0.02)
    assert chance(np.array([2]), 2).tolist() == [1, 1, 1]
    assert np.isnan(chance(np.zeros(0, int), 5)).all()


def test_recall_with_intervals() -> None:
    random = np.random.default_rng(0)
    ranks = random.integers(1, 21, 200)
    found = recall(ranks, np.ones(200, int), 20, None, 300)
    np.testing.assert_allclose(found.recall, [(ranks <= k).mean() for k in (1, 5, 10)])
    assert (found.median, found.mean) == (np.median(ranks), ranks.mean())
    assert (found.interval.low < found.recall).all() and (found.recall < found.interval.high).all()
    assert found.median_interval.low <= found.median <= found.median_interval.high
    grouped = recall(np.repeat(ranks[:20], 10), np.ones(200, int), 20, np.repeat(np.arange(20), 10), 300)
    assert grouped.interval.high[1] - grouped.interval.low[1] > 2 * (found.interval.high[1] - found.interval.low[1])


@pytest.mark.parametrize("ranks", [[1, 2], [3, 1, 2], [5, 5, 1, 9]])
def test_the_median_is_numpys(ranks: list[int]) -> None:
    assert recall(np.array(ranks), np.ones(len(ranks), int), 9, None, 100).median == np.median(ranks)


def test_no_queries() -> None:
    none = recall(np.zeros(0, int), np.zeros(0, int), 7, None, 100)
    assert none.queries == 0 and np.isnan(none.recall).all() and math.isnan(none.median) and math.isnan(none.mean)


def test_the_curve_passes_through_the_recalls() -> None:
    ranks, right = np.random.default_rng(0).integers(1, 1001, 400), np.ones(400, int)
    k, shares, by_chance = curve(ranks, right, 1000)
    assert len(k) <= 200 and (k[0], k[-1], shares[-1]) == (1, 1000, 1)
    at = np.flatnonzero(np.isin(k, [1, 5, 10]))
    np.testing.assert_allclose(shares[at], recall(ranks, right, 1000, None, 100).recall)
    np.testing.assert_allclose(by_chance, k / 1000)
