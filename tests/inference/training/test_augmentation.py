"""Pictures that are changed a little."""

from __future__ import annotations

import pytest
import torch

from inference.training.augmentation import AUGMENTATIONS, Augmentation


def made(kind: Augmentation, pixels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return kind(pixels, torch.Generator().manual_seed(seed))


def ramp(n: int = 200, side: int = 16) -> torch.Tensor:
    """(n, 1, side, side): brighter to the right."""
    return torch.linspace(0, 1, side).expand(n, 1, side, side).clone()


def test_nothing_changes_nothing() -> None:
    pixels = torch.rand(4, 3, 9, 9)
    assert torch.allclose(made(Augmentation(), pixels), pixels, atol=1e-5)


@pytest.mark.parametrize("name", ["crop", "crop_flip", "affine"])
def test_the_same_seed_the_same_pictures(name: str) -> None:
    kind = AUGMENTATIONS[name]
    assert kind is not None
    pixels = torch.rand(8, 3, 16, 16)
    assert torch.equal(made(kind, pixels), made(kind, pixels))
    assert not torch.equal(made(kind, pixels), made(kind, pixels, 1))
    assert made(kind, pixels).shape == pixels.shape
    assert 0 <= made(kind, pixels).min() <= made(kind, pixels).max() <= 1


def test_only_crop_flip_mirrors() -> None:
    """Left to right, half of them."""
    rises = {name: (made(AUGMENTATIONS[name], ramp())[..., -1] > made(AUGMENTATIONS[name], ramp())[..., 0])  # type: ignore[misc]
             .float().mean() for name in ("crop", "crop_flip", "affine")}  # fmt: skip
    assert rises["crop"] == rises["affine"] == 1
    assert 0.35 < rises["crop_flip"] < 0.65


def test_a_cut_stays_inside_the_picture() -> None:
    """Of a ramp, which pixels of the edge repeat would flatten."""
    found = made(Augmentation(area=0.25), ramp())
    steps = found[..., 1:] - found[..., :-1]
    assert (steps[..., 1:-1] > 0.02).all()
    span = found[..., 0, -1] - found[..., 0, 0]
    assert 0.4 < span.min() < 0.6
    assert span.max() > 0.9


def test_turned_about_the_middle() -> None:
    pixels = torch.zeros(1, 1, 9, 9)
    pixels[..., 4, :] = 1  # a line across
    found = made(Augmentation(turn=90), pixels, 3)
    assert found[0, 0, 4, 4] > 0.99
    assert not torch.allclose(found, pixels, atol=0.1)
