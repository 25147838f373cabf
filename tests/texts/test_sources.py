from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import CallError
from pipeline.texts.sources import find_sources, look
from tests.texts.corpora import hashes, of_captions, of_folder, of_table


def fingerprint(folder: Path) -> str:
    return find_sources(of_folder(folder), hashes).fingerprint


def test_fingerprint_follows_content_and_names_not_places(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("text")
    before = fingerprint(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == before
    (tmp_path / "moved" / "a.txt").write_text("test")
    changed = fingerprint(tmp_path / "moved")
    (tmp_path / "moved" / "a.txt").rename(tmp_path / "moved" / "b.txt")
    assert len({before, changed, fingerprint(tmp_path / "moved")}) == 3


def test_fingerprint_of_captions() -> None:
    def of(*captions: str) -> str:
        images = pd.DataFrame({"caption": list(captions), "label": "x"})
        return find_sources(of_captions(), hashes, images).fingerprint

    assert len({of("a", "b"), of("b", "a"), of("ab"), of("a", "b", "b")}) == 4


def test_links_are_followed_once_and_told(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("text")
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "corpus" / "loop").symlink_to(tmp_path / "corpus")
    found = find_sources(of_folder(tmp_path / "corpus"), hashes)
    assert [file.name for file in found.files] == ["link/a.txt"]
    assert found.notes == ("1 link leads out of text.path; what is there is read",)


def test_wrong_paths_and_columns(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.md").write_text("x")
    (tmp_path / "table.csv").write_text("id,says\n1,x\n")
    pd.DataFrame({"says": ["x"], "bytes": [b"x"]}).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for settings, said in (
        (of_folder(tmp_path / "corpos"), "text.path: no such folder: .*corpos; did you mean corpus?"),
        (of_folder(tmp_path / "table.csv"), "text.path: .*table.csv is a file; text=file reads one"),
        (of_folder(tmp_path / "corpus"), "text.path: no .txt files in .*corpus or the folders in it"),
        (of_folder(tmp_path / "corpus", source="file"), "text.path: .*corpus is a folder; text=folder reads those"),
        (
            of_folder(tmp_path / "table.cvs", source="file"),
            "text.path: no such file: .*table.cvs; did you mean table.csv",
        ),
        (
            of_table(tmp_path / "table.csv", "say"),
            "text.column = say: table.csv has no such column; did you mean says?",
        ),
        (
            of_table(tmp_path / "table.csv", "says", category_column="kind"),
            "text.category_column = kind: table.csv has",
        ),
        (of_table(tmp_path / "table.parquet", "bytes"), "text.column = bytes: holds .*binary, which is no text"),
        (of_table(tmp_path / "broken.parquet", "says"), "text.path: broken.parquet cannot be read"),
        (of_table(tmp_path / "corpus" / "a.md", "says"), "text.path: a.md: tables end in .csv, .tsv, .parquet, .jsonl"),
    ):
        with pytest.raises(CallError, match=said) as error:
            look(settings)
        assert "\n" not in str(error.value)
