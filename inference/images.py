"""Reading an image file: decoded exactly, or refused with a typed reason. No other module opens an image.

Decoders crash, hang and lie, so: bytes are read here, never by a decoder that gets a name; only formats on a list
are tried; size is checked before pixels are; a truncated or damaged file is refused rather than half shown.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference import dicom, formats, jpeg, opencv
from inference.colors import as_rgb, luma
from inference.depth import SixteenBit, to_eight_bits
from inference.perturbations import rewritten
from inference.places import MAX_BYTES, UnreadableImage, read_bytes, recipe_of, turn_of

if TYPE_CHECKING:
    import torch

EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm",
    ".dcm", ".dicom",
)  # fmt: skip
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
LIBPNG_SIDE = 1_000_000  # pixels: OpenCV's reader refuses longer sides
ORIENTATION = 0x0112  # EXIF tag
# its values -> PIL.Image.Transpose: flips, rotations (counter-clockwise), transpose and transverse
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
TURNED_BY = {90: 8, 180: 3, 270: 6}  # degrees counter-clockwise -> the orientation that means it
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
logging.getLogger("PIL").setLevel(logging.ERROR)  # Pillow logs what it thinks of odd files; the reason says it


@dataclass(frozen=True)
class ReadingRules:
    """How images are read; the config's section `images`.

    sixteen_bit: what becomes 0 and 255 of an image of 16 bits a channel: 'range' its smallest and largest value (over
    all colours), 'percentile' those of which 0.5 % are below and above, 'full' 0 and 65,535 (the upper eight bits, as
    OpenCV reads it). Limits, beyond which a file is refused: max_pixels, width times height; max_bytes, of the file;
    max_aspect, the longer side over the shorter.
    """

    sixteen_bit: SixteenBit = "range"
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    max_aspect: float = 200.0

    def must_fit(self, width: int, height: int) -> None:
        """Raises UnreadableImage 'too large' or 'too long'."""
        if width * height > self.max_pixels:
            raise UnreadableImage("too large", f"{width}x{height} pixels, at most {self.max_pixels:,} in all")
        longer, shorter = max(width, height), max(1, min(width, height))
        if longer > self.max_aspect * shorter:
            raise UnreadableImage(
                "too long", f"{width}x{height} pixels: one side is more than {self.max_aspect:g} times the other"
            )


USUAL = ReadingRules()


class ImageFile:
    """The bytes of one image file, decoded on request. Raises UnreadableImage.

    stored: as they lie there; data: what is decoded: the same, or, where the place says that pixels are to be changed,
    a PNG of what has become of them. Known once it is decoded: size (width, height in pixels as shown), format ('JPEG',
    'DICOM' ...), mode (how the file stores colours: 'RGB', 'L', 'P', 'CMYK', 'I;16', 'DICOM MONOCHROME2' ...) and
    range_used (the largest value of an image of 16 bits as a share of 65,535; NaN for others).
    """

    def __init__(self, place: str | Path, rules: ReadingRules = USUAL) -> None:
        self.stored = self.data = read_bytes(place, rules.max_bytes)
        self.rules = rules
        self.size: tuple[int, int] | None = None
        self.format = self.mode = ""
        self.range_used = float("nan")
        self._turn = turn_of(str(place))
        self._verified = False
        self._dicom: Any = None
        if recipe := recipe_of(str(place)):
            self._perturb(recipe)

    def _perturb(self, recipe: str) -> None:
        """From now on the image is what the recipe makes of its pixels."""
        self.data = rewritten(self.picture(), recipe)
        self._turn, self._verified, self._dicom = 0, True, None

    def gray(self) -> np.ndarray:
        """(h, w) uint8, exactly as `cv2.imread(path, cv2.IMREAD_GRAYSCALE)` gives it for an undamaged file; but for
        16 bits, which are scaled by the rules: `full` is OpenCV's way.

        For JPEG that is the luma channel, turned as the EXIF orientation says.
        """
        if dicom.is_dicom(self.data):
            return luma(self.picture())
        opened = self._open()
        pixels = self._directly(opened, gray=True)
        if pixels is not None:
            return pixels
        if opened.format in ("JPEG", "MPO") and opened.mode in ("L", "RGB"):
            opened.draft("L", opened.size)
            return self._seen(np.asarray(self._turned(_loaded(opened))))
        checked = self._checked(opened)
        if self._is_deep(checked) and self.rules.sixteen_bit != "full":
            return luma(self._shown(checked))
        return self._seen(self._gray_by_opencv(checked))

    def rgb(self) -> np.ndarray:
        """(h, w, 3) uint8: alpha dropped, palette resolved, 16 bits scaled to 8, turned as EXIF says."""
        return np.asarray(as_rgb(self.picture()))

    def announced_size(self) -> tuple[int, int]:
        """Width and height as shown, by the file's header; nothing is decoded, but for DICOM."""
        if dicom.is_dicom(self.data):
            size: tuple[int, int] = self.picture().size
            return size
        opened = self._open()
        width, height = opened.size
        return (height, width) if self._orientation(opened) in SIDEWAYS else (width, height)

    def picture(self) -> Any:
        """The PIL picture in its own mode (palettes, alpha and CMYK as they are), turned as EXIF says; 16 bits are
        scaled to 8, so a grey picture of 16 bits is one of mode 'L'."""
        if dicom.is_dicom(self.data):
            return self._dicom_picture()
        opened = self._open()
        pixels = self._directly(opened)
        if pixels is None:
            return self._shown(self._checked(opened))
        from PIL import Image

        return Image.fromarray(pixels)

    def reduced(self, side: int) -> Any:
        """`picture()`; of a JPEG at the smallest size at which libjpeg can decode it and that is at least `side`, which
        is faster, and damage inside goes unnoticed."""
        opened = None if dicom.is_dicom(self.data) else self._open()
        if opened is None or opened.format not in ("JPEG", "MPO"):
            return self.picture()
        opened.draft("RGB", (side, side))
        return self._shown(_loaded(opened))

    def tensor(self) -> torch.Tensor | None:
        """(1 or 3, h, w) uint8: the values of `picture()` for a file whose mode is 'L' or 'RGB' without transparency,
        and for DICOM; None for every other."""
        import torch

        pixels = None
        if not dicom.is_dicom(self.data):
            opened = self._open()
            if opened.mode not in ("L", "RGB") or "transparency" in opened.info:
                return None
            pixels = self._directly(opened)
        if pixels is None:
            pixels = np.array(self.picture())
        return torch.from_numpy(pixels)[None] if pixels.ndim == 2 else torch.from_numpy(pixels).permute(2, 0, 1)

    def _open(self) -> Any:
        from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - known once imported

        if not self._verified:
            _verify_png(self.data)
            self._verified = True
        with _quiet():
            try:
                picture = Image.open(io.BytesIO(self.data), formats=formats.READ)
            except Exception as error:  # Pillow raises five kinds by the kind of damage
                raise formats.unopened(self.data) from error
        self.rules.must_fit(*picture.size)
        if picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM"):  # a PGM of 16 bits has 'I'
            raise UnreadableImage("unsupported", f"pixels of type {picture.mode}: 8 or 16 bits are read")
        self.format, self.mode = str(picture.format), picture.mode
        return picture

    def _directly(self, opened: Any, gray: bool = False) -> np.ndarray | None:
        """(h, w[, 3]) uint8, turned, of a JPEG or PNG, decoded by OpenCV, which does not fill up what is missing; None
        where its values are not Pillow's and it is not grey that is wanted of a PNG."""
        simple = opened.mode in ("L", "RGB") and "transparency" not in opened.info
        pixels = None
        if opened.format in ("JPEG", "MPO"):
            pixels = jpeg.decoded(self.data, gray or opened.mode != "RGB")  # of CMYK only to hear of damage
        elif opened.format == "PNG" and (simple or gray) and not self._is_deep(opened):
            pixels, simple = self._png(opened, gray or opened.mode == "L"), True
        if not simple or pixels is None or pixels.shape[1::-1] != opened.size:
            return None
        return self._seen(_turned_array(pixels, self._orientation(opened)))

    def _png(self, opened: Any, gray: bool) -> np.ndarray | None:
        """By libpng, which refuses a file with rows missing; Pillow leaves them black. None: too long for it."""
        import cv2

        pixels, _ = opencv.decoded(self.data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB)
        if pixels is None and max(opened.size) <= LIBPNG_SIDE:
            raise UnreadableImage("damaged", "there are fewer pixels than the header says")
        return pixels

    def _checked(self, opened: Any) -> Any:
        """Loaded by Pillow, all of it there."""
        if opened.format == "PNG":
            self._png(opened, gray=True)
        return _loaded(opened)

    def _dicom_picture(self) -> Any:
        if self._dicom is None:
            self._dicom, color = dicom.picture(self.data, self.rules.must_fit, self.rules.sixteen_bit)
            self.format, self.mode = "DICOM", f"DICOM {color}"
        turned = self._turned(self._dicom)
        self.size = turned.size
        return turned

    def _shown(self, loaded: Any) -> Any:
        """8 bits, turned."""
        shown = self._turned(self._eight_bits(loaded) if self._is_deep(loaded) else loaded)
        self.size = shown.size
        return shown

    def _is_deep(self, opened: Any) -> bool:
        """Whether it has 16 bits a channel. Pillow has colours of 16 bits in 8 only."""
        if opened.mode.startswith("I"):
            return True
        if opened.format == "PNG":
            return self.data[24] == 16
        if opened.format == "TIFF":
            return max(opened.tag_v2.get(258, (1,))) == 16 and opened.mode != "CMYK"
        return opened.format == "PPM" and _decoded_as_is(self.data) is not None

    def _eight_bits(self, loaded: Any) -> Any:
        """A picture of 16 bits in 8, in mode 'L', 'RGB' or 'RGBA', with what else Pillow knows of it."""
        from PIL import Image

        values = np.asarray(loaded) if loaded.mode.startswith("I;16") else _decoded_as_is(self.data)
        self.mode = "I;16" if loaded.mode.startswith("I") else f"{loaded.mode};16"
        if values is None or not _agree(values, loaded):
            if self.rules.sixteen_bit == "full":
                return loaded
            raise UnreadableImage(
                "unsupported", "colours of 16 bits in an unusual form: images.sixteen_bit=full reads their upper 8 bits"
            )
        colors = values[..., :3] if values.ndim == 3 else values
        self.range_used = float(colors.max()) / 65535
        made = to_eight_bits(colors, self.rules.sixteen_bit)
        if values.ndim == 3 and values.shape[2] == 4:
            made = np.dstack([made, (values[..., 3] >> 8).astype(np.uint8)])
        shown = Image.fromarray(made)
        shown.info = {name: loaded.info[name] for name in ("exif",) if name in loaded.info}
        return shown

    def _orientation(self, opened: Any) -> int:
        """1 to 8: what is known from elsewhere, else from the EXIF block."""
        return TURNED_BY.get(self._turn) or _orientation(opened)

    def _turned(self, picture: Any) -> Any:
        orientation = self._orientation(picture)
        return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture

    def _gray_by_opencv(self, checked: Any) -> np.ndarray:
        import cv2

        pixels, _ = opencv.decoded(self.data, cv2.IMREAD_GRAYSCALE)
        if pixels is None or pixels.shape[1::-1] != checked.size:
            # a format that this OpenCV was built without, or a TIFF that lies on its side
            return luma(self._shown(checked))
        if self._is_deep(checked):
            self._eight_bits(checked)  # for what there is to know of it
        return _turned_array(np.asarray(pixels), self._orientation(checked))

    def _seen(self, pixels: np.ndarray) -> np.ndarray:
        self.size = (int(pixels.shape[1]), int(pixels.shape[0]))
        return pixels


def warm_up() -> None:
    """For a worker process: import the decoders, so that the first image is not charged for it; one thread each."""
    import cv2
    from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def thumbnail(place: str | Path, side: int = 160, rules: ReadingRules = USUAL) -> np.ndarray:
    """(h, w, 3) uint8 with the longer side at most `side`; small images keep their size."""
    from PIL import Image

    image = ImageFile(place, rules)
    picture = as_rgb(image.reduced(2 * side))
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


def _turned_array(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w[, c]) as an orientation of 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down, across = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels[::down, ::across])


def _decoded_as_is(data: bytes) -> np.ndarray | None:
    """(h, w[, 3 or 4]) uint16 in the order RGBA, not turned; None where OpenCV finds no 16 bits in it."""
    import cv2

    found, _ = opencv.decoded(data, cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        return None
    if found.ndim == 2:
        return np.asarray(found)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def _agree(values: np.ndarray, loaded: Any) -> bool:
    """Whether OpenCV's 16 bits are the picture that Pillow has checked: the upper eight of them are equal."""
    if loaded.format == "PPM" or loaded.mode.startswith("I"):  # Pillow scales a PPM by its largest value
        return values.shape[1::-1] == loaded.size
    mode = "L" if values.ndim == 2 else "RGBA" if values.shape[2] == 4 else "RGB"
    return np.array_equal(values >> 8, np.asarray(loaded.convert(mode)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings on odd files, what matters of them is a reason of ours, and without its limit of
    pixels: ours is checked before anything is decoded."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
