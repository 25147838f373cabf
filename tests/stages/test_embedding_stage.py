"""What the embedding stage says of the images that it reads, and the rules by which it reads them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from blake3 import blake3
from PIL import Image

from inference.images import ReadingRules
from pipeline.pictures import Thumbnails
from pipeline.schema import ImageSettings, SixteenBit
from pipeline.stage import Workspace
from pipeline.stages import embedding
from tests.making import encoded, image_settings, pixels_handle, settings, smooth
from tests.nasty_images import dicom, gray

DARK = np.random.default_rng(0).integers(0, 4096, (32, 32), dtype=np.uint16)


@pytest.fixture
def files(tmp_path: Path) -> pd.DataFrame:
    """flat, striped, photograph (JPEG, colours), dark (16 bits), scan (DICOM), strip."""
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))
    made = {
        "dark": encoded(Image.fromarray(DARK), "PNG"),
        "flat": encoded(Image.fromarray(np.full((32, 32), 90, np.uint8)), "PNG"),
        "photograph": encoded(Image.fromarray(smooth(480, 640)), "JPEG"),
        "scan": dicom(gray()),
        "strip": encoded(Image.new("L", (900, 2)), "PNG"),
        "striped": encoded(Image.fromarray(stripes), "PNG"),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in made]
    contents = [blake3(data).hexdigest() for data in made.values()]
    return pd.DataFrame({"id": list(made), "path": paths, "content_hash": contents, "problem": "", "position": -1})


def run(folder: Path, files: pd.DataFrame, images: ImageSettings, workers: int = 0, **encoder: Any) -> dict[str, Any]:
    workspace = Workspace(folder / f"work {images.sixteen_bit.value}", workers=workers)
    return embedding.run(settings(images=images), workspace, files, pixels_handle(32, **encoder))


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_what_was_seen_of_each_image(tmp_path: Path, files: pd.DataFrame, color: str) -> None:
    made = run(tmp_path, files, image_settings(), color=color)
    table = made["reading"].set_index("id")
    assert made["reading"]["id"].tolist() == files["id"].tolist()
    shown = table[["width", "height", "format", "mode"]].agg(tuple, axis=1).to_dict()
    assert shown == {
        "dark": (32, 32, "PNG", "I;16"),
        "flat": (32, 32, "PNG", "L"),
        "photograph": (640, 480, "JPEG", "RGB"),
        "scan": (53, 37, "DICOM", "DICOM MONOCHROME2"),
        "strip": (0, 0, "", ""),
        "striped": (32, 32, "PNG", "L"),
    }
    assert table["bytes"].drop("strip").tolist() == [
        Path(path).stat().st_size for path, name in zip(files["path"], files["id"], strict=True) if name != "strip"
    ]
    assert table.loc["strip", ["reason", "read"]].tolist() == ["too long", False]
    assert np.isnan(table.loc["strip", ["brightness", "sharpness"]].astype(float)).all()
    assert table["range_used"].notna().to_dict() == {name: name == "dark" for name in table.index}
    assert table.loc["dark", "range_used"] == DARK.max() / 65535
    assert table.loc["flat", ["brightness", "sharpness"]].tolist() == [90, 0]
    assert table.loc["striped", "brightness"] == 127.5
    assert table.loc["striped", "sharpness"] == 510**2  # each pixel differs by 255 from both beside it
    pixels = made["image_embeddings"][2].reshape(32, 32, -1)
    seen = pixels[..., 0] if color == "gray" else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    assert table.loc["photograph", "brightness"] == pytest.approx(seen.mean())
    assert table.loc["photograph", "sharpness"] == pytest.approx(cv2.Laplacian(seen, cv2.CV_32F).var(), rel=1e-5)


def test_workers_say_the_same(tmp_path: Path, files: pd.DataFrame) -> None:
    here = run(tmp_path / "a", files, image_settings())["reading"]
    assert run(tmp_path / "b", files, image_settings(), workers=1)["reading"].equals(here)


def test_twelve_bits_are_warned_of_where_the_full_range_is_kept(
    tmp_path: Path, files: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bright = run(tmp_path, files, image_settings())["image_embeddings"]
        assert not caplog.records
        dark = run(tmp_path, files, image_settings(sixteen_bit=SixteenBit.full))["image_embeddings"]
    assert [record.getMessage() for record in caplog.records] == [
        "1 image of 16 bits uses less than an eighth of the range and is nearly black: images.sixteen_bit=range uses "
        "the range of each image"
    ]
    assert (bright[0].min(), bright[0].max()) == (0, 255)
    np.testing.assert_array_equal(dark[0], (DARK >> 8).ravel())
    np.testing.assert_array_equal(bright[1:], dark[1:])


@pytest.mark.parametrize("workers", [0, 1])
def test_limits_are_the_settings(tmp_path: Path, files: pd.DataFrame, workers: int) -> None:
    few = run(tmp_path / "a", files, image_settings(max_pixels=1100), workers)["reading"].set_index("id")["reason"]
    assert few.to_dict() == {"dark": "", "flat": "", "striped": ""} | dict.fromkeys(
        ("photograph", "scan", "strip"), "too large"
    )
    small = run(tmp_path / "b", files, image_settings(max_bytes=200, max_aspect=500), workers)["reading"].set_index(
        "id"
    )
    assert small["read"].to_dict() == {
        name: Path(path).stat().st_size <= 200 for name, path in zip(files["id"], files["path"], strict=True)
    }


def test_pictures_follow_the_same_image_settings(files: pd.DataFrame) -> None:
    dark, strip = files["path"][0], files["path"][4]
    brightest = {rule: Thumbnails(image_settings(sixteen_bit=rule))(dark).max() for rule in SixteenBit}  # type: ignore[union-attr]
    assert brightest[SixteenBit.range] == brightest[SixteenBit.percentile] == 255
    assert brightest[SixteenBit.full] == 15
    assert Thumbnails(image_settings())(strip) is None
    assert Thumbnails(ImageSettings(*[None] * 4))(dark) is not None  # type: ignore[list-item]


def test_the_usual_rules_are_those_of_the_config() -> None:
    from omegaconf import OmegaConf

    from pipeline.config import CONF

    assert ReadingRules(**OmegaConf.load(CONF / "config.yaml")["images"]) == ReadingRules()
