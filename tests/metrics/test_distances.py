"""Class distances: a hand-worked example, brute force, and what must not change a number."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics import blocks
from pipeline.metrics.distances import ClassDistances, class_distances

# Three classes in the plane, of any length as only directions count:
#   a: (1,0), (0,1)          one pair, cosine 0
#   b: (3,4), (4,3), (6,8)   unit (.6,.8), (.8,.6), (.6,.8): cosines .96, 1, .96
#   c: (-1,0)                one member, no pair
EXAMPLE = np.array([[1, 0], [0, 1], [3, 4], [4, 3], [6, 8], [-1, 0]], dtype=np.float32)
CODES = np.array([0, 0, 1, 1, 1, 2])


def _random(n: int = 120, d: int = 7, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 0.3, rng.integers(0, classes, n)


def _equal(left: ClassDistances, right: ClassDistances, tolerance: float) -> None:
    for field in dataclasses.fields(ClassDistances):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if dataclasses.is_dataclass(one):
            one, other = dataclasses.astuple(one), dataclasses.astuple(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=field.name)


def test_within_classes_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    np.testing.assert_array_equal(found.counts, [2, 3, 1])
    np.testing.assert_allclose(found.within_mean, [0, 2.92 / 3, np.nan], atol=1e-12)
    # deviations from 2.92/3: (.04/3) twice on one side, (.08/3) on the other; sd = .04/3 * sqrt(2)
    np.testing.assert_allclose(found.within_sd, [0, 0.04 / 3 * np.sqrt(2), np.nan], atol=1e-12)
    np.testing.assert_allclose(found.within_min, [0, 0.96, np.nan], atol=1e-12)
    np.testing.assert_allclose(found.within_max, [0, 1.0, np.nan], atol=1e-12)


def test_between_classes_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    nan = np.nan
    # a-b: (1,0) meets .6 .8 .6, (0,1) meets .8 .6 .8; a-c: -1, 0; b-c: -.6, -.8, -.6
    ab, ac, bc = 4.2 / 6, -0.5, -2.0 / 3
    np.testing.assert_allclose(found.between_mean, [[nan, ab, ac], [ab, nan, bc], [ac, bc, nan]], atol=1e-12)
    np.testing.assert_allclose(found.between_min[0, 1:], [0.6, -1], atol=1e-12)
    np.testing.assert_allclose(found.between_max[0, 1:], [0.8, 0], atol=1e-12)
    np.testing.assert_allclose(found.between_sd[0, 1:], [0.1, 0.5], atol=1e-12)


def test_overall_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    within, between = found.overall_within, found.overall_between
    assert (within.pairs, between.pairs) == (4, 11)  # together all 6 * 5 / 2
    assert within.mean == pytest.approx(2.92 / 4)
    assert within.min == pytest.approx(0, abs=1e-12)
    assert within.max == pytest.approx(1)
    cosines = [0.6, 0.8, 0.6, 0.8, 0.6, 0.8, -1, 0, -0.6, -0.8, -0.6]
    assert between.mean == pytest.approx(sum(cosines) / 11)
    assert between.sd == pytest.approx(np.std(cosines))
    assert (between.min, between.max) == (pytest.approx(-1), pytest.approx(0.8))


def test_centres_and_radii_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    np.testing.assert_allclose(found.centers, [[0.5, 0.5], [2 / 3, 2.2 / 3], [-1, 0]], atol=1e-12)
    far, near = np.hypot(0.4 / 3, 0.4 / 3), np.hypot(0.2 / 3, 0.2 / 3)  # (.8,.6) and the two (.6,.8)
    np.testing.assert_allclose(found.radius_max, [np.sqrt(0.5), far, 0], atol=1e-12)
    np.testing.assert_allclose(found.radius_mean, [np.sqrt(0.5), (far + 2 * near) / 3, 0], atol=1e-12)
    np.testing.assert_allclose(found.radius_p95, [np.sqrt(0.5), near + 0.9 * (far - near), 0], atol=1e-12)
    assert found.center_cosine[0, 2] == pytest.approx(-np.sqrt(0.5))
    assert found.center_distance[0, 2] == pytest.approx(np.sqrt(2.5))
    np.testing.assert_array_equal(np.diag(found.center_distance), 0)


def test_histograms_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3, bins=4)
    np.testing.assert_allclose(found.edges, [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(found.within_counts, [0, 0, 1, 3])
    np.testing.assert_array_equal(found.between_counts, [4, 0, 1, 6])


def test_every_unordered_pair_once_against_brute_force() -> None:
    vectors, codes = _random()
    found = class_distances(vectors, codes, 4, bins=50)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs: dict[tuple[int, int], list[float]] = {}
    for i, j in combinations(range(len(unit)), 2):
        key = tuple(sorted((int(codes[i]), int(codes[j]))))
        pairs.setdefault(key, []).append(float(unit[i] @ unit[j]))
    for (a, b), cosines in pairs.items():
        kind, place = ("within", a) if a == b else ("between", (a, b))
        for name, expected in (
            ("mean", np.mean(cosines)),
            ("sd", np.std(cosines)),
            ("min", min(cosines)),
            ("max", max(cosines)),
        ):
            assert getattr(found, f"{kind}_{name}")[place] == pytest.approx(expected, abs=1e-12)
    within = np.concatenate([value for (a, b), value in pairs.items() if a == b])
    between = np.concatenate([value for (a, b), value in pairs.items() if a != b])
    for cosines, spread, counts in (
        (within, found.overall_within, found.within_counts),
        (between, found.overall_between, found.between_counts),
    ):
        expected = (cosines.mean(), cosines.std(), cosines.min(), cosines.max(), len(cosines))
        assert dataclasses.astuple(spread) == pytest.approx(expected, abs=1e-12)
        np.testing.assert_array_equal(counts, np.histogram(cosines, bins=50, range=(-1, 1))[0])


def test_the_originals_two_faults_are_not_repeated() -> None:
    """The original's 'within' loses pairs to sorting, its 'between' mixes in zeros and the same class."""
    vectors, codes = _random(60, 5, 2, seed=3)
    vectors = np.where(codes[:, None] == 0, vectors, -vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    found = class_distances(vectors, codes, 2)
    inside = cosines[np.ix_(codes == 0, codes == 0)]
    true_within = inside[np.triu_indices(len(inside), 1)].mean()
    true_between = cosines[np.ix_(codes == 0, codes == 1)].mean()
    original_within = -np.sort(-inside, axis=1)[np.triu_indices(len(inside), 1)].mean()
    original_between = np.where(np.eye(len(cosines), dtype=bool), 0, cosines).mean()
    assert found.within_mean[0] == pytest.approx(true_within)
    assert found.overall_between.mean == pytest.approx(true_between)
    assert abs(found.within_mean[0] - original_within) > 0.05
    assert abs(found.overall_between.mean - original_between) > 0.05


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_rotation_and_length_change_nothing_but_the_centres(seed: int, scale: float) -> None:
    vectors, codes = _random(40, 5, 3, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    before, after = class_distances(vectors, codes, 3), class_distances(vectors @ rotation * scale, codes, 3)
    unrotated = {
        "centers": before.centers,
        "within_counts": before.within_counts,
        "between_counts": before.between_counts,
    }
    np.testing.assert_allclose(after.centers, before.centers @ rotation, atol=1e-12)
    _equal(before, dataclasses.replace(after, **unrotated), 1e-12)


def test_row_order_changes_nothing() -> None:
    vectors, codes = _random()
    order = np.random.default_rng(1).permutation(len(codes))
    _equal(class_distances(vectors, codes, 4), class_distances(vectors[order], codes[order], 4), 1e-12)


@pytest.mark.parametrize("block_bytes", [1, 300, 2000])
def test_block_size_changes_nothing(block_bytes: int) -> None:
    vectors, codes = _random(70)
    _equal(class_distances(vectors, codes, 4), class_distances(vectors, codes, 4, block_bytes=block_bytes), 1e-12)


def test_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codes = _random(1100, 20)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "workers", lambda cores=cores: cores)
        found.append(class_distances(vectors, codes, 4))
    _equal(found[0], found[1], 0.0)


def test_renaming_classes_permutes() -> None:
    vectors, codes = _random()
    before, after = class_distances(vectors, codes, 4), class_distances(vectors, 3 - codes, 4)
    np.testing.assert_allclose(after.within_sd, before.within_sd[::-1], atol=1e-12)
    np.testing.assert_allclose(after.between_sd, before.between_sd[::-1, ::-1], atol=1e-12)


def test_one_class_has_no_between_and_says_nan() -> None:
    found = class_distances(EXAMPLE[:2], CODES[:2], 1)
    assert np.isnan(found.overall_between.mean)
    assert found.overall_between.pairs == 0
    assert np.isnan(found.between_mean).all()


def test_a_class_without_members_is_nan() -> None:
    found = class_distances(EXAMPLE, CODES, 4)
    assert found.counts[3] == 0
    assert np.isnan(found.centers[3]).all()
    assert np.isnan(found.radius_max[3])
    assert np.isnan(found.between_mean[3]).all()


def test_equal_vectors_have_no_spread() -> None:
    vectors = np.tile(np.random.default_rng(0).normal(size=(1, 50)), (30, 1))
    found = class_distances(np.vstack([vectors, -vectors]), np.repeat([0, 1], 30), 2)
    np.testing.assert_allclose(found.within_sd, 0, atol=1e-14)
    np.testing.assert_allclose(found.between_sd[0, 1], 0, atol=1e-14)
    assert found.within_counts[-1] == 2 * 435
    assert found.between_counts[0] == 900


def test_raw_pixels_from_a_read_only_memory_map(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3000), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    codes = np.arange(30) % 3
    found = class_distances(np.load(tmp_path / "pixels.npy", mmap_mode="r"), codes, 3)
    unit = pixels / np.linalg.norm(pixels.astype(float), axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.ix_(codes == 0, codes == 1)]
    assert found.between_mean[0, 1] == pytest.approx(cosines.mean(), abs=1e-6)
    assert found.between_sd[0, 1] == pytest.approx(cosines.std(), abs=1e-6)


def test_many_small_classes() -> None:
    codes = np.arange(600) % 200
    found = class_distances(np.random.default_rng(0).normal(size=(600, 8)), codes, 200)
    assert found.overall_within.pairs == 600
    assert found.overall_between.pairs == 600 * 599 // 2 - 600
    assert found.within_counts.sum() == 600


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_vectors_without_direction_are_named(bad: float) -> None:
    vectors = np.ones((6, 2))
    vectors[4] = bad
    with pytest.raises(ValueError, match=r"1 vector.* no direction.*row\(s\) 4"):
        class_distances(vectors, CODES, 3)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match=r"codes must be \(6,\).*got \(5,\)"):
        class_distances(EXAMPLE, CODES[:5], 3)
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 2\), got 0 to 2"):
        class_distances(EXAMPLE, CODES, 2)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        class_distances(EXAMPLE, CODES, 3, bins=0)
