"""Text files in portions: read without ever holding one whole, or refused with a typed reason."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

CHUNK = 8 * 2**20  # bytes checked at a time
PORTION = 2**20  # characters read at a time; a longer line comes in pieces
BINARY = 0.01  # share of NUL bytes from which a file is no text
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16: the one begins like the other
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnreadableText(Exception):
    """reason: a few words, the same for all of a kind; detail: what is special to this file."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Portion:
    """lines: without their ends. continues: the first goes on where the portion before it ended; unfinished: the last
    goes on in the portion after it. Both only for lines longer than PORTION."""

    lines: Sequence[str]
    continues: bool = False
    unfinished: bool = False


def check(path: Path, content_hash: str) -> int:
    """How many NUL characters are in the file. Reads it once; raises UnreadableText for what is no UTF-8 text, and
    where it is not what its hash (BLAKE3) was taken of."""
    state, decoder = blake3(), codecs.getincrementaldecoder("utf-8")()
    size = nuls = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                if not size and (mark := next((mark for mark in MARKS if chunk.startswith(mark)), None)):
                    raise UnreadableText("not UTF-8", f"begins like {MARKS[mark]}")
                _decode(decoder, chunk, size)
                state.update(chunk)
                size += len(chunk)
                nuls += chunk.count(0)
    except OSError as error:
        raise UnreadableText("changed", f"can no longer be read: {error.strerror}") from error
    _decode(decoder, b"", size, final=True)
    if nuls > 1 and nuls > BINARY * size:
        raise UnreadableText("binary", f"{nuls:,} of {size:,} bytes are NUL")
    if state.hexdigest() != content_hash:
        raise UnreadableText("changed", "while it was read")
    return nuls


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, before: int, final: bool = False) -> None:
    waiting = len(decoder.getstate()[0])  # bytes of a character that the chunk before ended in
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UnreadableText("not UTF-8", f"byte {before - waiting + error.start:,} is 0x{byte:02x}") from error


def portions(path: Path) -> Iterator[Portion]:
    """The lines of a file that was checked, in order; a byte-order mark is no part of them, nor are '\\r\\n' and '\\r';
    NULs become spaces."""
    with path.open("rb") as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8-sig")
        rest, continues = "", False
        while text := file.read(PORTION):
            text = rest + text.replace("\0", " ")
            end = text.rfind("\n")
            if end < 0 and len(text) < PORTION:  # the file's last, or a read that gave less
                rest = text
            elif end < 0:
                cut = _last_space(text)
                yield Portion([text[:cut]], continues, unfinished=True)
                rest, continues = text[cut:], True
            else:
                yield Portion(text[:end].split("\n"), continues)
                rest, continues = text[end + 1 :], False
        if rest or continues:
            yield Portion([rest], continues)


def _last_space(text: str) -> int:
    """Where to cut so that no word is: behind the last space, or at the end where there is none."""
    return max(text.rfind(" "), text.rfind("\t")) + 1 or len(text)
