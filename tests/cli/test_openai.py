"""encoder=openai on the command line: names, weights that are not there, weights by a relative path."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors


@pytest.fixture
def cut_off(cli: Clipscope, tmp_path: Path) -> Clipscope:
    """Empty folders, and a hub that cannot be reached."""
    cli.environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    return cli


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model=ViT-B-32", "encoder.model = ViT-B-32: not allowed; did you mean ViT-B/32? Known: RN50, RN101"),
        ("model=vit-l/14@336PX", "did you mean ViT-L/14@336px?"),
        ("preprocessing=clip", "encoder.preprocessing = clip: not allowed; known: openai, transformers"),
    ],
)
def test_misspelt_names_are_answered_at_once(cut_off: Clipscope, word: str, said: str) -> None:
    start = time.monotonic()
    result = cut_off("encoder=openai", f"encoder.{word}", status=2)
    assert time.monotonic() - start < 5
    assert said in result.err
    assert not cut_off.folders()


def test_each_model_of_a_sweep_says_what_it_misses(cut_off: Clipscope, tmp_path: Path) -> None:
    start = time.monotonic()
    checkpoints = tmp_path / "checkpoints"
    result = cut_off(
        "-m", "encoder=openai", "encoder.model=RN50,ViT-B/32,ViT-L/14", f"paths.checkpoints={checkpoints}", status=1
    )
    assert time.monotonic() - start < 20
    errors = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 3
    for line, model, file, repository in zip(
        errors,
        ("RN50", "ViT-B/32", "ViT-L/14"),
        ("RN50", "ViT-B-32", "ViT-L-14"),
        ("resnet50_clip.openai", "vit_base_patch32_clip_224.openai", "vit_large_patch14_clip_224.openai"),
        strict=True,
    ):
        assert f"encoder.weights: OpenAI's {model}: no weights" in line
        assert f"{file}.pt" in line
        assert f"put the file at {checkpoints / file}.safetensors" in line
        assert f"timm/{repository}" in line


def test_weights_by_a_path_from_where_the_call_is_typed(
    cut_off: Clipscope, three_classes: Path, tmp_path: Path
) -> None:
    save_safetensors(tmp_path / "tiny.safetensors", random_state(TINY_VIT))
    words = ("encoder=openai", "encoder.weights=tiny.safetensors", "dataset=folders", f"dataset.root={three_classes}",
             "analysis=class_distances", "device=cpu", "precision.mode=fp32")  # fmt: skip
    run = load_run(cut_off(*words, cwd=tmp_path).folder)
    assert run["image_embeddings"].shape == (24, 32)
    np.testing.assert_allclose(np.linalg.norm(run["image_embeddings"], axis=1), 1, rtol=1e-6)
    other = cut_off(*words, "encoder.preprocessing=transformers", cwd=tmp_path)
    assert other.hits["embedding"] == "miss"
    again = cut_off(*words, cwd=tmp_path)
    assert again.hits["embedding"] == "hit"
    assert again.record["encoder"]["model"].startswith("CLIP of OpenAI's form (ViT, patches of 32")
