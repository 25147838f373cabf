"""Reading image files: exactly like OpenCV where the file is whole, a typed reason where it is not."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from inference import formats, jpeg, opencv, places
from inference.embed import PASSING
from inference.images import ImageFile, ReadingRules, thumbnail, warm_up
from inference.places import UnreadableImage
from inference.preprocessing import openai_preprocessing
from tests.making import ROOT, encoded, oriented, picture, smooth
from tests.nasty_images import CASES, J2K, Case, dicom_cases

RGB = picture()
ORIENTATIONS = range(10)  # 0 and 9 are no orientations and mean nothing
READ = {case.name: case for case in CASES if not case.reasons}
WAYS: dict[str, Callable[[Path, ReadingRules], np.ndarray | None]] = {
    "gray": lambda path, rules: ImageFile(path, rules).gray(),
    "rgb": lambda path, rules: ImageFile(path, rules).rgb(),
    "picture": lambda path, rules: np.asarray(ImageFile(path, rules).picture()),
    "tensor": lambda path, rules: as_array(ImageFile(path, rules).tensor()),
    "thumbnail": lambda path, rules: thumbnail(path, rules=rules),
    "exact": lambda path, rules: openai_preprocessing(32).exact(ImageFile(path, rules)),
    "fast": lambda path, rules: openai_preprocessing(32).fast(ImageFile(path, rules)),
}


def as_array(tensor: Any) -> np.ndarray | None:
    return None if tensor is None else np.asarray(tensor)


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def serve(connection: Connection) -> None:
    """A process that reads what it is told to in all ways: for each the pixels, or reason and detail."""
    warm_up()
    while True:
        path, rules = connection.recv()
        found: dict[str, Any] = {}
        for name, way in WAYS.items():
            try:
                found[name] = way(path, rules)
            except UnreadableImage as error:
                found[name] = (error.reason, error.detail)
        seen = None
        with contextlib.suppress(UnreadableImage):
            image = ImageFile(path, rules)
            image.picture()
            seen = (image.size, image.format, image.mode)
        connection.send((found, seen))


class Reader:
    """Reads in a process of its own, which may crash or hang."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, path: Path, rules: ReadingRules, seconds: float) -> tuple[dict[str, Any], Any]:
        """What each way gives. Fails where that takes longer."""
        self.connection.send((path, rules))
        assert self.connection.poll(seconds), f"not read in {seconds} s"
        found: tuple[dict[str, Any], Any] = self.connection.recv()
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    made.read(Path(__file__), ReadingRules(), 60)  # by then all is imported
    yield made
    made.end()


def test_there_are_many_cases_and_all_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 200


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_read_or_refused_in_every_way_and_in_time(tmp_path: Path, reader: Reader, case: Case) -> None:
    path = saved(tmp_path, case.name, case.make())
    found, seen = reader.read(path, case.rules, case.seconds)
    if case.reasons:
        for way in case.ways or set(WAYS) - ({"tensor"} if found["tensor"] is None else set()):
            assert isinstance(found[way], tuple), f"{way}: read"
            reason, detail = found[way]
            assert reason in case.reasons, f"{way}: {reason}: {detail}"
            assert len(detail.splitlines()) == 1
        return
    assert not any(isinstance(result, tuple) for result in found.values()), found
    size, form, mode = seen
    rgb, gray = found["rgb"], found["gray"]
    assert rgb.dtype == gray.dtype == found["thumbnail"].dtype == np.uint8
    assert size == gray.shape[::-1] == rgb.shape[1::-1] == found["picture"].shape[1::-1]
    assert mode == case.mode or not case.mode
    assert form in (*formats.READ, "MPO", "DICOM")
    if found["tensor"] is not None:
        np.testing.assert_array_equal(np.broadcast_to(found["tensor"].transpose(1, 2, 0), rgb.shape), rgb)
    assert found["exact"].shape == found["fast"].shape == (3, 32, 32)
    if case.pixels is not None:
        expected = case.pixels()
        if expected.ndim == 2:
            expected = np.dstack([expected] * 3)
        assert_near(rgb, expected, case.tolerance)
        luma = cv2.cvtColor(np.ascontiguousarray(expected, np.uint8), cv2.COLOR_RGB2GRAY)
        assert_near(gray, luma, case.tolerance + (6 if form in ("JPEG", "MPO") else 1))  # a JPEG's own luma


def assert_near(found: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance


# OpenCV does not turn AVIF, makes another grey of an animated PNG by imread than by imdecode, and refuses a TIFF that
# lies on its side and a GIF without its last byte
OWN_WAY = (
    *(f"turned_{orientation}.avif" for orientation in (2, 3, 6, 8)),
    *("moving.png", "turned_6.tif", "turned_8.tif", "no_trailer.gif"),
)
DICOM = {case.name for case in dicom_cases()}


@pytest.mark.parametrize("name", sorted(set(READ) - DICOM - set(OWN_WAY)))
def test_grey_is_what_opencv_reads(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, READ[name].make())
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    image = ImageFile(path, ReadingRules(sixteen_bit="full", max_aspect=5000))
    np.testing.assert_array_equal(image.gray(), expected)


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


@pytest.mark.parametrize("name", [name for name in READ if name != "words.pgm"])  # whose last number gets shorter
def test_a_file_that_is_cut_is_refused_or_complete(tmp_path: Path, name: str) -> None:
    case = READ[name]
    data = case.make()
    path = saved(tmp_path, name, data)
    whole = {way: WAYS[way](path, case.rules) for way in ("gray", "rgb", "tensor", "thumbnail")}
    for share in (0.02, 0.2, 0.4, 0.6, 0.8, 0.97, 0.999):
        part = saved(tmp_path, "part", data[: max(1, int(len(data) * share))])
        for way, expected in whole.items():
            with contextlib.suppress(UnreadableImage):
                found = WAYS[way](part, case.rules)
                if found is None or expected is None:
                    assert found is expected
                else:
                    assert_near(found, expected, way == "gray")  # a TIFF that OpenCV gives up: from Pillow's colours


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("page.jpg", "web page"),
        ("lfs.jpg", "git lfs pull"),
        ("eps.jpg", "PostScript"),
        ("photo.jpg", "HEIC"),
        ("strip.png", "1x5000 pixels: one side is more than 200 times the other"),
        ("many_pixels.png", "53x37 pixels, at most 1,960 in all"),
        ("lost_middle.jpg", "Corrupt JPEG data: premature end of data segment"),
    ],
)
def test_the_detail_says_what_it_is_instead(tmp_path: Path, name: str, detail: str) -> None:
    case = next(case for case in CASES if case.name == name)
    with pytest.raises(UnreadableImage, match=detail):
        ImageFile(saved(tmp_path, name, case.make()), case.rules).gray()


def test_what_is_turned_elsewhere_is_turned_whatever_exif_says(tmp_path: Path) -> None:
    for form, how in (("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98, "subsampling": 0})):
        path = str(saved(tmp_path, "x", encoded(RGB, form, exif=oriented(3), **how)))
        upright = np.rot90(ImageFile(path).rgb(), 2)
        for degrees, quarter in ((90, 1), (180, 2), (270, 3)):
            image = ImageFile(places.turned(path, degrees))
            np.testing.assert_array_equal(image.rgb(), np.rot90(upright, quarter))
            assert image.gray().shape == image.rgb().shape[:2] == image.announced_size()[::-1]
            assert thumbnail(places.turned(path, degrees)).shape == image.rgb().shape


def test_how_much_of_its_range_an_image_of_sixteen_bits_uses(tmp_path: Path) -> None:
    for rule in ("range", "percentile", "full"):
        for name, expected in (("gray16_range_4095.png", 4095), ("rgb16_range.png", 4095), ("rgb16.ppm", 9000)):
            image = ImageFile(saved(tmp_path, name, READ[name].make()), ReadingRules(sixteen_bit=rule))
            image.gray()
            assert image.range_used == pytest.approx(expected / 65535)
    image = ImageFile(saved(tmp_path, "x.png", READ["gray.png"].make()))
    image.gray()
    assert np.isnan(image.range_used)


def test_without_pydicom_the_reason_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "x.dcm", READ["eight.dcm"].make())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"unsupported: DICOM: pip install -r requirements-dicom\.txt"):
        ImageFile(path).gray()


def test_without_its_decoder_the_reason_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels import get_decoder

    path = saved(tmp_path, "x.dcm", READ["jpeg2000.dcm"].make())
    monkeypatch.setattr(get_decoder(J2K), "_available", {})
    with pytest.raises(
        UnreadableImage, match=r"unsupported: DICOM compressed as JPEG 2000 .* -r requirements-dicom\.txt"
    ):
        ImageFile(path).gray()


def test_without_avif_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin, features

    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(UnreadableImage, match="unsupported: AVIF"):
        ImageFile(saved(tmp_path, "x.avif", READ["rgb.avif"].make())).gray()


def test_where_libjpeg_is_not_heard_pillow_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "x.jpg", READ["420.jpg"].make())
    heard = [ImageFile(path).gray(), ImageFile(path).rgb()]
    monkeypatch.setattr(jpeg, "_is_heard", lambda: False)
    for a, b in zip(heard, [ImageFile(path).gray(), ImageFile(path).rgb()], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UnreadableImage, match="truncated"):
        ImageFile(saved(tmp_path, "y.jpg", path.read_bytes()[:-2])).rgb()


def test_what_others_say_on_standard_error_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with opencv._listening() as said:
        os.write(2, b"Corrupt JPEG data: bad Huffman code\nsomething else\n")
    assert said == [b"Corrupt JPEG data: bad Huffman code\n"]
    assert capfd.readouterr().err == "something else\n"


def test_every_reason_is_in_the_documentation() -> None:
    page = (ROOT / "docs/images.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE))
    said = {"truncated", "damaged", "crashed", *PASSING}  # where the reason is computed
    for module in ROOT.glob("inference/*.py"):
        said |= set(re.findall(r'UnreadableImage\(\s*"([a-z ]+)"', module.read_text(encoding="utf-8")))
    for module in ROOT.glob("pipeline/datasets/*.py"):
        said |= set(
            re.findall(r'[ =]f?"([a-z ]+): (?:the path|the cell|the table|not valid)', module.read_text("utf-8"))
        )
    assert said == listed


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
    path = saved(tmp_path, "x.png", READ["rgb.png"].make())
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
    rules = ReadingRules(max_aspect=2_000_000)
    np.testing.assert_array_equal(ImageFile(path, rules).gray(), pixels)
    assert max(thumbnail(path, rules=rules).shape) <= 160
    assert time.monotonic() - began < 1


def test_a_non_utf8_name_is_read_and_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xe9sum\xe9.png")
    path.write_bytes(READ["rgb.png"].make())
    assert ImageFile(path).gray().shape == (37, 53)


@pytest.mark.parametrize(
    "name",
    ["420.jpg", "cmyk.jpg", "rgba.png", "palette_clear.png", "gray16_range_65535.png", "still.gif", "window.dcm"],
)
def test_thumbnails_are_rgb_and_small(tmp_path: Path, name: str) -> None:
    small = thumbnail(saved(tmp_path, name, READ[name].make()), side=20)
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
    originals = [case.make() for case in READ.values()]
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
