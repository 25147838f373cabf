"""Reading an image file: decoded exactly, or refused with a typed reason. No other module opens an image.

Decoders crash, hang and lie, so: bytes are read here, never by a decoder that gets a name; only formats on a list
are tried; size is checked before pixels are; a truncated or damaged file is refused rather than half shown.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.places import UnreadableImage, read_bytes

if TYPE_CHECKING:
    import torch

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
LIBPNG_SIDE = 1_000_000  # pixels: OpenCV's reader refuses longer sides
ORIENTATION = 0x0112  # EXIF tag
# its values -> PIL.Image.Transpose: flips, rotations (counter-clockwise), transpose and transverse
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
# the same for a tensor (..., h, w): whether it is transposed, then which axes are flipped
TENSOR_TURNS = {
    2: (False, [-1]),
    3: (False, [-2, -1]),
    4: (False, [-2]),
    5: (True, []),
    6: (True, [-1]),
    7: (True, [-2, -1]),
    8: (True, [-2]),
}

logging.getLogger("PIL").setLevel(logging.ERROR)  # Pillow logs what it thinks of odd files; the reason says it


class ImageFile:
    """The bytes of one image file, decoded on request. Raises UnreadableImage."""

    def __init__(self, path: str | Path) -> None:
        self.data = read_bytes(path)
        self.size: tuple[int, int] | None = None  # width, height in pixels as shown; known once decoded
        self._verified = False

    def gray(self) -> np.ndarray:
        """(h, w) uint8, exactly as `cv2.imread(path, cv2.IMREAD_GRAYSCALE)` gives it for an undamaged file.

        For JPEG that is the luma channel, turned as the EXIF orientation says: Pillow's draft mode decodes the same
        and, unlike OpenCV, refuses truncated files. All else is checked by Pillow and decoded by OpenCV.
        """
        picture = self._open()
        if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
            picture.draft("L", picture.size)
            return self._seen(np.asarray(_turned(_loaded(picture))))
        checked = _loaded(picture)
        return self._seen(_gray_by_opencv(self.data, checked))

    def rgb(self) -> np.ndarray:
        """(h, w, 3) uint8: alpha dropped, palette resolved, 16 bits scaled to 8, turned as EXIF says."""
        return self._seen(np.asarray(as_rgb(_turned(_loaded(self._open())))))

    def announced_size(self) -> tuple[int, int]:
        """Width and height as shown, by the file's header; nothing is decoded."""
        picture = self._open()
        width, height = picture.size
        return (height, width) if TENSOR_TURNS.get(_orientation(picture), (False, []))[0] else (width, height)

    def picture(self) -> Any:
        """The PIL picture in its own mode (palettes, alpha and CMYK as they are), turned as EXIF says; 16 bits are
        scaled to 8, so a grey picture of 16 bits is one of mode 'L'."""
        picture = _eight_bits(_turned(_loaded(self._open())))
        self.size = picture.size
        return picture

    def tensor(self) -> torch.Tensor | None:
        """(1 or 3, h, w) uint8: the values of `picture()`, JPEG decoded at less cost by torchvision, for a file whose
        mode is 'L' or 'RGB' without transparency; None for every other."""
        import torch

        picture = self._open()
        if picture.mode not in ("L", "RGB") or "transparency" in picture.info:
            return None
        pixels = _jpeg_tensor(self.data, picture.mode) if picture.format in ("JPEG", "MPO") else None
        if pixels is None:
            pixels = torch.from_numpy(np.array(_turned(_loaded(picture)), ndmin=3))
            pixels = pixels if picture.mode == "L" else pixels.permute(2, 0, 1)
        else:
            pixels = _turned_tensor(pixels, _orientation(picture))
        self.size = (int(pixels.shape[2]), int(pixels.shape[1]))
        return pixels

    def _open(self) -> Any:
        from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - Pillow knows them once imported

        if not self._verified:
            _verify_png(self.data)
            self._verified = True
        with _quiet():
            try:
                picture = Image.open(io.BytesIO(self.data), formats=FORMATS)
            except Image.DecompressionBombError as error:
                raise UnreadableImage("too large", str(error)) from error
            except Exception as error:  # Pillow raises five kinds by the kind of damage
                raise UnreadableImage("not an image", _looks_like(self.data)) from error
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise UnreadableImage("too large", f"{width}x{height} pixels, at most {MAX_PIXELS:,} in all")
        if picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM"):  # a PGM of 16 bits has 'I'
            raise UnreadableImage("unsupported", f"pixels of type {picture.mode}: 8 or 16 bits are read")
        return picture

    def _seen(self, pixels: np.ndarray) -> np.ndarray:
        self.size = (int(pixels.shape[1]), int(pixels.shape[0]))
        return pixels


def warm_up() -> None:
    """For a worker process: import the decoders, so that the first image is not charged for it; one thread each."""
    import cv2
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    cv2.setNumThreads(1)


def thumbnail(path: str | Path, side: int = 160) -> np.ndarray:
    """(h, w, 3) uint8 with the longer side at most `side`; small images keep their size."""
    from PIL import Image

    image = ImageFile(path)
    picture = image._open()
    picture.draft("RGB", (2 * side, 2 * side))  # JPEG: decode at a fraction of the size; a no-op elsewhere
    picture = as_rgb(_turned(_loaded(picture)))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _verify_png(data: bytes) -> None:
    """Pillow loads a PNG with a wrong checksum without a word; only its verify() looks."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return
    from PIL import Image

    with _quiet():
        try:
            Image.open(io.BytesIO(data), formats=("PNG",)).verify()
        except Image.DecompressionBombError as error:
            raise UnreadableImage("too large", str(error)) from error
        except Exception as error:
            raise UnreadableImage(_kind(error), str(error)) from error


def _loaded(picture: Any) -> Any:
    with _quiet():
        try:
            picture.load()
        except Exception as error:  # OSError, ValueError, SyntaxError, KeyError, struct.error ... by kind of damage
            raise UnreadableImage(_kind(error), str(error) or type(error).__name__) from error
    return picture


def _kind(error: Exception) -> str:
    text = str(error).lower()
    return "truncated" if "truncat" in text or "unexpected end" in text else "damaged"


def _orientation(picture: Any) -> int:
    """1 to 8, from the EXIF block. XMP may say it too, but OpenCV and torchvision do not look there; a TIFF's own tag
    was followed when it was loaded."""
    from PIL import Image

    exif = Image.Exif()
    with _quiet():
        try:
            exif.load(picture.info.get("exif") or b"")
            orientation = exif.get(ORIENTATION, 1)
        except Exception:  # a damaged EXIF block says nothing about the pixels
            return 1
    return orientation if orientation in TURNS else 1


def _turned(picture: Any) -> Any:
    orientation = _orientation(picture)
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _turned_tensor(pixels: torch.Tensor, orientation: int) -> torch.Tensor:
    if orientation not in TENSOR_TURNS:
        return pixels
    transposed, flipped = TENSOR_TURNS[orientation]
    return (pixels.mT if transposed else pixels).flip(flipped)


def _jpeg_tensor(data: bytes, mode: str) -> torch.Tensor | None:
    """(1 or 3, h, w) uint8, the same values as Pillow's; None where torchvision cannot: Pillow will say why."""
    import torch

    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:  # decoders are going to leave torchvision
        return None
    with _quiet():  # it says so with every call
        try:
            wanted = ImageReadMode.GRAY if mode == "L" else ImageReadMode.RGB
            pixels: torch.Tensor = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=wanted)
        except RuntimeError:  # truncated or damaged
            return None
    return pixels


def as_rgb(picture: Any) -> Any:
    """The PIL picture in mode 'RGB': alpha dropped, palette resolved, 16 bits scaled to 8."""
    picture = _eight_bits(picture)
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # else Pillow complains about transparency
    return picture.convert("RGB")


def _eight_bits(picture: Any) -> Any:
    """16 bits scaled to 8, as mode 'L': Pillow's own conversion would saturate."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _gray_by_opencv(data: bytes, checked: Any) -> np.ndarray:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None and checked.format == "PNG" and max(checked.size) <= LIBPNG_SIDE:
            # Pillow fills up rows that are missing, without a word
            raise UnreadableImage("damaged", "there are fewer pixels than the header says")
    except cv2.error:  # wider or higher than it reads
        pixels = None
    if pixels is None:  # a format that this OpenCV was built without, or a TIFF that lies on its side
        pixels = cv2.cvtColor(np.asarray(as_rgb(_turned(checked))), cv2.COLOR_RGB2GRAY)
    return np.asarray(pixels)


def _looks_like(data: bytes) -> str:
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run `git lfs pull`"
    if start.startswith((b"%!ps", b"%pdf")):
        return "PostScript or PDF"
    return f"no known image format ({', '.join(FORMATS)})"


class _quiet(warnings.catch_warnings):  # noqa: N801 - used like a function
    """Without Pillow's warnings on odd files: what matters of them is a reason of ours."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
