"""A network as the encoder, on the command line: precision and its guard, devices, no sockets, one image, kills."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.cli.data import class_folders
from tests.inference.encoders.clips import TINY_VIT, random_state, save_archive

NO_SOCKETS = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""
DISTANCES = ("analysis=class_distances", "cache=none")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP in OpenAI's own form of file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is a thing of the past, and OpenAI's format
        return save_archive(tmp_path_factory.mktemp("weights") / "tiny.pt", random_state(TINY_VIT), TINY_VIT)


@pytest.fixture
def words(archive: Path, three_classes: Path) -> tuple[str, ...]:
    return ("encoder=openai", f"encoder.weights={archive}", "dataset=folders", f"dataset.root={three_classes}",
            "device=cpu")  # fmt: skip


def test_it_works_with_all_sockets_blocked(cli: Clipscope, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_SOCKETS)
    cli.environment["PYTHONPATH"] = str(tmp_path / "site")
    result = cli(*words, *DISTANCES)
    encoder = result.record["encoder"]
    assert encoder["dimension"] == 32
    assert "TorchScript" in encoder["recognised"]
    assert len(encoder["weights"][0]["sha256"]) == 64
    assert result.record["device"] == "cpu"


def test_precision_and_fidelity_are_recorded(cli: Clipscope, words: tuple[str, ...]) -> None:
    exact = cli(*words, *DISTANCES, "precision.mode=fp32")
    assert exact.record["encoder"]["precision"] == "fp32"
    assert exact.metrics["embedding/fidelity"] == 1
    fast = cli(*words, *DISTANCES, "precision.mode=bf16")
    assert fast.record["encoder"]["precision"] == "bf16"
    assert fast.record["encoder"]["compared"] == 16
    assert 0.999 <= fast.metrics["embedding/fidelity"] < 1
    vectors = [load_run(result.folder)["image_embeddings"] for result in (exact, fast)]
    cosines = np.einsum("ij,ij->i", *vectors)
    assert cosines[:16].min() == pytest.approx(fast.metrics["embedding/fidelity"], abs=1e-6)
    assert "smallest cosine to the exact vectors" in (fast.folder / "report.html").read_text(encoding="utf-8")


def test_what_is_not_near_enough_is_computed_exactly(cli: Clipscope, words: tuple[str, ...]) -> None:
    exact = cli(*words, *DISTANCES, "precision.mode=fp32")
    fallen = cli(*words, *DISTANCES, "precision.mode=bf16", "precision.min_fidelity=1")
    assert fallen.record["encoder"]["precision"] == "fp32"
    assert fallen.record["encoder"]["fell_back"] is True
    assert any("computed in fp32 instead" in warning for warning in fallen.record["warnings"])
    a, b = (load_run(result.folder)["image_embeddings"] for result in (exact, fallen))
    np.testing.assert_array_equal(a, b)


def test_a_data_set_of_one_image(cli: Clipscope, archive: Path, tmp_path: Path) -> None:
    root = class_folders(tmp_path / "one", {"": 1})
    words = ("encoder=openai", f"encoder.weights={archive}", "dataset=folders", f"dataset.root={root}")
    assert "needs at least 7 images, and there are 1" in cli(*words, status=2).err
    result = cli(*words, "stages=[images]")
    assert load_run(result.folder)["image_embeddings"].shape == (1, 32)


def test_vectors_depend_on_neither_batches_nor_workers_beyond_rounding(cli: Clipscope, words: tuple[str, ...]) -> None:
    found = [
        load_run(cli(*words, *DISTANCES, "precision.mode=fp32", *more).folder)["image_embeddings"]
        for more in (("embedding.workers=0",), ("embedding.workers=2",), ("embedding.batch_size=3",))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("embedding.batch_size=0", "embedding.batch_size = 0: must be from 1"),
        ("device=gpu", "device = gpu: must be auto, cpu, cuda, cuda:<number> or mps"),
        ("precision.mode=fp64", "precision.mode"),
        ("precision.min_fidelity=2", "precision.min_fidelity = 2"),
    ],
)
def test_wrong_settings(cli: Clipscope, words: tuple[str, ...], word: str, said: str) -> None:
    wanted = [other for other in words if not other.startswith("device=") or not word.startswith("device=")]
    result = cli(*wanted, word, status=2)
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_gpu_that_is_not_there(cli: Clipscope, words: tuple[str, ...]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    result = cli(*words[:-1], "device=cuda", *DISTANCES, status=2)
    assert "device: cuda: no usable NVIDIA GPU (torch" in result.err
    assert "driver" in result.err
    assert "Traceback" not in result.err


def test_half_precision_is_not_for_a_cpu(cli: Clipscope, words: tuple[str, ...]) -> None:
    assert "precision.mode: fp16" in cli(*words, *DISTANCES, "precision.mode=fp16", status=2).err


@pytest.mark.slow
def test_a_killed_run_goes_on_and_equals_an_undisturbed_one(cli: Clipscope, archive: Path, tmp_path: Path) -> None:
    root = class_folders(tmp_path / "many", {"a": 700, "b": 700})
    words = ("encoder=openai", f"encoder.weights={archive}", "dataset=folders", f"dataset.root={root}",
             "analysis=class_distances", "device=cpu", "embedding.workers=2")  # fmt: skip
    process = cli.start(*words, start_new_session=True)
    shards = cli.place / "cache" / "embedding"
    for _ in range(600):
        if len(list(shards.glob("*.partial/work/shards/*.npy"))) >= 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = {file: file.stat().st_mtime_ns for file in shards.glob("*.partial/work/shards/*.npy")}
    assert len(kept) >= 2
    resumed = cli(*words)
    undisturbed = cli(*words, "cache=none")
    a, b = ((result.folder / "embeddings/img_emb/img_emb_0000.npy").read_bytes() for result in (resumed, undisturbed))
    assert a == b
