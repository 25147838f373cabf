from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.content_hashes import blake3_of
from pipeline.texts import portions as reading
from pipeline.texts.portions import UnreadableText, check, portions


def lines_of(file: Path) -> list[str]:
    """All lines, those in pieces put together again."""
    lines: list[str] = []
    for portion in portions(file):
        given = list(portion.lines)
        if portion.continues:
            lines[-1] += given.pop(0)
        lines += given
    return lines


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_portions_of_any_size_give_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    content = "one two three\n\nfour é 猫 five\r\nsix\rseven\n" + "long" * 20 + "\nlast line"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + content.encode())
    monkeypatch.setattr(reading, "PORTION", size)
    assert lines_of(tmp_path / "a.txt") == content.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def test_a_long_line_is_cut_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("alpha beta gamma delta\nend\n")
    monkeypatch.setattr(reading, "PORTION", 8)
    found = list(portions(tmp_path / "a.txt"))
    assert all(len(word) in (0, 3, 4, 5) for portion in found for line in portion.lines for word in line.split())
    assert found[0].unfinished and not found[0].continues and found[1].continues


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert list(portions(tmp_path / "a.txt")) == []
    assert check(tmp_path / "a.txt", blake3_of(str(tmp_path / "a.txt"))) == 0


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"caf\xe9 au lait\n", "not UTF-8", "byte 3 is 0xe9"),
        ("text".encode("utf-16"), "not UTF-8", "begins like UTF-16"),
        ("text".encode("utf-32"), "not UTF-8", "begins like UTF-32"),
        ("plain text".encode("utf-16-le"), "binary", "10 of 20 bytes are NUL"),
        ("é".encode()[:1], "not UTF-8", "byte 0 is 0xc3"),
        (b"\xed\xa0\x80", "not UTF-8", "byte 0 is 0xed"),  # half of a character
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, reason: str, detail: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UnreadableText) as error:
        check(tmp_path / "a.txt", blake3_of(str(tmp_path / "a.txt")))
    assert (error.value.reason, error.value.detail) == (reason, detail)


def test_where_a_bad_byte_is_in_a_file_of_several_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 5)
    content = "日本語のテキスト".encode()
    (tmp_path / "a.txt").write_bytes(content + b"\xff")
    with pytest.raises(UnreadableText, match=f"byte {len(content)} is 0xff"):
        check(tmp_path / "a.txt", "")
    (tmp_path / "a.txt").write_bytes(content)
    assert check(tmp_path / "a.txt", blake3_of(str(tmp_path / "a.txt"))) == 0


def test_a_file_that_changed_or_went_since_it_was_hashed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    before = blake3_of(str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("after")
    with pytest.raises(UnreadableText, match="changed: while it was read"):
        check(tmp_path / "a.txt", before)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UnreadableText, match="changed: can no longer be read"):
        check(tmp_path / "a.txt", before)


def test_lone_nuls_become_spaces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\0two\n")
    assert check(tmp_path / "a.txt", blake3_of(str(tmp_path / "a.txt"))) == 1
    assert lines_of(tmp_path / "a.txt") == ["one two"]
