"""Which index for how many vectors: a rule of sizes, so that equal wishes give equal indexes anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST = 1_000  # vectors below which every search is exact
LEAST_COMPRESSED = 10_000  # vectors below which none is compressed
TRAINED_ON = 40  # vectors for each cell
LINKS = 32  # of a vector in a graph

_SCANNED = 8e6  # bytes that a core reads one after another in a millisecond
_VISITED = 2e6  # bytes that it reads here and there
_SCANNED_ON_GPU = 1e9
_HOPS = 3_000  # vectors that a search in a graph compares
_PROBED_SHARE = 1 / 64  # of the cells that a search looks into
_RANKED = 100  # vectors that are read to put compressed ones in order
_KEPT = (2, 4, 8)  # a half, a quarter, an eighth of the dimensions are kept in compressed vectors


@dataclass(frozen=True)
class Choice:
    """What is built for n vectors of d values. kind: exact, ivf_flat, hnsw or ivf_pq.

    cells: lists of an inverted file, else 0. kept: dimensions of compressed vectors, else d. bytes: in memory.
    query_ms: one query on one core, by rule. recall: what is asked for. explanation: a sentence for people.
    """

    kind: str
    n: int
    d: int
    cells: int
    kept: int
    bytes: int
    query_ms: float
    recall: float
    explanation: str


def choose(n: int, d: int, memory_bytes: int, query_ms: float, recall: float, device: str = "cpu") -> Choice:
    """The first of exact search, IVF-Flat, HNSW and compressed IVF-PQ that fits into the memory and is fast enough.

    Where none is, the fastest that fits.

    Time is estimated by a rule of sizes, not measured, so that the same data and wishes give the same index anywhere.
    recall 1 means exact search, and so does any device but the CPU. ValueError where nothing fits into the memory.

    >>> choose(100_000, 512, memory_bytes=4 * 10**9, query_ms=50, recall=0.95).explanation
    'exact: 0.20 GB fits into 4.00 GB and one query takes about 26 ms'
    """
    if min(n, d) < 1:
        raise ValueError(f"an index takes at least one vector of one value, got {n} of {d}")
    kinds = _kinds(n, d, recall, device)
    fitting = [choice for choice in kinds if choice.bytes <= memory_bytes]
    if not fitting:
        least = min(kinds, key=lambda choice: choice.bytes)
        why = "recall 1 takes exact search: " if recall >= 1 and n >= LEAST else ""
        raise ValueError(
            f"{why}no index of {n:,} vectors of {d} values fits into {_size(memory_bytes)}: "
            f"the smallest, {_name(least)}, takes {_size(least.bytes)}"
        )
    quick = [choice for choice in fitting if choice.query_ms <= query_ms]
    chosen = quick[0] if quick else min(fitting, key=lambda choice: choice.query_ms)
    before = [_not(choice, memory_bytes) for choice in kinds[: kinds.index(chosen)]]
    words = f"{_name(chosen)}: {_size(chosen.bytes)} fits into {_size(memory_bytes)} and one query takes about "
    words += f"{_short(chosen.query_ms)} ms"
    if not quick:
        words += f", more than {query_ms:g} ms, but nothing that fits is faster"
    return Choice(**{**vars(chosen), "explanation": "; ".join([words, *before])})


def _kinds(n: int, d: int, recall: float, device: str) -> list[Choice]:
    plain, cells = 4 * d, max(1, min(n // TRAINED_ON, round(4 * math.sqrt(n))))
    scanned = _SCANNED if device == "cpu" else _SCANNED_ON_GPU
    found = [Choice("exact", n, d, 0, d, plain * n, plain * n / scanned, recall, "")]
    if recall >= 1 or n < LEAST or device != "cpu":
        return found
    centres = plain * cells
    seen = n * _PROBED_SHARE
    bytes_ = (plain + 8) * n + centres
    found.append(Choice("ivf_flat", n, d, cells, d, bytes_, (centres + plain * seen) / _SCANNED, recall, ""))
    bytes_ = (plain + 8 * LINKS + 16) * n
    found.append(Choice("hnsw", n, d, 0, d, bytes_, plain * min(n, _HOPS) / _VISITED, recall, ""))
    for part in _KEPT if n >= LEAST_COMPRESSED else ():
        kept = d // part // 4 * 4  # two values a code of four bits
        if kept >= 8:
            code = kept // 4
            bytes_ = (code + 8) * n + 16 * code * cells + 4 * (kept * cells + d * (d + kept))  # cells are padded
            ms = (4 * kept * cells + code * seen) / _SCANNED + plain * _RANKED / _VISITED
            found.append(Choice("ivf_pq", n, d, cells, kept, bytes_, ms, recall, ""))
    return found


def _name(choice: Choice) -> str:
    return f"{choice.kind} of {choice.kept} dimensions" if choice.kept < choice.d else choice.kind


def _not(choice: Choice, memory_bytes: int) -> str:
    if choice.bytes > memory_bytes:
        return f"{_name(choice)} would take {_size(choice.bytes)}"
    return f"{_name(choice)} would take about {_short(choice.query_ms)} ms a query"


def _size(bytes_: float) -> str:
    return f"{bytes_ / 1e9:.2f} GB" if bytes_ >= 1e8 else f"{bytes_ / 1e6:.1f} MB"


def _short(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 10 else f"{ms:.2g}"
