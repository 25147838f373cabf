"""Perturbed pixels: definitions by hand, at any size, grey and in colour, the same each time."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from inference.images import ImageFile, thumbnail
from inference.perturbations import DEFINITIONS, PERTURBATIONS, perturb, perturbed_place, suiting
from inference.places import container_of, inside, member_of, recipe_of, turn_of, turned, unturned
from pipeline.schema import Definition, Perturbation
from tests.making import encoded, smooth

NAMES = sorted(PERTURBATIONS)


def done(pixels: np.ndarray, name: str, severity: int, definitions: str = "imagenet_c", seed: int = 0) -> np.ndarray:
    return perturb(pixels, name, severity, definitions, np.random.default_rng(seed))


def changed(file: Path, name: str, severity: int = 3, **given: object) -> ImageFile:
    told = {"definitions": "imagenet_c", "seed": 0, "image": "a"} | given
    return ImageFile(perturbed_place(str(file), name, severity, **told))  # type: ignore[arg-type]


def flat(value: int, side: int = 224, channels: int = 3) -> np.ndarray:
    return np.full((side, side, channels)[: 2 if channels == 1 else 3], value, np.uint8)


def test_settings_name_what_there_is() -> None:
    assert {choice.value for choice in Perturbation} == set(PERTURBATIONS)
    assert {choice.value for choice in Definition} == {"auto", *DEFINITIONS}
    assert [suiting(side) for side in (8, 32, 85, 86, 4000)] == ["cifar10_c"] * 3 + ["imagenet_c"] * 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (1, 5), (60, 40, 3), (300, 500), (3, 700, 3)])
@pytest.mark.parametrize("definitions", list(DEFINITIONS))
def test_any_size_keeps_its_shape_and_its_input(name: str, shape: tuple[int, ...], definitions: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = pixels.copy()
    for severity in (1, 5):
        made = done(pixels, name, severity, definitions)
        assert (made.shape, made.dtype) == (shape, np.uint8)
        np.testing.assert_array_equal(made, done(pixels, name, severity, definitions))
    np.testing.assert_array_equal(pixels, before)
    assert done(pixels, name, 0, definitions) is pixels


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_severity_changes_more(name: str) -> None:
    pixels = smooth(224, 260)
    error = [float(np.square(done(pixels, name, severity).astype(float) - pixels).mean()) for severity in range(1, 6)]
    assert error == sorted(error) and error[0] > 0 and error[4] > 1.5 * error[0]


def test_contrast_by_hand() -> None:
    assert done(np.array([[0, 200]], np.uint8), "contrast", 1).tolist() == [[60, 140]]  # 100 +- 0.4 of it
    colors = np.array([[[0, 10, 7], [200, 30, 7]]], np.uint8)
    assert done(colors, "contrast", 5).tolist() == [[[95, 20, 7], [105, 20, 7]]]  # each channel for itself


def test_brightness_by_hand() -> None:
    """0.2 more of value: 200 becomes 251, the others in proportion; black has no hue, so becomes grey."""
    colors = np.array([[[200, 0, 40], [0, 0, 0], [250, 125, 0]]], np.uint8)
    assert done(colors, "brightness", 2).tolist() == [[[251, 0, 50], [51, 51, 51], [255, 128, 0]]]
    assert done(np.array([[0, 100, 250]], np.uint8), "brightness", 2).tolist() == [[51, 151, 255]]


@pytest.mark.parametrize(
    ("side", "definitions", "sigma"),
    [(224, "imagenet_c", 3), (448, "imagenet_c", 6), (32, "cifar10_c", 0.7), (8, "cifar10_c", 0.7)],
)
def test_a_gaussian_blur_grows_with_the_image(side: int, definitions: str, sigma: float) -> None:
    pixels = smooth(side, side, 1)[..., 0]
    expected = 255 * gaussian_filter(pixels / 255, sigma, mode="nearest", truncate=4)
    assert np.abs(done(pixels, "gaussian_blur", 3, definitions) - expected).max() <= 0.51


def test_defocus_spreads_a_point_over_a_disk() -> None:
    pixels = flat(0, channels=1)
    pixels[100, 100] = 255
    made = done(pixels, "defocus_blur", 1)  # a radius of 3, hardly smoothed
    rows, columns = np.nonzero(made)
    assert len(rows) == 29 and np.hypot(rows - 100, columns - 100).max() == 3
    assert set(made[rows, columns]) == {9}  # 255 / 29


def test_motion_spreads_a_point_along_a_line() -> None:
    pixels = flat(0, channels=1)
    pixels[100, 100] = 255
    made = done(pixels, "motion_blur", 3)
    rows, columns = np.nonzero(made)
    assert 10 < len(rows) <= 31 and made.max() == made[100, 100]  # 2 * 15 + 1 steps at most
    angles = np.degrees(np.arctan2(rows - 100, columns - 100))[np.hypot(rows - 100, columns - 100) > 8]
    assert np.ptp(np.mod(angles, 180)) < 8
    assert done(flat(90, channels=1), "motion_blur", 5).tolist() == flat(90, channels=1).tolist()


def test_noise_has_its_definition() -> None:
    gray = flat(128)
    noise = (done(gray, "gaussian_noise", 1).astype(float) - 128) / 255
    assert noise.std() == pytest.approx(0.08, rel=0.01) and abs(noise.mean()) < 0.001
    photons = done(flat(255), "shot_noise", 5) / 255 * 3  # three of white
    np.testing.assert_allclose(photons, np.rint(photons), atol=0.01)
    assert photons[photons < 2.9].max() == pytest.approx(2, abs=0.01)
    struck = done(gray, "impulse_noise", 3)
    assert [(struck == value).mean() for value in (0, 255, 128)] == pytest.approx([0.045, 0.045, 0.91], abs=0.002)
    assert (struck[..., 0] != struck[..., 1]).any()  # each channel for itself


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise"])
def test_the_grain_of_noise_grows_with_the_image(name: str) -> None:
    made = done(flat(128, 448, 1), name, 3)
    blocks = made.reshape(224, 2, 224, 2).swapaxes(1, 2).reshape(224, 224, 4)
    assert (np.ptp(blocks, axis=2) == 0).all() and len(np.unique(made)) > 1


def test_downsampling_averages_and_repeats() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (448, 448), dtype=np.uint8)
    made = done(pixels, "downsampling", 2)  # to half of 224: blocks of four
    expected = pixels.reshape(112, 4, 112, 4).mean(axis=(1, 3)).repeat(4, axis=0).repeat(4, axis=1)
    assert np.abs(made - expected).max() <= 1
    small = done(pixels[:8, :8], "downsampling", 3, "cifar10_c")  # to six of eight
    assert len(np.unique(small)) <= 36


def test_jpeg_is_that_of_pillow_at_the_size_of_the_image() -> None:
    pixels = smooth(300, 500)
    file = io.BytesIO(encoded(Image.fromarray(pixels), "JPEG", quality=15))
    np.testing.assert_array_equal(done(pixels, "jpeg", 3), np.asarray(Image.open(file)))


@pytest.mark.parametrize(("severity", "share"), [(1, 0.1), (3, 0.3), (5, 0.5)])
def test_occlusion_hides_a_rectangle_inside(severity: int, share: float) -> None:
    places = set()
    for seed in range(5):
        made = done(flat(0, 100), "occlusion", severity, seed=seed)
        rows, columns = np.nonzero(made[..., 0])
        assert set(np.unique(made)) == {0, 128} and (made == 128).mean() == pytest.approx(share, abs=0.01)
        assert np.ptp(rows) == np.ptp(columns) and len(rows) == (np.ptp(rows) + 1) ** 2
        places.add((rows[0], columns[0]))
    assert len(places) > 1


def test_the_same_picture_every_time_and_another_for_all_else(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(smooth(40, 30)).save(file)
    first = changed(file, "gaussian_noise").rgb()
    np.testing.assert_array_equal(first, changed(file, "gaussian_noise").rgb())
    for other in ({"seed": 1}, {"image": "b"}, {"severity": 2}, {"definitions": "cifar10_c"}):
        assert not np.array_equal(first, changed(file, "gaussian_noise", **other).rgb())
    assert perturbed_place(str(file), "gaussian_noise", 0, "imagenet_c", 0, "a") == str(file)
    for wrong in (("noise", 3, "imagenet_c"), ("jpeg", 6, "imagenet_c"), ("jpeg", 3, "auto")):
        with pytest.raises(ValueError, match="no such perturbation"):
            perturbed_place(str(file), *wrong, 0, "a")


@pytest.mark.parametrize("name", NAMES)
def test_a_grey_picture_stays_grey_however_it_is_stored(tmp_path: Path, name: str) -> None:
    gray = smooth(40, 30, 1)[..., 0]
    Image.fromarray(gray).save(tmp_path / "l.png")
    Image.fromarray(np.dstack([gray] * 3)).save(tmp_path / "rgb.png")
    Image.fromarray(gray).convert("P").save(tmp_path / "p.png")
    made = [changed(tmp_path / f"{mode}.png", name) for mode in ("l", "rgb", "p")]
    for image in made:
        np.testing.assert_array_equal(image.rgb(), np.dstack([made[0].gray()] * 3))
        assert image.picture().mode == "L"


def test_transparency_stays(tmp_path: Path) -> None:
    colors = np.dstack([smooth(40, 30), np.tile(np.arange(30, dtype=np.uint8) * 8, (40, 1))])
    Image.fromarray(colors).save(tmp_path / "a.png")
    made = np.asarray(changed(tmp_path / "a.png", "contrast").picture())
    np.testing.assert_array_equal(made[..., 3], colors[..., 3])
    np.testing.assert_array_equal(made[..., :3], done(colors[..., :3], "contrast", 3))


def test_all_ways_of_reading_see_the_same_pixels(tmp_path: Path) -> None:
    pixels = smooth(300, 400)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "in/a.jpg")
    place = inside("zip", "in/a.jpg", tmp_path / "a.zip")
    lying = perturbed_place(turned(place, 90), "contrast", 3, "imagenet_c", 0, "a")
    assert (container_of(lying), member_of(lying)) == (str(tmp_path / "a.zip"), "in/a.jpg")
    assert (unturned(lying), turn_of(lying), recipe_of(lying).split("/")[:2]) == (place, 90, ["contrast", "3"])
    upright = ImageFile(turned(place, 90)).rgb()
    expected = done(upright, "contrast", 3)
    image = ImageFile(lying)
    assert image.stored == (tmp_path / "a.jpg").read_bytes() != image.data
    np.testing.assert_array_equal(image.rgb(), expected)
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image.tensor()), 0, -1), expected)
    assert image.announced_size() == image.size == (300, 400)
    assert np.abs(thumbnail(lying, 400).astype(int) - expected).max() == 0
