"""Faithfulness of projections: a line by hand, scikit-learn as oracle, ties, anchors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from pipeline.metrics import blocks
from pipeline.metrics.faithfulness import projection_quality

SCORES = ("trustworthiness", "continuity", "neighbours_kept")


def _spaces(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, 8))
    return embeddings, embeddings[:, :2] + 0.3 * rng.normal(size=(n, 2))


def test_five_points_by_hand() -> None:
    # On a line 0, 1, 3, 6, 10; in the projection 0 moves to 11. With k = 1 and n = 5,
    # 2 / (n k (2n - 3k - 1)) = 1/15.
    embeddings = np.array([[0.0], [1.0], [3.0], [6.0], [10.0]])
    projection = np.array([[11.0], [1.0], [3.0], [6.0], [10.0]])
    # Nearest in the embedding:  0->1, 1->0, 2->1, 3->2, 4->3.
    # Nearest in the projection: 0->4, 1->2, 2->1, 3->2, 4->0.
    # Ranks in the embedding of the projection's:
    # 0->4 is 4th, 1->2 2nd, 2->1 1st, 3->2 1st, 4->0 4th: excess 3 + 1 + 3.
    # Ranks in the projection of the embedding's:
    # 0->1 is 4th, 1->0 4th, 2->1 1st, 3->2 1st, 4->3 2nd: excess 3 + 3 + 1.
    found = projection_quality(embeddings, projection, neighbours=1)
    assert found["trustworthiness"] == pytest.approx(1 - 7 / 15)
    assert found["continuity"] == pytest.approx(1 - 7 / 15)
    assert found["neighbours_kept"] == pytest.approx(2 / 5)
    assert (found["neighbours"], found["anchors"]) == (1, 5)


def test_equal_to_scikit_learn() -> None:
    embeddings, projection = _spaces()
    found = projection_quality(embeddings, projection, neighbours=7)
    assert found["trustworthiness"] == pytest.approx(trustworthiness(embeddings, projection, n_neighbors=7))
    assert found["continuity"] == pytest.approx(trustworthiness(projection, embeddings, n_neighbors=7))


def test_a_copy_is_perfect_also_with_ties() -> None:
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2).astype(np.uint8)
    found = projection_quality(grid, grid[:, ::-1].astype(np.float32) * 3)
    assert [found[name] for name in SCORES] == [1.0, 1.0, 1.0]


def test_rows_may_come_in_any_order() -> None:
    embeddings, projection = _spaces()
    order = np.random.default_rng(1).permutation(len(embeddings))
    before, after = (
        projection_quality(embeddings, projection),
        projection_quality(embeddings[order], projection[order]),
    )
    assert after == pytest.approx(before)


def test_anchors_estimate_the_whole_and_are_seeded() -> None:
    embeddings, projection = _spaces(600)
    whole = projection_quality(embeddings, projection)
    some = projection_quality(embeddings, projection, anchors=200, all_up_to=300, seed=4)
    assert some["anchors"] == 200
    assert some == projection_quality(embeddings, projection, anchors=200, all_up_to=300, seed=4)
    for name in SCORES:
        assert some[name] == pytest.approx(whole[name], abs=0.03)


def test_number_of_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, projection = _spaces(600)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(projection_quality(embeddings, projection))
    assert found[0] == found[1]


def test_few_rows_lower_the_neighbours() -> None:
    embeddings, projection = _spaces(9)
    found = projection_quality(embeddings, projection, neighbours=15)
    assert found["neighbours"] == 4
    assert found["trustworthiness"] == pytest.approx(trustworthiness(embeddings, projection, n_neighbors=4))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_rows_are_nan(n: int) -> None:
    found = projection_quality(np.eye(n, 3), np.eye(n, 2))
    assert all(np.isnan(found[name]) for name in SCORES)
    assert found["anchors"] == n


def test_raw_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 2000), dtype=np.uint8)
    projection = pixels[:, :3].astype(np.float32)
    found = projection_quality(pixels, projection)
    expected = trustworthiness(pixels.astype(float), projection.astype(float), n_neighbors=15)
    assert found["trustworthiness"] == pytest.approx(expected, abs=1e-3)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match=r"must be \(n, d\) and \(n, d'\), got \(5, 2\) and \(4, 2\)"):
        projection_quality(np.ones((5, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="at least 1, got 0 and 500"):
        projection_quality(np.ones((5, 2)), np.ones((5, 2)), neighbours=0)
