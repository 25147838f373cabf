"""No model: the pixels themselves. The default settings are the published 'without CLIP' baseline.

Protocol: greyscale as OpenCV reads it, resized to size x size by bilinear interpolation without antialiasing (the
aspect is not kept), flattened row by row to values 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from inference.encoders import Description, Look, NoTextSide, Runtime, TextVectors
from inference.images import ImageFile


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Raw pixels: nothing to find."""
    size, color, antialias, scaling = (arguments[name] for name in ("size", "color", "antialias", "scaling"))
    values = size * size * (3 if color == "rgb" else 1)
    return Description(
        name="none",
        model="raw pixels",
        preprocessing=(
            f"{'greyscale as OpenCV reads it' if color == 'gray' else 'RGB'}, resized to {size}x{size} by bilinear "
            f"interpolation {'with' if antialias else 'without'} antialiasing (aspect not kept), "
            f"flattened to {values:,} values {'0..255' if scaling == 'none' else '0..1'}"
        ),
        image_fingerprint=f"pixels:1:{size}:{color}:{antialias}:{scaling}",
        dimension=values,
        dtype="uint8" if scaling == "none" else "float32",
        exact_only=True,
    )


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> Pixels:
    """The encoder; there is one way to compute it."""
    return Pixels(**arguments)


class Pixels:
    """Raw pixels as vectors.

    size: side length in pixels after resizing. color: 'gray' (size*size values) or 'rgb' (three times as many).
    antialias: False as OpenCV's INTER_LINEAR, True as Pillow's bilinear. scaling: 'none' 0..255 as uint8,
    'unit' 0..1 as float32.
    """

    def __init__(self, size: int, color: str, antialias: bool, scaling: str) -> None:
        self.size, self.color, self.antialias, self.scaling = size, color, antialias, scaling
        self.dimension = size * size * (3 if color == "rgb" else 1)
        self.dtype = "uint8" if scaling == "none" else "float32"

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """(1 or 3, size, size) uint8."""
        pixels = image.gray() if self.color == "gray" else image.rgb()
        resized = self._resize_smooth(pixels) if self.antialias else self._resize(pixels)
        return resized[None] if resized.ndim == 2 else np.moveaxis(resized, -1, 0)

    def reader(self) -> Callable[[ImageFile], np.ndarray]:
        """`preprocess`."""
        return self.preprocess

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """(n, 1 or 3, size, size) uint8 -> (n, dimension) uint8 in 0..255 or float32 in 0..1, the colours of a pixel
        side by side."""
        flat = np.moveaxis(batch, 1, -1).reshape(len(batch), self.dimension)
        return flat if self.scaling == "none" else flat.astype(np.float32) / np.float32(255)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Refused: pixels have no text side."""
        raise NoTextSide("encoder=none")

    def text_vectors(self, texts: list[str], *given: Any, **settings: Any) -> TextVectors:
        """Refused: pixels have no text side."""
        raise NoTextSide("encoder=none")

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        """Refused: pixels have no text side."""
        raise NoTextSide("encoder=none")

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        import cv2

        return np.asarray(cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_LINEAR))

    def _resize_smooth(self, pixels: np.ndarray) -> np.ndarray:
        from PIL import Image

        side = (self.size, self.size)
        return np.asarray(Image.fromarray(pixels).resize(side, Image.Resampling.BILINEAR))
