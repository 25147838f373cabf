"""Neighbours by an index: near ones are found, distances are exact, calls repeat."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.approximate import approximate_neighbours
from pipeline.geometry.neighbours import nearest_neighbours


def test_near_duplicates_are_found_and_distances_are_exact() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6000, 24)).astype(np.float32)
    vectors[3000:3500] = vectors[:500] + 1e-3 * rng.normal(size=(500, 24)).astype(np.float32)
    rows, distances = approximate_neighbours(vectors, 4)
    assert (rows[:, 0] == np.arange(6000)).all()
    assert (rows[:500, 1] == np.arange(3000, 3500)).mean() > 0.99
    apart = np.linalg.norm(vectors[rows[:, 1]].astype(np.float64) - vectors, axis=1)
    np.testing.assert_allclose(distances[:, 1], apart, rtol=1e-5)
    again, _ = approximate_neighbours(vectors, 4)
    assert (again == rows).all()


def test_a_few_vectors_have_all_their_neighbours() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 3))
    rows, _ = approximate_neighbours(vectors, 5)
    exact, _ = nearest_neighbours(vectors.astype(np.float32), 5)
    assert (np.sort(rows) == np.sort(exact)).all()
