"""`encoder=checkpoint` on the command line: what was recognised is recorded, what is bad is refused in one line."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope
from tests.inference.encoders.clips import TINY_VIT, apart, random_state
from tests.inference.encoders.test_checkpoints import Bomb

RUN = ("encoder=checkpoint", "dataset=folders", "analysis=class_distances", "device=cpu", "precision.mode=fp32")


@pytest.fixture
def offline(cli: Clipscope) -> Clipscope:
    """A hub that refuses connections: nothing here may need it."""
    cli.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    return cli


def test_one_model_in_two_wrappings_gives_the_same_vectors(
    offline: Clipscope, three_classes: Path, tmp_path: Path
) -> None:
    state = random_state(TINY_VIT)
    torch.save(state, tmp_path / "bare.pt")
    wrapped = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {"state": {}}, "epoch": 1}
    torch.save(wrapped, tmp_path / "training.ckpt")
    runs = []
    for name in ("bare.pt", "training.ckpt"):
        words = (f"encoder.path={tmp_path / name}", "encoder.activation=quickgelu", f"dataset.root={three_classes}")
        result = offline(*RUN, *words)
        runs.append(load_run(result.folder))
        assert "encoder checkpoint, 32-D, recognised as CLIP of OpenAI's form" in " ".join(result.out.split())
    assert runs[0].record["encoder"]["recognised"] == "CLIP of OpenAI's form: torch archive"
    assert runs[1].record["encoder"]["recognised"].endswith("inside 'state_dict' and 'module.' in every name")
    assert runs[0]["image_embeddings"].shape == (24, 32)
    assert apart(runs[0]["image_embeddings"], runs[1]["image_embeddings"]) < 1e-12


def test_what_the_encoder_lacks_is_said_and_recorded(offline: Clipscope, three_classes: Path, tmp_path: Path) -> None:
    side = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision, text = side | {"image_size": 32, "patch_size": 16}, side | {"vocab_size": 99}
    folder = tmp_path / "without tokeniser"
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    result = offline(*RUN, f'encoder.path="{folder}"', f"dataset.root={three_classes}")
    assert "images only, there is no tokeniser" in result.err
    assert any("images only, there is no tokeniser" in line for line in result.record["warnings"])
    assert result.record["encoder"]["dimension"] == 16
    assert result.record["encoder"]["texts"] is False


def bomb(path: Path, marker: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": Bomb(marker)}, path)


BAD: dict[str, tuple[Any, str]] = {
    "bomb.ckpt": (bomb, "to load it would run code"),
    "bomb.safetensors": (lambda p, m: p.write_bytes(pickle.dumps(Bomb(m))), "a Python pickle that torch did not write"),
    "namespace.ckpt": (lambda p, m: torch.save({"a": argparse.Namespace(b=1)}, p), "(argparse.Namespace)"),
    "empty.pt": (lambda p, m: p.touch(), "is empty"),
    "page.pt": (lambda p, m: p.write_text("<html>sign in</html>"), "is a web page"),
    "pointer.pt": (lambda p, m: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "resnet.pth": (lambda p, m: torch.save({"layer1.0.bn1.bias": torch.ones(2)}, p), "a ResNet: say encoder=timm"),
    "missing.pt": (lambda p, m: None, "no such file"),
    "folder": (lambda p, m: p.mkdir(), "it holds nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_is_never_run(
    offline: Clipscope, three_classes: Path, tmp_path: Path, name: str
) -> None:
    make, message = BAD[name]
    make(tmp_path / name, tmp_path / "marker")
    result = offline(*RUN, f"encoder.path={tmp_path / name}", f"dataset.root={three_classes}", status=2)
    (line,) = result.err.strip().splitlines()
    assert line.startswith("error: encoder.path: ") and message in line and name in line
    assert not (tmp_path / "marker").exists()


def test_a_setting_that_is_wrong_and_a_file_that_is_not_there(offline: Clipscope) -> None:
    result = offline("encoder=checkpoint", "encoder.activation=relu", status=2)
    assert "encoder.activation = relu: not allowed" in result.err
    assert "encoder.path: no such file" in offline("encoder=checkpoint", "encoder.path=gone.pt", status=2).err
