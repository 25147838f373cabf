"""How well vectors tell the images that show something from those that do not; an image may show several things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import (
    BLOCK_BYTES,
    Array,
    Floats,
    Integers,
    map_blocks,
    row_blocks,
    row_lengths,
    tile_blocks,
    unit_block,
)
from pipeline.metrics.influence import Interval, interval, squared_by_unit
from pipeline.metrics.separation import auc

BINS = 20_000  # of cosines over [-1, 1], for the AUC
NEAREST = 5  # neighbours that are looked at


@dataclass(frozen=True)
class Presence:
    """Of P images that show a label and N that do not. NaN where not defined.

    within: mean cosine of pairs of images that show it; between: of pairs of one that does and one that does not; gap:
    within less between, in [-2, 2], with its 95 % interval over images; auc: probability that a pair of the first kind
    is closer than one of the second, in [0, 1], 0.5 is chance, with auc_error, the most by which counting in bins can
    have moved it. precision: of the 5 nearest other images (by cosine, among these P + N) of an image that shows it,
    the share that show it, averaged over the P images, in [0, 1]; by chance it is (P - 1) / (P + N - 1). Of equally
    near images those that do not show it count first.
    """

    within: float
    between: float
    gap: float
    gap_interval: Interval
    auc: float
    auc_error: float
    precision: float
    chance: float


def presence(
    embeddings: Array, present: Array, absent: Array, groups: Array | None = None, lengths: Floats | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Presence:  # fmt: skip
    """Measure one label: rows `present` (P,) and `absent` (N,) of (n, d) embeddings with a direction each.

    groups: (n,) integers, rows with the same number belong together and intervals are over groups; None: over rows.
    lengths: (n,) of the vectors, where they are known. Every pair counts once. Memory: a few blocks for each core,
    never (P, N). ValueError with fewer than 2 rows present or 1 absent.

    >>> x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> found = presence(x, np.array([0, 1]), np.array([2]))      # cosines 1 within; 0 and 0 between
    >>> found.within, found.between, found.auc
    (1.0, 0.0, 1.0)
    """
    present, absent = np.asarray(present, np.int64), np.asarray(absent, np.int64)
    if len(present) < 2 or len(absent) < 1:
        raise ValueError(f"presence: 2 rows present and 1 absent are needed, got {len(present)} and {len(absent)}")
    rows = np.concatenate([present, absent])
    vectors = _Unit(embeddings, rows, (row_lengths(embeddings) if lengths is None else lengths)[rows])
    size = (len(present), len(absent))
    sums = [vectors.sum(part, block_bytes) for part in (slice(0, size[0]), slice(size[0], len(rows)))]
    within = float((sums[0] @ sums[0] - size[0]) / (size[0] * (size[0] - 1)))
    between = float(sums[0] @ sums[1] / (size[0] * size[1]))
    influence = _influence(vectors, size, sums, within, between, block_bytes)
    units = rows if groups is None else np.asarray(groups)[rows]
    spread = interval(within - between, squared_by_unit(influence, units), len(np.unique(units)), -2.0, 2.0)
    counts, precision = _all_pairs(vectors, size, block_bytes)
    area, error = auc(counts[0], counts[1])
    return Presence(
        within=within,
        between=between,
        gap=within - between,
        gap_interval=spread,
        auc=float(area),
        auc_error=float(error),
        precision=precision,
        chance=(size[0] - 1) / (len(rows) - 1),
    )


@dataclass(frozen=True)
class _Unit:
    """Unit vectors of the chosen rows, those present first."""

    embeddings: Array
    rows: Integers
    lengths: Floats

    def block(self, part: slice) -> Array:
        return unit_block(self.embeddings[self.rows[part]], slice(None), self.lengths[part])

    def sum(self, part: slice, block_bytes: int) -> Floats:
        blocks = row_blocks(part.stop - part.start, 16 * self.embeddings.shape[1], block_bytes)
        moved = [slice(part.start + block.start, part.start + block.stop) for block in blocks]
        total: Floats = sum(
            map_blocks(lambda block: self.block(block).sum(axis=0, dtype=np.float64), moved),
            start=np.zeros(self.embeddings.shape[1]),
        )
        return total


def _influence(
    vectors: _Unit, size: tuple[int, int], sums: list[Floats], within: float, between: float, block_bytes: int
) -> Floats:
    """(P + N,): the derivative of the gap with respect to each image's weight, where a pair weighs the product of its
    two (`metrics.influence`)."""
    n, m = size
    found = np.empty(n + m)

    def measure(part: slice) -> None:
        block = vectors.block(part)
        own, other = block @ sums[0], block @ sums[1]
        shown = np.arange(part.start, part.stop) < n
        of_within = np.where(shown, own - 1 - (n - 1) * within, 0.0) / (n * (n - 1) / 2)
        of_between = np.where(shown, other - m * between, own - n * between) / (n * m)
        found[part] = of_within - of_between

    for _ in map_blocks(measure, row_blocks(n + m, 16 * vectors.embeddings.shape[1], block_bytes)):
        pass
    return found


def _all_pairs(vectors: _Unit, size: tuple[int, int], block_bytes: int) -> tuple[Integers, float]:
    """Counts of pairs within (each twice) and between by cosine, (2, BINS), and the precision among the nearest."""
    n, m = size
    columns = tile_blocks(n + m, vectors.embeddings.shape[1], block_bytes)

    def measure(rows: slice) -> tuple[Integers, float]:
        block = vectors.block(rows)
        counts = np.zeros((2, BINS), np.int64)
        nearest = _Nearest(rows.stop - rows.start)
        for part in columns:
            tile = block @ vectors.block(part).T
            split = min(max(n - part.start, 0), tile.shape[1])
            shown, not_shown = tile[:, :split], tile[:, split:]
            counts += [_binned(shown), _binned(not_shown)]
            own = np.arange(max(rows.start, part.start), min(rows.stop, part.stop))
            itself = (own - rows.start, own - part.start)
            counts[0] -= _binned(tile[itself])
            tile[itself] = -np.inf
            nearest.see(shown, not_shown)
        return counts, nearest.shares().sum()

    results = list(map_blocks(measure, tile_blocks(n, vectors.embeddings.shape[1], block_bytes)))
    counts = sum((counts for counts, _ in results), start=np.zeros((2, BINS), np.int64))
    enough = n + m - 1 >= NEAREST
    return counts, float(sum(share for _, share in results) / n) if enough else float("nan")


def _binned(cosines: Array) -> Integers:
    places = np.clip((cosines + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)
    return np.bincount(places.ravel(), minlength=BINS)


class _Nearest:
    """The largest cosines seen so far of each of some rows, to images that show the label and to those that do not."""

    def __init__(self, rows: int) -> None:
        self.top = [np.full((rows, NEAREST), -np.inf) for _ in range(2)]

    def see(self, shown: Array, not_shown: Array) -> None:
        for kind, tile in enumerate((shown, not_shown)):
            both = np.concatenate([self.top[kind], tile], axis=1)
            self.top[kind] = np.partition(both, -NEAREST, axis=1)[:, -NEAREST:]

    def shares(self) -> Floats:
        """(rows,): of the nearest, the share that show the label; of equals those that do not stand first."""
        both = np.concatenate([self.top[1], self.top[0]], axis=1)
        nearest = np.argsort(-both, axis=1, kind="stable")[:, :NEAREST]
        shares: Floats = (nearest >= NEAREST).mean(axis=1)
        return shares
