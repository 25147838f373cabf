"""Uni-, bi- and trigrams of a corpus: word-punct tokens, counted over all of it, the best by NLTK's PMI."""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

KINDS = ("unigram", "bigram", "trigram")  # by how many words


@dataclass(frozen=True)
class Gram:
    """text: its words with spaces between; category: where it occurred first; count: how often; score: PMI in bits,
    NaN for one word."""

    text: str
    category: str
    count: int
    score: float


@dataclass(frozen=True)
class Rules:
    """kinds: of KINDS; lower: small letters; min_count: rarer bi- and trigrams are left out; top_k: of each kind."""

    kinds: tuple[str, ...]
    lower: bool
    min_count: int
    top_k: int


class Grams:
    """Counts of a corpus that is added portion by portion. Holds an entry for every different n-gram."""

    def __init__(self, rules: Rules) -> None:
        from nltk.tokenize import wordpunct_tokenize

        self.rules, self.words_of = rules, wordpunct_tokenize
        self.counted = {n: _Counted() for n in (1, 2, 3) if n == 1 or KINDS[n - 1] in rules.kinds}
        self.same: dict[str, str] = {}  # word -> the one string that all n-grams share
        self.last: list[str | None] = []  # the words before, of the same text

    def add(self, lines: Sequence[str], category: str, joined: bool, continues: bool) -> None:
        """The lines of a portion. joined: n-grams run on from line to line; continues: the first line goes on with the
        text of the call before."""
        words = self._words(lines, joined)
        before = self.last if continues else []
        for n, counted in self.counted.items():
            row = [*before[len(before) - n + 1 :], *words] if n > 1 else words
            counted.of(category).update(_windows(row, n, joined))
        self.last = [*before, *words][-2:]

    def _words(self, lines: Sequence[str], joined: bool) -> list[str | None]:
        """The words of all lines; None between lines that are not joined."""
        if joined:
            words: list[str | None] = list(self.words_of("\n".join(lines)))
        else:
            of_lines = (chain(self.words_of(line), (None,)) for line in lines)
            words = list(chain.from_iterable(of_lines))[:-1]
        if self.rules.lower:
            words = [word and word.lower() for word in words]
        same = self.same.setdefault
        return [word and same(word, word) for word in words]

    def best(self, kind: str) -> list[Gram]:
        """At most top_k, best first: one word by its count, more by PMI, then count; then by the text."""
        n = KINDS.index(kind) + 1
        found = heapq.nsmallest(self.rules.top_k, self._unigrams() if n == 1 else self._scored(n))
        return [
            Gram(text, self.counted[n].category(place), -rarer, math.nan if n == 1 else -worse)
            for worse, rarer, text, place in found
        ]

    def _unigrams(self) -> Iterator[tuple[float, int, str, int]]:
        for place, (word, count) in enumerate(self.counted[1].counts.items()):
            yield 0.0, -count, word, place

    def _scored(self, n: int) -> Iterator[tuple[float, int, str, int]]:
        from nltk.metrics.association import BigramAssocMeasures, TrigramAssocMeasures

        words = self.counted[1].counts
        total = words.total()
        for place, (gram, count) in enumerate(self.counted[n].counts.items()):
            if count < self.rules.min_count:
                continue
            margins = tuple(words[word] for word in gram)
            if n == 2:
                score = BigramAssocMeasures.pmi(count, margins, total)
            else:  # PMI does not look at the counts of the pairs
                score = TrigramAssocMeasures.pmi(count, (0, 0, 0), margins, total)
            yield -score, -count, " ".join(gram), place


class _Counted:
    """Counts in the order of first occurrence, so that their places tell where that was."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.first = array("q")  # of each stretch of one category: how many there were before it
        self.stretch: list[str] = []  # its category

    def of(self, category: str) -> Counter:
        """The counts, to be added to with texts of this category."""
        if not self.stretch or self.stretch[-1] != category:
            self.first.append(len(self.counts))
            self.stretch.append(category)
        return self.counts

    def category(self, place: int) -> str:
        return self.stretch[bisect_right(self.first, place) - 1]


def _windows(words: list[str | None], n: int, joined: bool) -> Iterator:
    """All n-grams of words that stand side by side."""
    if n == 1:
        return iter(words) if joined else (word for word in words if word is not None)
    windows = zip(*(words[i:] for i in range(n)), strict=False)
    return windows if joined else (window for window in windows if None not in window)
