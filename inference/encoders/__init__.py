"""Encoders: one file per backend behind one small interface. A new kind is one module and one line in KINDS."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inference.images import ImageFile

# kind -> (module, class); imported when first used, because backends are heavy
KINDS: dict[str, tuple[str, str]] = {
    "pixels": ("inference.encoders.pixels", "Pixels"),
}


class NoTextSide(Exception):
    """The encoder sees images only; a text analysis with it has to be refused."""


class Encoder(Protocol):
    """What turns images (and texts, where it can) into vectors. Constructors take plain arguments.

    Vectors of one encoder are comparable with each other only, images and texts included.
    """

    name: str
    model: str
    dimension: int
    dtype: str  # of the image vectors: 'float32', or 'uint8' for raw pixels
    precision: str  # in words, for the record
    preprocessing: str  # in words, for the record
    image_fingerprint: str  # changes with everything that changes an image vector
    text_fingerprint: str | None  # the same for texts; None: images only

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """One image as the model takes it. Raises inference.images.UnreadableImage."""
        ...

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """(n, ...) preprocessed images -> (n, dimension) of `dtype`."""
        ...

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """n texts -> (n, dimension) float32. Raises NoTextSide."""
        ...

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        """(n, m) cosines of images to texts -> probabilities by the model's own rule. Raises NoTextSide."""
        ...


@dataclass(frozen=True)
class EncoderHandle:
    """An encoder that is described but not loaded: where everything is cached, nothing ever is."""

    kind: str
    arguments: tuple[tuple[str, Any], ...]
    normalize: bool

    def load(self) -> Encoder:
        """The encoder itself."""
        module, cls = KINDS[self.kind]
        encoder: Encoder = getattr(importlib.import_module(module), cls)(**dict(self.arguments))
        return encoder
