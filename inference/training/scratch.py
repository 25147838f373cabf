"""A CLIP to begin with: a folder as open_clip reads it, with random weights and a tokeniser made of the texts.

The image tower is a ViT, the text tower a causal transformer whose vector is taken at the mark of the end: OpenAI's
form, as small as wished. Words are what the texts are split into (letters and digits, or anything else that is not
white space), made small; the mark of the end has the highest number, because open_clip finds it so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.encoders import open_clip_modules
from inference.preprocessing import CLIP_MEAN, CLIP_STD

PAD, UNKNOWN, START, END = "<pad>", "<unknown>", "<start>", "<end>"
HEAD = 32  # width of an attention head, unless the width has no such divisor
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@dataclass(frozen=True)
class Architecture:
    """image_size, patch: pixels; width, layers: of the image tower; dimension: of the vectors; context: tokens of a
    text with the marks of start and end; words: most that the tokeniser knows, the most frequent; 0: CLIP's own
    tokeniser (49,408 entries) instead. Raises ValueError for what cannot be built, in words."""

    image_size: int = 32
    patch: int = 8
    width: int = 64
    layers: int = 4
    dimension: int = 64
    text_width: int = 64
    text_layers: int = 2
    context: int = 16
    words: int = 10_000

    def __post_init__(self) -> None:
        if self.image_size % self.patch:
            raise ValueError(f"image_size {self.image_size} is no multiple of patch {self.patch}")

    def config(self, vocabulary: int) -> dict[str, Any]:
        """open_clip's `model_cfg`."""
        text: dict[str, Any] = {"context_length": self.context, "vocab_size": vocabulary, "width": self.text_width}
        text |= {"heads": heads(self.text_width), "layers": self.text_layers}
        if self.words:
            text["hf_tokenizer_name"] = "tokenizer.json beside this file"
        vision = {"image_size": self.image_size, "layers": self.layers, "width": self.width}
        vision |= {"head_width": self.width // heads(self.width), "patch_size": self.patch}
        return {"embed_dim": self.dimension, "vision_cfg": vision, "text_cfg": text}


def heads(width: int) -> int:
    """As many attention heads of HEAD numbers as fit; fewer where they do not fit evenly.

    >>> heads(96), heads(80), heads(16)
    (3, 2, 1)
    """
    return next(count for count in range(max(1, width // HEAD), 0, -1) if width % count == 0)


def make(folder: Path, architecture: Architecture, texts: Iterable[str], seed: int) -> Path:
    """The folder of a new model, from the same seed the same; `texts` with repeats give the words. Returns it."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = 49_408
    if architecture.words:
        vocabulary = _tokenizer(folder, texts, architecture)
    config = architecture.config(vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = open_clip_modules.own("model").CLIP(**config)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    told = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": told}, indent=2), encoding="utf-8")
    return folder


def _tokenizer(folder: Path, texts: Iterable[str], architecture: Architecture) -> int:
    """Write tokenizer.json and its config; how many tokens there are."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    split = pre_tokenizers.Whitespace()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text)))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: architecture.words]
    numbers = {token: i for i, token in enumerate([PAD, UNKNOWN, *sorted(ranked), START, END])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, numbers[token]) for token in (START, END)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=START, eos_token=END,
        model_max_length=architecture.context,
    )  # fmt: skip
    wrapped.save_pretrained(folder)
    told = folder / "tokenizer_config.json"  # the class by the name that transformers of every version knows
    settings = json.loads(told.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    told.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return len(numbers)
