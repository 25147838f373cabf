"""Reading image files: exactly like OpenCV where the file is whole, a typed reason where it is not."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from inference.images import ImageFile, thumbnail
from inference.places import UnreadableImage
from tests.making import (
    PNG_SIGNATURE,
    ROOT,
    encoded,
    interlaced_png,
    oriented,
    picture,
    png_chunk,
    png_header,
    smooth,
    wrong_checksum,
)

RGB = picture()
PALETTE = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
ORIENTATIONS = range(10)  # 0 and 9 are no orientations and mean nothing


def grey16() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (37, 53), dtype=np.uint16)


def rgb16(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 65536, (37, 53, channels), dtype=np.uint16)


def by_opencv(ending: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(ending, pixels)[1])


WHOLE: dict[str, Callable[[], bytes]] = {
    "444.jpg": lambda: encoded(RGB, "JPEG", subsampling=0),
    "422.jpg": lambda: encoded(RGB, "JPEG", subsampling=1),
    "420.jpg": lambda: encoded(RGB, "JPEG", subsampling=2),
    "progressive.jpg": lambda: encoded(RGB, "JPEG", progressive=True),
    "grey.jpg": lambda: encoded(RGB.convert("L"), "JPEG"),
    "adobe_rgb.jpg": lambda: encoded(RGB, "JPEG", keep_rgb=True),
    "cmyk.jpg": lambda: encoded(RGB.convert("CMYK"), "JPEG"),
    "two_in_one.jpg": lambda: encoded(RGB, "MPO", save_all=True, append_images=[picture(seed=1)]),
    "odd_size.jpg": lambda: encoded(picture(1, 17), "JPEG"),
    "rgb.png": lambda: encoded(RGB, "PNG"),
    "grey.png": lambda: encoded(RGB.convert("L"), "PNG"),
    "rgba.png": lambda: encoded(Image.fromarray(smooth(channels=4)), "PNG"),
    "la.png": lambda: encoded(Image.fromarray(smooth(channels=4)).convert("LA"), "PNG"),
    "palette.png": lambda: encoded(PALETTE, "PNG"),
    "palette_transparent.png": lambda: encoded(PALETTE, "PNG", transparency=3),
    "one_bit.png": lambda: encoded(RGB.convert("1"), "PNG"),
    "grey16.png": lambda: by_opencv(".png", grey16()),
    "rgb16.png": lambda: by_opencv(".png", rgb16()),
    "rgba16.png": lambda: by_opencv(".png", rgb16(4)),
    "interlaced.png": interlaced_png,
    "rgb.bmp": lambda: encoded(RGB, "BMP"),
    "palette.bmp": lambda: encoded(PALETTE, "BMP"),
    "rgb.tiff": lambda: encoded(RGB, "TIFF"),
    "lzw.tiff": lambda: encoded(RGB, "TIFF", compression="tiff_lzw"),
    "grey16.tiff": lambda: encoded(Image.fromarray(grey16()), "TIFF"),
    "rgb16.tiff": lambda: by_opencv(".tiff", rgb16()),
    "cmyk.tiff": lambda: encoded(RGB.convert("CMYK"), "TIFF"),
    "lossy.webp": lambda: encoded(RGB, "WEBP"),
    "lossless.webp": lambda: encoded(RGB, "WEBP", lossless=True),
    "alpha.webp": lambda: encoded(Image.fromarray(smooth(channels=4)), "WEBP"),
    "still.gif": lambda: encoded(RGB, "GIF"),
    "animated.gif": lambda: encoded(RGB, "GIF", save_all=True, append_images=[picture(seed=1)]),
    "rgb.ppm": lambda: encoded(RGB, "PPM"),
    "grey.pgm": lambda: encoded(RGB.convert("L"), "PPM"),
    "grey16.pgm": lambda: by_opencv(".pgm", grey16()),
}


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", WHOLE)
def test_grey_is_what_opencv_reads(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, WHOLE[name]())
    image = ImageFile(path)
    grey = image.gray()
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, expected)
    assert image.size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("name", WHOLE)
def test_rgb_agrees_with_opencv_to_a_grey_level(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, WHOLE[name]())
    rgb = ImageFile(path).rgb()
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    assert rgb.dtype == np.uint8
    assert rgb.shape == expected.shape
    tolerance = 1 if "cmyk" in name or "16" in name else 0
    assert np.abs(rgb.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_is_turned_as_exif_says(tmp_path: Path, orientation: int, mode: str) -> None:
    path = saved(tmp_path, "x.jpg", encoded(RGB.convert(mode), "JPEG", exif=oriented(orientation)))
    image = ImageFile(path)
    np.testing.assert_array_equal(image.gray(), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert image.size == ((37, 53) if 5 <= orientation <= 8 else (53, 37))
    assert image.rgb().shape[:2] == image.gray().shape
    assert thumbnail(path).shape == image.rgb().shape


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_other_formats_are_turned_once(tmp_path: Path, orientation: int, form: str) -> None:
    lossless = {"lossless": True} if form == "WEBP" else {}
    upright = ImageFile(saved(tmp_path, "up", encoded(RGB, form, **lossless))).rgb()
    path = saved(tmp_path, "x", encoded(RGB, form, exif=oriented(orientation), **lossless))
    turned = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[::-1].transpose(1, 0, 2),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[::-1],
    }
    expected = turned.get(orientation, upright)
    np.testing.assert_array_equal(ImageFile(path).rgb(), expected)
    by_luma = cv2.cvtColor(np.ascontiguousarray(expected), cv2.COLOR_RGB2GRAY)
    assert np.abs(ImageFile(path).gray().astype(int) - by_luma).max() <= 1


def test_xmp_does_not_turn_because_opencv_does_not_look_there(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    path = saved(tmp_path, "x.jpg", encoded(RGB, "JPEG", xmp=xmp))
    np.testing.assert_array_equal(ImageFile(path).gray(), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert ImageFile(path).rgb().shape == (37, 53, 3)


def test_an_exif_block_with_other_damage_still_turns(tmp_path: Path) -> None:
    entries = [(0x0112, 3, 1, 6), (0x8769, 4, 1, 9_999_999), (0x9C9B, 5, 3, 12_345_678)]
    block = b"II*\0" + struct.pack("<IH", 8, 3) + b"".join(struct.pack("<HHII", *e) for e in entries) + b"\0" * 4
    path = saved(tmp_path, "x.jpg", encoded(RGB, "JPEG", exif=b"Exif\0\0" + block))
    np.testing.assert_array_equal(ImageFile(path).gray(), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    for name in ("grey16.png", "grey16.tiff", "grey16.pgm"):
        image = ImageFile(saved(tmp_path, name, WHOLE[name]()))
        np.testing.assert_array_equal(image.gray(), (grey16() >> 8).astype(np.uint8))
        np.testing.assert_array_equal(image.rgb()[..., 1], (grey16() >> 8).astype(np.uint8))


HALF_JPEG = encoded(picture(200, 200), "JPEG")[:3000]
WHOLE_PNG = encoded(picture(200, 200), "PNG")
SHORT_ROWS = png_header(64, 64) + png_chunk(b"IDAT", zlib.compress(b"\0" * 65 * 10)) + png_chunk(b"IEND", b"")
BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty.jpg": ("empty", lambda: b""),
    "text.jpg": ("not an image", lambda: b"this is no image\n" * 50),
    "page.jpg": ("not an image", lambda: b"<!DOCTYPE html><html><body>403 Forbidden</body></html>"),
    "lfs.jpg": ("not an image", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
    "eps.jpg": ("not an image", lambda: encoded(RGB, "EPS")),
    "pdf.jpg": ("not an image", lambda: b"%PDF-1.7\n%%EOF\n"),
    "junk.jpg": ("not an image", lambda: b"\xff\xd8\xff" + b"junk" * 500_000),
    "half.jpg": ("truncated", lambda: HALF_JPEG),
    "half_cmyk.jpg": ("truncated", lambda: encoded(picture(200, 200).convert("CMYK"), "JPEG")[:4000]),
    "header.jpg": ("not an image", lambda: HALF_JPEG[:12]),
    "half.png": ("truncated", lambda: WHOLE_PNG[: len(WHOLE_PNG) // 2]),
    "no_end.png": ("truncated", lambda: WHOLE_PNG[:-12]),
    "signature.png": ("damaged", lambda: PNG_SIGNATURE),
    "checksum.png": ("damaged", lambda: wrong_checksum(WHOLE_PNG)),
    "bomb.png": ("too large", lambda: png_header(60_000, 60_000) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")),
    "bomb.bmp": (
        "too large",
        lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
    ),
    "half.gif": ("truncated", lambda: encoded(RGB, "GIF")[:1000]),
    "float.tiff": ("unsupported", lambda: encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF")),
    "int32.tiff": ("unsupported", lambda: encoded(Image.fromarray(np.ones((9, 9), np.int32)), "TIFF")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_has_a_reason(tmp_path: Path, name: str) -> None:
    reason, made = BAD[name]
    path = saved(tmp_path, name, made())
    began = time.monotonic()
    for read in (lambda: ImageFile(path).gray(), lambda: ImageFile(path).rgb(), lambda: thumbnail(path)):
        with pytest.raises(UnreadableImage) as caught:
            read()
        assert caught.value.reason == reason
        assert caught.value.detail
    assert time.monotonic() - began < 3


def test_a_png_with_rows_missing_is_not_filled_up_with_black(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", SHORT_ROWS)
    with pytest.raises(UnreadableImage, match="damaged"):
        ImageFile(path).gray()


@pytest.mark.parametrize(
    ("name", "detail"), [("page.jpg", "web page"), ("lfs.jpg", "git lfs pull"), ("eps.jpg", "PostScript")]
)
def test_the_detail_says_what_it_is_instead(tmp_path: Path, name: str, detail: str) -> None:
    with pytest.raises(UnreadableImage, match=detail):
        ImageFile(saved(tmp_path, name, BAD[name][1]())).gray()


def test_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    reasons = {}
    for name in (
        "folder.jpg",
        "pipe.jpg",
        "broken.jpg",
        "loop.jpg",
        "absent.jpg",
        "absent.jpg/x",
        "nul\0.jpg",
        "\ud800",
    ):
        with pytest.raises(UnreadableImage) as caught:
            ImageFile(tmp_path / name)
        reasons[name] = caught.value.reason
    assert reasons == {
        "folder.jpg": "not a file", "pipe.jpg": "not a file", "broken.jpg": "missing", "loop.jpg": "not readable",
        "absent.jpg": "missing", "absent.jpg/x": "missing", "nul\0.jpg": "not readable", "\ud800": "not readable",
    }  # fmt: skip


@pytest.mark.usefixtures("not_root")
def test_no_permission(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", WHOLE_PNG)
    path.chmod(0)
    with pytest.raises(UnreadableImage, match="not readable: Permission denied"):
        ImageFile(path)


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableImage, match="too large"):
        ImageFile(path)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (3, 40_000), (1, 1_200_000)])
def test_extreme_shapes_are_read_at_once(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = saved(tmp_path, "x.png", encoded(Image.fromarray(pixels), "PNG"))
    began = time.monotonic()
    np.testing.assert_array_equal(ImageFile(path).gray(), pixels)
    assert max(thumbnail(path).shape) <= 160
    assert time.monotonic() - began < 1


def test_a_non_utf8_name_is_read_and_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xe9sum\xe9.png")
    path.write_bytes(WHOLE_PNG)
    assert ImageFile(path).gray().shape == (200, 200)


@pytest.mark.parametrize(
    "name", ["420.jpg", "cmyk.jpg", "rgba.png", "palette_transparent.png", "grey16.png", "still.gif"]
)
def test_thumbnails_are_rgb_and_small(tmp_path: Path, name: str) -> None:
    small = thumbnail(saved(tmp_path, name, WHOLE[name]()), side=20)
    assert small.dtype == np.uint8
    assert small.shape == (14, 20, 3)


def test_a_thumbnail_shows_the_picture_the_right_way_up(tmp_path: Path) -> None:
    big = Image.fromarray(smooth(600, 900))
    path = saved(tmp_path, "x.jpg", encoded(big, "JPEG", exif=oriented(6), quality=95))
    expected = cv2.resize(ImageFile(path).rgb(), (107, 160), interpolation=cv2.INTER_AREA)
    small = thumbnail(path)
    assert small.shape == (160, 107, 3)
    assert np.abs(small.astype(int) - expected).mean() < 4


def test_small_images_keep_their_size_as_thumbnails(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", encoded(picture(8, 8), "PNG"))
    np.testing.assert_array_equal(thumbnail(path), np.asarray(picture(8, 8)))


def fuzz(folder: str, seed: str, count: str) -> None:
    """Read damaged copies of every format; anything but an image or a reason ends the process."""
    from inference.images import MAX_PIXELS  # noqa: F401 - the import that is under test, in a new process

    dice = random.Random(int(seed))
    originals = [made() for made in WHOLE.values()]
    path = Path(folder) / "x"
    for _ in range(int(count)):
        data = bytearray(dice.choice(originals))
        for _ in range(dice.choice([1, 1, 2, 8])):
            at = dice.randrange(min(len(data), dice.choice([64, 400, 10**9])))
            data[at : at + dice.choice([0, 1, 1, 1, 9])] = dice.randbytes(dice.choice([0, 1, 1, 1, 5]))
            data = data[: dice.choice([len(data)] * 9 + [max(1, at)])] or bytearray(b"x")
        if any(side > 30_000 for side in claimed_size(bytes(data))):
            continue  # a large claim within the limit is decoded, which takes seconds
        path.write_bytes(data)
        for read in (lambda: ImageFile(path).gray(), lambda: ImageFile(path).rgb(), lambda: thumbnail(path)):
            try:
                assert read().dtype == np.uint8
            except UnreadableImage as error:
                assert error.reason


def claimed_size(data: bytes) -> tuple[int, int]:
    from io import BytesIO

    try:
        with Image.open(BytesIO(data)) as opened:
            return opened.size
    except Exception:
        return (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_damage_anywhere_is_an_image_or_a_reason(tmp_path: Path, seed: int) -> None:
    code = "import sys; from tests.inference.test_images import fuzz; fuzz(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(tmp_path), str(seed), "1500"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
