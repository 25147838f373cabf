"""What a file of weights is, by the names and shapes of its tensors; no network is built and torch is not imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference.encoders.checkpoints import Inspection, TensorInfo

# names that OpenAI's published archives have and no other
ARCHIVE_NAMES = ("input_resolution", "context_length", "vocab_size")
# what names of tensors begin with -> what they belong to, the more telling first
FAMILIES = (
    (r"(exp_avg|momentum_buffer|state\.\d+\.|param_groups)", "optimizer state"),
    (r"text_decoder\.", "CoCa's text decoder"),
    (r"(text_model|vision_model|visual_projection|text_projection\.weight)", "a two-tower model of transformers"),
    (r"(image_encoder|text_encoder|image_projection)\.", "the tutorial CLIP"),
    (r"visual\.trunk\.", "an image tower of timm inside open_clip"),
    (r"visual\.", "the image tower of a CLIP"),
    (r"(text\.|transformer\.resblocks|token_embedding|ln_final|positional_embedding)", "the text tower of a CLIP"),
    (r"(fc|head|classifier|heads?)\.(\d+\.)?(weight|bias)$", "a classification head"),
    (r"(layer[1-4]\.\d|conv1\.weight|bn1\.)", "a ResNet"),
    (r"features\.(conv0|norm0|denseblock)", "a DenseNet"),
    (r"(blocks\.\d+\.|patch_embed\.|cls_token|pos_embed)", "a vision transformer of timm"),
    (r"(stem|stages)\.", "a convolutional network of timm"),
    (r"(features|classifier)\.\d", "a network of torchvision"),
    (r"((vit|dinov2|model)\.)?(embeddings|encoder\.layer)\.", "a transformer of transformers"),
    (r"(encoder|decoder)\.", "an encoder or decoder"),
)
IMAGE_MODELS = ("a ResNet", "a DenseNet", "a vision transformer of timm", "a convolutional network of timm",
                "a network of torchvision")  # fmt: skip
VISION = {"layers": 12, "width": 768, "patch_size": 16, "image_size": 224, "mlp_ratio": 4.0}  # open_clip's defaults
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "layers": 12, "mlp_ratio": 4.0}


@dataclass(frozen=True)
class ClipSizes:
    """All of a CLIP's architecture that shapes show. image: side in pixels; vision_layers: a number for a transformer,
    four for a ResNet; None where the image tower is timm's and does not show it."""

    embed_dim: int
    image: int | None
    patch: int | None
    vision_width: int | None
    vision_layers: int | tuple[int, ...] | None
    vision_hidden: int | None
    scaled: bool
    normed_first: bool
    context: int
    vocabulary: int
    text_width: int
    text_layers: int

    def words(self) -> str:
        """For a message."""
        tower = f"image tower {self.vision_width} wide, {self.vision_layers} layers, {self.image} pixels"
        tower = tower if self.vision_width else f"image tower of timm, {self.image or '?'} pixels"
        return f"{tower}; text tower {self.text_width} wide, {self.text_layers} layers; {self.embed_dim} dimensions"


def looks_like(names: Iterable[str]) -> str:
    """What tensors of these names belong to, in words; '' where nothing is known of them."""
    found: dict[str, int] = {}
    for name in names:
        family = next((words for pattern, words in FAMILIES if re.match(pattern, name)), "")
        found[family] = found.get(family, 0) + 1
    ranked = sorted((words for words in found if words), key=lambda words: -found[words])
    return " and ".join(ranked[:2])


def image_model(names: Iterable[str]) -> str:
    """What kind of image model these names are, in words; '' for none."""
    family = looks_like(name for name in names if not re.match(r"(fc|head|classifier)\.", name))
    return family if family in IMAGE_MODELS else ""


def has_clip_names(names: Mapping[str, Any]) -> bool:
    """Whether there is an image tower and a text tower, named as OpenAI and open_clip name them."""
    return any(name.startswith("visual.") for name in names) and (
        "token_embedding.weight" in names or any(name.startswith("text.") for name in names)
    )


def is_openai_archive(inspection: Inspection) -> bool:
    """Whether OpenAI published it, or somebody saved what OpenAI's own program loads from such a file."""
    return inspection.scripted or all(name in inspection.tensors for name in ARCHIVE_NAMES)


def clip_sizes(tensors: Mapping[str, TensorInfo]) -> ClipSizes | None:
    """The architecture of a CLIP in OpenAI's or open_clip's names; None where the shapes do not say it."""
    if any(name.startswith("text_decoder.") for name in tensors):  # CoCa
        return None
    try:
        text = _text_sizes(tensors, "" if "token_embedding.weight" in tensors else "text.")
        return ClipSizes(**_vision_sizes(tensors), **text)
    except (KeyError, IndexError, ValueError):
        return None


def fitting(sizes: ClipSizes, configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of those of open_clip's configurations that have these sizes."""
    return [name for name, config in configs.items() if _fits(sizes, config)]


def _text_sizes(tensors: Mapping[str, TensorInfo], prefix: str) -> dict[str, Any]:
    vocabulary, width = tensors[f"{prefix}token_embedding.weight"].shape
    if f"{prefix}text_projection" in tensors:
        embed_dim = tensors[f"{prefix}text_projection"].shape[1]
    else:
        embed_dim = tensors[f"{prefix}text_projection.weight"].shape[0]
    return {
        "embed_dim": embed_dim,
        "context": tensors[f"{prefix}positional_embedding"].shape[0],
        "vocabulary": vocabulary,
        "text_width": width,
        "text_layers": _count(tensors, rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\."),
    }


def _vision_sizes(tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("image", "patch", "vision_width", "vision_layers", "vision_hidden"))
    found |= {"scaled": "visual.transformer.resblocks.0.ls_1.gamma" in tensors, "normed_first": True}
    if "visual.conv1.weight" in tensors and "visual.positional_embedding" in tensors:  # a vision transformer
        width, _, patch, _ = tensors["visual.conv1.weight"].shape
        cells = tensors["visual.positional_embedding"].shape[0] - 1
        found |= {"image": _side(cells) * patch, "patch": patch, "vision_width": width}
        found["vision_layers"] = _count(tensors, r"visual\.transformer\.resblocks\.(\d+)\.")
        found["vision_hidden"] = tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        found["normed_first"] = "visual.ln_pre.weight" in tensors
    elif "visual.attnpool.positional_embedding" in tensors:  # a ResNet: 32 pixels a cell
        found["image"] = 32 * _side(tensors["visual.attnpool.positional_embedding"].shape[0] - 1)
        found["vision_width"] = tensors["visual.layer1.0.conv1.weight"].shape[0]
        found["vision_layers"] = tuple(_count(tensors, rf"visual\.layer{n}\.(\d+)\.") for n in (1, 2, 3, 4))
    elif "visual.trunk.patch_embed.proj.weight" in tensors and "visual.trunk.pos_embed" in tensors:
        patch = tensors["visual.trunk.patch_embed.proj.weight"].shape[-1]
        cells = tensors["visual.trunk.pos_embed"].shape[1] - ("visual.trunk.cls_token" in tensors)
        found |= {"image": _side(cells) * patch, "patch": patch}
    elif not any(name.startswith("visual.trunk.") for name in tensors):
        raise ValueError("no image tower that is known")
    return found


def _side(cells: int) -> int:
    side = round(cells**0.5)
    if side * side != cells:
        raise ValueError(f"{cells} cells are no square")
    return side


def _count(tensors: Mapping[str, TensorInfo], pattern: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})


def _fits(sizes: ClipSizes, config: Mapping[str, Any]) -> bool:
    vision, text = VISION | config["vision_cfg"], TEXT | config["text_cfg"]
    if "hf_model_name" in text or "multimodal_cfg" in config:
        return False
    if (config["embed_dim"], text["context_length"], text["vocab_size"], text["width"], text["layers"]) != (
        sizes.embed_dim, sizes.context, sizes.vocabulary, sizes.text_width, sizes.text_layers):  # fmt: skip
        return False
    if "timm_model_name" in vision:
        return sizes.vision_width is None and _trunk_fits(sizes, vision)
    layers = tuple(vision["layers"]) if isinstance(vision["layers"], list) else vision["layers"]
    if (sizes.vision_width, sizes.vision_layers, sizes.image) != (vision["width"], layers, vision["image_size"]):
        return False
    if isinstance(layers, tuple):
        return True
    return (sizes.patch, sizes.vision_hidden, sizes.scaled, sizes.normed_first) == (
        vision["patch_size"],
        int(vision["width"] * vision["mlp_ratio"]),
        vision.get("ls_init_value") is not None,
        not vision.get("no_ln_pre", False),
    )


def _trunk_fits(sizes: ClipSizes, vision: Mapping[str, Any]) -> bool:
    patch = re.search(r"patch(\d+)", vision["timm_model_name"])
    if sizes.image is None or patch is None:
        return (sizes.image is None) == (patch is None)
    cells = vision["image_size"] // int(patch[1])
    return (sizes.image, sizes.patch) == (cells * int(patch[1]), int(patch[1]))


def read_configs(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> configuration, from open_clip's files."""
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
