"""Which number of clusters each criterion suggests, and which criteria agree. None of them is the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.metrics.blocks import Array, Floats, map_blocks, mean_row, row_blocks, squares

NEAR = 1  # criteria agree where their k differ by no more than this


@dataclass(frozen=True)
class Criterion:
    """A way to choose k. `column`: the scores that it reads; it names their space. `label`: for readers."""

    name: str
    space: Literal["projection", "embedding"]
    column: str
    rule: Literal["highest", "lowest", "knee"]
    label: str


CRITERIA = (
    Criterion("silhouette", "projection", "silhouette_projection", "highest", "silhouette in the projection"),
    Criterion("calinski_harabasz", "projection", "calinski_harabasz_projection", "highest", "Calinski-Harabasz"),
    Criterion("davies_bouldin", "projection", "davies_bouldin_projection", "lowest", "Davies-Bouldin"),
    Criterion("knee", "projection", "inertia_projection", "knee", "knee of the inertia"),
    Criterion("silhouette_cosine", "embedding", "silhouette_embedding", "highest", "silhouette in the embedding"),
)


LABELS = {criterion.name: criterion.label for criterion in CRITERIA}


@dataclass(frozen=True)
class Suggestion:
    """The k of one criterion and its value there: the score, or for a knee its depth below the chord, 0 to 1.

    at_end: k is the lowest or highest that was scored, so that a wider range may move it.
    """

    criterion: Criterion
    k: int
    value: float
    at_end: bool


def total_inertia(vectors: Array) -> float:
    """Inertia of one cluster: sum of squared Euclidean distances of (n, d) vectors to their mean; n at least 1.

    >>> total_inertia(np.array([[0.0], [4.0]]))
    8.0
    """
    mean = mean_row(vectors)

    def add(rows: slice) -> float:
        return float(squares(vectors[rows] - mean).sum())

    return sum(map_blocks(add, row_blocks(len(vectors), bytes_per_row=16 * vectors.shape[1])))


def distinct_rows(vectors: Array, most: int) -> int:
    """How many different rows (n, d) vectors have, counted no further than `most`.

    >>> distinct_rows(np.array([[1.0], [2.0], [1.0], [3.0]]), most=10)
    3
    """
    seen: set[bytes] = set()
    for row in vectors:
        seen.add((row + vectors.dtype.type(0)).tobytes())  # -0.0 is 0.0
        if len(seen) >= most:
            break
    return len(seen)


def knee(ks: Sequence[int], values: Sequence[float]) -> tuple[int, float] | None:
    """The knee of a falling curve: (k, depth), or None where no inner point lies below the chord.

    Both axes are scaled to 0..1; the knee is the point farthest below the straight line between the ends, of equal
    ones the smallest k; depth in (0, 1) is how far. Kneedle (Satopaa et al. 2011) without its smoothing and its
    threshold. It depends on the range: more k to the right move it to the right.

    `ks` rising, `values` finite numbers for each. An end is never a knee, so fewer than three points have none.

    >>> knee([1, 2, 3, 4, 5], [100, 40, 20, 10, 0])     # below the chord: 0.35 at 2, 0.30 at 3, 0.15 at 4
    (2, 0.35)
    """
    x, y = np.asarray(ks, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) != len(y):
        raise ValueError(f"knee: {len(x)} numbers of clusters, but {len(y)} values")
    if len(x) < 3 or not y[0] > y[-1]:
        return None
    across = (x - x[0]) / (x[-1] - x[0])
    down = (y - y[-1]) / (y[0] - y[-1])
    depth = np.round((1 - across) - down, 12)  # equal depths must not be told apart by rounding
    deepest = int(np.argmax(depth[1:-1])) + 1
    return (int(ks[deepest]), float(depth[deepest])) if depth[deepest] > 0 else None


def suggestions(scores: Mapping[str, Sequence[float] | Floats]) -> list[Suggestion]:
    """What each of `CRITERIA` suggests, those left out that are nowhere defined.

    `scores`: "k" (rising) and a column for each criterion, NaN where it is not defined. Of equal scores the smallest
    k. The best score over several k is optimistic: on data without clusters the largest silhouette of twenty k is
    well above that of a k chosen beforehand.

    >>> table = {"k": [2, 3, 4], "silhouette_projection": [0.5, 0.7, 0.6]}
    >>> [(s.criterion.name, s.k, s.value, s.at_end) for s in suggestions(table)]
    [('silhouette', 3, 0.7, False)]
    """
    ks = np.asarray(scores["k"])
    found = []
    for criterion in CRITERIA:
        if criterion.column not in scores:
            continue
        values = np.asarray(scores[criterion.column], dtype=np.float64)
        known = np.flatnonzero(np.isfinite(values))
        if len(known) and (chosen := _choose(criterion.rule, ks[known], values[known])):
            k, value = chosen
            ends = () if criterion.rule == "knee" else (ks[known][0], ks[known][-1])
            found.append(Suggestion(criterion, k, value, k in ends))
    return found


def _choose(rule: str, ks: Array, values: Floats) -> tuple[int, float] | None:
    if rule == "knee":
        return knee(ks.tolist(), values.tolist())
    best = int(np.argmax(values if rule == "highest" else -values))
    return int(ks[best]), float(values[best])


def agreeing(ks: Mapping[str, int], within: int = NEAR) -> list[tuple[str, ...]]:
    """Largest sets of names whose k differ by at most `within`, by rising k; who stands alone is a set of one.

    A name may be in two sets: 7 agrees with 8 and 8 with 9, but 7 not with 9.

    >>> agreeing({"a": 9, "b": 7, "c": 8, "d": 20})
    [('b', 'c'), ('c', 'a'), ('d',)]
    """
    names = sorted(ks, key=lambda name: ks[name])
    sets: list[tuple[str, ...]] = []
    for low in sorted(set(ks.values())):
        together = tuple(name for name in names if low <= ks[name] <= low + within)
        if not sets or not set(together) <= set(sets[-1]):
            sets.append(together)
    return sets


def agreed(votes: Sequence[int]) -> tuple[int, int]:
    """The lowest and the highest k that votes leave: one number, the middle vote, where they differ by no more than
    `NEAR`. Of an even number of votes the middle of both in the middle, rounded down. At least one vote.

    >>> agreed([4, 5, 5]), agreed([4, 9, 5])
    ((5, 5), (4, 9))
    """
    if max(votes) - min(votes) <= NEAR:
        middle = int(np.median(votes))
        return middle, middle
    return min(votes), max(votes)


def in_words(ks: Mapping[str, int]) -> str:
    """Which criteria agree and which do not, in a sentence or two; `ks`: k by the criterion's label.

    >>> in_words({"silhouette": 9, "Davies-Bouldin": 9, "knee of the inertia": 4})
    'Silhouette (9) and Davies-Bouldin (9) agree within 1. Knee of the inertia (4) stands alone.'
    """
    if not ks:
        return "No criterion suggests a number of clusters."
    sets = agreeing(ks)
    together = [_listed(ks, names) for names in sets if len(names) > 1]
    alone = [name for names in sets if len(names) == 1 for name in names]
    sentences = [f"{names} agree within {NEAR}." for names in together]
    if alone and len(ks) > 1 and not together:
        sentences.append(f"No two agree within {NEAR}: {_listed(ks, alone)}.")
    elif alone:
        sentences.append(f"{_listed(ks, alone)} {'stand' if len(alone) > 1 else 'stands'} alone.")
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def _listed(ks: Mapping[str, int], names: Sequence[str]) -> str:
    parts = [f"{name} ({ks[name]})" for name in names]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
