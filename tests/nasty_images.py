"""Image files of every kind that clipscope meets, whole, odd, cut short and hostile, made here: what each must come to.

`CASES` is a list of more than a hundred. A case is read (then its pixels are known, exactly or within a few grey
levels) or refused with a reason; in either case within its time.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps

from inference.images import ReadingRules
from tests.making import (
    PNG_SIGNATURE,
    encoded,
    interlaced_png,
    oriented,
    picture,
    png_chunk,
    png_header,
    smooth,
    wrong_checksum,
)

USUAL = ReadingRules()
FULL = ReadingRules(sixteen_bit="full")
PERCENTILE = ReadingRules(sixteen_bit="percentile")
CUT = ("truncated", "damaged")  # what a file that ends too early may be called


@dataclass(frozen=True)
class Case:
    """name: as a file has it. make: its bytes. reasons: of which it is refused for one; none: it is read. pixels:
    (h, w) or (h, w, 3) uint8, what is read, within `tolerance` grey levels; mode: what is said of its colours. rules:
    by which it is read. seconds: in which all ways of reading it are done. ways: those that must refuse it, None for
    all."""

    name: str
    make: Callable[[], bytes]
    reasons: tuple[str, ...] = ()
    pixels: Callable[[], np.ndarray] | None = None
    tolerance: int = 0
    mode: str = ""
    rules: ReadingRules = USUAL
    seconds: float = 5.0
    ways: tuple[str, ...] | None = None


RGB = picture()
GRAY = RGB.convert("L")
RGBA = Image.fromarray(smooth(channels=4))
PALETTE = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
BIG = picture(200, 200)


def colors() -> np.ndarray:
    return np.asarray(RGB)


def gray() -> np.ndarray:
    return np.asarray(GRAY)


def black_and_white() -> np.ndarray:
    return np.asarray(RGB.convert("1")).astype(np.uint8) * 255


@lru_cache
def deep(channels: int = 1, low: int = 0, high: int = 65535) -> np.ndarray:
    """(37, 53[, c]) uint16 from `low` to `high`, both of them in it; smooth in none of its parts."""
    shape = (37, 53) if channels == 1 else (37, 53, channels)
    made = np.random.default_rng(channels).integers(low, high + 1, shape, dtype=np.uint16)
    made.reshape(-1)[:3] = low
    made.reshape(-1)[-4:] = high
    return made


def stretched(values: np.ndarray) -> np.ndarray:
    """By the rule 'range'."""
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * 255 / (high - low)).astype(np.uint8)


def clipped(values: np.ndarray) -> np.ndarray:
    """By the rule 'percentile'."""
    ordered = np.sort(values.reshape(-1)).astype(float)
    low, high = (ordered[round(share * (ordered.size - 1))] for share in (0.005, 0.995))
    return np.rint(((values - low) * 255 / (high - low)).clip(0, 255)).astype(np.uint8)


def by_opencv(ending: str, pixels: np.ndarray) -> bytes:
    """RGB(A) or grey, as OpenCV writes it."""
    swapped = (
        pixels
        if pixels.ndim == 2
        else cv2.cvtColor(pixels, (cv2.COLOR_RGB2BGR, cv2.COLOR_RGBA2BGRA)[pixels.shape[2] - 3])
    )
    return bytes(cv2.imencode(ending, swapped)[1])


def turned(orientation: int) -> np.ndarray:
    """What is seen of `RGB` where the file says that orientation."""
    upright = colors()
    return {
        2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: upright[::-1].transpose(1, 0, 2), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[::-1],
    }.get(orientation, upright)  # fmt: skip


def ycck_jpeg() -> bytes:
    """As Adobe writes CMYK: YCC of the inverted colours, and inverted black. Pillow writes the four channels as they
    are told, so they are told what YCCK has, and the Adobe marker is changed to say so."""
    luma, blue, red = ImageOps.invert(RGB).convert("YCbCr").split()
    black = Image.new("L", RGB.size, 255)  # inverted: none
    inverted = [channel.point(lambda value: 255 - value) for channel in (luma, blue, red, black)]
    data = bytearray(encoded(Image.merge("CMYK", inverted), "JPEG", quality=98, subsampling=0))
    at = data.index(b"Adobe") + 11
    assert data[at] == 0, "Pillow's transform of CMYK is 'none'"
    data[at] = 2
    return bytes(data)


def gray_png(bits: int) -> bytes:
    """Of 1, 2 or 4 bits a pixel, each row 0 1 2 ... up to white."""
    levels = 2**bits
    row = "".join(f"{level:0{bits}b}" for level in range(levels)).ljust(8, "0")
    line = b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")
    head = struct.pack(">IIBBBBB", levels, 3, bits, 0, 0, 0, 0)
    return (
        PNG_SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(line * 3)) + png_chunk(b"IEND", b"")
    )


def levels(bits: int) -> np.ndarray:
    return np.tile(np.arange(2**bits) * (255 // (2**bits - 1)), (3, 1)).astype(np.uint8)


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """`RGB` with chunks of one's own before the pixels."""
    data = encoded(RGB, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + b"".join(png_chunk(kind, content) for kind, content in chunks) + data[at:]


def tiff(tags: dict[int, tuple[int, tuple[int, ...]]], parts: list[bytes], places: int, order: str = "<") -> bytes:
    """A TIFF by hand. tags: tag -> (type, values); the offsets of `parts` go into the tag `places`."""
    size = {1: 1, 3: 2, 4: 4}
    start = 8
    offsets = [start + sum(map(len, parts[:i])) for i in range(len(parts))]
    tags = {**tags, places: (4, tuple(offsets)), places + 1: (4, tuple(map(len, parts)))}
    at = start + sum(map(len, parts))
    after = at + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = b"".join(struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind], value) for value in values)
        if size[kind] * len(values) > 4:
            packed, extra = struct.pack(order + "I", after + len(extra)), extra + packed
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + b"".join(parts) + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4 + extra


def tiled_tiff() -> bytes:
    """`RGB` in tiles of 32x32."""
    whole = np.zeros((64, 64, 3), np.uint8)
    whole[:37, :53] = colors()
    tiles = [whole[y : y + 32, x : x + 32].tobytes() for y in (0, 32) for x in (0, 32)]
    tags = {
        256: (4, (53,)), 257: (4, (37,)), 258: (3, (8, 8, 8)), 259: (3, (1,)), 262: (3, (2,)), 277: (3, (3,)),
        284: (3, (1,)), 322: (3, (32,)), 323: (3, (32,)),
    }  # fmt: skip
    return tiff(tags, tiles, 324)


def gray_tiff(values: np.ndarray, order: str = "<", **more: int) -> bytes:
    """16 bits, in either byte order; more: sample_format."""
    tags = {
        256: (4, (values.shape[1],)), 257: (4, (values.shape[0],)), 258: (3, (16,)), 259: (3, (1,)), 262: (3, (1,)),
        277: (3, (1,)), 278: (4, (values.shape[0],)), 339: (3, (more.get("sample_format", 1),)),
    }  # fmt: skip
    return tiff(tags, [values.astype(f"{order}u2").tobytes()], 273, order)


def pnm(kind: bytes, largest: int, values: np.ndarray) -> bytes:
    body = values.astype(">u2" if largest > 255 else "u1").tobytes()
    return b"%s\n%d %d\n%d\n" % (kind, values.shape[1], values.shape[0], largest) + body


def jpeg_with(segment: bytes) -> bytes:
    """`RGB` with a segment after the start."""
    data = encoded(RGB, "JPEG")
    return data[:2] + segment + data[2:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def lost_middle() -> bytes:
    data = encoded(BIG, "JPEG", quality=90)
    return data[: len(data) // 2] + data[len(data) // 2 + 1500 :]


def before_the_end(data: bytes, extra: bytes) -> bytes:
    return data[:-2] + extra + data[-2:]


DAMAGED_EXIF = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 200) + b"\xff" * 60
OTHER_DAMAGE = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + b"".join(
    struct.pack("<HHII", *entry)
    for entry in [(0x0112, 3, 1, 6), (0x8769, 4, 1, 9_999_999), (0x9C9B, 5, 3, 12_345_678)]
) + b"\0" * 4  # fmt: skip


# --- DICOM --------------------------------------------------------------------------------------------------------


def dicom(
    pixels: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", frames: list[bytes] | None = None, **tags: Any
) -> bytes:
    """A DICOM file. pixels: (h, w) or (h, w, 3), or (frames, h, w); tags: keywords of pydicom; frames: compressed ones
    in place of the pixels."""
    import pydicom
    from pydicom.encaps import encapsulate

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    made = pydicom.Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.PatientName = "Not^Told"
    colored = pixels.shape[-1] == 3
    made.Rows, made.Columns = pixels.shape[-3:-1] if colored else pixels.shape[-2:]
    made.SamplesPerPixel = 3 if colored else 1
    if colored:
        made.PlanarConfiguration = 0
    if pixels.ndim == (4 if colored else 3):
        made.NumberOfFrames = len(pixels)
    made.PhotometricInterpretation = "RGB" if colored else "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = encapsulate(frames) if frames else pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if frames or pixels.dtype.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(made, name, value)
    made.HighBit = made.BitsStored - 1
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def twelve() -> np.ndarray:
    return deep(1, 0, 4095)


def compressed(syntax: str, pixels: np.ndarray) -> bytes:
    """Losslessly, by pydicom's own encoders."""
    import pydicom

    file = pydicom.dcmread(io.BytesIO(dicom(pixels, BitsStored=12 if pixels.dtype.itemsize == 2 else 8)))
    file.compress(pydicom.uid.UID(syntax))
    made = io.BytesIO()
    file.save_as(made)
    return made.getvalue()


def table(first: int, bits: int, values: list[int]) -> Any:
    import pydicom

    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    return pydicom.Sequence([item])


def enhanced() -> bytes:
    """A window and a rescaling where enhanced files have them."""
    import pydicom

    def one(**values: float) -> Any:
        item = pydicom.Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return pydicom.Sequence([item])

    shared, frame = pydicom.Dataset(), pydicom.Dataset()
    shared.PixelValueTransformationSequence = one(RescaleSlope=2.0, RescaleIntercept=-1000.0)
    frame.FrameVOILUTSequence = one(WindowCenter=1000.5, WindowWidth=2001.0)
    return dicom(
        np.stack([twelve(), twelve()[::-1]]),
        BitsStored=12,
        SharedFunctionalGroupsSequence=pydicom.Sequence([shared]),
        PerFrameFunctionalGroupsSequence=pydicom.Sequence([frame, frame]),
    )


def windowed(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, LINEAR, to 0..255."""
    share = (values.astype(float) - (center - 0.5)) / (width - 1) + 0.5
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


def palette_dicom() -> bytes:
    """256 colours: red rises, green falls, blue is 128."""
    ramp = np.arange(256, dtype=np.uint16) * 257
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for color, values in (("Red", ramp), ("Green", ramp[::-1]), ("Blue", np.full(256, 128 * 257, np.uint16))):
        tags[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{color}PaletteColorLookupTableData"] = values.tobytes()
    return dicom(gray(), **tags)


def palette_colors() -> np.ndarray:
    return np.dstack([gray(), 255 - gray(), np.full_like(gray(), 128)])


def dicom_without(*names: str) -> bytes:
    import pydicom

    file = pydicom.dcmread(io.BytesIO(dicom(twelve())))
    for name in names:
        delattr(file, name)
    made = io.BytesIO()
    file.save_as(made)
    return made.getvalue()


def float_dicom() -> bytes:
    import pydicom

    file = pydicom.dcmread(io.BytesIO(dicom_without("PixelData")))
    file.FloatPixelData = np.ones((37, 53), np.float32).tobytes()
    made = io.BytesIO()
    file.save_as(made)
    return made.getvalue()


def with_syntax(syntax: str) -> bytes:
    """A DICOM file that says it is compressed so."""
    data = dicom(gray(), "1.2.840.10008.1.2.4.50", [b"\xff\xd8\xff\xd9"])
    old = b"1.2.840.10008.1.2.4.50"
    assert len(syntax) <= len(old)
    return data.replace(old, syntax.encode().ljust(len(old), b"\0"))


J2K, RLE, BASELINE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"


def dicom_cases() -> Iterator[Case]:
    """Needs pydicom, pylibjpeg and its decoders."""
    mono = "DICOM MONOCHROME2"
    yield Case("plain12.dcm", lambda: dicom(twelve(), BitsStored=12), pixels=lambda: stretched(twelve()), mode=mono)
    yield Case(
        "full12.dcm",
        lambda: dicom(twelve(), BitsStored=12),
        pixels=lambda: (twelve() >> 4).astype(np.uint8),
        rules=FULL,
    )
    yield Case(
        "percentile.dcm", lambda: dicom(twelve(), BitsStored=12), pixels=lambda: clipped(twelve()), rules=PERCENTILE
    )
    yield Case("eight.dcm", lambda: dicom(gray()), pixels=gray, mode=mono)
    yield Case("mask.dcm", lambda: dicom(gray() // 128, BitsStored=1), pixels=lambda: gray() // 128 * 255)
    yield Case(
        "no_ending",
        lambda: dicom(gray(), PhotometricInterpretation="MONOCHROME1"),
        pixels=lambda: 255 - gray(),
        mode="DICOM MONOCHROME1",
    )
    yield Case(
        "window.dcm",
        lambda: dicom(twelve(), BitsStored=12, WindowCenter=2000.5, WindowWidth=1001),
        pixels=lambda: windowed(twelve(), 2000.5, 1001),
    )
    yield Case(
        "first_window.dcm",
        lambda: dicom(twelve(), BitsStored=12, WindowCenter=[2000.5, 99], WindowWidth=[1001, 7]),
        pixels=lambda: windowed(twelve(), 2000.5, 1001),
    )
    yield Case(
        "window_inverted.dcm",
        lambda: dicom(
            twelve(), BitsStored=12, WindowCenter=2000.5, WindowWidth=1001, PhotometricInterpretation="MONOCHROME1"
        ),
        pixels=lambda: 255 - windowed(twelve(), 2000.5, 1001),
    )
    yield Case(
        "no_window_meant.dcm",
        lambda: dicom(twelve(), BitsStored=12, WindowCenter=0, WindowWidth=0),
        pixels=lambda: stretched(twelve()),
    )
    yield Case(
        "hounsfield.dcm",
        lambda: dicom(
            deep(1, 0, 4095).astype(np.int16) - 1024,
            RescaleSlope=1,
            RescaleIntercept=-24,
            WindowCenter=40,
            WindowWidth=400,
        ),
        pixels=lambda: windowed(deep(1, 0, 4095).astype(int) - 1048, 40, 400),
    )
    yield Case(
        "signed.dcm", lambda: dicom(twelve().astype(np.int16) - 2048), pixels=lambda: stretched(twelve().astype(int))
    )
    yield Case(
        "falling.dcm",
        lambda: dicom(twelve(), BitsStored=12, RescaleSlope=-1, RescaleIntercept=0),
        pixels=lambda: 255 - stretched(twelve()),
    )
    yield Case(
        "padding.dcm",
        lambda: dicom(np.where(np.arange(53) < 9, np.int16(-2000), twelve().astype(np.int16)), PixelPaddingValue=-2000),
        pixels=lambda: np.where(np.arange(53) < 9, 0, stretched(twelve()[:, 9:].reshape(37, 44)).max() and padded()),
    )
    yield Case(
        "voi_table.dcm",
        lambda: dicom(twelve(), BitsStored=12, VOILUTSequence=table(0, 8, [i >> 4 for i in range(4096)])),
        pixels=lambda: (twelve() >> 4).astype(np.uint8),
    )
    yield Case(
        "voi_table16.dcm",
        lambda: dicom(twelve(), BitsStored=12, VOILUTSequence=table(100, 16, [65535 - 16 * i for i in range(3000)])),
        pixels=lambda: ((65535 - 16 * (twelve().astype(int) - 100).clip(0, 2999)) >> 8).astype(np.uint8),
    )
    yield Case(
        "modality_table.dcm",
        lambda: dicom(twelve(), BitsStored=12, ModalityLUTSequence=table(0, 16, [i * i // 256 for i in range(4096)])),
        pixels=lambda: stretched(twelve().astype(int) ** 2 // 256),
    )
    yield Case("enhanced.dcm", enhanced, pixels=lambda: windowed(twelve().astype(int) * 2 - 1000, 1000.5, 2001))
    yield Case("frames.dcm", lambda: dicom(np.stack([gray(), 255 - gray(), gray()])), pixels=gray)
    yield Case("rgb.dicom", lambda: dicom(colors()), pixels=colors, mode="DICOM RGB")
    yield Case(
        "planar.dcm",
        lambda: dicom(colors(), PlanarConfiguration=1, PixelData=colors().transpose(2, 0, 1).tobytes() + b"\0"),
        pixels=colors,
    )
    yield Case(
        "ybr.dcm",
        lambda: dicom(np.asarray(RGB.convert("YCbCr")), PhotometricInterpretation="YBR_FULL"),
        pixels=colors,
        tolerance=3,
        mode="DICOM YBR_FULL",
    )
    yield Case("palette.dcm", palette_dicom, pixels=palette_colors, mode="DICOM PALETTE COLOR")
    yield Case("rle.dcm", lambda: compressed(RLE, twelve()), pixels=lambda: stretched(twelve()))
    yield Case("jpeg2000.dcm", lambda: compressed(J2K, twelve()), pixels=lambda: stretched(twelve()))
    yield Case("jpeg2000_rgb.dcm", lambda: compressed(J2K, colors()), pixels=colors)
    yield Case(
        "baseline.dcm", lambda: dicom(gray(), BASELINE, [encoded(GRAY, "JPEG", quality=98)]), pixels=gray, tolerance=6
    )
    yield Case(
        "baseline_rgb.dcm",
        lambda: dicom(
            colors(),
            BASELINE,
            [encoded(RGB, "JPEG", quality=98, subsampling=0)],
            PhotometricInterpretation="YBR_FULL_422",
        ),
        pixels=colors,
        tolerance=8,
    )
    yield Case("no_pixels.dcm", lambda: dicom_without("PixelData"), ("not an image",))
    yield Case("no_rows.dcm", lambda: dicom_without("Rows"), ("damaged",))
    yield Case("no_colors.dcm", lambda: dicom_without("PhotometricInterpretation"), ("damaged",))
    yield Case("float.dcm", float_dicom, ("unsupported",))
    yield Case("deflated.dcm", lambda: with_syntax("1.2.840.10008.1.2.1.99"), ("unsupported",))
    yield Case("film.dcm", lambda: with_syntax("1.2.840.10008.1.2.4.102"[:22]), ("unsupported",))
    yield Case("unknown.dcm", lambda: with_syntax("1.2.3.4.5"), ("unsupported",))
    yield Case("wide.dcm", lambda: dicom(gray(), Rows=65535, Columns=65535), ("too large",))
    yield Case("strip.dcm", lambda: dicom(np.zeros((2, 900), np.uint8)), ("too long",))
    yield Case("short.dcm", lambda: dicom(gray(), Rows=500), CUT)
    for share in (0.3, 0.6, 0.95):
        yield Case(f"cut_{share}.dcm", partial(cut, lambda: dicom(deep(), BitsStored=16), share), CUT)
        yield Case(f"cut_{share}_rle.dcm", partial(cut, lambda: compressed(RLE, twelve()), share), CUT)
        yield Case(f"cut_{share}_j2k.dcm", partial(cut, lambda: compressed(J2K, twelve()), share), CUT)
    yield Case("empty_frame.dcm", lambda: dicom(gray(), BASELINE, [b"\xff\xd8\xff\xd9"]), CUT)


def padded() -> np.ndarray:
    """Of padding.dcm: the range is that of what is not padding, and padding is black."""
    values = twelve().astype(int)
    low, high = values[:, 9:].min(), values[:, 9:].max()
    return np.rint((values - low) * 255 / (high - low)).astype(np.uint8)


# --- all others ---------------------------------------------------------------------------------------------------


def cut(make: Callable[[], bytes], share: float) -> bytes:
    """The first part of a file."""
    data = make()
    return data[: int(len(data) * share)]


def jpeg_cases() -> Iterator[Case]:
    forms: dict[str, dict[str, Any]] = {
        "444": {"subsampling": 0},
        "422": {"subsampling": 1},
        "420": {"subsampling": 2},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 2},
        "optimized": {"optimize": True},
        "adobe_rgb": {"keep_rgb": True},
    }
    for name, how in forms.items():
        data = encoded(RGB, "JPEG", **how)
        yield Case(f"{name}.jpg", partial(bytes, data), pixels=partial(jpeg_pixels, data), mode="RGB")
    yield Case("gray.jpg", lambda: encoded(GRAY, "JPEG"), pixels=lambda: jpeg_pixels(encoded(GRAY, "JPEG")), mode="L")
    cmyk = encoded(RGB.convert("CMYK"), "JPEG", quality=98)
    yield Case("cmyk.jpg", partial(bytes, cmyk), pixels=colors, tolerance=8, mode="CMYK")
    yield Case(
        "cmyk_progressive.jpg",
        lambda: encoded(RGB.convert("CMYK"), "JPEG", quality=98, progressive=True),
        pixels=colors,
        tolerance=8,
    )
    yield Case("ycck.jpg", ycck_jpeg, pixels=colors, tolerance=8, mode="CMYK")
    for orientation in range(1, 9):
        yield Case(
            f"turned_{orientation}.jpg",
            partial(encoded, RGB, "JPEG", quality=98, subsampling=0, exif=oriented(orientation)),
            pixels=partial(turned, orientation),
            tolerance=8,
        )
    plain = encoded(RGB, "JPEG")
    same = partial(jpeg_pixels, plain)
    yield Case("two_in_one.jpg", lambda: encoded(RGB, "MPO", save_all=True, append_images=[BIG]), pixels=same)
    yield Case("junk_after.jpg", lambda: plain + b"junk" * 100_000, pixels=same)
    yield Case("second_image_cut.jpg", lambda: plain + encoded(BIG, "JPEG")[:2000], pixels=same)
    yield Case("extraneous.jpg", lambda: before_the_end(plain, b"\0\0\0"), pixels=same)
    yield Case("bad_exif.jpg", lambda: jpeg_with(segment(0xE1, DAMAGED_EXIF)), pixels=same)
    yield Case("end_in_exif.jpg", lambda: jpeg_with(segment(0xE1, b"Exif\0\0\xff\xd9\xff\xda\xff\xd9")), pixels=same)
    yield Case("comments.jpg", lambda: jpeg_with(segment(0xFE, b"x" * 65_000) * 40), pixels=same)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    yield Case("profile.jpg", lambda: encoded(RGB, "JPEG", icc_profile=profile), pixels=same)
    yield Case(
        "half_bad_exif.jpg",
        lambda: encoded(RGB, "JPEG", quality=98, subsampling=0, exif=OTHER_DAMAGE),
        pixels=partial(turned, 6),
        tolerance=8,
    )
    yield Case("header.jpg", lambda: plain[:12], ("damaged",))
    yield Case("junk.jpg", lambda: b"\xff\xd8\xff" + b"junk" * 500_000, ("damaged",))
    half = encoded(BIG, "JPEG", quality=90)
    whole_ways = ("gray", "rgb", "picture", "exact", "fast")  # a thumbnail is read at a fraction of the size
    yield Case("half_and_end.jpg", lambda: half[: len(half) // 2] + b"\xff\xd9", CUT, ways=whole_ways)
    yield Case("lost_middle.jpg", lost_middle, CUT, ways=whole_ways)
    yield Case("zero_tail.jpg", lambda: half[: len(half) // 2] + bytes(len(half) // 2), CUT)
    yield Case(
        "zeros_and_end.jpg", lambda: half[: len(half) // 2] + bytes(len(half) // 2) + b"\xff\xd9", CUT, ways=whole_ways
    )
    yield Case("half_cmyk_and_end.jpg", lambda: cmyk[: len(cmyk) * 2 // 3] + b"\xff\xd9", CUT, ways=whole_ways)
    for name, data in (
        ("plain", half), ("progressive", encoded(BIG, "JPEG", progressive=True)),
        ("gray", encoded(BIG.convert("L"), "JPEG")), ("cmyk", encoded(BIG.convert("CMYK"), "JPEG")),
        ("restarts", encoded(BIG, "JPEG", restart_marker_blocks=2)),
    ):  # fmt: skip
        for share in (0.5, 0.9, 0.999):
            yield Case(f"cut_{share}_{name}.jpg", partial(cut, partial(bytes, data), share), CUT)


def png_cases() -> Iterator[Case]:
    yield Case("rgb.png", lambda: encoded(RGB, "PNG"), pixels=colors, mode="RGB")
    yield Case("gray.png", lambda: encoded(GRAY, "PNG"), pixels=gray, mode="L")
    yield Case("one_bit.png", lambda: encoded(RGB.convert("1"), "PNG"), pixels=black_and_white, mode="1")
    for bits in (2, 4):
        yield Case(f"gray{bits}.png", partial(gray_png, bits), pixels=partial(levels, bits))
    yield Case("rgba.png", lambda: encoded(RGBA, "PNG"), pixels=lambda: np.asarray(RGBA)[..., :3], mode="RGBA")
    yield Case(
        "la.png",
        lambda: encoded(RGBA.convert("LA"), "PNG"),
        pixels=lambda: np.asarray(RGBA.convert("LA"))[..., 0],
        mode="LA",
    )
    yield Case(
        "palette.png", lambda: encoded(PALETTE, "PNG"), pixels=lambda: np.asarray(PALETTE.convert("RGB")), mode="P"
    )
    yield Case(
        "palette_clear.png",
        lambda: encoded(PALETTE, "PNG", transparency=3),
        pixels=lambda: np.asarray(PALETTE.convert("RGB")),
    )
    yield Case(
        "clear_color.png", lambda: encoded(RGB, "PNG", transparency=tuple(colors()[0, 0].tolist())), pixels=colors
    )
    yield Case("interlaced.png", interlaced_png, pixels=lambda: (np.arange(15, dtype=np.uint8) * 16).reshape(3, 5))
    yield Case("moving.png", lambda: encoded(RGB, "PNG", save_all=True, append_images=[picture(seed=1)]), pixels=colors)
    yield Case("turned.png", lambda: encoded(RGB, "PNG", exif=oriented(6)), pixels=partial(turned, 6))
    yield Case("profile.png", lambda: png_of((b"gAMA", struct.pack(">I", 100_000))), pixels=colors)
    yield Case("bad_exif.png", lambda: png_of((b"eXIf", DAMAGED_EXIF[6:])), pixels=colors)
    for rules in (USUAL, FULL, PERCENTILE):
        rule = {"range": stretched, "full": lambda v: (v >> 8).astype(np.uint8), "percentile": clipped}[
            rules.sixteen_bit
        ]
        for low, high in ((0, 65535), (300, 4095)):
            name = f"gray16_{rules.sixteen_bit}_{high}.png"
            values = partial(deep, 1, low, high)
            yield Case(
                name,
                lambda values=values: by_opencv(".png", values()),
                pixels=lambda values=values, rule=rule: rule(values()),
                mode="I;16",
                rules=rules,
            )
        yield Case(
            f"rgb16_{rules.sixteen_bit}.png",
            lambda: by_opencv(".png", deep(3, 300, 4095)),
            pixels=lambda rule=rule: rule(deep(3, 300, 4095)),
            mode="RGB;16",
            rules=rules,
        )
    yield Case(
        "rgba16.png",
        lambda: by_opencv(".png", deep(4, 300, 4095)),
        pixels=lambda: stretched_colors(deep(4, 300, 4095)),
        mode="RGBA;16",
    )
    yield Case("la16.png", la16, pixels=lambda: stretched(deep(1, 9, 999)), mode="RGBA;16")
    yield Case(
        "one_value16.png",
        lambda: by_opencv(".png", np.full((9, 9), 40_000, np.uint16)),
        pixels=lambda: np.full((9, 9), 156, np.uint8),
    )
    yield Case("turned16.png", turned16, pixels=lambda: stretched(deep())[::-1].T)
    big = encoded(BIG, "PNG")
    yield Case("signature.png", lambda: PNG_SIGNATURE, CUT)
    yield Case("checksum.png", lambda: wrong_checksum(big), ("damaged",))
    for at in (0.2, 0.5, 0.8):
        yield Case(f"bit_{at}.png", partial(flipped, big, at), CUT)
    short = png_header(64, 64) + png_chunk(b"IDAT", zlib.compress(b"\0" * 65 * 10)) + png_chunk(b"IEND", b"")
    yield Case("rows_missing.png", lambda: short, ("damaged",))
    yield Case("no_end.png", lambda: big[:-12], CUT)
    yield Case("no_pixels.png", lambda: png_header(9, 9) + png_chunk(b"IEND", b""), CUT)
    yield Case("no_size.png", lambda: png_header(0, 9) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b""), CUT)
    bomb = png_header(60_000, 60_000) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")
    yield Case("bomb.png", lambda: bomb, ("too large",))
    text = zlib.compress(bytes(200_000_000), 9)
    yield Case("text_bomb.png", lambda: png_of((b"zTXt", b"a\0\0" + text)), ("damaged",))
    for share in (0.1, 0.5, 0.9):
        yield Case(f"cut_{share}.png", partial(cut, lambda: big, share), CUT)


def stretched_colors(values: np.ndarray) -> np.ndarray:
    return stretched(values[..., :3])


def la16() -> bytes:
    """Grey and alpha of 16 bits."""
    values = np.dstack([deep(1, 9, 999), deep(1, 0, 65535)]).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 53, 37, 16, 4, 0, 0, 0))
    return PNG_SIGNATURE + head + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")


def turned16() -> bytes:
    data = by_opencv(".png", deep())
    block = oriented(6)[6:]
    at = data.index(b"IDAT") - 4
    return data[:at] + png_chunk(b"eXIf", block) + data[at:]


def flipped(data: bytes, share: float) -> bytes:
    """The same with one bit turned."""
    changed = bytearray(data)
    changed[int(len(data) * share)] ^= 16
    return bytes(changed)


def other_cases() -> Iterator[Case]:
    """GIF, WebP, AVIF, BMP and PNM."""
    second = picture(seed=1)
    first_colors = lambda: np.asarray(RGB.quantize(256).convert("RGB"))  # noqa: E731
    still = encoded(RGB.quantize(256), "GIF")
    yield Case("still.gif", lambda: still, pixels=first_colors, mode="P")
    yield Case("gray.gif", lambda: encoded(GRAY, "GIF"), pixels=gray)
    yield Case(
        "moving.gif",
        lambda: encoded(RGB.quantize(256), "GIF", save_all=True, append_images=[second, RGB]),
        pixels=first_colors,
    )
    yield Case("no_trailer.gif", lambda: still[:-1], pixels=first_colors)
    yield Case(
        "bomb.gif",
        lambda: b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, *still[10:13]) + still[13:],
        ("too large",),
    )
    lossless = partial(encoded, form="WEBP", lossless=True)
    yield Case("lossless.webp", lambda: lossless(RGB), pixels=colors, mode="RGB")
    yield Case("lossy.webp", lambda: encoded(RGB, "WEBP", quality=95), pixels=colors, tolerance=40)
    yield Case("alpha.webp", lambda: lossless(RGBA, exact=True), pixels=lambda: np.asarray(RGBA)[..., :3], mode="RGBA")
    yield Case("moving.webp", lambda: lossless(RGB, save_all=True, append_images=[second]), pixels=colors)
    yield Case("turned.webp", lambda: lossless(RGB, exif=oriented(6)), pixels=partial(turned, 6))
    yield Case("rgb.avif", lambda: encoded(RGB, "AVIF", quality=95), pixels=colors, tolerance=40, mode="RGB")
    yield Case("gray.avif", lambda: encoded(GRAY, "AVIF", quality=95), pixels=gray, tolerance=20)
    yield Case("alpha.avif", lambda: encoded(RGBA, "AVIF", quality=95), mode="RGBA")
    for orientation in (2, 3, 6, 8):
        yield Case(
            f"turned_{orientation}.avif",
            partial(encoded, RGB, "AVIF", quality=95, exif=oriented(orientation)),
            pixels=partial(turned, orientation),
            tolerance=40,
        )
    yield Case(
        "moving.avif",
        lambda: encoded(RGB, "AVIF", quality=95, save_all=True, append_images=[second]),
        pixels=colors,
        tolerance=40,
    )
    yield Case("rgb.bmp", lambda: encoded(RGB, "BMP"), pixels=colors, mode="RGB")
    yield Case("palette.bmp", lambda: encoded(PALETTE, "BMP"), pixels=lambda: np.asarray(PALETTE.convert("RGB")))
    yield Case("one_bit.bmp", lambda: encoded(RGB.convert("1"), "BMP"), pixels=black_and_white)
    bomb = b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6)
    yield Case("bomb.bmp", lambda: bomb, ("too large",))
    yield Case("rgb.ppm", lambda: encoded(RGB, "PPM"), pixels=colors)
    yield Case("gray.pgm", lambda: encoded(GRAY, "PPM"), pixels=gray)
    yield Case("one_bit.pbm", lambda: encoded(RGB.convert("1"), "PPM"), pixels=black_and_white)
    words = b"P2\n# said\n3 2\n255\n0 10 20\n30 40 250\n"
    yield Case("words.pgm", lambda: words, pixels=lambda: np.array([[0, 10, 20], [30, 40, 250]], np.uint8))
    yield Case("gray16.pgm", lambda: pnm(b"P5", 65535, deep()), pixels=lambda: stretched(deep()), mode="I;16")
    yield Case("gray12.pgm", lambda: pnm(b"P5", 4095, deep(1, 7, 4000)), pixels=lambda: stretched(deep(1, 7, 4000)))
    yield Case(
        "gray16_full.pgm", lambda: pnm(b"P5", 65535, deep()), pixels=lambda: (deep() >> 8).astype(np.uint8), rules=FULL
    )
    yield Case(
        "rgb16.ppm",
        lambda: pnm(b"P6", 65535, deep(3, 5, 9000)),
        pixels=lambda: stretched(deep(3, 5, 9000)),
        mode="RGB;16",
    )
    yield Case("float.pfm", lambda: b"Pf\n2 2\n-1.0\n" + np.ones(4, "<f4").tobytes(), ("unsupported",))
    for name, data in {
        "gif": still, "lossy.webp": encoded(BIG, "WEBP"), "lossless.webp": lossless(BIG), "avif": encoded(BIG, "AVIF"),
        "bmp": encoded(BIG, "BMP"), "ppm": encoded(BIG, "PPM"),
    }.items():  # fmt: skip
        for share in (0.05, 0.5, 0.95):
            yield Case(f"cut_{share}.{name}", partial(cut, partial(bytes, data), share), CUT)


def tiff_cases() -> Iterator[Case]:
    for name, how in {"raw": None, "lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate", "packbits": "packbits"}.items():
        yield Case(f"{name}.tiff", partial(encoded, RGB, "TIFF", compression=how), pixels=colors, mode="RGB")
    yield Case("jpeg.tiff", lambda: encoded(RGB, "TIFF", compression="jpeg", quality=98), pixels=colors, tolerance=60)
    yield Case("fax.tif", lambda: encoded(RGB.convert("1"), "TIFF", compression="group4"), pixels=black_and_white)
    yield Case("palette.tif", lambda: encoded(PALETTE, "TIFF"), pixels=lambda: np.asarray(PALETTE.convert("RGB")))
    yield Case("cmyk.tif", lambda: encoded(RGB.convert("CMYK"), "TIFF"), pixels=colors, tolerance=1, mode="CMYK")
    yield Case("rgba.tif", lambda: encoded(RGBA, "TIFF"), mode="RGBA")
    yield Case("big.tif", lambda: encoded(RGB, "TIFF", big_tiff=True), pixels=colors)
    yield Case("tiled.tif", tiled_tiff, pixels=colors)
    yield Case(
        "pages.tif", lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture(200, 200)]), pixels=colors
    )
    for orientation in (2, 3, 6, 8):
        yield Case(
            f"turned_{orientation}.tif",
            partial(encoded, RGB, "TIFF", exif=oriented(orientation)),
            pixels=partial(turned, orientation),
        )
    for order in "<>":
        name = "little" if order == "<" else "big"
        yield Case(
            f"gray16_{name}.tif", partial(gray_tiff, deep(), order), pixels=lambda: stretched(deep()), mode="I;16"
        )
    yield Case("gray16_full.tif", partial(gray_tiff, deep()), pixels=lambda: (deep() >> 8).astype(np.uint8), rules=FULL)
    yield Case(
        "rgb16.tif",
        lambda: by_opencv(".tiff", deep(3, 300, 4095)),
        pixels=lambda: stretched(deep(3, 300, 4095)),
        mode="RGB;16",
    )
    yield Case("signed16.tif", partial(gray_tiff, deep(), sample_format=2), ("unsupported",))
    yield Case("float.tif", lambda: encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), ("unsupported",))
    yield Case("int32.tif", lambda: encoded(Image.fromarray(np.ones((9, 9), np.int32)), "TIFF"), ("unsupported",))
    for name, how in {"raw": None, "lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}.items():
        for share in (0.1, 0.5, 0.9):
            yield Case(
                f"cut_{share}_{name}.tif", partial(cut, partial(encoded, BIG, "TIFF", compression=how), share), CUT
            )


def refused_cases() -> Iterator[Case]:
    """No images, other formats, and what lies beyond a limit."""
    yield Case("empty.jpg", lambda: b"", ("empty",))
    yield Case("one_byte.jpg", lambda: b"\xff", ("not an image",))
    yield Case("text.jpg", lambda: b"this is no image\n" * 50, ("not an image",))
    yield Case("bmw.bmp", lambda: b"BMW builds cars. " * 9, ("not an image",))
    yield Case("page.jpg", lambda: b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", ("not an image",))
    yield Case("drawing.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', ("not an image",))
    yield Case(
        "lfs.jpg", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", ("not an image",)
    )
    yield Case("eps.jpg", lambda: encoded(RGB, "EPS"), ("not an image",))
    yield Case("pdf.jpg", lambda: b"%PDF-1.7\n%%EOF\n", ("not an image",))
    yield Case("archive.jpg", lambda: b"PK\x03\x04" + bytes(60), ("not an image",))
    yield Case("zeros.jpg", lambda: bytes(100_000), ("not an image",))
    yield Case("icon.png", lambda: encoded(RGB, "ICO"), ("not an image",))
    yield Case("photo.jpg", lambda: b"\0\0\0\x18ftypheic" + bytes(99), ("unsupported",))
    yield Case("xl.jpg", lambda: b"\xff\x0a" + bytes(99), ("unsupported",))
    yield Case("two_thousand.jpg", lambda: encoded(RGB, "JPEG2000"), ("unsupported",))
    yield Case("layers.png", lambda: b"8BPS\0\1" + bytes(99), ("unsupported",))
    small = encoded(RGB, "PNG")
    yield Case("many_pixels.png", lambda: small, ("too large",), rules=ReadingRules(max_pixels=1960))
    yield Case("just_fits.png", lambda: small, pixels=colors, rules=ReadingRules(max_pixels=1961))
    yield Case("many_bytes.png", lambda: small, ("too large",), rules=ReadingRules(max_bytes=len(small) - 1))
    yield Case("bytes_fit.png", lambda: small, pixels=colors, rules=ReadingRules(max_bytes=len(small)))
    strip = encoded(Image.new("RGB", (1, 5000)), "PNG")
    yield Case("strip.png", lambda: strip, ("too long",))
    yield Case("lying.jpg", lambda: encoded(Image.new("L", (5000, 2)), "JPEG"), ("too long",))
    yield Case(
        "strip_taken.png",
        lambda: strip,
        pixels=lambda: np.zeros((5000, 1, 3), np.uint8),
        rules=ReadingRules(max_aspect=5000),
    )
    yield Case(
        "one_pixel.png", lambda: encoded(Image.new("L", (1, 1), 9), "PNG"), pixels=lambda: np.full((1, 1), 9, np.uint8)
    )


CASES: list[Case] = [
    *jpeg_cases(), *png_cases(), *other_cases(), *tiff_cases(), *refused_cases(), *dicom_cases(),
]  # fmt: skip
