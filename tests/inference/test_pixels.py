"""encoder=none: protocol 2's pixels, to the byte."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from inference.encoders import NoTextSide
from inference.encoders.pixels import Pixels
from inference.images import ImageFile, ReadingRules
from tests.making import encoded, oriented, picture, pixels_handle, smooth


def vector(path: Path, encoder: Pixels) -> np.ndarray:
    rules = ReadingRules(max_aspect=10_000)
    return encoder.encode_images(np.stack([encoder.preprocess(ImageFile(path, rules))]))[0]


@pytest.mark.parametrize("size", [(37, 53), (600, 800), (224, 224), (1, 5000), (5000, 3), (448, 448)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_protocol_2(tmp_path: Path, size: tuple[int, int], form: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(picture(*size), form, **({"exif": oriented(6)} if form == "JPEG" else {})))
    golden = cv2.resize(cv2.imread(str(path), 0), (224, 224)).flatten()
    found = vector(path, Pixels(224, "gray", False, "none"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, golden)


def test_native_8x8_is_the_identity(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    for antialias in (False, True):
        np.testing.assert_array_equal(vector(path, Pixels(8, "gray", antialias, "none")), pixels.ravel())


def test_colour_keeps_three_values_a_pixel_in_the_order_rgb(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded(picture(20, 30), "PNG"))
    found = vector(path, Pixels(16, "rgb", False, "none"))
    golden = cv2.resize(cv2.imread(str(path), cv2.IMREAD_COLOR), (16, 16))[..., ::-1]
    np.testing.assert_array_equal(found, golden.ravel())


def test_unit_scaling_is_the_same_divided_by_255(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded(picture(20, 30), "PNG"))
    raw, unit = (vector(path, Pixels(16, "gray", False, scaling)) for scaling in ("none", "unit"))
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit, raw.astype(np.float32) / np.float32(255))


def test_antialias_is_pillows_bilinear(tmp_path: Path) -> None:
    grey = smooth(300, 400, 1)[..., 0]
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.fromarray(grey), "PNG"))
    golden = np.asarray(Image.fromarray(grey).resize((16, 16), Image.Resampling.BILINEAR)).ravel()
    np.testing.assert_array_equal(vector(path, Pixels(16, "gray", True, "none")), golden)
    assert (vector(path, Pixels(16, "gray", False, "none")) != golden).any()


def test_reading_is_the_same_in_batches_of_any_size(tmp_path: Path) -> None:
    encoder = Pixels(8, "rgb", False, "unit")
    batch = np.random.default_rng(0).integers(0, 256, (7, 3, 8, 8), dtype=np.uint8)
    one_by_one = np.concatenate([encoder.encode_images(batch[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(encoder.encode_images(batch), one_by_one)
    assert one_by_one.shape == (7, encoder.dimension)


def test_whatever_changes_a_vector_changes_the_fingerprint() -> None:
    choices = [
        pixels_handle(size, color=color, antialias=antialias, scaling=scaling).description
        for size in (8, 16)
        for color in ("gray", "rgb")
        for antialias in (False, True)
        for scaling in ("none", "unit")
    ]
    assert len({told.image_fingerprint for told in choices}) == 16
    assert len({told.preprocessing for told in choices}) == 16


def test_texts_are_refused() -> None:
    encoder = Pixels(8, "gray", False, "none")
    assert pixels_handle().description.text_fingerprint is None
    with pytest.raises(NoTextSide):
        encoder.encode_texts(["a dog"])
    with pytest.raises(NoTextSide):
        encoder.similarity_to_probability(np.zeros((1, 1)))
