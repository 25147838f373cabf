"""Names of groups: against counting it out, where there is something to name and where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics import naming as metric
from pipeline.metrics.blocks import row_blocks
from pipeline.metrics.naming import distinct, group_names, halves, largest_differences, largest_rows

TOPICS = 4


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def topics(
    n: int = 200, entries: int = 500, d: int = 24, strength: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Images of four topics, whose words are the first four entries; the others are random directions."""
    random = np.random.default_rng(0)
    directions = unit(random.normal(size=(TOPICS, d)))
    codes = random.integers(0, TOPICS, n)
    images = (strength * directions[codes] + random.normal(size=(n, d)) / math.sqrt(d)) * random.uniform(0.5, 3, (n, 1))
    words = np.concatenate([directions, unit(random.normal(size=(entries - TOPICS, d)))])
    texts = [f"topic{i}" for i in range(TOPICS)] + [f"word{i}" for i in range(entries - TOPICS)]
    return images, codes, words, texts


def test_topics_are_named_by_their_words(monkeypatch: pytest.MonkeyPatch) -> None:
    images, codes, entries, texts = topics()
    names = group_names(images, codes, entries, texts)
    best = [name for name in names if name.rank == 1]
    assert [(name.group, name.entry, name.halves) for name in best] == [(g, g, 2) for g in range(TOPICS)]
    for name in best:
        assert 0 < name.low < name.difference < name.high
        assert name.effect > 1 and name.margin > 0.1 and name.worse > 0.99
        assert name.runner_up not in (name.group, -1)
    assert [name.rank for name in names if name.group == 0] == [1, 2, 3, 4, 5]
    monkeypatch.setattr(metric, "_VALUES", 1)  # one group at a time
    again = group_names(images, codes, entries, texts)
    assert [(one.entry, pytest.approx(one.low)) for one in again] == [(name.entry, name.low) for name in names]
    read = group_names(images, codes, entries.astype(np.float32), lambda rows: [texts[row] for row in rows])
    assert [(name.entry, name.rank) for name in read] == [(name.entry, name.rank) for name in names]


def test_the_numbers_are_those_of_the_halves_that_did_not_choose() -> None:
    images, codes, entries, texts = topics()
    codes[:20] = -1  # noise is among the others
    groups = np.arange(200) // 2
    first = halves(codes, groups, (5,))
    cosines = unit(images) @ entries.T
    for name in group_names(images, codes, entries, texts, groups, 3, (5,)):
        if name.halves < 2:
            continue
        gaps, effects, means, worse = [], [], [], []
        for half in (first, ~first):
            inside, outside = half & (codes == name.group), half & (codes != name.group)
            one, other = cosines[inside, name.entry], cosines[outside, name.entry]
            gaps.append(one.mean() - other.mean())
            spread = ((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / (half.sum() - 2)
            effects.append(gaps[-1] / math.sqrt(spread))
            means.append([cosines[half & (codes == g), name.entry].mean() for g in range(TOPICS)])
            everything = cosines[inside].mean(axis=0) - cosines[outside].mean(axis=0)
            worse.append((everything < gaps[-1] - 1e-12).mean())
        assert name.difference == pytest.approx(np.mean(gaps))
        assert name.effect == pytest.approx(np.mean(effects))
        assert name.worse == pytest.approx(np.mean(worse))
        of_groups = np.mean(means, axis=0)
        rest = [g for g in range(TOPICS) if g != name.group]
        assert name.mean == pytest.approx(of_groups[name.group])
        assert name.margin == pytest.approx(of_groups[name.group] - of_groups[rest].max())
        assert name.runner_up == rest[of_groups[rest].argmax()]


def test_where_there_is_nothing_to_name_the_best_of_many_has_no_difference() -> None:
    """The winner's curse: in the images that chose it the best of 2,000 words is far off 0, in the others it is not."""
    held_out, seen, covered = [], [], []
    for trial in range(30):
        random = np.random.default_rng(trial)
        images, codes = random.normal(size=(120, 16)), random.integers(0, 2, 120)
        entries = unit(random.normal(size=(2000, 16)))
        names = group_names(images, codes, entries, [f"w{i}" for i in range(2000)], count=1, seed=(trial,))
        for name in names:
            cosines = unit(images) @ entries[name.entry]
            held_out.append(name.difference)
            members = codes == name.group
            seen.append((unit(images)[members].mean(axis=0) - unit(images)[~members].mean(axis=0)) @ entries.T)
            covered.append(name.low <= 0 <= name.high)
            assert abs(name.difference) < 4 * cosines.std()
    error = np.std(held_out) / math.sqrt(len(held_out))
    assert abs(np.mean(held_out)) < 3 * error
    assert np.mean([values.max() for values in seen]) > 5 * abs(np.mean(held_out))
    assert np.mean(covered) >= 0.85


def test_groups_of_images_are_the_units() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 20)  # near copies
    codes, directions = (np.arange(24) % 2)[groups], unit(random.normal(size=(300, 12)))
    images = random.normal(size=(24, 12))[groups] + 0.01 * random.normal(size=(480, 12))
    texts = [f"w{i}" for i in range(300)]
    whole = halves(codes, groups, (0,))
    assert all(len(set(whole[groups == g])) == 1 for g in range(24))
    assert [np.bincount(codes[half]).tolist() for half in (whole, ~whole)] == [[120, 120]] * 2
    torn, kept = (group_names(images, codes, directions, texts, of, 1) for of in (None, groups))
    assert all(name.low > 0 for name in torn)  # 480 images that seem to agree
    assert all(name.low < 0 for name in kept)


def test_groups_too_small_to_be_halved_get_no_name() -> None:
    images, codes, entries, texts = topics(n=60)
    codes[:3], codes[3:] = 0, 1 + codes[3:] % 2
    assert {name.group for name in group_names(images, codes, entries, texts)} == {1, 2}
    assert group_names(images, np.zeros(60, int), entries, texts) == []
    assert group_names(images, np.full(60, -1), entries, texts) == []
    assert group_names(images, codes, entries[:0], []) == []


def test_a_name_that_fits_two_groups_has_no_margin() -> None:
    images, codes, entries, texts = topics()
    split = np.where(codes == 0, np.random.default_rng(1).permutation(200) % 2, codes + 1)  # topic 0 in two groups
    best = {name.group: name for name in group_names(images, split, entries, texts) if name.rank == 1}
    assert best[0].entry == best[1].entry == 0
    assert (best[0].runner_up, best[1].runner_up) == (1, 0)
    assert abs(best[0].margin) < 0.1 < best[2].margin


def test_what_says_the_same_is_named_once() -> None:
    entries = unit(np.array([[1.0, 0, 0], [1.0, 0.1, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, 0, 0], [0, -1.0, 0]]))
    texts = ["cat", "feline", "a Cat, black", "category", "日本", "!"]
    assert distinct(np.arange(6), entries, texts, 9).tolist() == [0, 3, 4, 5]
    assert distinct(np.arange(6)[::-1], entries, texts, 2).tolist() == [5, 4]
    assert distinct(np.array([], int), entries, texts, 2).tolist() == []


def test_near_names_of_two_halves_count_for_each_other() -> None:
    images, codes, entries, texts = topics()
    twins = unit(entries[:TOPICS] + 0.002 * np.random.default_rng(0).normal(size=(TOPICS, entries.shape[1])))
    both = np.concatenate([entries, twins])
    names = group_names(images, codes, both, [*texts, *(f"twin{i}" for i in range(TOPICS))])
    for group in range(TOPICS):
        first, second = [name for name in names if name.group == group][:2]
        assert first.entry in (group, 500 + group) and first.halves == 2
        assert second.entry not in (group, 500 + group)


def test_the_largest_of_blocks_are_the_largest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    directions, entries = random.normal(size=(3, 6)), random.integers(-1, 2, (200, 6)).astype(float)  # many ties
    expected = np.argsort(-np.round(directions @ entries.T, 12), axis=1, kind="stable")[:, :7]
    for size in (1, 9, 1000):
        monkeypatch.setattr(metric, "row_blocks", lambda n, bytes_per_row, size=size: row_blocks(n, 1, size))
        rows = largest_rows(directions, entries, 7)
        values = np.take_along_axis(directions @ entries.T, rows, axis=1)
        np.testing.assert_allclose(values, np.take_along_axis(directions @ entries.T, expected, axis=1), atol=1e-12)
    assert largest_rows(directions, entries[:2], 7).shape == (3, 2)


def test_named_groups_beat_permutations_and_random_ones_do_not() -> None:
    images, codes, entries, _ = topics()
    told = []
    found = largest_differences(images, codes, entries, None, 39, (0,), told.append)
    cosines = unit(images) @ entries.T
    for group, one in enumerate(found):
        gap = cosines[codes == group].mean(axis=0) - cosines[codes != group].mean(axis=0)
        assert one.value == pytest.approx(gap.max())
        assert one.p == 1 / 40 and 0 < one.mean < one.value
    assert told == [39]
    small = 0
    for trial in range(40):
        random = np.random.default_rng(trial)
        images, codes = random.normal(size=(60, 8)), np.arange(60) % 2
        small += largest_differences(images, codes, entries[:, :8], None, 19, (trial,))[0].p <= 0.1
    assert small <= 10  # 4 expected; more than 10 of 40 has a chance of 0.0005


def test_permutations_keep_groups_together_and_do_not_depend_on_how_many_are_done_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 12)
    codes = (np.arange(10) % 2)[groups]
    images = random.normal(size=(10, 8))[groups] + 0.01 * random.normal(size=(120, 8))
    entries = unit(random.normal(size=(50, 8)))
    alone, kept = (largest_differences(images, codes, entries, of, 99)[0] for of in (None, groups))
    assert alone.p == 0.01 < 0.05 < kept.p
    monkeypatch.setattr(metric, "_CODES", 120 * 7)
    again = largest_differences(images, codes, entries, groups, 99)[0]
    assert again.p == kept.p and again.mean == pytest.approx(kept.mean)


def test_no_permutations_and_one_group() -> None:
    images, codes, entries, _ = topics(n=30)
    assert math.isnan(largest_differences(images, codes, entries, None, 0)[0].p)
    assert math.isnan(largest_differences(images, np.zeros(30, int), entries, None, 5)[0].value)
