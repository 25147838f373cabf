from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipeline.errors import RunError
from pipeline.run_dir import ARTIFACTS
from pipeline.schema import TextSettings, WordsText
from pipeline.stage import Facts, Workspace
from pipeline.stages import text_sources, texts
from pipeline.texts.sources import NO_TEXTS
from tests.texts.corpora import hashes, of_captions, of_folder


def made(settings: Any, folder: Path, images: pd.DataFrame | None = None) -> dict[str, Any]:
    folder.mkdir()
    both = SimpleNamespace(text=settings)
    workspace = Workspace(folder, content_hashes=hashes)
    found = text_sources.run(both, workspace, images)
    return texts.run(both, workspace, **found)


def test_a_large_table_is_saved_by_linking_and_sliced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    result = made(of_folder(tmp_path / "a.txt", source="file", chunk_size=100), tmp_path / "work")
    artifact = ARTIFACTS["texts"]
    artifact.save(result["texts"], tmp_path / "run")
    assert [(tmp_path / "run" / file).stat().st_nlink for file in artifact.files()] == [2, 2]
    loaded = artifact.load(tmp_path / "run")
    assert loaded.num_rows == 1000
    assert loaded["text"].slice(500, 2).to_pylist() == ["line 500", "line 501"]
    assert pd.read_parquet(tmp_path / "run" / artifact.files()[0])["text"].tolist() == loaded["text"].to_pylist()
    assert texts.metrics(result) == {"entries": 1000, "repeated": 0, "blank": 0, "long": 0, "files": 1, "skipped": 0}


def test_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"one\0two\n" + b"x" * 20_000)
    (folder / "b.txt").write_bytes(b"\xff\n")
    with caplog.at_level(logging.WARNING):
        result = made(of_folder(folder, "lines", "bigrams"), tmp_path / "work")
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 text files could not be read (1 not UTF-8); see texts/skipped.csv",
        "texts of more than 10,000 characters, which are no entries: 1",
        "NUL characters in text files, read as spaces: 1",
        "no bigrams: none that is no line too occurs 3 times (text.min_count)",
    ]
    assert result["texts_skipped"].to_dict("records") == [
        {"path": "b.txt", "reason": "not UTF-8", "detail": "byte 0 is 0xff"}
    ]
    assert texts.settled(result)


def test_an_empty_corpus_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(RunError, match=r"^text=file: there is nothing in 1 file to make an entry of$"):
        made(of_folder(tmp_path / "a.txt", source="file"), tmp_path / "blank")
    (tmp_path / "a.txt").write_bytes(b"\xff\n")
    with pytest.raises(RunError, match=r"^text=file: no text could be read: a.txt: not UTF-8 \(byte 0 is 0xff\)$"):
        made(of_folder(tmp_path / "a.txt", source="file"), tmp_path / "latin")


def key(settings: Any) -> Any:
    return texts.keyed(SimpleNamespace(text=settings))


def test_only_what_changes_entries_is_keyed(tmp_path: Path) -> None:
    lines = of_folder(tmp_path)
    assert key(lines) == key(of_folder(tmp_path / "x", prefix="a ", chunk_size=7, top_k=5, across_lines=False))
    assert key(lines) != key(of_folder(tmp_path, lower=True))
    grams = of_folder(tmp_path, "lines", "bigrams")
    assert key(grams) == key(of_folder(tmp_path, "bigrams", "lines"))
    for other in ({"top_k": 5}, {"min_count": 5}, {"across_lines": False}):
        assert key(grams) != key(of_folder(tmp_path, "lines", "bigrams", **other))


def test_refusals_and_what_is_required() -> None:
    def why(settings: Any, **facts: Any) -> str | None:
        return text_sources.refuse(Facts(2, **{"classes": (), **facts}), SimpleNamespace(text=settings))

    words = WordsText(name="mine", source="words", words=["a"], prefix="")
    assert why(TextSettings("none", "none")) == NO_TEXTS
    assert why(words) is None
    assert why(of_captions()) == "text=captions, but the data set has no captions"
    assert why(of_captions(), captioned=True) is None
    assert text_sources.requires(SimpleNamespace(text=of_captions())) == ("images",)
    assert text_sources.requires(SimpleNamespace(text=words)) == ()
