"""Entries that are near to everything (hubs), and cosines corrected for it.

In many dimensions a few entries are among the nearest of very many images, whatever these show (Radovanovic, Nanopoulos
and Ivanovic 2010). CSLS (Conneau et al. 2018) takes from each cosine how near its image and its entry are to their
surroundings anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.blocks import Array, Floats, Integers, map_blocks, row_lengths, tile_blocks, unit_block

NEAREST = 10
"""How many make up the surroundings in CSLS, as its authors have it."""


@dataclass(frozen=True)
class Hubness:
    """skewness: of how often each entry is a tag, E[(N - mean)^3] / sd^3: 0 where all are equally frequent, above 1
    few have most, lower is better (NaN where all are equal); top: the most frequent entry (-1 without tags);
    top_share: of all tags that are it, in (0, 1]; unused: share of the entries that are no image's tag."""

    skewness: float
    top: int
    top_share: float
    unused: float


def hubness(tags: Integers, entries: int) -> Hubness:
    """Measure (n, k) tags, rows of `entries` entries; -1 is none.

    >>> hubness(np.array([[0, 1], [0, 2], [0, 1]]), 4)
    Hubness(skewness=0.0, top=0, top_share=0.5, unused=0.25)
    """
    used = tags[tags >= 0].ravel()
    if not len(used):
        return Hubness(np.nan, -1, np.nan, 1.0 if entries else np.nan)
    times = np.bincount(used, minlength=entries)
    apart = times - times.mean()
    sd = np.sqrt(np.square(apart).mean())
    skewness = float((apart**3).mean() / sd**3) if sd > 0 else np.nan
    return Hubness(skewness, int(times.argmax()), float(times.max() / len(used)), float((times == 0).mean()))


def surroundings(vectors: Array, others: Array, nearest: int = NEAREST) -> Floats:
    """Mean cosine of each of (n, d) vectors to the `nearest` of (m, d) others, of any lengths: (n,), by tiles.

    Fewer where there are fewer others; ValueError without any.

    >>> surroundings(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), nearest=2).tolist()
    [0.5]
    """
    if not len(others):
        raise ValueError("surroundings: there is nothing around")
    kept = min(nearest, len(others))
    lengths = row_lengths(vectors), row_lengths(others)
    columns = tile_blocks(len(others), others.shape[1])
    found = np.empty(len(vectors))

    def measure(rows: slice) -> None:
        block = unit_block(vectors, rows, lengths[0])
        best = np.full((len(block), 0), -np.inf)
        for part in columns:
            values = np.concatenate([best, block @ unit_block(others, part, lengths[1]).T], axis=1)
            best = values if values.shape[1] <= kept else np.partition(values, -kept, axis=1)[:, -kept:]
        found[rows] = np.sort(best, axis=1).mean(axis=1)  # sorted: the same sum however tiles are cut

    for _ in map_blocks(measure, tile_blocks(len(vectors), vectors.shape[1])):
        pass
    return found


def corrected(
    rows: Integers, cosines: Floats, of_images: Floats, of_entries: Floats, count: int
) -> tuple[Integers, Floats, Floats]:
    """The `count` best of each image's candidates by CSLS = 2 cosine - r(image) - r(entry): their rows, CSLS and
    cosines, (n, count) each, best first, of equal ones the earlier entry.

    Args:
        rows, cosines: (n, c) candidates of each image, the nearest by cosine; -1 for none. Take c well above `count`
            (100): an entry that is no candidate cannot come up.
        of_images: (n,) `surroundings` of the images among the entries (where candidates are the exact nearest, the mean
            of their first 10). of_entries: (m,) of the entries among the images; only those of candidates are read.

    >>> rows, cosines = np.array([[0, 1]]), np.array([[0.9, 0.8]])
    >>> corrected(rows, cosines, np.array([0.5]), np.array([0.9, 0.3]), 1)[0].tolist()     # 0.4 against 0.8
    [[1]]
    """
    scores = np.where(rows >= 0, 2 * cosines - of_images[:, None] - of_entries[np.maximum(rows, 0)], -np.inf)
    order = np.lexsort([rows, -scores], axis=1)[:, :count]
    best, score, cosine = (np.take_along_axis(part, order, axis=1) for part in (rows, scores, cosines))
    return best, score, cosine
