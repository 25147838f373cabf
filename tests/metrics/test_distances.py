"""Class distances: a hand-worked example, brute force, closed forms, and what must not change a number."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics import blocks
from pipeline.metrics.distances import class_distances, pair_blocks, write_pairs

# Three classes in the plane, of any length as only directions count:
#   a: (1,0), (0,1)          one pair, cosine 0
#   b: (3,4), (4,3), (6,8)   unit (.6,.8), (.8,.6), (.6,.8): cosines .96, 1, .96
#   c: (-1,0)                one member, no pair
EXAMPLE = np.array([[1, 0], [0, 1], [3, 4], [4, 3], [6, 8], [-1, 0]], dtype=np.float32)
CODES = np.array([0, 0, 1, 1, 1, 2])


def _random(n: int = 120, d: int = 7, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 0.3, rng.integers(0, classes, n)


def _flat(found: Any, prefix: str = "") -> dict[str, Any]:
    """Every array and number of a result by its place."""
    if found is None or not dataclasses.is_dataclass(found):
        return {} if found is None else {prefix: found}
    parts = [_flat(getattr(found, field.name), f"{prefix}.{field.name}") for field in dataclasses.fields(found)]
    return {name: value for part in parts for name, value in part.items()}


def _equal(left: Any, right: Any, tolerance: float, but: tuple[str, ...] = ()) -> None:
    one, other = _flat(left), _flat(right)
    assert one.keys() == other.keys()
    for name in one:
        if not name.endswith(but or ("nothing",)):
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance, err_msg=name)


def test_within_classes_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    np.testing.assert_array_equal(found.counts, [2, 3, 1])
    np.testing.assert_allclose(found.cosines.within_mean, [0, 2.92 / 3, np.nan], atol=1e-12)
    # deviations from 2.92/3: (.04/3) twice on one side, (.08/3) on the other; sd = .04/3 * sqrt(2)
    np.testing.assert_allclose(found.cosines.within_sd, [0, 0.04 / 3 * np.sqrt(2), np.nan], atol=1e-12)
    np.testing.assert_allclose(found.cosines.within_min, [0, 0.96, np.nan], atol=1e-12)
    np.testing.assert_allclose(found.cosines.within_max, [0, 1.0, np.nan], atol=1e-12)


def test_between_classes_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    nan = np.nan
    # a-b: (1,0) meets .6 .8 .6, (0,1) meets .8 .6 .8; a-c: -1, 0; b-c: -.6, -.8, -.6
    ab, ac, bc = 4.2 / 6, -0.5, -2.0 / 3
    np.testing.assert_allclose(found.cosines.between_mean, [[nan, ab, ac], [ab, nan, bc], [ac, bc, nan]], atol=1e-12)
    np.testing.assert_allclose(found.cosines.between_min[0, 1:], [0.6, -1], atol=1e-12)
    np.testing.assert_allclose(found.cosines.between_max[0, 1:], [0.8, 0], atol=1e-12)
    np.testing.assert_allclose(found.cosines.between_sd[0, 1:], [0.1, 0.5], atol=1e-12)


def test_overall_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    within, between = found.cosines.overall_within, found.cosines.overall_between
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
    assert found.cosines.center_cosine[0, 2] == pytest.approx(-np.sqrt(0.5))
    assert found.center_distance[0, 2] == pytest.approx(np.sqrt(2.5))
    np.testing.assert_array_equal(np.diag(found.center_distance), 0)


def test_histograms_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3, bins=4)
    np.testing.assert_allclose(found.cosines.edges, [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(found.cosines.within_counts, [0, 0, 1, 3])
    np.testing.assert_array_equal(found.cosines.between_counts, [4, 0, 1, 6])


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
            assert getattr(found.cosines, f"{kind}_{name}")[place] == pytest.approx(expected, abs=1e-12)
    within = np.concatenate([value for (a, b), value in pairs.items() if a == b])
    between = np.concatenate([value for (a, b), value in pairs.items() if a != b])
    for cosines, spread, counts in (
        (within, found.cosines.overall_within, found.cosines.within_counts),
        (between, found.cosines.overall_between, found.cosines.between_counts),
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
    assert found.cosines.within_mean[0] == pytest.approx(true_within)
    assert found.cosines.overall_between.mean == pytest.approx(true_between)
    assert abs(found.cosines.within_mean[0] - original_within) > 0.05
    assert abs(found.cosines.overall_between.mean - original_between) > 0.05


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_rotation_and_length_change_nothing_but_the_centres(seed: int, scale: float) -> None:
    vectors, codes = _random(40, 5, 3, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    before, after = class_distances(vectors, codes, 3), class_distances(vectors @ rotation * scale, codes, 3)
    np.testing.assert_allclose(after.centers, before.centers @ rotation, atol=1e-12)
    # a cosine at the very edge of a fine bin may fall into the next one
    _equal(
        before,
        after,
        1e-12,
        ("centers", "_counts", "overlap", "auc", "auc_error", "auc_interval.low", "auc_interval.high"),
    )


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
    np.testing.assert_allclose(after.cosines.within_sd, before.cosines.within_sd[::-1], atol=1e-12)
    np.testing.assert_allclose(after.cosines.between_sd, before.cosines.between_sd[::-1, ::-1], atol=1e-12)


def test_one_class_has_no_between_and_says_nan() -> None:
    found = class_distances(EXAMPLE[:2], CODES[:2], 1)
    assert np.isnan(found.cosines.overall_between.mean)
    assert found.cosines.overall_between.pairs == 0
    assert np.isnan(found.cosines.between_mean).all()


def test_a_class_without_members_is_nan() -> None:
    found = class_distances(EXAMPLE, CODES, 4)
    assert found.counts[3] == 0
    assert np.isnan(found.centers[3]).all()
    assert np.isnan(found.radius_max[3])
    assert np.isnan(found.cosines.between_mean[3]).all()


def test_equal_vectors_have_no_spread() -> None:
    vectors = np.tile(np.random.default_rng(0).normal(size=(1, 50)), (30, 1))
    found = class_distances(np.vstack([vectors, -vectors]), np.repeat([0, 1], 30), 2)
    np.testing.assert_allclose(found.cosines.within_sd, 0, atol=1e-14)
    np.testing.assert_allclose(found.cosines.between_sd[0, 1], 0, atol=1e-14)
    assert found.cosines.within_counts[-1] == 2 * 435
    assert found.cosines.between_counts[0] == 900


def test_raw_pixels_from_a_read_only_memory_map(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3000), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    codes = np.arange(30) % 3
    found = class_distances(np.load(tmp_path / "pixels.npy", mmap_mode="r"), codes, 3)
    unit = pixels / np.linalg.norm(pixels.astype(float), axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.ix_(codes == 0, codes == 1)]
    assert found.cosines.between_mean[0, 1] == pytest.approx(cosines.mean(), abs=1e-6)
    assert found.cosines.between_sd[0, 1] == pytest.approx(cosines.std(), abs=1e-6)


def test_many_small_classes() -> None:
    codes = np.arange(600) % 200
    found = class_distances(np.random.default_rng(0).normal(size=(600, 8)), codes, 200)
    assert found.cosines.overall_within.pairs == 600
    assert found.cosines.overall_between.pairs == 600 * 599 // 2 - 600
    assert found.cosines.within_counts.sum() == 600


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


def test_separation_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    overall, of_class = found.cosines.overall, found.cosines.by_class
    # within: 0 .96 .96 1; between: -1 -.8 -.6 -.6 0 .6 .6 .6 .8 .8 .8. Only the pair at 0 loses: to the six above it,
    # and it ties with one; so it wins 4 and a half of 11, and the other three win all.
    assert overall.auc == pytest.approx((4.5 + 33) / 44)
    assert overall.auc_error == pytest.approx(0.5 / 44)
    assert overall.overlap == pytest.approx(1 / 11)  # the bin of 0: a quarter and one of eleven; no other is shared
    between = [0.6, 0.8, 0.6, 0.8, 0.6, 0.8, -1, 0, -0.6, -0.8, -0.6]
    spread = np.sqrt((np.var([0, 0.96, 0.96, 1]) + np.var(between)) / 2)
    assert overall.gap == pytest.approx(0.73 - np.mean(between))
    assert overall.d_prime == pytest.approx(overall.gap / spread)
    # class a: one pair, at 0; against others .6 .6 .6 .8 .8 .8, -1 and 0: it wins over -1 and ties with 0
    np.testing.assert_allclose(of_class.auc, [1.5 / 8, 1, np.nan])
    np.testing.assert_allclose(found.cosines.others_mean, [3.2 / 8, 2.2 / 9, -3 / 5])
    np.testing.assert_allclose(of_class.gap, [-3.2 / 8, 2.92 / 3 - 2.2 / 9, np.nan])
    np.testing.assert_allclose(of_class.d_prime[0], -0.4 / np.sqrt(np.var([*between[:6], -1, 0]) / 2))
    np.testing.assert_allclose(of_class.overlap, [1 / 8, 0, np.nan])


def test_nearest_by_hand() -> None:
    found = class_distances(EXAMPLE, CODES, 3)
    np.testing.assert_array_equal(found.cosines.nearest, [1, 0, 0])  # mean cosines .7, -.5, -2/3
    np.testing.assert_array_equal(found.nearest_center, [1, 0, 0])
    assert class_distances(EXAMPLE[:2], CODES[:2], 1).cosines.nearest[0] == -1


def test_auc_against_all_comparisons() -> None:
    vectors, codes = _random(90, 4, 3, seed=5)
    cosines = unit(vectors) @ unit(vectors).T
    i, j = np.triu_indices(len(codes), 1)
    same = codes[i] == codes[j]
    found = class_distances(vectors, codes, 3).cosines
    exact = auc_by_counting(cosines[i, j][same], cosines[i, j][~same])
    assert abs(found.overall.auc - exact) <= found.overall.auc_error + 1e-12
    assert found.overall.auc_error < 1e-3
    for code in range(3):
        touching = (codes[i] == code) | (codes[j] == code)
        exact = auc_by_counting(cosines[i, j][same & touching], cosines[i, j][~same & touching])
        assert abs(found.by_class.auc[code] - exact) <= found.by_class.auc_error[code] + 1e-12


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def auc_by_counting(within: np.ndarray, between: np.ndarray) -> float:
    difference = within[:, None] - between
    return float(((difference > 0) + (difference == 0) / 2).mean())


def test_centring_is_what_it_says() -> None:
    vectors, codes = _random(150, 6, 4, seed=2)
    vectors = vectors + np.array([4, 0, 0, 0, 0, 0])  # a cone
    found = class_distances(vectors, codes, 4, centered=True)
    moved = unit(vectors) - unit(vectors).mean(axis=0)
    _equal(found.centered, class_distances(moved, codes, 4).cosines, 1e-9, ("auc", "_counts", "overlap", "low", "high"))
    assert found.centered is not None
    explicit = class_distances(moved, codes, 4).cosines
    assert found.centered.overall.auc == pytest.approx(explicit.overall.auc, abs=1e-4)
    _equal(
        found.cosines, class_distances(vectors, codes, 4).cosines, 1e-9, ("auc", "_counts", "overlap", "low", "high")
    )
    assert found.mean_length == pytest.approx(np.linalg.norm(unit(vectors).mean(axis=0)))


@pytest.mark.parametrize("classes", [2, 5])
def test_centring_a_simplex(classes: int) -> None:
    """Orthogonal classes of equal size: centring leaves the corners of a regular simplex, -1 / (C - 1) apart."""
    codes = np.repeat(np.arange(classes), 3)
    found = class_distances(np.eye(classes)[codes], codes, classes, centered=True)
    assert found.centered is not None
    assert found.cosines.overall_between.mean == pytest.approx(0, abs=1e-12)
    assert found.centered.overall_between.mean == pytest.approx(-1 / (classes - 1))
    assert found.centered.overall_within.mean == pytest.approx(1)
    assert found.mean_length == pytest.approx(1 / np.sqrt(classes))


def test_centring_opens_a_cone() -> None:
    """Two classes on either side of an axis, 2 t apart: centring takes the axis away whatever t is."""
    for t in (0.01, 0.5):
        vectors = np.array([[np.cos(t), np.sin(t)], [np.cos(t), -np.sin(t)]])[[0, 0, 1, 1]]
        found = class_distances(vectors, np.array([0, 0, 1, 1]), 2, centered=True)
        assert found.centered is not None
        assert found.cosines.overall_between.mean == pytest.approx(np.cos(2 * t))
        assert found.centered.overall_between.mean == pytest.approx(-1)
        assert found.mean_length == pytest.approx(np.cos(t))
        assert np.isnan(found.centered.overall.d_prime)  # nothing spreads


def test_nothing_to_centre() -> None:
    assert class_distances(np.ones((4, 3)), np.array([0, 0, 1, 1]), 2, centered=True).centered is None
    assert class_distances(np.ones((1, 3)), np.array([0]), 1, centered=True).centered is None


def test_centring_raw_pixels_keeps_its_digits() -> None:
    """In float32 (d > 1024) too: products are taken after the shift, not before."""
    random = np.random.default_rng(0)
    pixels = np.clip(200 + random.normal(0, 4, (40, 3000)), 0, 255).astype(np.uint8)  # mean cosine 0.9996
    codes = np.arange(40) % 2
    found = class_distances(pixels, codes, 2, centered=True)
    moved = unit(pixels.astype(float)) - unit(pixels.astype(float)).mean(axis=0)
    cosines = (unit(moved) @ unit(moved).T)[np.ix_(codes == 0, codes == 1)]
    assert found.centered is not None
    assert found.centered.between_mean[0, 1] == pytest.approx(cosines.mean(), abs=1e-5)
    assert found.centered.between_sd[0, 1] == pytest.approx(cosines.std(), abs=1e-5)


def test_saved_pairs_are_all_cosines_in_their_places() -> None:
    vectors, codes = _random(30, 5, 3, seed=1)
    blocks_of, out = pair_blocks(np.bincount(codes)), np.full(30 * 29 // 2, np.nan, dtype=np.float32)
    write_pairs(vectors, codes, 3, out, block_bytes=700)
    cosines = unit(vectors) @ unit(vectors).T
    assert [block[:2] for block in blocks_of] == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    for a, b, start, count in blocks_of:
        table = cosines[np.ix_(codes == a, codes == b)]
        expected = table[np.triu_indices(len(table), 1)] if a == b else table.ravel()
        np.testing.assert_allclose(out[start : start + count], expected, atol=1e-6)
    assert sum(block[3] for block in blocks_of) == len(out)
