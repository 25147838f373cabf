"""From more than 8 bits a channel to 8: which values become black and white."""

from __future__ import annotations

from typing import Literal

import numpy as np

SixteenBit = Literal["range", "percentile", "full"]
PERCENTILES = (0.5, 99.5)


def to_eight_bits(
    values: np.ndarray, rule: SixteenBit, full: tuple[int, int] = (0, 65535), among: np.ndarray | None = None
) -> np.ndarray:
    """uint8 of the shape of `values` (whole numbers), higher is brighter.

    rule: 'range': the smallest value becomes 0 and the largest 255; 'percentile': those of which 0.5 % are below and
    0.5 % above; 'full': the two values of `full`, in steps of equal width (of 16 bits, the upper eight; of fewer than 8
    the last is 255). `among`: the values by which range and percentile go, None for all. An image of one value has no
    range: it is scaled as by 'full'.

    >>> to_eight_bits(np.array([100, 2100, 4100], np.uint16), "range")
    array([  0, 128, 255], dtype=uint8)
    >>> to_eight_bits(np.array([100, 2100, 4100], np.uint16), "full")
    array([ 0,  8, 16], dtype=uint8)
    """
    low, high = full if rule == "full" else _ends(values if among is None else among, rule)
    if low == high:
        rule, (low, high) = "full", full
    first, last = int(values.min()), int(values.max())
    if last - first > 65535:
        return _mapped(values, rule, low, high)
    table = _mapped(np.arange(first, last + 1), rule, low, high)
    return np.asarray(table[values.astype(np.int64) - first])


def _ends(values: np.ndarray, rule: SixteenBit) -> tuple[int, int]:
    if rule == "range":
        return int(values.min()), int(values.max())
    low, high = np.percentile(values, PERCENTILES, method="nearest")
    return int(low), int(high)


def _mapped(values: np.ndarray, rule: SixteenBit, low: int, high: int) -> np.ndarray:
    exact, steps = values.astype(np.float64) - low, high - low + 1
    wide = rule == "full" and steps > 256
    scaled = np.floor(exact * (256 / steps)) if wide else np.rint(exact * 255 / (high - low))
    return scaled.clip(0, 255).astype(np.uint8)
