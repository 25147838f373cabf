"""Texts as tokens: what tokenisers of open_clip and transformers make of them, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

CHARACTERS = 5_000  # that are looked at: more than any context holds, and few enough for one word of that length
SPACE = "\u2581"  # SentencePiece's mark of a space, a token by itself before what it does not know


@dataclass(frozen=True)
class Tokens:
    """rows: for each text its tokens, marks of start and end included, as whoever made them takes them; lengths: (n,)
    int64, how many of them the network has to see; cut: (n,) bool, the text is longer than the context; unknown: (n,)
    bool, it has no token that means anything (blank, or of a script that the tokeniser does not know)."""

    rows: list[Any]
    lengths: np.ndarray
    cut: np.ndarray
    unknown: np.ndarray


def well_formed(text: str) -> str:
    """The text as UTF-8 can have it: surrogates in pairs become the character they mean, lone ones (bytes of odd file
    names) U+FFFD. Of a very long text the beginning, spaces in it made one each."""
    if len(text) > CHARACTERS:
        text = " ".join(text[: 20 * CHARACTERS].split())[:CHARACTERS]
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def bpe_tokens(
    tokenizer: Any, texts: Sequence[str], context: int, lengths: Callable[[torch.Tensor], np.ndarray]
) -> Tokens:
    """By a `SimpleTokenizer` of open_clip, which knows every byte: as its own call makes them, each text gone through
    once. Rows of `context` int64; `lengths` says how many of each count. Cut texts keep the mark of the end."""
    import torch

    rows = torch.zeros(len(texts), context, dtype=torch.long)
    cut, unknown = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for i, text in enumerate(texts):
        found = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        unknown[i] = len(found) == 2
        if len(found) > context:
            cut[i] = True
            found = [*found[: context - 1], tokenizer.eot_token_id]
        rows[i, : len(found)] = torch.tensor(found)
    return Tokens(list(rows), lengths(rows), cut, unknown)


def stacked(rows: list[Any], length: int | None) -> torch.Tensor:
    """Rows of tokens as one tensor, (n, length); None: (n, context)."""
    import torch

    return torch.stack(rows)[:, :length]


class LibraryTokenizer:
    """A tokeniser of transformers. context: tokens that a text may have; padded: the network sees the padding, so that
    every text is as long as the context; names: what of its output the network takes (None: all)."""

    def __init__(self, tokenizer: Any, context: int, padded: bool = False, names: Iterable[str] | None = None) -> None:
        self.tokenizer, self.context, self.padded, self.names = tokenizer, context, padded, names

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Rows are dictionaries of lists."""
        found = self.tokenizer(list(texts), verbose=False)
        cut = np.array([len(ids) > self.context for ids in found["input_ids"]], bool)
        rows = list(_rows(found))
        too_long = np.flatnonzero(cut).tolist()
        if too_long:
            made = self.tokenizer([texts[i] for i in too_long], truncation=True, max_length=self.context)
            for i, row in zip(too_long, _rows(made), strict=True):
                rows[i] = row
        lengths = [self.context if self.padded else len(row["input_ids"]) for row in rows]
        return Tokens(rows, np.array(lengths, np.int64), cut, unknown(self.tokenizer, found["input_ids"]))

    def batch(self, rows: list[Any], length: int | None) -> Any:
        """Tensors by name, padded to `length`; None: to the context."""
        made = self.tokenizer.pad(
            rows, padding="max_length", max_length=length or self.context, return_tensors="pt", verbose=False
        )
        for name in [name for name in made if self.names is not None and name not in self.names]:
            del made[name]
        return made


def _rows(found: Any) -> Iterator[dict[str, list[int]]]:
    for i in range(len(found["input_ids"])):
        yield {name: values[i] for name, values in found.items()}


def unknown(tokenizer: Any, ids: Iterable[Sequence[int]]) -> np.ndarray:
    """(n,) bool: texts of which a tokeniser of transformers makes nothing but marks and its token for the unknown."""
    nothing = {*tokenizer.all_special_ids, tokenizer.convert_tokens_to_ids(SPACE)}
    return np.array([nothing.issuperset(row) for row in ids], bool)
