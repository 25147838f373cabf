"""Images decoded once, to the pixels that a network takes, in one memory-mapped array.

Read like all images are (inference.embed): in worker processes that may crash or hang, shard by shard, so that work
which was killed goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.embed import Embedded, embed
from inference.encoders import Description, Encoder, EncoderHandle, NoTextSide
from inference.images import ImageFile, ReadingRules
from inference.preprocessing import CHANNELS, Preprocessing


@dataclass(frozen=True)
class Pictures:
    """pixels: (n, c, h, w) uint8 of what could be read, memory-mapped; rows: (n,) int64, which they were; unreadable:
    (row, reason, detail) of the rest."""

    pixels: np.ndarray
    rows: np.ndarray
    unreadable: list[tuple[int, str, str]]


def read_pixels(
    paths: Sequence[str], preprocessing: Preprocessing, folder: Path, *, rules: ReadingRules, **how: Any
) -> Pictures:
    """Pixels of the images at `paths`, by the exact way. `folder` keeps them; how: what `embed` takes besides
    (contents, workers, timeout, progress). Raises EmbeddingFailed and OSError."""
    description = Description("pixels", "pixels of training", preprocessing.words(), "", exact_only=True)
    handle = _Handle("pixels", (), False, description, preprocessing=preprocessing)
    found: Embedded = embed(paths, handle, folder, rules=rules, **how)
    shape = (len(found.vectors), CHANNELS[preprocessing.channels], *preprocessing.size)
    return Pictures(found.vectors.reshape(shape), found.rows, found.unreadable)


@dataclass(frozen=True)
class _Handle(EncoderHandle):
    """What worker processes are sent: how to prepare, and no network."""

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing((1, 1)))

    def load(self) -> Encoder:
        return _Prepared(self.preprocessing)


class _Prepared:
    """An encoder whose vectors are the pixels themselves."""

    dtype = "uint8"

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        height, width = preprocessing.size
        self.dimension = CHANNELS[preprocessing.channels] * height * width

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """(c, h, w) uint8."""
        return self.preprocessing.exact(image)

    def reader(self) -> Callable[[ImageFile], np.ndarray]:
        """`preprocess` alone."""
        return self.preprocessing.exact

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """(n, c * h * w) uint8."""
        return batch.reshape(len(batch), -1)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        raise NoTextSide("pixels")

    def text_vectors(self, texts: list[str], *_: Any, **__: Any) -> Any:
        raise NoTextSide("pixels")

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        raise NoTextSide("pixels")
