"""A decoded picture in the colours that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_rgb(picture: Any) -> Any:
    """A PIL picture of 8 bits in mode 'RGB': alpha dropped, palette resolved."""
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # else Pillow complains about transparency
    return picture.convert("RGB")


def luma(picture: Any) -> np.ndarray:
    """(h, w) uint8 of a picture of 8 bits, by OpenCV's weights."""
    import cv2

    if picture.mode == "L":
        return np.asarray(picture)
    return np.asarray(cv2.cvtColor(np.asarray(as_rgb(picture)), cv2.COLOR_RGB2GRAY))
