"""A fast way of computing is compared with the exact one, and given up where it is not near enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import inference.embed as embedding
from inference.embed import EmbeddingFailed, embed
from inference.encoders import Runtime
from inference.fidelity import FILE, IMAGES, compared, exact
from tests.making import png_files, two_ways


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHARD", 8)


def test_by_hand() -> None:
    exact = np.array([[1.0, 0.0], [0.0, 1.0]])
    fast = np.array([[1.0, 0.0], [3.0, 4.0]])
    found = compared(fast, exact)
    assert found.cosine == pytest.approx(0.8)  # of (3, 4) to (0, 1)
    # seen from the middle (0.5, 0.5): (2.5, 3.5) to (-0.5, 0.5)
    assert found.centered == pytest.approx((-1.25 + 1.75) / (np.hypot(2.5, 3.5) * np.hypot(0.5, 0.5)))
    assert found.images == 2


def test_equal_vectors_are_fully_faithful_also_where_they_are_zero() -> None:
    assert compared(np.zeros((3, 4)), np.zeros((3, 4))).cosine == 1.0
    assert compared(np.zeros((3, 4)), np.ones((3, 4))).cosine == -1.0
    assert compared(np.full((1, 2), np.inf), np.ones((1, 2))).cosine == -1.0  # overflow is no likeness
    assert compared(np.empty((0, 4)), np.empty((0, 4))).images == 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "other"])  # 'other': the workers only read, as for a GPU
def test_a_near_way_is_kept_and_its_fidelity_recorded(tmp_path: Path, workers: int, device: str) -> None:
    paths = png_files(tmp_path / "i", 20)
    handle = two_ways(1e-4, device)
    made = embed(paths, handle, tmp_path / "w", workers=workers)
    assert made.handle.runtime == handle.runtime
    assert made.fidelity is not None
    assert 0.999 < made.fidelity.cosine < 1
    assert made.fidelity.images == IMAGES
    golden = embed(paths, handle.at(exact(handle.runtime)), tmp_path / "e", workers=0)
    assert golden.fidelity is None
    offset = np.zeros(64, np.float32)
    offset[::2] = np.float32(1e-4)
    np.testing.assert_allclose(made.vectors, golden.vectors + offset, atol=1e-7)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_a_far_way_is_given_up_for_all_images(tmp_path: Path, workers: int, device: str) -> None:
    paths = png_files(tmp_path / "i", 20)
    handle = two_ways(0.5, device)
    made = embed(paths, handle, tmp_path / "w", workers=workers)
    assert made.handle.runtime == Runtime(device, "fp32", True)
    assert made.fidelity is not None
    assert made.fidelity.cosine < 0.999
    golden = embed(paths, handle.at(exact(handle.runtime)), tmp_path / "e", workers=0)
    np.testing.assert_array_equal(made.vectors, golden.vectors)
    again = embed(paths, handle, tmp_path / "w", workers=workers)  # what was measured is remembered
    np.testing.assert_array_equal(again.vectors, golden.vectors)
    assert again.handle == made.handle


def test_the_guard_can_be_set_to_accept(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20)
    made = embed(paths, two_ways(0.5, min_fidelity=0.0), tmp_path / "w", workers=2)
    assert made.handle.runtime.precision == "bf16"


def test_images_that_cannot_be_read_are_not_compared(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 20)
    for path in paths[:10]:
        Path(path).write_bytes(b"no image")
    for device in ("cpu", "other"):
        made = embed(paths, two_ways(1e-4, device), tmp_path / device, workers=2)
        assert made.fidelity is not None
        assert made.fidelity.images == 10
        assert made.rows.tolist() == list(range(10, 20))
        assert len(made.unreadable) == 10


def test_nothing_readable(tmp_path: Path) -> None:
    for device in ("cpu", "other"):
        made = embed([str(tmp_path / "none.png")] * 3, two_ways(1e-4, device), tmp_path / device, workers=1)
        assert made.vectors.shape == (0, 64)


def test_workers_that_only_read_give_the_same_bytes(tmp_path: Path) -> None:
    paths = png_files(tmp_path / "i", 30)
    Path(paths[4]).write_bytes(b"")
    a, b = (embed(paths, two_ways(1e-4, device), tmp_path / device, workers=2) for device in ("cpu", "other"))
    assert a.vectors.tobytes() == b.vectors.tobytes()
    assert a.unreadable == b.unreadable
    assert a.seen.equals(b.seen)


def test_what_fails_on_the_card_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.making import TwoWays

    def broken(self: TwoWays, batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("illegal memory access")

    paths = png_files(tmp_path / "i", 30)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / FILE).write_text('{"cosine": 1.0, "centered": 1.0, "images": 16}')
    monkeypatch.setattr(TwoWays, "encode_images", broken)
    with pytest.raises(EmbeddingFailed, match="illegal memory access"):
        embed(paths, two_ways(1e-4, "other"), tmp_path / "w", workers=2)
