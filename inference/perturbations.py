"""What goes wrong with images on their way, done to their pixels: noise, blur, compression, light, occlusion.

All but `occlusion` are those of Hendrycks and Dietterich (2019), Benchmarking neural network robustness to common
corruptions and perturbations, International Conference on Learning Representations: with the parameters of ImageNet-C,
made for images of 224 pixels a side, or with those of CIFAR-10-C, made for 32. `downsampling` is their pixelate.
`occlusion` is ours: a grey rectangle, 10 to 50 % of the area.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from blake3 import blake3

from inference.colors import as_rgb
from inference.places import perturbed

SEVERITIES = (1, 2, 3, 4, 5)
CLEAN = "none"  # the perturbation of severity 0
SMALLEST = 32  # pixels: smaller images count as so large, else a blur of them would be none
BETWEEN = 85  # pixels: up to it images are nearer to 32 than to 224, by their ratio
GREY = 128  # of what hides a part


@dataclass(frozen=True)
class Definitions:
    """side: pixels of the shorter side that lengths are for; then a value for each severity.

    gaussian_noise: standard deviation, of values in 0..1. shot_noise: photons of a white pixel. impulse_noise: share of
    values that become black or white. gaussian_blur: standard deviation, pixels. defocus_blur: radius of the disk, and
    of what smooths its edge, pixels. motion_blur: length and standard deviation, pixels. jpeg: quality. brightness:
    added to the value (of HSV). contrast: share that is kept. downsampling: share of the sides. occlusion: share of
    the area.
    """

    side: int
    gaussian_noise: tuple[float, ...]
    shot_noise: tuple[float, ...]
    impulse_noise: tuple[float, ...]
    gaussian_blur: tuple[float, ...]
    defocus_blur: tuple[tuple[float, float], ...]
    motion_blur: tuple[tuple[float, float], ...]
    jpeg: tuple[int, ...]
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]
    downsampling: tuple[float, ...]
    occlusion: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)

    def scale(self, pixels: np.ndarray) -> float:
        """By how much lengths grow with an image."""
        return max(SMALLEST, min(pixels.shape[:2])) / self.side


DEFINITIONS: dict[str, Definitions] = {
    "imagenet_c": Definitions(
        side=224,
        gaussian_noise=(0.08, 0.12, 0.18, 0.26, 0.38),
        shot_noise=(60, 25, 12, 5, 3),
        impulse_noise=(0.03, 0.06, 0.09, 0.17, 0.27),
        gaussian_blur=(1, 2, 3, 4, 6),
        defocus_blur=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        motion_blur=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        jpeg=(25, 18, 15, 10, 7),
        brightness=(0.1, 0.2, 0.3, 0.4, 0.5),
        contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
        downsampling=(0.6, 0.5, 0.4, 0.3, 0.25),
    ),
    "cifar10_c": Definitions(
        side=32,
        gaussian_noise=(0.04, 0.06, 0.08, 0.09, 0.10),
        shot_noise=(500, 250, 100, 75, 50),
        impulse_noise=(0.01, 0.02, 0.03, 0.05, 0.07),
        gaussian_blur=(0.4, 0.6, 0.7, 0.8, 1),
        defocus_blur=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        motion_blur=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        jpeg=(80, 65, 58, 50, 40),
        brightness=(0.05, 0.1, 0.15, 0.2, 0.3),
        contrast=(0.75, 0.5, 0.4, 0.3, 0.15),
        downsampling=(0.95, 0.9, 0.85, 0.75, 0.65),
    ),
}


def suiting(side: float) -> str:
    """The definitions for images whose shorter side has so many pixels.

    >>> suiting(640), suiting(32)
    ('imagenet_c', 'cifar10_c')
    """
    return "imagenet_c" if side > BETWEEN else "cifar10_c"


def perturbed_place(place: str, name: str, severity: int, definitions: str, seed: int, image: str) -> str:
    """The place of the same image after its pixels were perturbed; of severity 0 the place itself.

    What is random of it follows from (seed, image, name, severity) alone: image is its id. ValueError for what is not
    known.
    """
    if severity == 0:
        return place
    if name not in PERTURBATIONS or severity not in SEVERITIES or definitions not in DEFINITIONS:
        raise ValueError(f"no such perturbation: {name}, severity {severity}, {definitions}")
    drawn = blake3(f"{seed}\0{name}\0{severity}\0{image}".encode("utf-8", "surrogatepass")).hexdigest(8)
    return perturbed(place, f"{name}/{severity}/{definitions}/{drawn}")


def rewritten(picture: Any, recipe: str) -> bytes:
    """A PNG of a PIL picture of 8 bits after what `perturbed_place` has put into its place. Transparency stays as it
    is; a picture without colours, however it is stored, stays without."""
    from PIL import Image

    name, severity, definitions, drawn = recipe.split("/")
    colors, alpha = _colors(picture)
    random = np.random.default_rng(int(drawn, 16))
    made = perturb(colors, name, int(severity), definitions, random)
    if alpha is not None:
        made = np.dstack([*([made] * 3 if made.ndim == 2 else [made]), alpha])
    file = io.BytesIO()
    Image.fromarray(made).save(file, "PNG", compress_level=1)
    return file.getvalue()


def perturb(pixels: np.ndarray, name: str, severity: int, definitions: str, random: np.random.Generator) -> np.ndarray:
    """(h, w) or (h, w, 3) uint8 -> the same shape. severity 0: the pixels themselves. The definitions' lengths grow
    with the shorter side, and so does the grain of noise, but not below a pixel: what is seen of an image that is
    shrunk for a model is the same whatever its size. Compression is done at the image's own size."""
    if severity == 0:
        return pixels
    chosen = DEFINITIONS[definitions]
    strength = getattr(chosen, name)[severity - 1]
    return PERTURBATIONS[name](pixels, strength, chosen.scale(pixels), random)


def _colors(picture: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(h, w) grey or (h, w, 3) values of a picture, and its alpha channel where it has one."""
    if picture.mode == "L" and "transparency" not in picture.info:
        return np.asarray(picture), None
    alpha = None
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture)[..., 3]
    colors = np.asarray(as_rgb(picture))
    gray = (colors[..., 0] == colors[..., 1]).all() and (colors[..., 0] == colors[..., 2]).all()
    return (np.ascontiguousarray(colors[..., 0]) if gray else colors), alpha


def _bytes(values: np.ndarray) -> np.ndarray:
    """Values in 0..1 as 0..255, what is beyond cut off."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _shares(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _grains(pixels: np.ndarray, scale: float) -> tuple[int, tuple[int, ...]]:
    """Side of a grain of noise in pixels, and how many grains there are of each axis."""
    side = max(1, round(scale))
    return side, (*(-(-length // side) for length in pixels.shape[:2]), *pixels.shape[2:])


def _spread(grains: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Each grain over its pixels."""
    spread = grains.repeat(side, axis=0).repeat(side, axis=1) if side > 1 else grains
    return spread[: shape[0], : shape[1]]


def _gaussian_noise(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    side, shape = _grains(pixels, scale)
    noise = random.normal(scale=strength, size=shape).astype(np.float32)
    return _bytes(_shares(pixels) + _spread(noise, side, pixels.shape))


def _shot_noise(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    side, shape = _grains(pixels, scale)
    values = _shares(pixels)
    light = values if side == 1 else cv2.resize(values, shape[1::-1], interpolation=cv2.INTER_AREA)
    seen = (random.poisson(light * strength) / strength).astype(np.float32)
    return _bytes(seen if side == 1 else values + _spread(seen - light, side, pixels.shape))


def _impulse_noise(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    side, shape = _grains(pixels, scale)
    hit = random.random(shape) < strength
    white = random.random(shape) < 0.5
    found = pixels.copy()
    hit, white = (_spread(grains, side, pixels.shape) for grains in (hit, white))
    found[hit] = np.where(white[hit], 255, 0)
    return found


def _gaussian_blur(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    import cv2

    sigma = strength * scale
    size = 2 * int(4 * sigma + 0.5) + 1  # as far as four standard deviations, the border repeated: scikit-image's way
    line = cv2.getGaussianKernel(size, sigma, cv2.CV_32F)
    values = _shares(pixels)
    for kernel in (line, line.T):  # not by GaussianBlur, which takes minutes for the large ones of large images
        values = cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return _bytes(values)


def _defocus_blur(
    pixels: np.ndarray, strength: tuple[float, float], scale: float, random: np.random.Generator
) -> np.ndarray:
    import cv2

    radius, smoothing = strength[0] * scale, strength[1]
    reach = max(8, math.ceil(radius))
    steps = np.arange(-reach, reach + 1)
    disk = (steps**2 + steps[:, None] ** 2 <= radius**2).astype(np.float32)
    around = (3, 3) if radius <= 8 else (5, 5)
    disk = cv2.GaussianBlur(disk / disk.sum(), around, smoothing)
    return _bytes(cv2.filter2D(_shares(pixels), -1, disk))


def _motion_blur(
    pixels: np.ndarray, strength: tuple[float, float], scale: float, random: np.random.Generator
) -> np.ndarray:
    """Along a line at up to 45 degrees, weights that fall as half a Gaussian."""
    import cv2

    length, sigma = round(strength[0] * scale), strength[1] * scale
    angle = math.radians(random.uniform(-45, 45))
    steps = np.arange(2 * length + 1)
    down, across = (np.rint(steps * part).astype(int) for part in (math.sin(angle), math.cos(angle)))
    reach = 2 * length
    line = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    np.add.at(line, (reach + down, reach + across), np.exp(-(steps**2) / (2 * sigma**2)))
    return _bytes(cv2.filter2D(_shares(pixels), -1, line / line.sum(), borderType=cv2.BORDER_REPLICATE))


def _jpeg(pixels: np.ndarray, strength: int, scale: float, random: np.random.Generator) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=strength)
    return np.asarray(Image.open(file))


def _brightness(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    """Hue and saturation stay, so that all colours of a pixel grow in proportion; black becomes grey."""
    values = _shares(pixels)
    largest = values if values.ndim == 2 else values.max(axis=2, keepdims=True)
    brighter = np.minimum(largest + np.float32(strength), 1)
    grown = np.divide(brighter, largest, out=np.ones_like(largest), where=largest > 0)
    return _bytes(np.where(largest > 0, values * grown, brighter))


def _contrast(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    values = _shares(pixels)
    middle = values.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return _bytes((values - middle) * np.float32(strength) + middle)


def _downsampling(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    """To so many pixels as the image would have if it were as large as the definitions take it to be, and back."""
    from PIL import Image

    height, width = pixels.shape[:2]
    lower, narrower = (max(1, int(length * strength / max(1.0, scale))) for length in (height, width))
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((narrower, lower), box).resize((width, height), box))


def _occlusion(pixels: np.ndarray, strength: float, scale: float, random: np.random.Generator) -> np.ndarray:
    found = pixels.copy()
    height, width = (max(1, round(length * math.sqrt(strength))) for length in pixels.shape[:2])
    top, left = (int(random.integers(0, room + 1)) for room in (pixels.shape[0] - height, pixels.shape[1] - width))
    found[top : top + height, left : left + width] = GREY
    return found


PERTURBATIONS: dict[str, Callable[[np.ndarray, Any, float, np.random.Generator], np.ndarray]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "contrast": _contrast,
    "downsampling": _downsampling,
    "occlusion": _occlusion,
}
"""Name -> (pixels, strength, scale of lengths, random) -> pixels."""
