"""JPEG by OpenCV, which decodes as Pillow does to the bit, and faster; what is only half there is refused.

libjpeg fills up what is missing with grey and no Python library raises an error for it: a file that ends too early is
found by its markers, and what libjpeg has to say of damage inside is heard where it says it, on standard error. A
turned bit in the middle mostly says nothing at all: JPEG has no checksum.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from inference import opencv
from inference.places import UnreadableImage

END, START, ALONE = 0xD9, 0xD8, 0x01  # markers without a length
# any marker but restarts, which stand inside the compressed data like the zero of an escaped 0xFF
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)
# of what libjpeg warns of, what means pixels that are not the picture's. 'Extraneous bytes before marker' does not:
# sound photographs of many cameras have them
_LOST = (b"premature end of data segment", b"bad Huffman code", b"instead of RST", b"Premature end of JPEG file")


def decoded(data: bytes, gray: bool) -> np.ndarray | None:
    """(h, w) luma or (h, w, 3) RGB uint8, not turned; None where it cannot be done here and Pillow must say.

    Raises UnreadableImage 'truncated' for a file without its end, 'damaged' where libjpeg found pixels missing.
    """
    import cv2

    if not _ends(data):
        raise UnreadableImage("truncated", "it has no end marker")
    if not _is_heard():
        return None
    pixels, said = opencv.decoded(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB)
    if _tells_of_loss(said):
        raise UnreadableImage("damaged", said.decode("ascii", "replace").splitlines()[0])
    return pixels


def _ends(data: bytes) -> bool:
    """Whether the markers lead to the end of an image."""
    at = 2
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if kind == END:
            return True
        if kind not in (START, ALONE):
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def _tells_of_loss(said: bytes) -> bool:
    return any(warning in said for warning in _LOST)


@lru_cache(maxsize=1)
def _is_heard() -> bool:
    """Whether this OpenCV says it when half a picture is missing; one that does not is not trusted with any."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    return _tells_of_loss(opencv.decoded(whole[: len(whole) // 2] + b"\xff\xd9", cv2.IMREAD_GRAYSCALE)[1])
