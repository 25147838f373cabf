from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import RunError
from pipeline.schema import LabelsText, WordsText
from pipeline.texts import entries, gathering
from pipeline.texts import portions as reading
from tests.texts.corpora import PROSE, gathered, of_captions, of_folder, of_table, texts_of

ALL = ("lines", "unigrams", "bigrams", "trigrams")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Prose cut into files of ten lines, some of them the same lines again."""
    folder = tmp_path / "corpus"
    (folder / "inner").mkdir(parents=True)
    lines = PROSE.read_text(encoding="utf-8").split("\n")
    for number, start in enumerate(range(0, len(lines), 10)):
        (folder / f"{number}.txt").write_text("\n".join(lines[start : start + 10]), encoding="utf-8")
    (folder / "inner" / "again.txt").write_text(
        "\n".join(["  " + lines[0] + " ", "of", "new", lines[1]]), encoding="utf-8"
    )
    return folder


def test_a_tiny_corpus_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbfa dog\r\n\r\n a cat \r\n")
    (folder / "a.txt").write_text("a cat\na cat\nA cat\n   \n")
    rows, found = gathered(of_folder(folder, "lines", "unigrams", "bigrams", min_count=2), tmp_path / "work")
    shown = [
        (r["text"], r["category"], r["kind"], r["count"], None if r["kind"] != "bigram" else r["score"]) for r in rows
    ]
    assert shown == [
        ("a cat", "a.txt", "line", 3, None),
        ("A cat", "a.txt", "line", 1, None),
        ("a dog", "b.txt", "line", 1, None),
        ("a", "a.txt", "unigram", 4, None),
        ("cat", "a.txt", "unigram", 4, None),
        ("A", "a.txt", "unigram", 1, None),
        ("dog", "b.txt", "unigram", 1, None),
    ]  # of the bigrams 'a cat' (3) is a line; 'cat a' occurs once in a.txt and, over an empty line, nowhere in b.txt
    assert (found.files, found.lines, found.blank, found.repeated, found.long) == (2, 7, 2, 2, 0)
    assert found.entries == {"line": 3, "unigram": 4}


@pytest.mark.parametrize("across_lines", [True, False])
def test_portions_and_chunks_change_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, across_lines: bool
) -> None:
    settings = of_folder(corpus, *ALL, across_lines=across_lines)
    rows, found = gathered(settings, tmp_path / "whole")
    assert found.repeated == 2 and {row["kind"] for row in rows} == {"line", "unigram", "bigram", "trigram"}
    monkeypatch.setattr(reading, "PORTION", 200)
    for chunk_size in (1, 7):
        in_parts = of_folder(corpus, *ALL, across_lines=across_lines, chunk_size=chunk_size)
        again, told = gathered(in_parts, tmp_path / f"{chunk_size}")
        assert str(again) == str(rows) and told == found  # as text: NaN equals itself
    monkeypatch.setattr(entries, "MOST_CHARACTERS", 50)
    assert str(gathered(settings, tmp_path / "few characters")[0]) == str(rows)


def test_lines_equal_a_dictionary(tmp_path: Path) -> None:
    """Each line once, in the order of its first occurrence, counted."""
    draw = random.Random(0)
    lines = [f"line {draw.randrange(2000)}" for _ in range(5000)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    rows, _ = gathered(of_folder(tmp_path / "a.txt", source="file", chunk_size=333), tmp_path / "work")
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    assert [(row["text"], row["count"]) for row in rows] == list(counts.items())


def test_any_order_of_the_file_system(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = gathered(of_folder(corpus, *ALL), tmp_path / "work")
    real = os.scandir

    class Shuffled(list):
        def __enter__(self) -> Shuffled:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    def shuffled(path: str) -> Shuffled:
        with real(path) as found:
            listed = list(found)
        random.Random(1).shuffle(listed)
        return Shuffled(listed)

    monkeypatch.setattr(os, "scandir", shuffled)
    assert str(gathered(of_folder(corpus, *ALL), tmp_path / "again")[0]) == str(rows)


def test_small_letters_for_lines_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A Cat\na cat\n")
    rows, _ = gathered(of_folder(tmp_path / "a.txt", "lines", "unigrams", source="file", lower=True), tmp_path / "work")
    assert [(row["text"], row["count"]) for row in rows] == [("a cat", 2), ("a", 2), ("cat", 2)]


def test_ngrams_without_lines(corpus: Path, tmp_path: Path) -> None:
    with_lines, _ = gathered(of_folder(corpus, *ALL), tmp_path / "with")
    without, found = gathered(of_folder(corpus, *ALL[1:]), tmp_path / "without")
    assert "of" in texts_of(without, "unigram") and "of" not in texts_of(with_lines, "unigram")  # it is a line
    assert found.lines == 0
    few, _ = gathered(of_folder(corpus, *ALL[1:], top_k=3), tmp_path / "few")
    assert [texts_of(few, kind) for kind in ("unigram", "bigram", "trigram")] == [
        texts_of(without, kind)[:3] for kind in ("unigram", "bigram", "trigram")
    ]


def test_long_lines_are_counted_and_their_words_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PORTION", 12_000)
    long = "word " * 30_000
    (tmp_path / "a.txt").write_text(f"first\n{long}\nlast\n{'x' * 10_001}\n{'y' * 10_000}\n{'z' * 20_000}")
    rows, found = gathered(of_folder(tmp_path / "a.txt", "lines", "unigrams", source="file"), tmp_path / "work")
    assert texts_of(rows) == ["first", "last", "y" * 10_000]
    assert (found.lines, found.long, found.blank) == (6, 3, 0)
    assert {"text": "word", "count": 30_000}.items() <= rows[3].items()


def test_files_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "good.TXT").write_text("good\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "zip.txt").write_bytes(b"PK\0\0\0\0\0\0")
    (folder / "not text.md").write_text("other\n")
    (folder / ".hidden.txt").write_text("hidden\n")
    os.mkfifo(folder / "pipe.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing")
    (folder / os.fsdecode(b"\xff.txt")).write_text("odd name\n")
    rows, found = gathered(of_folder(folder), tmp_path / "work")
    assert texts_of(rows) == ["good"]
    assert found.skipped == [
        ("gone.txt", "unreadable", "FileNotFoundError"),
        ("latin.txt", "not UTF-8", "byte 3 is 0xe9"),
        ("pipe.txt", "not a file", "a pipe, a device or a folder"),
        ("zip.txt", "binary", "6 of 8 bytes are NUL"),
        ("\\xff.txt", "file name", "not valid UTF-8, rename the file"),
    ]


def test_nothing_to_make_entries_of(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n  \n")
    assert gathered(of_folder(tmp_path / "a.txt", *ALL, source="file"), tmp_path / "work") == ([], gathering.Gathered(
        files=1, lines=2, blank=2
    ))  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_columns_of_tables(tmp_path: Path, ending: str) -> None:
    cells = pd.DataFrame({"id": ["001", "002", "003", "004"], "says": ["a, cat", "two\nlines", "", "a, cat"]})
    cells["about"] = ["pets", "forms", "none", "more"]
    path = tmp_path / f"table.{ending}"
    if ending == "parquet":
        cells.to_parquet(path)
    elif ending == "jsonl":
        cells.to_json(path, orient="records", lines=True)
    else:
        cells.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    rows, found = gathered(
        of_table(path, "says", "lines", "bigrams", category_column="about", min_count=1), tmp_path / "work"
    )
    assert [(row["text"], row["category"], row["count"]) for row in rows if row["kind"] == "line"] == [
        ("a, cat", "pets", 2), ("two lines", "forms", 1),
    ]  # fmt: skip
    assert sorted((row["text"], row["category"]) for row in rows if row["kind"] == "bigram") == [
        (", cat", "pets"), ("a ,", "pets"),
    ]  # fmt: skip
    assert found.blank == 1
    assert {row["category"] for row in gathered(of_table(path, "says"), tmp_path / "without")[0]} == {""}


def test_a_table_that_breaks_off(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"says": "one"}\n{"says": \n')
    with pytest.raises(RunError, match=r"text.path: bad.jsonl cannot be read: Expecting value"):
        gathered(of_table(tmp_path / "bad.jsonl", "says"), tmp_path / "work")
    (tmp_path / "latin.csv").write_bytes(b"says\nfine\ncaf\xe9\n")
    with pytest.raises(RunError, match=r"text.path: latin.csv is not UTF-8 \(byte 0xe9\)"):
        gathered(of_table(tmp_path / "latin.csv", "says"), tmp_path / "work")


def test_halves_of_characters(tmp_path: Path) -> None:
    """JSON can hold them, and no file of ours."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"says": "x\ud83d y"}) + "\n" + json.dumps({"says": "😀"}) + "\n")
    assert texts_of(gathered(of_table(tmp_path / "a.jsonl", "says"), tmp_path / "work")[0]) == ["x\ufffd y", "😀"]


def test_captions_labels_and_words(tmp_path: Path) -> None:
    images = pd.DataFrame(
        {"caption": ["a red cat", None, "a red cat", "a red dog"], "label": ["cat", "cat", "dog", None]}
    )
    rows, _ = gathered(of_captions("lines", "bigrams"), tmp_path / "captions", images=images)
    assert [(row["text"], row["category"], row["kind"], row["count"]) for row in rows] == [
        ("a red cat", "cat", "caption", 2), ("a red dog", "", "caption", 1), ("a red", "cat", "bigram", 3),
    ]  # fmt: skip
    labels = LabelsText(name="labels", source="labels", prefix="")
    rows, _ = gathered(labels, tmp_path / "labels", images=images)
    assert [(row["text"], row["category"], row["kind"]) for row in rows] == [
        ("cat", "cat", "label"),
        ("dog", "dog", "label"),
    ]
    several = pd.DataFrame({"id": ["1", "1"], "label": ["zebra", "animal"], "present": [True, True]})
    assert texts_of(gathered(labels, tmp_path / "several", images=images, image_labels=several)[0], "label") == [
        "animal", "zebra",
    ]  # fmt: skip
    words = WordsText(name="words", source="words", words=["a cat", " ", "a dog "], prefix="")
    rows, found = gathered(words, tmp_path / "words")
    assert [(row["text"], row["category"], row["kind"]) for row in rows] == [
        ("a cat", "", "word"),
        ("a dog", "", "word"),
    ]
    assert found.blank == 1
