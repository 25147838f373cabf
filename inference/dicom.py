"""The first frame of a DICOM file as a picture of 8 bits, as a viewer shows it. Needs pydicom (requirements-dicom.txt).

Modality LUT or rescaling, then the first VOI LUT or window of the file, then MONOCHROME1 inverted; where the file has
no window, the rule for images of 16 bits. Nothing but the pixels is ever passed on.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from inference.depth import SixteenBit, to_eight_bits
from inference.places import UnreadableImage

PREAMBLE, MAGIC = 128, b"DICM"
PIXELS = b"\xe0\x7f\x10\x00"  # how the element begins that has them
DEFLATED = b"1.2.840.10008.1.2.1.99"  # its whole file is inflated before a size is known: a bomb
INSTALL = "pip install -r requirements-dicom.txt"
NEEDED = ("Columns", "Rows", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
BEYOND = 1e9  # values that no window reaches


def is_dicom(data: bytes) -> bool:
    """By its magic number."""
    return data[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def starts_like_dicom(path: str | Path) -> bool:
    """Whether a file that need not have an ending is one; looks at 132 bytes. False where it cannot be opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with Path(path).open("rb") as file:
            return is_dicom(file.read(PREAMBLE + len(MAGIC)))
    except (OSError, ValueError):
        return False


def picture(data: bytes, must_fit: Callable[[int, int], None], rule: SixteenBit) -> tuple[Any, str]:
    """The first frame as a PIL picture, 'L' or 'RGB', and how the file stores colours ('MONOCHROME2', 'RGB' ...).

    must_fit(width, height) raises for a size that is refused. Raises UnreadableImage.
    """
    from PIL import Image

    if DEFLATED in data[: PREAMBLE + 1024]:
        raise UnreadableImage("unsupported", "a DICOM file that is deflated as a whole")
    try:
        import pydicom
    except ImportError as error:
        raise UnreadableImage("unsupported", f"DICOM: {INSTALL}") from error
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # the reason says it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            file = pydicom.dcmread(io.BytesIO(data))
            _must_be_image(file, PIXELS in data, must_fit)
            pixels = _eight_bits(file, rule)
            colors = str(file.PhotometricInterpretation)
        except (UnreadableImage, MemoryError):
            raise
        except Exception as error:  # pydicom and its decoders raise what they like
            raise _reason(error) from error
    return Image.fromarray(np.ascontiguousarray(pixels)), colors


def _reason(error: Exception) -> UnreadableImage:
    text = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, NotImplementedError):
        return UnreadableImage("unsupported", text)
    short = isinstance(error, EOFError) or any(said in text.lower() for said in ("less than", "unexpected end", "eof"))
    return UnreadableImage("truncated" if short else "damaged", text)


def _must_be_image(file: Any, announced: bool, must_fit: Callable[[int, int], None]) -> None:
    from pydicom.pixels import get_decoder

    if "FloatPixelData" in file or "DoubleFloatPixelData" in file:
        raise UnreadableImage("unsupported", "DICOM with pixels that are no whole numbers")
    if "PixelData" not in file and announced:  # pydicom leaves out what does not end
        raise UnreadableImage("truncated", "DICOM that ends in its pixels")
    if "PixelData" not in file:
        raise UnreadableImage("not an image", "DICOM without pixels")
    syntax = file.file_meta.get("TransferSyntaxUID")
    absent = [name for name in NEEDED if file.get(name) is None] + ([] if syntax else ["TransferSyntaxUID"])
    if absent:
        raise UnreadableImage("damaged", f"DICOM without its {', '.join(absent)}")
    must_fit(int(file.Columns), int(file.Rows))
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise UnreadableImage("unsupported", f"DICOM compressed as {syntax.name}") from error
    if not available:
        raise UnreadableImage("unsupported", f"DICOM compressed as {syntax.name}: {INSTALL}")


def _eight_bits(file: Any, rule: SixteenBit) -> np.ndarray:
    """(h, w) or (h, w, 3) uint8."""
    from pydicom.pixels import apply_color_lut, pixel_array

    stored = pixel_array(file, index=0)
    kind = str(file.PhotometricInterpretation)
    if kind in MONOCHROME and stored.ndim == 2:
        shown = _monochrome(file, stored, rule)
        return 255 - shown if kind == "MONOCHROME1" else shown
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)[..., :3]
        return stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    if stored.ndim == 3 and stored.shape[2] == 3 and kind in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"):
        return stored if int(file.BitsStored) == 8 else to_eight_bits(stored, rule, _possible(file))
    raise UnreadableImage("unsupported", f"DICOM with colours of kind {kind}")


def _possible(file: Any) -> tuple[int, int]:
    """The smallest and largest value that can be stored."""
    bits = int(file.BitsStored)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if file.PixelRepresentation else (0, 2**bits - 1)


def _monochrome(file: Any, stored: np.ndarray, rule: SixteenBit) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    _bring_up_functional_groups(file)
    values = apply_modality_lut(stored, file)
    if file.get("VOILUTSequence"):
        return _by_table(file, values)
    if _has_window(file):
        return _windowed(file, values)
    # the rule goes by what is stored: a rescaling changes nothing of it but its direction, a table everything
    if file.get("ModalityLUTSequence"):
        return to_eight_bits(values, rule, (0, 2 ** _bits(file.ModalityLUTSequence[0]) - 1))
    known = stored[stored != file.PixelPaddingValue] if "PixelPaddingValue" in file else stored
    shown = to_eight_bits(
        stored, "full" if int(file.BitsStored) <= 8 else rule, _possible(file), known if known.size else None
    )
    return 255 - shown if float(file.get("RescaleSlope") or 1) < 0 else shown


def _bring_up_functional_groups(file: Any) -> None:
    """What an enhanced file says of its first frame, to where a simple one says it."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(file.get(name) or [])[:1]:
            for inner in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in list(group.get(inner) or [])[:1]:
                    file.update({element.tag: element for element in item})


def _bits(item: Any) -> int:
    return int(item.LUTDescriptor[2])


def _by_table(file: Any, values: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_voi

    item = file.VOILUTSequence[0]
    bits = _bits(item)
    item.LUTDescriptor = [*item.LUTDescriptor[:2], 16]  # with 8, pydicom would also count its entries in 8 bits
    return to_eight_bits(apply_voi(np.rint(values).astype(np.int64), file), "full", (0, 2**bits - 1))


def _has_window(file: Any) -> bool:
    """A width of 0, or none, is written by some devices that mean no window."""
    first = [np.ravel(np.asarray(file.get(name), dtype=object))[:1] for name in ("WindowCenter", "WindowWidth")]
    if any(not len(value) or value[0] is None for value in first):
        return False
    exact = str(file.get("VOILUTFunction") or "LINEAR").upper() != "LINEAR"
    return float(first[1][0]) > 0 if exact else float(first[1][0]) >= 1


def _windowed(file: Any, values: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_windowing

    with np.errstate(over="ignore"):
        black, white = apply_windowing(np.array([-BEYOND, BEYOND]), file)
        found = apply_windowing(values, file)
    return np.rint((found - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8)
