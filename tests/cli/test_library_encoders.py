"""encoder=open_clip, huggingface and timm on the command line, the hub unreachable."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import timm
import torch
import transformers

from tests.cli.command import Clipscope

FAST = ("projection=pca", "clustering.k=3", "stages=[class_distances]")


@pytest.fixture(autouse=True)
def unreachable(cli: Clipscope, tmp_path: Path) -> None:
    cli.environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}


def test_a_file_of_ones_own(cli: Clipscope, tmp_path: Path, three_classes: Path) -> None:
    torch.manual_seed(0)
    tensors = timm.create_model("test_resnet").state_dict()
    torch.save({"state_dict": {f"model.{k}": v for k, v in tensors.items()}, "epoch": 1}, tmp_path / "mine.ckpt")
    data = ("dataset=folders", f"dataset.root={three_classes}")
    words = ("encoder=timm", "encoder.model=test_resnet", "encoder.weights=mine.ckpt", "encoder.mean=[0.5,0.5,0.5]")
    encoder = cli(*words, *data, *FAST, cwd=tmp_path).record["encoder"]
    assert encoder["model"] == "test_resnet" and encoder["dimension"] == 96 and not encoder["texts"]
    assert encoder["recognised"].endswith("classifier left out: fc.weight, fc.bias")
    assert encoder["weights"][0]["file"] == "mine.ckpt" and "mean 0.5 0.5 0.5" in encoder["preprocessing"]
    again = cli(*words, *data, *FAST, cwd=tmp_path)
    assert again.hits["embedding"] == "hit"


def test_a_folder(cli: Clipscope, tmp_path: Path, three_classes: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Dinov2Config(image_size=64, patch_size=16, **sizes)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "model")
    own = ("encoder.size=64", "encoder.mean=[0.5]", "encoder.std=[0.5]")
    words = ("encoder=huggingface", "encoder.model=./model", *own, "dataset=folders", f"dataset.root={three_classes}")
    record = cli(*words, *FAST, cwd=tmp_path).record
    assert record["encoder"]["model"] == "model" and record["encoder"]["recognised"].endswith("feature: cls")
    assert str(tmp_path) not in str(record["encoder"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("encoder=open_clip", "encoder.model=ViT-B32"),
            "encoder.model: open_clip has no model 'ViT-B32': did you mean",
        ),
        (("encoder=open_clip", "encoder.model=ViT-B-32"), "encoder.pretrained: ViT-B-32 needs weights: openai"),
        (("encoder=huggingface", "encoder.model=org/name"), "org--name"),
        (("encoder=huggingface", "encoder.model=./none"), "encoder.model: no such folder: ./none"),
        (("encoder=huggingface", "encoder.model=a/b", "encoder.feature=poler"), "did you mean pooler"),
        (("encoder=timm", "encoder.model=densenet12"), "did you mean densenet121"),
        (("encoder=timm", "encoder.model=densenet121"), "densenet121.ra_in1k.safetensors"),
        (("encoder=timm", "encoder.model=densenet121", "encoder.std=[0,1,1]"), "encoder.std"),
        (("encoder=timm", "encoder.model=densenet121", "encoder.weights=none.pt"), "no such file"),
        (("encoder=timm",), "encoder.model: must be given"),
    ],
)
def test_wrong_calls_are_answered_in_seconds(cli: Clipscope, words: tuple[str, ...], said: str) -> None:
    start = time.monotonic()
    result = cli(*words, status=2)
    assert time.monotonic() - start < 20
    assert said in result.err and "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) == 1
