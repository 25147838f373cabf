"""Further vectors in a projection that is there."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pipeline.geometry.projection import pca_placer, pca_projection, umap_placer, umap_projection
from pipeline.geometry.tsne import tsne_placer, tsne_projection

BLOBS = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
BLOBS[:30, 0] += 12
BLOBS[30:60, 1] += 12


@pytest.mark.parametrize(("n", "d"), [(90, 6), (20, 60)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_principal_components_of_new_rows_are_those_of_scikit_learn(n: int, d: int, dtype: type) -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(n, d)) * np.linspace(40, 5, d) + 128).clip(0, 255).astype(dtype)
    new = (random.normal(size=(7, d)) * 20 + 128).clip(0, 255).astype(dtype)
    projection = pca_projection(vectors, 3)
    place = pca_placer(vectors, projection)
    np.testing.assert_allclose(place(vectors), projection, atol=1e-3)
    expected = PCA(3, svd_solver="full").fit(vectors.astype(float)).transform(new.astype(float))
    np.testing.assert_allclose(np.abs(place(new)), np.abs(expected), atol=1e-3)
    assert place(new[:0]).shape == (0, 3)


def test_a_direction_without_variance_stays_without() -> None:
    line = np.arange(12.0)[:, None] * np.array([[1.0, 2.0]])
    place = pca_placer(line, pca_projection(line, 2))
    assert place(np.array([[5.0, 10.0], [9.0, 0.0]]))[:, 1].tolist() == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("max_fit", [200_000, 70])
@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_new_rows_come_to_lie_beside_their_like(method: str, max_fit: int) -> None:
    def placer(projection: np.ndarray, seed: int = 0):
        if method == "umap":
            return umap_placer(BLOBS, projection, 2, 10, seed=seed, max_fit=max_fit)
        return tsne_placer(BLOBS, projection, 5.0, 100, seed=seed, max_fit=max_fit)

    if method == "umap":
        projection = umap_projection(BLOBS, 2, 10, max_fit=max_fit)
    else:
        projection = tsne_projection(BLOBS, 5.0, 100, max_fit=max_fit)
    place = placer(projection)
    assert place is not None
    new = BLOBS + np.float32(0.1)
    found = place(new)
    assert (found.shape, found.dtype) == ((90, 2), np.float32)
    centres = np.array([projection[start : start + 30].mean(axis=0) for start in (0, 30, 60)])
    nearest = np.square(found[:, None] - centres).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(90) // 30).mean() > 0.95
    np.testing.assert_array_equal(place(new), found)  # nothing of the first time is left
    assert placer(projection, seed=1) is None
    assert placer(projection + np.float32(1)) is None
