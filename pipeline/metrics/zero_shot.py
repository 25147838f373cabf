"""Images told by the texts of classes: what is predicted, how often it is right, and how sure it may be.

Classes are 0 to C - 1 in the order of their texts. `truth` (n,) int64 is the class of each image, -1 where its label is
none of the classes or it has none: such images get predictions but no score. Of equal cosines the lower class wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks, row_blocks, row_lengths, unit_block, unit_rows
from pipeline.metrics.influence import Interval
from pipeline.metrics.resampling import percentiles, resampled, share_interval, units

BINS = 15  # of the reliability curve, as Guo et al. (2017) have it
_CURVE = 201  # most points of a coverage curve


def ensembled(templates: Array) -> Array:
    """One vector for each class of the vectors of its prompts: (C, T, d) -> (C, d), the mean of the unit vectors, made
    unit again, in product dtype, as OpenAI's notebook does (Radford et al. 2021).

    >>> ensembled(np.array([[[2.0, 0.0], [0.0, 3.0]]])).round(3).tolist()
    [[0.707, 0.707]]
    """
    classes, count, d = templates.shape
    return unit_rows(unit_rows(templates.reshape(-1, d)).reshape(classes, count, d).mean(axis=1))


@dataclass(frozen=True)
class Classified:
    """The best classes of n images and where the true one stands.

    classes: (n, t) int64, best first, t = min(top, C); cosines, probabilities: (n, t) of these; rank: (n,) int64, the
    place of the true class from 0, -1 where there is none; true_cosine, true_probability: (n,), NaN where none.
    """

    classes: Integers
    cosines: Floats
    probabilities: Floats
    rank: Integers
    true_cosine: Floats
    true_probability: Floats


def classified(
    images: Array, classes: Array, truth: Integers, probability: Callable[[Array], Array], top: int = 5
) -> Classified:
    """Classify (n, d) images of any lengths by (C, d) class vectors (`ensembled`), a block of images at a time.

    probability: cosines (b, C) -> probabilities (b, C), the model's own rule; it must rise with the cosine. A vector of
    zeros has cosine 0 to every class. ValueError: no class, or a vector that is not finite.
    """
    n, count = len(images), len(classes)
    if count == 0:
        raise ValueError("zero-shot: no classes")
    targets, lengths = unit_rows(classes), row_lengths(images)
    if not (np.isfinite(lengths).all() and np.isfinite(targets).all()):
        raise ValueError("zero-shot: vectors that are not finite")
    kept = min(top, count)
    found = Classified(
        np.empty((n, kept), np.int64), np.empty((n, kept)), np.empty((n, kept)),
        np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan),
    )  # fmt: skip

    def classify(rows: slice) -> None:
        cosines = unit_block(images, rows, lengths) @ targets.T
        likely = np.asarray(probability(cosines))
        best = best_columns(cosines, kept)
        found.classes[rows] = best
        found.cosines[rows] = np.take_along_axis(cosines, best, axis=1)
        found.probabilities[rows] = np.take_along_axis(likely, best, axis=1)
        known = np.flatnonzero(truth[rows] >= 0)
        true = truth[rows][known]
        own = cosines[known, true]
        at = known + rows.start
        before = (cosines[known] == own[:, None]) & (np.arange(count) < true[:, None])
        found.rank[at] = (cosines[known] > own[:, None]).sum(axis=1) + before.sum(axis=1)
        found.true_cosine[at], found.true_probability[at] = own, likely[known, true]

    for _ in map_blocks(classify, row_blocks(n, bytes_per_row=8 * (4 * count + images.shape[1]))):
        pass
    return found


def best_columns(scores: Array, count: int) -> Integers:
    """The columns of the `count` largest scores of each row, largest first, of equal ones the lower: (n, count).

    >>> best_columns(np.array([[0.1, 0.3, 0.3, 0.2]]), 3).tolist()
    [[1, 2, 3]]
    """
    left = np.array(scores)
    best = np.empty((len(left), count), dtype=np.int64)
    for place in range(count):
        best[:, place] = left.argmax(axis=1)
        left[np.arange(len(left)), best[:, place]] = -np.inf
    return best


def mean_cosines(images: Array, codes: Integers, groups: int, classes: Array) -> Floats:
    """Mean cosine of the images of each group with each class: (K, C), NaN for a group without images.

    images: (n, d) of any lengths; codes: (n,) groups from 0, -1 for none; classes: (C, d) of any lengths.

    >>> mean_cosines(np.eye(2), np.array([0, 0]), 1, np.array([[3.0, 0.0]])).tolist()
    [[0.5]]
    """
    lengths, targets = row_lengths(images), unit_rows(classes)

    def total(rows: slice) -> Floats:
        member = codes[rows, None] == np.arange(groups)
        return np.asarray(member.T.astype(np.float64) @ (unit_block(images, rows, lengths) @ targets.T))

    sums = np.zeros((groups, len(classes)))
    for part in map_blocks(total, row_blocks(len(images), bytes_per_row=8 * (images.shape[1] + groups + len(classes)))):
        sums += part
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(codes[codes >= 0], minlength=groups)[:, None]


@dataclass(frozen=True)
class Scores:
    """images: scored ones; unscored: those whose label is none of the classes; units: groups (else images) scored.

    top1, top5: shares of images, in [0, 1], whose class is the best, or among the five best (NaN with five classes or
    fewer, where it is always); macro: the mean over classes of the share of their images told right. Each with its 95 %
    bootstrap interval. Floors beside them: majority, the share of the largest class (what calling all by it gives in
    top1); chance1, chance5: 1 / C, 5 / C, also what macro is for guesses. NaN where there is no image.
    """

    images: int
    unscored: int
    units: int
    top1: float
    top5: float
    macro: float
    top1_interval: Interval
    top5_interval: Interval
    macro_interval: Interval
    majority: float
    chance1: float
    chance5: float


def scores(
    truth: Integers, rank: Integers, classes: int, groups: Array | None, resamples: int = 1000,
    seed: Sequence[int] = (0,),
) -> Scores:  # fmt: skip
    """How often the true class is the best, from its `rank` (`classified`). groups (n,): rows that belong together.

    >>> found = scores(np.array([0, 0, 1, -1]), np.array([0, 1, 0, -1]), 2, None, 100)
    >>> round(found.top1, 3), found.macro, found.unscored, round(found.majority, 3)
    (0.667, 0.75, 1, 0.667)
    """
    scored, everyone = np.flatnonzero(truth >= 0), len(truth)
    truth, rank = truth[scored], rank[scored]
    unit = units(len(scored), None if groups is None else np.asarray(groups)[scored])
    right = np.stack([rank < 1, rank < 5]).astype(np.float64)

    def measure(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            shares = right @ weights / weights.sum()
        of_classes = _recall(truth, right[0], weights, classes)
        known = np.isfinite(of_classes)
        return np.array([*shares, of_classes[known].mean() if known.any() else np.nan])

    value = measure(np.ones(len(scored)))
    count = int(unit.max(initial=-1)) + 1
    samples = resampled(measure, unit, resamples, seed) if count > 1 else np.full((1, 3), np.nan)
    found = share_interval(value, samples, np.full(3, count))
    always = classes <= 5
    spans = [Interval(float(low), float(high)) for low, high in zip(found.low, found.high, strict=True)]
    nowhere = Interval(np.nan, np.nan)
    return Scores(
        images=len(scored),
        unscored=everyone - len(scored),
        units=count,
        top1=float(value[0]),
        top5=np.nan if always else float(value[1]),
        macro=float(value[2]),
        top1_interval=spans[0],
        top5_interval=nowhere if always else spans[1],
        macro_interval=spans[2],
        majority=float(np.bincount(truth).max() / len(truth)) if len(truth) else np.nan,
        chance1=1 / classes,
        chance5=np.nan if always else 5 / classes,
    )


def _recall(truth: Integers, right: Floats, weights: Floats, classes: int) -> Floats:
    """Share of each class's weight that is right: (C,), NaN where it has none."""
    of_class = np.bincount(truth, weights, classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(truth, weights * right, classes) / of_class)


@dataclass(frozen=True)
class ClassScores:
    """A value for each class, (C,). images: that are of it; predicted: that were called it; right: both.

    recall: right / images; precision: right / predicted; f1: 2 right / (images + predicted), all in [0, 1], higher is
    better, NaN where nothing stands below the line. recall_interval: 95 %, bootstrap.
    """

    images: Integers
    predicted: Integers
    right: Integers
    recall: Floats
    recall_interval: Interval
    precision: Floats
    f1: Floats


def class_scores(
    truth: Integers, predicted: Integers, classes: int, groups: Array | None, resamples: int = 1000,
    seed: Sequence[int] = (0,),
) -> ClassScores:  # fmt: skip
    """Scores of each class, over the images whose label is one of the classes.

    >>> found = class_scores(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1]), 2, None, 100)
    >>> found.recall.tolist(), found.precision.tolist()
    ([0.5, 1.0], [1.0, 0.5])
    """
    scored = np.flatnonzero(truth >= 0)
    truth, predicted = truth[scored], predicted[scored]
    unit = units(len(scored), None if groups is None else np.asarray(groups)[scored])
    hit = (truth == predicted).astype(np.float64)
    of, called = np.bincount(truth, minlength=classes), np.bincount(predicted, minlength=classes)
    right = np.bincount(truth, hit, classes).astype(np.int64)
    recall = _recall(truth, hit, np.ones(len(truth)), classes)
    pairs = np.unique(np.stack([truth, unit], axis=1), axis=0)
    members = np.bincount(pairs[:, 0], minlength=classes)
    samples = resampled(lambda weights: _recall(truth, hit, weights, classes), unit, resamples, seed)
    with np.errstate(invalid="ignore"):
        return ClassScores(of, called, right, recall, share_interval(recall, samples, members),
                           right / called, 2 * right / (of + called))  # fmt: skip


def confusions(truth: Integers, predicted: Integers) -> tuple[Integers, Integers]:
    """Pairs of (true, predicted) that occur, (p, 2), and how often, (p,): most frequent first. Right ones are among
    them; images with truth -1 are not.

    >>> pairs, counts = confusions(np.array([0, 0, 1, -1]), np.array([1, 1, 1, 0]))
    >>> pairs.tolist(), counts.tolist()
    ([[0, 1], [1, 1]], [2, 1])
    """
    scored = truth >= 0
    pairs, counts = np.unique(np.stack([truth[scored], predicted[scored]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return pairs[order], counts[order]


def confusion_matrix(truth: Integers, predicted: Integers, classes: int) -> Integers:
    """(C, C) int64 numbers of images, a row for each true class, a column for each predicted one.

    >>> confusion_matrix(np.array([0, 0, 1, -1]), np.array([1, 1, 1, 0]), 2).tolist()
    [[0, 2], [0, 1]]
    """
    scored = truth >= 0
    return np.bincount(truth[scored] * classes + predicted[scored], minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Calibration:
    """How well probabilities say how often a prediction is right.

    edges: (16,) of bins of equal width, open below and closed above; counts (15,); confidence, accuracy (15,): means in
    each bin, NaN in an empty one. ece: expected calibration error, in [0, 1], lower is better: the mean over images of
    |accuracy - confidence| of their bin, with its 95 % interval. adaptive_ece: the same with bins of equally many
    images. confident: mean confidence less mean accuracy, above 0 is overconfident. calibrated_ece: the mean ece, and
    calibrated_high its 95 % quantile, of a model with just these confidences that is right as often as it says: what is
    not above that is no evidence of miscalibration, for few images alone make an ece above 0.
    """

    edges: Floats
    counts: Integers
    confidence: Floats
    accuracy: Floats
    ece: float
    ece_interval: Interval
    adaptive_ece: float
    confident: float
    calibrated_ece: float
    calibrated_high: float


def calibration(
    confidence: Floats, right: Array, groups: Array | None, resamples: int = 1000, seed: Sequence[int] = (0,)
) -> Calibration:
    """Compare the probability of the best class, (n,) in [0, 1], with whether it was right, (n,) bool; scored images
    only. n may be 0: all NaN.

    The ece of a bootstrap sample is above that of the images as theirs is above the truth, so the interval mirrors the
    quantiles at the estimate ('basic' bootstrap); it reaches down to 0 where ece is not above calibrated_high. In
    simulations of 200 to 1,000 images it held the truth in 87 to 97 %. Sources: Guo et al. (2017); Nixon et al. (2019)
    for equally many images a bin; Broecker and Smith (2007) for what a calibrated model would show.

    >>> found = calibration(np.array([0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0], bool), None, 100)
    >>> round(found.ece, 3)                                       # |1 - 0.95| / 2 + |0.5 - 0.55| / 2
    0.05
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    edges = np.linspace(0, 1, BINS + 1)
    place = _bins(confidence, edges)
    unit = units(len(confidence), groups)
    several = unit.max(initial=-1) > 0
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, values, BINS) / counts for values in (confidence, right)]
    ece = _ece(place, confidence - right, np.ones(len(place)))
    samples = (
        resampled(lambda weights: np.array(_ece(place, confidence - right, weights)), unit, resamples, seed)
        if several
        else np.full(1, np.nan)
    )
    low, high = percentiles(samples)
    ideal = _calibrated(place, confidence, resamples, seed)
    chance = float(np.quantile(ideal, 0.95))
    lowest = 0.0 if ece <= chance and several else float(np.clip(2 * ece - high, 0, 1))
    return Calibration(
        edges=edges,
        counts=counts,
        confidence=means[0],
        accuracy=means[1],
        ece=ece,
        ece_interval=Interval(lowest, float(np.clip(2 * ece - low, 0, 1))),
        adaptive_ece=_ece(_even_bins(confidence), confidence - right, np.ones(len(place))),
        confident=float((confidence - right).mean()) if len(place) else np.nan,
        calibrated_ece=float(ideal.mean()),
        calibrated_high=chance,
    )


def _bins(values: Floats, edges: Floats) -> Integers:
    """The bin (edge, next edge] of each value; 0 lies in the first."""
    return np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)


def _even_bins(values: Floats) -> Integers:
    """Bins between quantiles: equal values share one, so that the order of rows does not matter."""
    if not len(values):
        return np.zeros(0, np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    return _bins(values, edges) if len(edges) > 1 else np.zeros(len(values), np.int64)


def _ece(place: Integers, difference: Floats, weights: Floats) -> float:
    total = weights.sum()
    return float(np.abs(np.bincount(place, weights * difference)).sum() / total) if total else np.nan


def _calibrated(place: Integers, confidence: Floats, resamples: int, seed: Sequence[int]) -> Floats:
    """The ece of as many draws in which each image is right with its confidence: (resamples,)."""
    everyone = np.ones(len(place))

    def draw(i: int) -> float:
        right = np.random.default_rng([*seed, 1, i]).random(len(place)) < confidence
        return _ece(place, confidence - right, everyone)

    return np.array(list(map_blocks(draw, range(resamples))))


@dataclass(frozen=True)
class Coverage:
    """'None of these': predictions whose score is below a threshold are withheld. Arrays (p,), thresholds falling.

    coverage: share of the scored images that are still named; accuracy: share of these that are right; named_outside:
    of the images whose label is none of the classes, the share that is named all the same, which is always wrong (NaN
    without such images).
    """

    threshold: Floats
    coverage: Floats
    accuracy: Floats
    named_outside: Floats


def coverage(score: Floats, right: Array, outside: Floats | None = None) -> Coverage:
    """Accuracy over coverage, for the best cosine or probability `score` (n,) and whether it was `right` (n,) bool, of
    scored images; outside: (u,) scores of images whose true label is known to be none of the classes.

    At most 201 points at evenly spaced coverages, all where there are fewer different scores; equal scores are named or
    withheld together. Source: El-Yaniv and Wiener (2010), the risk-coverage curve.

    >>> found = coverage(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]))
    >>> found.threshold.tolist(), found.coverage.round(3).tolist(), found.accuracy.round(3).tolist()
    ([0.9, 0.5], [0.333, 1.0], [1.0, 0.667])
    """
    score, right = np.asarray(score, np.float64), np.asarray(right, bool)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each run of equal scores
    if len(last) > _CURVE:
        last = last[np.unique(np.linspace(0, len(last) - 1, _CURVE).round().astype(np.int64))]
    thresholds = score[order][last]
    named = last + 1
    beyond = np.sort(np.zeros(0) if outside is None else np.asarray(outside, np.float64))
    with np.errstate(invalid="ignore"):
        still = (len(beyond) - np.searchsorted(beyond, thresholds, side="left")) / np.float64(len(beyond))
    return Coverage(thresholds, named / max(1, len(score)), np.cumsum(right[order])[last] / named, still)


def at_threshold(score: Floats, right: Array, threshold: float, outside: Floats | None = None) -> Coverage:
    """The same at one threshold: predictions with at least this score are named. Accuracy NaN where none is."""
    named = np.asarray(score, np.float64) >= threshold
    beyond = np.zeros(0) if outside is None else np.asarray(outside, np.float64)
    with np.errstate(invalid="ignore"):
        parts = [
            np.array([np.float64(part.sum()) / len(part) if len(part) else np.nan])
            for part in (named, np.asarray(right)[named], beyond >= threshold)
        ]
    return Coverage(np.array([threshold]), *parts)
