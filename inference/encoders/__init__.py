"""Encoders: one file per backend behind one small interface. A new kind is one module and one line in KINDS.

A module of KINDS has two functions:

- `describe(arguments, look) -> Description` finds the weights and checks what can be checked in seconds. No network
  is built, so a run whose vectors are all cached never builds one.
- `load(arguments, description, runtime) -> Encoder` builds it.

`arguments` are the settings of the choice, plain values by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inference.images import ImageFile
from inference.probability import Rule

# kind -> module; imported when first used, because backends are heavy
KINDS: dict[str, str] = {
    "pixels": "inference.encoders.pixels",
    "openai": "inference.encoders.openai",
    "open_clip": "inference.encoders.open_clip",
    "huggingface": "inference.encoders.huggingface",
    "timm": "inference.encoders.timm",
    "checkpoint": "inference.encoders.checkpoint",
}


class EncoderError(Exception):
    """Why an encoder cannot be used, in words for the user; key: the setting that it is about."""

    def __init__(self, message: str, key: str = "encoder") -> None:
        super().__init__(message)
        self.message = message
        self.key = key


# which encoders see texts, in words for messages
TEXT_SIDES = "openai, open_clip, huggingface (CLIP, SigLIP), checkpoint (CLIP), precomputed with text_path"


class NoTextSide(Exception):
    """The encoder sees images only; a text analysis with it has to be refused."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} sees images only; with a text side: {TEXT_SIDES}")


@dataclass(frozen=True)
class Look:
    """Where `describe` may look: the folder model_checkpoints/, and SHA-256 of files, remembered between runs."""

    checkpoints: Path
    content_hash: Callable[[str], str]


@dataclass(frozen=True)
class Description:
    """An encoder that is not loaded, in plain values.

    image_fingerprint changes with everything that changes an image's vector but the precision, text_fingerprint (None:
    images only) with everything that changes a text's; weights: absolute paths, hashes: SHA-256 of each; revision: the
    hub's commit; recognised: what the weights are, in words; facts: what `load` needs besides; dimension, dtype: of the
    vectors, as far as they are known without loading; exact_only: there is one
    way to compute it, so neither device nor precision matter; published: the weights are known to be those that the
    model's name stands for, by their hash or because they came from the hub.
    """

    name: str
    model: str
    preprocessing: str
    image_fingerprint: str
    text_fingerprint: str | None = None
    weights: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    revision: str | None = None
    recognised: str = ""
    facts: tuple[tuple[str, Any], ...] = ()
    dimension: int | None = None
    dtype: str = "float32"
    exact_only: bool = False
    published: bool = False


@dataclass(frozen=True)
class Runtime:
    """Where a network computes and how exactly.

    device: as torch names it. precision: of weights and activations, 'fp32', 'bf16' or 'fp16'; vectors come out as
    float32. exact: images are read and resized by the reference path; else by a faster one, within one grey level.
    compiled: by torch.compile, which reorders sums: off wherever `exact` is on.
    """

    device: str = "cpu"
    precision: str = "fp32"
    exact: bool = True
    compiled: bool = False

    def words(self) -> str:
        """What of it changes a vector's last digits."""
        return f"{self.precision}, compiled" if self.compiled else self.precision


@dataclass(frozen=True)
class TextVectors:
    """vectors: (n, dimension) float32, not scaled; truncated: how many texts are longer than the context and were cut;
    unknown: how many have no token that means anything to the tokeniser; rule: how the model makes probabilities of
    their cosines to images."""

    vectors: np.ndarray
    truncated: int
    unknown: int
    rule: Rule


class Encoder(Protocol):
    """What turns images (and texts, where it can) into vectors.

    Vectors of one encoder are comparable with each other only, images and texts included. Neither side scales them to
    length 1: whoever uses them does.
    """

    dimension: int
    dtype: str  # of the image vectors: 'float32', or 'uint8' for raw pixels

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """One image as the model takes it, (1 or 3, h, w) uint8. Raises UnreadableImage."""
        ...

    def reader(self) -> Callable[[ImageFile], np.ndarray]:
        """`preprocess` alone, without the network: plain enough to be sent to another process."""
        ...

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """(n, ...) preprocessed images -> (n, dimension) of `dtype`."""
        ...

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """n texts -> (n, dimension) float32. Raises NoTextSide."""
        ...

    def text_vectors(
        self,
        texts: list[str],
        batch_size: int | None = None,
        whole: bool = False,
        progress: Callable[[int], None] = lambda count: None,
    ) -> TextVectors:
        """The same for texts that are encoded together, `batch_size` at a time (None: what suits the device), with what
        was lost. whole: nothing is left out that cannot change the result, for comparison. progress is told how many
        are done. Raises NoTextSide."""
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
    description: Description
    runtime: Runtime = Runtime()
    min_fidelity: float = 0.0  # smallest cosine to the exact way that is accepted of this runtime

    def load(self) -> Encoder:
        """The encoder itself. Raises EncoderError."""
        encoder: Encoder = _module(self.kind).load(dict(self.arguments), self.description, self.runtime)
        return encoder

    def facts(self) -> dict[str, Any]:
        """For the record, before anything is loaded."""
        told = self.description
        computed = "exact" if told.exact_only else f"{self.runtime.words()} on {self.runtime.device}"
        return {
            "name": told.name,
            "model": told.model,
            "preprocessing": told.preprocessing,
            "normalized": self.normalize,
            "precision": computed,
            "weights": [{"file": Path(p).name, "sha256": h} for p, h in zip(told.weights, told.hashes, strict=True)],
            "revision": told.revision,
            "recognised": told.recognised,
            "dimension": told.dimension,
            "dtype": "float32" if self.normalize else told.dtype,
            "texts": told.text_fingerprint is not None,
            "fingerprints": {"images": told.image_fingerprint, "texts": told.text_fingerprint},
        }

    def at(self, runtime: Runtime) -> EncoderHandle:
        """The same encoder, computed in another way."""
        return replace(self, runtime=runtime)


def describe(kind: str, arguments: Mapping[str, Any], normalize: bool, look: Look) -> EncoderHandle:
    """A handle on the encoder that the settings mean. Raises EncoderError."""
    description: Description = _module(kind).describe(arguments, look)
    return EncoderHandle(kind, tuple(sorted(arguments.items())), normalize, description)


def _module(kind: str) -> Any:
    return importlib.import_module(KINDS[kind])
