"""Images become pixels once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.images import ImageFile, ReadingRules
from inference.preprocessing import Preprocessing
from inference.training.pixels import read_pixels
from tests.making import picture, png_files

PREPARE = Preprocessing((12, 12))


def test_they_are_the_exact_ones(tmp_path: Path) -> None:
    for i in range(3):
        picture(40 + i, 50, i).save(tmp_path / f"{i}.png")
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    found = read_pixels(paths, PREPARE, tmp_path / "work", rules=ReadingRules())
    expected = np.stack([PREPARE.exact(ImageFile(path)) for path in paths])
    np.testing.assert_array_equal(found.pixels, expected)
    assert isinstance(found.pixels.base, np.memmap)
    assert found.pixels.dtype == np.uint8


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, workers: int) -> None:
    paths = png_files(tmp_path, 5)
    Path(paths[1]).write_bytes(b"no picture")
    Path(paths[3]).unlink()
    found = read_pixels(paths, PREPARE, tmp_path / "work", rules=ReadingRules(), workers=workers)
    assert found.rows.tolist() == [0, 2, 4]
    assert found.pixels.shape == (3, 3, 12, 12)
    assert sorted(row for row, *_ in found.unreadable) == [1, 3]
