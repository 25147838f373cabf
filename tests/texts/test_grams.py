from __future__ import annotations

import math
from collections import Counter

import nltk
import pytest
from nltk.collocations import BigramCollocationFinder, TrigramCollocationFinder
from nltk.metrics.association import BigramAssocMeasures, TrigramAssocMeasures

from pipeline.texts.grams import KINDS, Grams, Rules
from tests.texts.corpora import PROSE


def counted(lines: list[str], joined: bool, lower: bool = False, min_count: int = 3, top_k: int = 10_000) -> Grams:
    """Added three lines at a time, as portions of one text."""
    grams = Grams(Rules(KINDS, lower, min_count, top_k))
    for start in range(0, len(lines), 3):
        grams.add(lines[start : start + 3], "prose", joined, continues=joined and start > 0)
    return grams


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("lower", [True, False])
def test_equals_nltk_on_prose(joined: bool, lower: bool) -> None:
    lines = PROSE.read_text(encoding="utf-8").split("\n")
    documents = [nltk.wordpunct_tokenize(text) for text in (["\n".join(lines)] if joined else lines)]
    if lower:
        documents = [[word.lower() for word in words] for words in documents]
    grams = counted(lines, joined, lower)
    assert {g.text: g.count for g in grams.best("unigram")} == Counter(word for words in documents for word in words)
    for kind, finder, measures in (
        ("bigram", BigramCollocationFinder, BigramAssocMeasures),
        ("trigram", TrigramCollocationFinder, TrigramAssocMeasures),
    ):
        expected = finder.from_documents(documents)
        expected.apply_freq_filter(3)
        scores = {" ".join(gram): score for gram, score in expected.score_ngrams(measures.pmi)}
        best = grams.best(kind)
        assert len(best) > 5
        assert {gram.text: gram.score for gram in best} == scores
        assert [gram.score for gram in best] == sorted(scores.values(), reverse=True)
        assert {gram.text: gram.count for gram in best} == {" ".join(g): n for g, n in expected.ngram_fd.items()}


def test_a_tiny_corpus_by_hand() -> None:
    """a b a b a b c: a 3, b 3, c 1 of 7 words; (a, b) 3 times, (b, a) twice, (b, c) once."""
    grams = counted(["a b a b", "a b c"], joined=True, min_count=2)
    assert [(g.text, g.count) for g in grams.best("unigram")] == [("a", 3), ("b", 3), ("c", 1)]
    assert all(math.isnan(g.score) for g in grams.best("unigram"))
    assert [(g.text, g.count) for g in grams.best("bigram")] == [("a b", 3), ("b a", 2)]
    assert grams.best("bigram")[0].score == pytest.approx(math.log2(3 * 7 / (3 * 3)))
    assert [(g.text, g.count) for g in grams.best("trigram")] == [("a b a", 2), ("b a b", 2)]
    assert grams.best("trigram")[0].score == pytest.approx(math.log2(2 * 7**2 / (3 * 3 * 3)))


def test_lines_that_stand_for_themselves_are_not_joined() -> None:
    grams = counted(["a b", "", "a b", "a b"], joined=False, min_count=1)
    assert [(g.text, g.count) for g in grams.best("bigram")] == [("a b", 3)]
    assert grams.best("trigram") == []


def test_punctuation_is_a_word_of_its_own() -> None:
    assert {g.text for g in counted(["don't, stop..."], joined=True).best("unigram")} == {
        "don", "'", "t", ",", "stop", "...",
    }  # fmt: skip


def test_ties_by_count_and_text() -> None:
    """Of the same PMI the more frequent first, then by the text: whatever the order in the corpus."""
    lines = ["z z2", "y y2", "x x2", "x x2", "y y2", "z z2", "p q", "p q r", "p p2"]
    forward = counted(lines, joined=False, min_count=2).best("bigram")
    backward = counted(lines[::-1], joined=False, min_count=2).best("bigram")
    assert [g.text for g in forward] == ["x x2", "y y2", "z z2", "p q"]
    assert [(g.text, g.score) for g in backward] == [(g.text, g.score) for g in forward]


def test_only_the_best() -> None:
    all_of_them = counted(PROSE.read_text(encoding="utf-8").split("\n"), joined=True)
    few = counted(PROSE.read_text(encoding="utf-8").split("\n"), joined=True, top_k=4)
    for kind in KINDS:
        assert [g.text for g in few.best(kind)] == [g.text for g in all_of_them.best(kind)][:4]


def test_category_of_the_first_occurrence_and_no_ngram_across_texts() -> None:
    grams = Grams(Rules(KINDS, False, 1, 100))
    grams.add(["red", "cat"], "one", True, False)
    grams.add(["cat dog"], "two", True, False)
    grams.add(["dog fish red cat"], "three", True, False)
    assert {g.text: g.category for g in grams.best("unigram")} == {
        "red": "one", "cat": "one", "dog": "two", "fish": "three",
    }  # fmt: skip
    assert {g.text: g.category for g in grams.best("bigram")} == {
        "red cat": "one", "cat dog": "two", "dog fish": "three", "fish red": "three",
    }  # fmt: skip
