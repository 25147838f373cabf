"""For tests of encoders: where they look, the hub's local cache laid out by hand, images that every rule differs on."""

from __future__ import annotations

import hashlib
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.encoders import Look
from tests.making import smooth

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def look_at(checkpoints: Path) -> Look:
    """A Look with true content hashes."""
    return Look(checkpoints, lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest())


def block_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach a machine fails the test, but to one port that refuses at once."""

    def connect(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", connect)


def into_hub_cache(cache: Path, repository: str, folder: Path, commit: str = COMMIT, ref: str = "main") -> Path:
    """Copy a folder into the hub's local cache as a snapshot of a repository; the snapshot's folder."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / commit
    shutil.copytree(folder, snapshot, dirs_exist_ok=True)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / ref).write_text(commit)
    return snapshot


def image_files(folder: Path) -> list[Path]:
    """Pictures of odd sizes and of every mode that encoders treat in their own way."""
    rgb = Image.fromarray(smooth(97, 131))
    alpha = Image.fromarray(smooth(60, 41, 1)[..., 0])
    transparent = Image.fromarray(smooth(60, 41, seed=3))
    transparent.putalpha(alpha)
    made = {
        "rgb": rgb,
        "tall": Image.fromarray(smooth(151, 64, seed=1)),
        "small": Image.fromarray(smooth(20, 31, seed=2)),
        "grey": rgb.convert("L"),
        "palette": rgb.quantize(32),
        "rgba": transparent,
    }
    for name, picture in made.items():
        picture.save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in made]


def cosine_gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest 1 - cosine of rows, in float64, before and after the mean of `b` is subtracted from both."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    middle = b.mean(axis=0)
    pairs = [(a, b)] + ([(a - middle, b - middle)] if len(a) > 2 else [])
    return float(np.max([1 - _cosines(x, y) for x, y in pairs]))  # NaN where a vector is 0


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
