"""Which runs are set against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.comparison.entries import Entry
from pipeline.report.words import number

# models, or numbers of clusters of one model, up to which all pairs are taken; beyond, each with the first
COMPARED = 12
SHOWN = 6


@dataclass(frozen=True)
class Pair:
    """a, b: two runs of the same images; first: whether they are the first of their models, which is when scores that
    do not depend on clusters are compared."""

    a: Entry
    b: Entry
    first: bool = True

    @property
    def same_k(self) -> bool:
        return bool(self.a.k == self.b.k)


def pairs(entries: Sequence[Entry], most: int = COMPARED) -> list[Pair]:
    """Of the runs that came to their end, block of same images by block: models at the same number of clusters and the
    same seeds; of a single model, its numbers of clusters. All pairs of up to `most`; else each with the first."""
    found = []
    for block in blocks([entry for entry in entries if entry.complete and entry.identity is not None]):
        models = _by(block, lambda entry: entry.model)
        if len(models) > 1:
            for one, other in _of(list(models), most):
                found += _at_same_k(models[one], models[other])
        else:
            found += _of_one_model(block, most)
    return found


def blocks(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Those of the same images together, in the order of their first."""
    found: list[list[Entry]] = []
    for entry in entries:
        assert entry.identity is not None
        for block in found:
            if block[0].identity.same_images(entry.identity):  # type: ignore[union-attr]
                block.append(entry)
                break
        else:
            found.append([entry])
    return found


def _of(names: list[Any], most: int) -> list[tuple[Any, Any]]:
    return list(combinations(names, 2)) if len(names) <= most else [(names[0], name) for name in names[1:]]


def _at_same_k(these: Sequence[Entry], those: Sequence[Entry]) -> list[Pair]:
    """Where no number of clusters is shared and each has one only, as protocols have them: these."""
    of = _by(those, _place)
    shared = [(one, of[_place(one)][0]) for one in these if _place(one) in of]
    if not shared and {len(_by(some, lambda entry: number(entry.k))) for some in (these, those)} == {1}:
        by_seed = _by(those, lambda entry: entry.seeds)
        shared = [(one, by_seed[one.seeds][0]) for one in these if one.seeds in by_seed]
    if not shared:  # what does not depend on clusters
        return [Pair(these[0], those[0])] if these[0].seeds == those[0].seeds else []
    return [Pair(one, other, place == 0) for place, (one, other) in enumerate(shared)]


def _of_one_model(block: Sequence[Entry], most: int) -> list[Pair]:
    """Its numbers of clusters, at the same seeds."""
    found = []
    for same in _by(block, lambda entry: entry.seeds).values():
        by_k = _by(same, lambda entry: number(entry.k))
        found += [Pair(by_k[one][0], by_k[other][0], False) for one, other in _of(list(by_k), most)]
    return found


def _place(entry: Entry) -> tuple[Any, ...]:
    return number(entry.k), entry.seeds


def _by(entries: Sequence[Entry], key: Any) -> dict[Any, list[Entry]]:
    found: dict[Any, list[Entry]] = {}
    for entry in entries:
        found.setdefault(key(entry), []).append(entry)
    return found
