"""Pixels: against the published transforms of OpenAI and of transformers, and the fast path against the exact one."""

from __future__ import annotations

import dataclasses
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from inference import preprocessing
from inference.images import ImageFile, ReadingRules
from inference.places import UnreadableImage
from inference.preprocessing import (
    CLIP_MEAN,
    CLIP_STD,
    Preprocessing,
    openai_preprocessing,
    transformers_clip_preprocessing,
)
from tests.making import encoded, oriented, smooth

SIZES = [(683, 1024), (224, 223), (224, 224), (501, 337), (300, 2500), (61, 1800), (2, 2), (1, 30)]  # height, width
LARGE = [(900, 1200), (1200, 900), (1500, 1000), (1000, 480)]
FILES = ["L", "LA", "P", "P with transparency", "RGB", "RGBA", "CMYK", "1", "16 bits", "JPEG"]
SIDE = 224
RULES = ReadingRules(sixteen_bit="full", max_aspect=1_000_000)


def noisy(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Half smooth, half noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
    return ((smooth(height, width, channels, seed).astype(int) + noise) // 2).astype(np.uint8)


def image_file(path: Path, kind: str, height: int, width: int) -> Path:
    """A file of one of FILES."""
    rgb = Image.fromarray(noisy(height, width))
    alpha = Image.fromarray(noisy(height, width, 1, 1)[..., 0])
    gray = np.asarray(rgb.convert("L")).astype(np.uint16)
    if kind in ("LA", "RGBA"):
        rgb = rgb.convert(kind)
        rgb.putalpha(alpha)
        data = encoded(rgb, "PNG")
    elif kind.startswith("P"):
        palette = rgb.quantize(16)
        data = encoded(palette, "PNG", **({"transparency": bytes([0, 90, 180])} if "transparency" in kind else {}))
    elif kind == "16 bits":
        data = encoded(Image.fromarray(gray * 256 + 77), "PNG")
    else:
        form = {"CMYK": "TIFF", "JPEG": "JPEG"}.get(kind, "PNG")
        data = encoded(rgb.convert("RGB" if kind == "JPEG" else kind), form)
    path.write_bytes(data)
    return path


def opened(path: Path) -> Image.Image:
    """By Pillow alone; of 16 bits the upper eight."""
    picture = Image.open(path)
    picture.load()
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture) // 256).astype(np.uint8))
    return picture


def openai_transform(side: int) -> Any:
    """`_transform(n_px)` as OpenAI published it, up to the pixels: `clip/clip.py`."""
    return Compose(
        [Resize(side, interpolation=InterpolationMode.BICUBIC), CenterCrop(side), lambda image: image.convert("RGB")]
    )


def by_transformers(picture: Image.Image) -> np.ndarray:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(do_rescale=False, do_normalize=False)
    return np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def assert_within(found: np.ndarray, expected: np.ndarray, levels: int) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= levels


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_openai_to_the_bit(tmp_path: Path, kind: str) -> None:
    for size in SIZES:
        path = image_file(tmp_path / "x", kind, *size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow on palettes with transparency
            expected = np.asarray(openai_transform(SIDE)(opened(path))).transpose(2, 0, 1)
        assert_within(openai_preprocessing(SIDE).exact(ImageFile(path, RULES)), expected, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_transformers_to_the_bit(tmp_path: Path, kind: str) -> None:
    for size in SIZES:
        path = image_file(tmp_path / "x", kind, *size)
        found = transformers_clip_preprocessing(SIDE).exact(ImageFile(path, RULES))
        assert_within(found, by_transformers(opened(path)), 0)


def test_the_two_differ_by_a_pixels_shift_where_the_centre_lies_between_two(tmp_path: Path) -> None:
    image = ImageFile(image_file(tmp_path / "x", "RGB", 683, 1024))  # resized to 224x335, 111 columns too many
    assert (openai_preprocessing(SIDE).exact(image) != transformers_clip_preprocessing(SIDE).exact(image)).any()
    even = ImageFile(image_file(tmp_path / "x", "RGB", 480, 640))
    assert (openai_preprocessing(SIDE).exact(even) == transformers_clip_preprocessing(SIDE).exact(even)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("make", [openai_preprocessing, transformers_clip_preprocessing])
def test_fast_is_within_one_grey_level(tmp_path: Path, kind: str, make: Any) -> None:
    for size in [*SIZES, *(LARGE if kind in ("JPEG", "L") else [])]:
        prepared, path = make(SIDE), image_file(tmp_path / "x", kind, *size)
        assert_within(prepared.fast(ImageFile(path)), prepared.exact(ImageFile(path)), 1)


def test_fast_is_taken_where_it_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = openai_preprocessing(SIDE)
    monkeypatch.setattr(Preprocessing, "exact", lambda *_: pytest.fail("the exact path was taken"))
    for kind in ("JPEG", "RGB", "L"):
        for size in ((480, 640), (900, 600)):
            prepared.fast(ImageFile(image_file(tmp_path / "x", kind, *size)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_orientation_is_followed_by_both_paths(tmp_path: Path, orientation: int, mode: str) -> None:
    upright = Image.fromarray(noisy(480, 600)).convert(mode)
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # EXIF turns it forth again
    stored = upright if back is None else upright.transpose(back)
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(stored, "JPEG", quality=100, subsampling=0, exif=oriented(orientation)))
    prepared = openai_preprocessing(SIDE)
    image = ImageFile(path)
    shown = prepared.exact(image)
    assert image.size == ImageFile(path).announced_size() == (600, 480)
    tensor = ImageFile(path).tensor()
    assert tensor is not None
    np.testing.assert_array_equal(tensor[0].numpy(), np.asarray(image.picture()).reshape(480, 600, -1)[..., 0])
    assert_within(prepared.fast(ImageFile(path)), shown, 1)
    close = np.abs(shown.astype(int) - np.asarray(openai_transform(SIDE)(upright)).transpose(2, 0, 1).astype(int))
    assert close.mean() < 4  # JPEG's loss; turned wrongly it is 30 and more


def test_fast_decodes_every_kind_of_jpeg_as_pillow_does(tmp_path: Path) -> None:
    picture = Image.fromarray(noisy(97, 131))
    kinds: list[dict[str, Any]] = [
        {"quality": 30}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"keep_rgb": True},
        {"restart_marker_blocks": 2}, {"optimize": True},
    ]  # fmt: skip
    for kind in kinds:
        path = tmp_path / "x.jpg"
        path.write_bytes(encoded(picture, "JPEG", **kind))
        tensor = ImageFile(path).tensor()
        assert tensor is not None
        np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), np.asarray(Image.open(path)), err_msg=str(kind))


def test_fast_refuses_what_exact_refuses(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(noisy(600, 800)), "JPEG")
    path = tmp_path / "x.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    for way in (openai_preprocessing(SIDE).exact, openai_preprocessing(SIDE).fast):
        with pytest.raises(UnreadableImage) as refusal:
            way(ImageFile(path))
        assert refusal.value.reason == "truncated"


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(3, 700), (700, 3), (5, 64), (300, 3000), (90, 1)], ids=str)
def test_a_strip_resized_in_part_is_the_same_within_a_few_grey_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: tuple[int, int]
) -> None:
    path = image_file(tmp_path / "x", kind, *size)
    monkeypatch.setattr(preprocessing, "STRIP", 1_000_000)
    whole = openai_preprocessing(SIDE).exact(ImageFile(path, RULES))
    monkeypatch.setattr(preprocessing, "STRIP", 1)
    part = openai_preprocessing(SIDE).exact(ImageFile(path, RULES))
    if kind != "RGBA":  # colours that hardly count are divided by their alpha
        assert_within(part, whole, 2)
    assert (part == whole).mean() > 0.99


@pytest.mark.parametrize("size", [(1, 5000), (5000, 3), (1, 300_000)], ids=str)
def test_a_strip_takes_no_time(tmp_path: Path, size: tuple[int, int]) -> None:
    path = image_file(tmp_path / "x", "RGB", *size)
    for prepared in (openai_preprocessing(SIDE), transformers_clip_preprocessing(336)):
        image = ImageFile(path, RULES)
        start = time.process_time()
        found = prepared.exact(image)
        assert time.process_time() - start < 0.5  # whole, 1x5000 takes seconds and 2 GB
        assert found.shape == (3, *prepared.size)


def test_normalized_as_totensor_and_normalize(tmp_path: Path) -> None:
    image = ImageFile(image_file(tmp_path / "x", "RGB", 300, 400))
    pixels = openai_preprocessing(SIDE).exact(image)
    expected = Compose([ToTensor(), Normalize(CLIP_MEAN, CLIP_STD)])(np.moveaxis(pixels, 0, 2))
    found = openai_preprocessing(SIDE).normalized(torch.from_numpy(pixels)[None], torch.float32)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)
    assert openai_preprocessing(SIDE).normalized(torch.from_numpy(pixels)[None], torch.bfloat16).dtype == torch.bfloat16


def open_clips(**settings: Any) -> Any:
    from open_clip.transform import image_transform

    return Compose(image_transform(is_train=False, **settings).transforms[:-2])


@pytest.mark.parametrize("size", [(50, 90), (90, 50), (64, 64), (301, 200), (77, 78)], ids=str)
@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("goal", [(64, 64), (48, 80)], ids=str)
def test_each_way_of_resizing_as_open_clip_does_it(
    tmp_path: Path, size: tuple[int, int], resize: Any, goal: tuple[int, int]
) -> None:
    path = image_file(tmp_path / "x", "RGB", *size)
    transform = open_clips(image_size=goal, resize_mode=resize, interpolation="bicubic")
    expected = np.asarray(transform(opened(path))).transpose(2, 0, 1)
    prepared = Preprocessing(goal, resize=resize, palette="resize_first")
    assert_within(prepared.exact(ImageFile(path)), expected, 0)
    assert_within(prepared.fast(ImageFile(path)), expected, 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "nearest"])
def test_resizing_to_more_than_the_crop(tmp_path: Path, interpolation: Any) -> None:
    path = image_file(tmp_path / "x", "RGB", 500, 701)
    method = Image.Resampling[interpolation.upper()]
    left = round((int(256 * 701 / 500) - 224) / 2)
    expected = opened(path).resize((int(256 * 701 / 500), 256), method).crop((left, 16, left + 224, 240))
    found = Preprocessing((224, 224), resize_to=256, interpolation=interpolation).exact(ImageFile(path))
    np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))


def test_without_antialiasing_is_opencvs_linear(tmp_path: Path) -> None:
    path = image_file(tmp_path / "x", "RGB", 300, 400)
    expected = cv2.resize(np.asarray(opened(path)), (64, 64), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    settings = {"size": (64, 64), "resize": "squash", "interpolation": "bilinear"}
    found = Preprocessing(**settings, antialias=False).exact(ImageFile(path))
    np.testing.assert_array_equal(found, expected)
    assert (Preprocessing(**settings).exact(ImageFile(path)) != expected).any()


def test_grey_and_alpha(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 51  # red, a fifth of it
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    colors = {
        alpha: Preprocessing((8, 8), alpha=alpha).exact(ImageFile(path))[:, 0, 0].tolist()
        for alpha in ("drop", "white", "black")
    }
    assert colors == {"drop": [200, 0, 0], "white": [244, 204, 204], "black": [40, 0, 0]}
    luma = round(0.299 * 200)
    gray = Preprocessing((8, 8), channels="gray", mean=(0.5,), std=(0.5,)).exact(ImageFile(path))
    assert gray.shape == (1, 8, 8)
    assert gray[0, 0, 0] == luma
    thrice = Preprocessing((8, 8), channels="gray_rgb").exact(ImageFile(path))
    assert thrice[:, 0, 0].tolist() == [luma] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"size": (64, 65)}, {"mean": (0.5,)}, {"std": (0.5,)}, {"resize": "squash"}, {"resize_to": 70},
        {"interpolation": "bilinear"}, {"crop_rounding": "floor"}, {"channels": "gray_rgb"}, {"alpha": "white"},
        {"palette": "resize_first"}, {"interpolation": "bilinear", "antialias": False},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_changes_a_pixel_changes_fingerprint_and_words(change: dict[str, Any]) -> None:
    plain = Preprocessing((64, 64))
    changed = dataclasses.replace(plain, **change)
    assert changed.fingerprint() != plain.fingerprint()
    assert changed.words() != plain.words()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values"),
        ({"channels": "gray"}, "takes 1"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"size": (0, 64)}, "at least 1"),
        ({"antialias": False}, "bilinear only"),
    ],
)
def test_combinations_that_make_no_sense(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(Preprocessing((64, 64)), **change)
