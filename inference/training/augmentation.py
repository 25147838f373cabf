"""Pictures that are a little other each time they are seen: cut, mirrored, turned, moved. On batches, by the device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Augmentation:
    """area: the least share of the picture that is cut out, somewhere inside it, then brought to full size; aspect: the
    most that width to height of the cut changes; mirrored: half of them, left to right; turn: degrees, both ways; zoom,
    shift: shares of the side, both ways. What comes from outside is the nearest pixel of the edge."""

    area: float = 1.0
    aspect: float = 1.0
    mirrored: bool = False
    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0

    def __call__(self, pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """(n, c, h, w) float -> the same shape, bilinear. random: on the CPU, so that every device draws alike."""
        from torch.nn.functional import affine_grid, grid_sample

        places = self._places(len(pixels), random).to(pixels.device, pixels.dtype)
        grid = affine_grid(places, list(pixels.shape), align_corners=False)
        return grid_sample(pixels, grid, padding_mode="border", align_corners=False)

    def _places(self, n: int, random: torch.Generator) -> torch.Tensor:
        """(n, 2, 3): where each pixel of the result comes from, the picture's sides being -1 to 1."""
        import torch

        def drawn(low: float, high: float) -> torch.Tensor:
            return low + (high - low) * torch.rand(n, generator=random)

        side, ratio = drawn(self.area, 1.0).sqrt(), drawn(-1, 1).mul(math.log(self.aspect) / 2).exp()
        width, height = (side * ratio).clamp(max=1.0), (side / ratio).clamp(max=1.0)
        zoom, angle = 1 + drawn(-self.zoom, self.zoom), drawn(-1, 1) * math.radians(self.turn)
        mirror = torch.where(drawn(0, 1) < 0.5, -1.0, 1.0) if self.mirrored else torch.ones(n)
        right = drawn(-1, 1) * (1 - width) + 2 * drawn(-self.shift, self.shift)
        down = drawn(-1, 1) * (1 - height) + 2 * drawn(-self.shift, self.shift)
        rows = (
            torch.stack([angle.cos() * width * zoom * mirror, -angle.sin() * height * zoom, right], dim=1),
            torch.stack([angle.sin() * width * zoom * mirror, angle.cos() * height * zoom, down], dim=1),
        )
        return torch.stack(rows, dim=1)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "crop": Augmentation(area=0.6, aspect=4 / 3),
    "crop_flip": Augmentation(area=0.6, aspect=4 / 3, mirrored=True),
    "affine": Augmentation(turn=10, zoom=0.1, shift=0.075),
}
