"""What the tutorial's training begins with: ResNet-50 of ImageNet (timm's default weights) and DistilBERT as published,
with heads of random numbers behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, Encoder, EncoderHandle, Look, Runtime, describe, tutorial
from inference.encoders.checkpoints import read_checkpoint
from inference.encoders.folders import Wanted, find_folder

if TYPE_CHECKING:
    import torch

KEY = "training.base"
IMAGES, TEXTS = "resnet50", "distilbert-base-uncased"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WIDTH = 256  # of the heads
DISTILBERT = "distilbert."  # before the tower's names, where the file also has a head of its own


def describe_towers(look: Look) -> EncoderHandle:
    """A handle on the network before its training. Raises EncoderError where one of the towers is not found."""
    none = dict.fromkeys(("weights", "revision", "size", "channels", "mean", "std", "resize", "interpolation"))
    images = describe("timm", {"model": IMAGES, "feature": "pooled", **none}, False, look).description
    wanted = Wanted((WEIGHTS, ("tokenizer.json", "vocab.txt"), ("config.json",)))
    folder = find_folder(TEXTS, wanted, key=KEY, revision=None, checkpoints=look.checkpoints)
    file = folder.first(*WEIGHTS)
    assert file is not None
    hashes = (images.hashes[0], look.content_hash(str(file)))
    preprocessing = tutorial.default_preprocessing(antialias=False)
    description = Description(
        name="checkpoint",
        model=f"{images.model} and {TEXTS}, heads not trained",
        preprocessing=preprocessing.words(),
        image_fingerprint=f"tutorial towers:1:{hashes[0]}",
        text_fingerprint=f"tutorial towers:1:{hashes[1]}",
        weights=(images.weights[0], str(file)),
        hashes=hashes,
        facts=(("preprocessing", asdict(preprocessing)), ("tokenizer", str(folder.path))),
    )
    return _Towers("checkpoint", (), False, description)


@dataclass(frozen=True)
class _Towers(EncoderHandle):
    def load(self) -> Encoder:
        images, texts = (read_checkpoint(path, KEY).tensors for path in self.description.weights)
        tensors: dict[str, Any] = {
            f"image_encoder.model.{name}": tensor for name, tensor in images.items() if not name.startswith("fc.")
        }
        inside = any(name.startswith(DISTILBERT) for name in texts)
        for name, tensor in texts.items():
            if not inside or name.startswith(DISTILBERT):
                tensors[f"text_encoder.model.{name.removeprefix(DISTILBERT)}"] = tensor
        return tutorial.of_tensors(self.description, tensors | _heads(tensors), Runtime(self.runtime.device), KEY)


def _heads(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As torch makes new layers, the same every time."""
    import torch

    widths = {
        "image_projection": 2048,
        "text_projection": tensors["text_encoder.model.embeddings.word_embeddings.weight"].shape[1],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = {name: tutorial.new_head(width, WIDTH) for name, width in widths.items()}
    return {f"{name}.{part}": tensor for name, head in made.items() for part, tensor in head.state_dict().items()}
