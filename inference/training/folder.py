"""The folder that a training leaves: weights, config, tokeniser, a card for programs and one for people.

A CLIP of open_clip's or OpenAI's form becomes a folder that open_clip itself opens ('local-dir:'); the tutorial's
becomes a file of its own names. Both are read by encoder=checkpoint.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, EncoderError
from inference.encoders.checkpoint import OWN, TUTORIAL
from inference.preprocessing import Preprocessing
from inference.training.scratch import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

CARD, README = "card.json", "README.md"
TOKENIZER = ("tokenizer", "special_tokens", "vocab", "merges", "spiece", "sentencepiece", "added_tokens")


def must_be_writable(description: Description, key: str) -> None:
    """Raises EncoderError where what was trained from it could not be put down so that it can be read again."""
    _form(description, key)


def write(
    folder: Path, description: Description, weights: Mapping[str, torch.Tensor], preprocessing: Preprocessing,
    card: Mapping[str, Any],
) -> Path:  # fmt: skip
    """The whole folder, of these weights in the network of `description`; the card last. Returns it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    kind, facts = _form(description, "training.base")
    if kind == "tutorial":
        told: dict[str, Any] = {
            "format": OWN,
            "architecture": "tutorial",
            "preprocessing": json.dumps(asdict(preprocessing)),
        }
        save_file(tensors, folder / TUTORIAL, told)
    else:
        save_file(tensors, folder / WEIGHTS)
        told = {"model_cfg": _model(kind, facts, description), "preprocess_cfg": _prepared(preprocessing)}
        _write_json(folder / CONFIG, told)
    if facts.get("tokenizer"):
        _put_tokenizer(Path(facts["tokenizer"]), folder, kind)
    (folder / README).write_text(readme(card), encoding="utf-8")
    _write_json(folder / CARD, card)
    return folder


def _form(description: Description, key: str) -> tuple[str, dict[str, Any]]:
    """Which kind of encoder holds the network, 'openai', 'open_clip' or 'tutorial', and what it knows of it."""
    facts = dict(description.facts)
    kind = facts.get("kind", description.name)
    if kind == "checkpoint":
        return "tutorial", facts
    if kind not in ("openai", "open_clip"):
        raise EncoderError(
            f"{description.model} is a model of transformers: what is trained from it could not be written; take one "
            "of openai or open_clip",
            key,
        )
    return kind, dict(facts["facts"]) if "facts" in facts else facts


def _model(kind: str, facts: Mapping[str, Any], description: Description) -> dict[str, Any]:
    """open_clip's `model_cfg`."""
    if kind == "open_clip":
        config: dict[str, Any] = json.loads(facts["config"])
        return config
    from inference.encoders.checkpoints import inspect_checkpoint
    from inference.encoders.openai import HEAD, architecture_of

    file = Path(description.weights[0])
    a = architecture_of(inspect_checkpoint(file, "training.weights"), file.name, "training.weights")
    vision = {"layers": a.vision_layers, "width": a.vision_width, "patch_size": a.patch, "image_size": a.image_size}
    text = {"context_length": a.context, "vocab_size": a.vocabulary, "width": a.text_width}
    text |= {"heads": a.text_width // HEAD, "layers": a.text_layers}
    return {"embed_dim": a.dimension, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}


def _prepared(p: Preprocessing) -> dict[str, Any]:
    return {"mean": list(p.mean), "std": list(p.std), "interpolation": p.interpolation, "resize_mode": p.resize}


def _put_tokenizer(source: Path, folder: Path, kind: str) -> None:
    """Beside the weights: as it lies there, or whole, where a folder may have no more than its words."""
    if kind == "tutorial":
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(str(source), local_files_only=True).save_pretrained(folder)
        return
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name.startswith(TOKENIZER):
            shutil.copyfile(file, folder / file.name)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Of Python and of the packages that make the weights."""
    packages = ("torch", "open_clip_torch", "timm", "transformers", "tokenizers", "safetensors", "numpy", "Pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def readme(card: Mapping[str, Any]) -> str:
    """The model card: every value of the card, as text that Markdown does not read."""
    use = "Use: `python run.py encoder=checkpoint encoder.path=<this folder>`"
    lines = ["# A CLIP trained by clipscope", "", use, ""]
    parts = {part: values for part, values in card.items() if isinstance(values, Mapping)}
    if (seen := only_seen(card)) is not None:
        said = f"It began from nothing and has seen {_plain(seen)} alone: of other images its vectors mean little."
        lines += [said, ""]
    lines += [f"- {_plain(part)}: {_plain(value)}" for part, value in card.items() if part not in parts]
    for part, values in parts.items():
        lines += ["", f"## {_plain(part)}", "", "| | |", "|---|---|"]
        lines += [f"| {_plain(name)} | {_plain(value)} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def only_seen(card: Mapping[str, Any]) -> str | None:
    """The data set outside of which the model knows nothing; None for one that began from another."""
    base, data = card.get("base") or {}, card.get("data") or {}
    return str(data["dataset"]) if base.get("kind") == "scratch" and "dataset" in data else None


def _plain(value: Any) -> str:
    """Any value in a line of Markdown, with nothing in it that means something there."""
    text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    text = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|~&$" else c for c in text)
