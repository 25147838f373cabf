"""The CLIP that many tutorials build: ResNet-50 and DistilBERT with a projection head each (PyTorch names kept).

Image: timm's resnet50 without its classifier, averaged over the picture: 2,048 numbers. Text: DistilBERT's first token.
Head: p = projection(x); layer_norm(fc(GELU(p)) + p), 256 numbers. Neither is scaled to length 1. Pictures are squashed
to 224x224 as OpenCV's INTER_LINEAR does it (bilinear, not antialiased), which is what the tutorial's albumentations
calls; `antialias` is for a model that was trained with torchvision's or Pillow's bilinear resizing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, EncoderError, Look, Runtime
from inference.encoders.checkpoints import TensorInfo, read_checkpoint
from inference.encoders.folders import Wanted, find_folder
from inference.encoders.networks import fill, with_counters
from inference.encoders.tokens import LibraryTokenizer
from inference.encoders.torch_model import TextSide, TorchEncoder
from inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from inference.probability import Rule

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SIDE = 224  # pixels
TOKENIZER = "distilbert-base-uncased"
CONTEXT = 200  # tokens that a text may have, start and end included
DROPOUT = 0.1  # of the heads
HEAD_WIDTH = 64  # of DistilBERT's attention; cannot be seen in its weights
# names that only this model has
MARKS = ("image_encoder.model.conv1.weight", "image_projection.projection.weight", "image_projection.layer_norm.weight")
HARMLESS = ("text_encoder.model.embeddings.position_ids",)  # a buffer that transformers wrote until 4.31


def is_tutorial(names: Mapping[str, Any]) -> bool:
    """Whether these names of tensors are the tutorial CLIP's."""
    return all(name in names for name in MARKS)


def describe(
    path: str, tensors: Mapping[str, TensorInfo], preprocessing: Preprocessing, look: Look, recognised: str
) -> Description:
    """The model in the file `path`, which holds these tensors."""
    digest = look.content_hash(path)
    folder = (
        _tokenizer_folder(look, Path(path).parent)
        if any(name.startswith("text_encoder.") for name in tensors)
        else None
    )
    text = None
    if folder is not None:
        files = (look.content_hash(f"{folder}/{name}") for name in _tokenizer_files(folder))
        text = f"tutorial:1:{digest}:{':'.join(files)}"
    return Description(
        name="checkpoint",
        model="tutorial CLIP (ResNet-50, DistilBERT)",
        preprocessing=preprocessing.words(),
        image_fingerprint=f"tutorial:1:{digest}:{preprocessing.fingerprint()}",
        text_fingerprint=text,
        weights=(path,),
        hashes=(digest,),
        recognised=recognised,
        facts=(("preprocessing", asdict(preprocessing)), ("tokenizer", folder)),
    )


def default_preprocessing(antialias: bool) -> Preprocessing:
    """The tutorial's: RGB, exactly 224x224, ImageNet's mean and deviation."""
    return Preprocessing(
        (SIDE, SIDE), IMAGENET_MEAN, IMAGENET_STD, resize="squash", interpolation="bilinear", antialias=antialias
    )


def load(description: Description, runtime: Runtime, key: str) -> TorchEncoder:
    """The network with all of its weights; its text side where the file has one and a tokeniser was found."""
    return of_tensors(description, read_checkpoint(description.weights[0], key).tensors, runtime, key)


def of_tensors(description: Description, given: Mapping[str, torch.Tensor], runtime: Runtime, key: str) -> TorchEncoder:
    """The network with these weights, every one in its place."""
    facts, tensors = dict(description.facts), dict(given)
    for name in HARMLESS:
        tensors.pop(name, None)
    network = _network(tensors, description.model, key)
    fill(network, with_counters(network.state_dict(), tensors), description.model, key)

    def encode_image(pixels: torch.Tensor) -> torch.Tensor:
        return _projected(network["image_projection"], network["image_encoder"]["model"](pixels))

    def encode_text(tokens: Any) -> torch.Tensor:
        hidden = network["text_encoder"]["model"](**tokens).last_hidden_state
        return _projected(network["text_projection"], hidden[:, 0])

    text = None
    if description.text_fingerprint is not None:
        # the loss of its training takes dot products as they are, at temperature 1
        tokenizer = _tokenizer(facts["tokenizer"])
        text = TextSide(tokenizer.tokens, tokenizer.batch, encode_text, Rule(1.0))
    dimension = network["image_projection"]["fc"].out_features
    preprocessing = Preprocessing(**facts["preprocessing"])
    return TorchEncoder(description, runtime, network, preprocessing, encode_image, dimension, text)


def _network(tensors: Mapping[str, torch.Tensor], what: str, key: str) -> Any:
    """The architecture with random numbers in it, as wide and deep as the tensors say."""
    import timm
    from torch.nn import ModuleDict

    tower = timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="avg")
    parts = {
        "image_encoder": ModuleDict({"model": tower}),
        "image_projection": _head(tensors, "image_projection", what, key),
    }
    if any(name.startswith("text_") for name in tensors):
        parts["text_encoder"] = ModuleDict({"model": _distilbert(tensors, what, key)})
        parts["text_projection"] = _head(tensors, "text_projection", what, key)
    return ModuleDict(parts)


def _head(tensors: Mapping[str, torch.Tensor], name: str, what: str, key: str) -> Any:
    width, taken = _shape(tensors, f"{name}.projection.weight", 2, what, key)
    return new_head(taken, width)


def new_head(taken: int, width: int) -> Any:
    """From vectors of a tower, `taken` numbers, to the width that both towers share; random weights."""
    from torch.nn import LayerNorm, Linear, ModuleDict

    return ModuleDict({"projection": Linear(taken, width), "fc": Linear(width, width), "layer_norm": LayerNorm(width)})


def _distilbert(tensors: Mapping[str, torch.Tensor], what: str, key: str) -> Any:
    from transformers import DistilBertConfig, DistilBertModel

    inner = "text_encoder.model."
    vocabulary, width = _shape(tensors, f"{inner}embeddings.word_embeddings.weight", 2, what, key)
    positions, _ = _shape(tensors, f"{inner}embeddings.position_embeddings.weight", 2, what, key)
    hidden, _ = _shape(tensors, f"{inner}transformer.layer.0.ffn.lin1.weight", 2, what, key)
    layers = {
        match[1] for name in tensors if (match := re.match(rf"{re.escape(inner)}transformer\.layer\.(\d+)\.", name))
    }
    if width % HEAD_WIDTH:
        raise EncoderError(f"{what}: a text tower of width {width}, which is no multiple of {HEAD_WIDTH}", key)
    return DistilBertModel(
        DistilBertConfig(
            vocab_size=vocabulary,
            max_position_embeddings=positions,
            n_layers=len(layers),
            n_heads=width // HEAD_WIDTH,
            dim=width,
            hidden_dim=hidden,
        )
    )


def _shape(tensors: Mapping[str, torch.Tensor], name: str, axes: int, what: str, key: str) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != axes:
        raise EncoderError(f"not the weights of {what}: {name} is missing or has another shape", key)
    return tuple(tensors[name].shape)


def _projected(head: Any, vectors: torch.Tensor) -> torch.Tensor:
    """(n, width of the tower) -> (n, width of the head); its dropout acts in training only."""
    from torch.nn.functional import dropout, gelu

    projected = head["projection"](vectors)
    hidden = dropout(head["fc"](gelu(projected)), DROPOUT, training=head.training)
    found: torch.Tensor = head["layer_norm"](hidden + projected)
    return found


def _tokenizer(folder: str) -> LibraryTokenizer:
    """DistilBERT's own, from local files."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return LibraryTokenizer(tokenizer, CONTEXT, names=("input_ids", "attention_mask"))


def _tokenizer_folder(look: Look, beside: Path) -> str | None:
    """Where the tokeniser's files are, those beside the weights first, or None: the image side does without."""
    if all((beside / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "card.json")):
        return str(beside)
    wanted = Wanted((("tokenizer.json", "vocab.txt"),))
    try:
        found = find_folder(TOKENIZER, wanted, key="encoder.path", revision=None, checkpoints=look.checkpoints)
    except EncoderError as error:
        log.warning("images only, the tokeniser of the text side is missing: %s", error.message)
        return None
    return str(found.path)


def _tokenizer_files(folder: str) -> list[str]:
    names = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
    return [name for name in names if (Path(folder) / name).is_file()]
