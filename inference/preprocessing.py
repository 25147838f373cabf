"""From an image file to the pixels that a model takes: exact by Pillow, or faster within one grey level.

Images are turned as EXIF says and brought to 8 bits by inference.images: that is reading, the same for every model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from inference.colors import as_rgb
from inference.images import ImageFile

if TYPE_CHECKING:
    import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CHANNELS = {"rgb": 3, "gray": 1, "gray_rgb": 3}
# a picture whose resized longer side is more than so many times the crop is resized only where the crop is: a strip
# of 1x5000 pixels, made 224 high, would take gigabytes
STRIP = 32
# the fast path is taken where both sides become half as long or shorter: small pictures cost little, and torchvision is
# the nearer to Pillow the more it shrinks; and for pictures that are not much higher than wide, whose columns Pillow
# resizes before the rows, torchvision after them
SHRINK, HIGH = 2, 1.5
SUPPORT = 3  # pixels: the most that a filter of Pillow reaches to each side, in pixels of the smaller scale


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a model sees it.

    size: height and width that the model takes. mean, std: one value for each channel, or one for all, of pixels in
    0..1.
    resize: 'shortest': the shorter side to `size`, aspect kept, then the centre of `size` is cropped; 'longest': the
    longer side, then black bars; 'squash': both sides, aspect not kept. resize_to: the side to resize to, where the
    crop is smaller than that; None: that of `size`.
    antialias: False means OpenCV's INTER_LINEAR (bilinear only). crop_rounding: where the centre lies between two
    pixels: 'round' half to even as torchvision, 'floor' as transformers.
    channels: 'gray' is one channel by Pillow's convert('L'), 'gray_rgb' the same three times.
    alpha: dropped, or put on white or black. palette: 'rgb_first', or 'resize_first' as OpenAI: resized and cropped
    in the file's own mode (a palette by nearest neighbour, colours under alpha weighted by it), then made RGB.

    Raises ValueError for a combination that makes no sense.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    resize_to: int | None = None
    interpolation: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"
    antialias: bool = True
    crop_rounding: Literal["round", "floor"] = "round"
    channels: Literal["rgb", "gray", "gray_rgb"] = "rgb"
    alpha: Literal["drop", "white", "black"] = "drop"
    palette: Literal["resize_first", "rgb_first"] = "rgb_first"

    def __post_init__(self) -> None:
        count = CHANNELS[self.channels]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, count):
                raise ValueError(f"{name} has {len(values)} values: channels={self.channels} takes 1 or {count}")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if min(*self.size, self.resize_to or 1) < 1:
            raise ValueError("size and resize_to must be at least 1")
        if not self.antialias and (self.interpolation != "bilinear" or self.palette != "rgb_first"):
            raise ValueError("antialias=false goes with interpolation=bilinear only, and with RGB first")

    def exact(self, image: ImageFile) -> np.ndarray:
        """(c, h, w) uint8 by Pillow. Raises UnreadableImage.

        Equal to the bit to Pillow's resize and crop of the whole picture; for strips (STRIP) within two grey levels,
        but for colours under near transparency.
        """
        picture = image.picture()
        if self.palette == "rgb_first":
            cropped = self._cropped(self._colored(picture))
        else:
            cropped = self._colored(self._cropped(picture))
        pixels = np.asarray(cropped)
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))

    def fast(self, image: ImageFile) -> np.ndarray:
        """(c, h, w) uint8 by torchvision, within one grey level of `exact` (of very smooth pictures, about one value in
        200,000 is two off). Raises UnreadableImage.

        What torchvision cannot do the same way (palettes, alpha, CMYK, Lanczos, grey from colour), or hardly faster, is
        done by `exact`.
        """
        from torchvision.transforms.v2.functional import InterpolationMode, resize

        if self.channels != "rgb" or not self.antialias or self.interpolation not in ("bicubic", "bilinear"):
            return self.exact(image)
        announced = image.announced_size()
        after = self._resized_size(*announced)
        pixels = image.tensor() if _pays(announced, after) and not self._is_strip(*after) else None
        if pixels is None:
            return self.exact(image)
        width, height = self._resized_size(pixels.shape[2], pixels.shape[1])
        resized = resize(pixels, [height, width], InterpolationMode(self.interpolation), antialias=True)
        return np.ascontiguousarray(self._cropped_tensor(resized).expand(3, -1, -1).numpy())

    def normalized(self, batch: torch.Tensor, dtype: Any) -> torch.Tensor:
        """(n, c, h, w) uint8 -> (x / 255 - mean) / std, computed in float32, as `dtype`."""
        import torch

        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=batch.device).view(shape)
        std = torch.tensor(self.std, device=batch.device).view(shape)
        return batch.to(torch.float32).div_(255).sub_(mean).div_(std).to(dtype)  # in place: memory is what costs here

    def words(self) -> str:
        """For the record and the report."""
        color, size = self._words_of_color(), self._words_of_size()
        steps = color + size if self.palette == "rgb_first" else size + color
        return ", ".join([*steps, f"mean {_listed(self.mean)}", f"standard deviation {_listed(self.std)}"])

    def fingerprint(self) -> str:
        """Changes with everything that changes a pixel."""
        return repr(self)

    def _words_of_color(self) -> list[str]:
        alpha = "transparency dropped" if self.alpha == "drop" else f"transparency put on {self.alpha}"
        made = {"rgb": "RGB", "gray": "grey", "gray_rgb": "grey three times"}[self.channels]
        when = "made" if self.palette == "rgb_first" else "only then made"
        return [f"{when} {made}", alpha]

    def _words_of_size(self) -> list[str]:
        height, width = self.size
        to = self.resize_to
        filtered = f"{self.interpolation} interpolation {'with' if self.antialias else 'without'} antialiasing"
        crop = f"centre cropped to {width}x{height} ({self.crop_rounding} where it lies between two pixels)"
        if self.resize == "squash":
            sides = f"{to}x{to}" if to else f"{width}x{height}"
            return [f"resized to {sides} by {filtered} (aspect not kept)", *([crop] if to else [])]
        side = "shorter" if self.resize == "shortest" else "longer"
        goal = f"{to}" if to else f"{width}" if width == height else f"fit {width}x{height}"
        resized = f"{side} side resized to {goal} by {filtered}"
        return [resized, crop if self.resize == "shortest" else f"black bars to {width}x{height}"]

    def _colored(self, picture: Any) -> Any:
        """RGB or grey, transparency resolved."""
        transparent = "A" in picture.getbands() or picture.info.get("transparency") is not None
        picture = _on_ground(picture, self.alpha) if transparent and self.alpha != "drop" else as_rgb(picture)
        if self.channels == "rgb":
            return picture
        gray = picture.convert("L")
        return gray if self.channels == "gray" else gray.convert("RGB")

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the crop."""
        goal_height, goal_width = (self.resize_to, self.resize_to) if self.resize_to else self.size
        if self.resize == "squash":
            return goal_width, goal_height
        if self.resize == "shortest" and goal_height == goal_width:  # torchvision's and transformers' rule
            longer = int(goal_width * max(width, height) / min(width, height))
            return (goal_width, longer) if width <= height else (longer, goal_width)
        ratios = (width / goal_width, height / goal_height)  # open_clip's and timm's ResizeKeepRatio
        ratio = min(ratios) if self.resize == "shortest" else max(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the centre; outside of the picture where that is smaller."""
        left, top = self._offset(width, self.size[1]), self._offset(height, self.size[0])
        return left, top, left + self.size[1], top + self.size[0]

    def _offset(self, extent: int, kept: int) -> int:
        if self.crop_rounding == "floor":
            return (extent - kept) // 2
        return round((extent - kept) / 2) if extent >= kept else -((kept - extent) // 2)

    def _is_strip(self, width: int, height: int) -> bool:
        """Whether hardly anything of the resized picture is inside the crop."""
        covers = width >= self.size[1] and height >= self.size[0]
        return covers and max(width, height) > STRIP * max(self.size)

    def _cropped(self, picture: Any) -> Any:
        from PIL import Image

        size = self._resized_size(*picture.size)
        box = self._crop_box(*size)
        if not self.antialias:
            return _resized_by_opencv(picture, size).crop(box)
        method = Image.Resampling[self.interpolation.upper()]
        if self._is_strip(*size):
            return _part_of_resized(picture, size, box, method)
        return picture.resize(size, method).crop(box)  # beyond its edge: zeros

    def _cropped_tensor(self, pixels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import pad

        height, width = pixels.shape[-2:]
        left, top, right, bottom = self._crop_box(width, height)
        around = [max(0, -left), max(0, right - width), max(0, -top), max(0, bottom - height)]
        return pad(pixels[..., max(0, top) : bottom, max(0, left) : right], around)


def openai_preprocessing(side: int) -> Preprocessing:
    """`_transform(n_px)` of OpenAI's clip package, for a model that takes side x side pixels."""
    return Preprocessing((side, side), palette="resize_first")


def transformers_clip_preprocessing(side: int) -> Preprocessing:
    """transformers' `CLIPImageProcessor` with the settings of OpenAI's models."""
    return replace(openai_preprocessing(side), crop_rounding="floor", alpha="white", palette="rgb_first")


def _pays(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether the fast path is worth it, by width and height before and after resizing."""
    return min(before[0] / after[0], before[1] / after[1]) >= SHRINK and before[1] <= HIGH * before[0]


def _on_ground(picture: Any, color: str) -> Any:
    from PIL import Image

    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, color), picture).convert("RGB")


def _resized_by_opencv(picture: Any, size: tuple[int, int]) -> Any:
    import cv2
    from PIL import Image

    return Image.fromarray(cv2.resize(np.asarray(picture), size, interpolation=cv2.INTER_LINEAR))


def _part_of_resized(picture: Any, size: tuple[int, int], box: tuple[int, int, int, int], method: Any) -> Any:
    """`picture.resize(size, method).crop(box)` of a box that lies inside, computed from what it needs alone.

    Pillow takes borders as float32, and rows before columns or after them by the shape, so a few pixels come out a
    grey level or two off.
    """
    (left, right, *across), (top, bottom, *down) = (
        _window(picture.size[axis], size[axis], box[axis], box[axis + 2]) for axis in (0, 1)
    )
    borders = (across[0], down[0], across[1], down[1])
    return picture.crop((left, top, right, bottom)).resize((box[2] - box[0], box[3] - box[1]), method, box=borders)


def _window(length: int, resized: int, first: int, last: int) -> tuple[int, int, float, float]:
    """Of one side of a picture, `length` pixels to be `resized` to so many: first and last pixel that the resized
    pixels first..last are made of, and where these lie, counted from that first pixel."""
    scale = length / resized
    margin = math.ceil(SUPPORT * max(scale, 1)) + 1
    low = max(0, math.floor(first * scale) - margin)
    high = min(length, math.ceil(last * scale) + margin)
    return low, high, first * scale - low, min(last * scale, high) - low


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
