"""Models of transformers: by id of the hub or from a folder, image models and those with a text side.

The networks and tokenisers are the library's own; code that comes with a model is never run. What makes a vector is
`encoder.feature`; `auto` takes, of these, the first that the model has:

1. projection: the image side of a two-tower model (CLIP, SigLIP ...), comparable with its texts;
2. pooler: the model's pooled output, where the file holds the pooler's weights;
3. cls: the class token of the last layer, where there is one;
4. pooler: the pooled output of networks that pool without weights (ConvNeXt, ResNet, Swin ...).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, EncoderError, Look, Runtime
from inference.encoders.checkpoints import inspect_checkpoint
from inference.encoders.folders import Folder, Wanted, called, find_folder, read_json
from inference.encoders.huggingface_images import FILES, preprocessing_of
from inference.encoders.image_settings import refuse_wrong, with_settings
from inference.encoders.networks import digest, dimension_of, first_few
from inference.encoders.tokens import LibraryTokenizer, Tokens
from inference.encoders.torch_model import TextSide, TorchEncoder
from inference.preprocessing import Preprocessing
from inference.probability import Rule

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

KEY, FEATURE = "encoder.model", "encoder.feature"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
TWO_TOWERS = ("align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip")
ONE_TOWER = (
    "VisionModelWithProjection"  # ends the name of the class of an image side that was saved with its projection
)
POOLER = re.compile(r"(^|\.)(pooler\.|head\.(probe|cls_token)$)")  # names of a pooler's weights
CLASS_TOKEN = re.compile(r"(^|\.)(?<!head\.)(cls_token|class_embedding)$")
SHIFTED = ("altclip",)  # positions of text start after the padding's number, as in RoBERTa
PADDED = ("siglip",)  # texts are padded to the context, and the padding is seen
REFUSED = {
    "siglip2": "it takes images of any shape as lists of patches (NaFlex), which is not supported; the SigLIP 2 models "
    "of one image size are",
    "timm_wrapper": "it is a timm model: say encoder=timm encoder.model=hf-hub:<organisation>/<name>",
}


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Find the folder and read what stands in it beside the weights."""
    refuse_wrong(arguments)
    model = arguments["model"]
    folder = find_folder(
        model,
        Wanted(needed=(("config.json",), WEIGHTS), helpful=(FILES,)),
        key=KEY,
        revision=arguments["revision"],
        checkpoints=look.checkpoints,
        otherwise=", or say encoder.model=<folder>",
    )
    model = called(model, folder)
    config = read_json(folder.path / "config.json", KEY)
    kind = _kind(model, config)
    files = _weight_files(folder)
    inspected = [inspect_checkpoint(file, KEY) for file in files]
    names = [name for part in inspected for name in part.tensors]
    feature = _feature(arguments["feature"], model, kind, config, names)
    preprocessing = _preprocessing(folder, model, arguments)
    hashes = tuple(look.content_hash(str(file)) for file in files)
    fingerprint = f"huggingface:1:{digest(config)}:{':'.join(hashes)}"
    tokenizer = _tokenizer_files(folder, model) if kind in TWO_TOWERS and feature == "projection" else []
    texts = ":".join(look.content_hash(str(file)) for file in tokenizer)
    return Description(
        name="huggingface",
        model=model,
        preprocessing=preprocessing.words(),
        image_fingerprint=f"{fingerprint}:{feature}:{preprocessing.fingerprint()}",
        text_fingerprint=f"{fingerprint}:{texts}" if tokenizer else None,
        weights=tuple(str(file) for file in files),
        hashes=hashes,
        revision=folder.revision,
        recognised=f"transformers model '{kind}', {inspected[0].format} ({folder.where}), feature: {feature}",
        facts=(
            ("folder", str(folder.path)),
            ("kind", kind),
            ("feature", feature),
            ("before_patches", _before_patches(config, names)),
            ("preprocessing", asdict(preprocessing)),
        ),
        published=folder.revision is not None,
    )


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> TorchEncoder:
    """The network with its weights, all that the feature needs."""
    facts = dict(description.facts)
    preprocessing = Preprocessing(**facts["preprocessing"])
    with _quiet():
        network = _network(description.model, facts)
    encode_image = _image_side(network, facts)
    dimension = dimension_of(network, encode_image, preprocessing, description.model, "encoder.size")
    text = None if description.text_fingerprint is None else _text_side(network, facts)
    return TorchEncoder(description, runtime, network, preprocessing, encode_image, dimension, text)


def _kind(model: str, config: Mapping[str, Any]) -> str:
    """The model's type, if the library has it and it takes images. Raises EncoderError."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise EncoderError(f"config.json of {model} has no model_type: it is not a model of transformers", KEY)
    if kind in REFUSED:
        raise EncoderError(f"{model}: {REFUSED[kind]}", KEY)
    if "quantization_config" in config:
        raise EncoderError(f"{model} has quantised weights, which are not supported: take the original", KEY)
    if kind in (*TWO_TOWERS, "dinov2", "vit", "clip_vision_model"):  # the most common: known without the library
        return kind
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_MAPPING_NAMES, MODEL_MAPPING_NAMES

    if kind in MODEL_FOR_IMAGE_MAPPING_NAMES:
        return kind
    if kind not in MODEL_MAPPING_NAMES and "auto_map" in config:
        raise EncoderError(f"{model} needs code of its own from the hub (type {kind}), which is never run", KEY)
    if kind not in MODEL_MAPPING_NAMES:
        raise EncoderError(f"{model} is of type {kind}, which this release of transformers does not know", KEY)
    raise EncoderError(f"{model} is of type {kind}: neither an image model nor one of {', '.join(TWO_TOWERS)}", KEY)


def _weight_files(folder: Folder) -> list[Path]:
    """The file of weights, or all parts that an index names."""
    first = folder.first(*WEIGHTS) or folder.path / WEIGHTS[0]
    if first.suffix != ".json":
        return [first]
    table = read_json(first, KEY).get("weight_map")
    parts = sorted(set(table.values())) if isinstance(table, dict) else []
    if not parts or any(Path(part).name != part for part in parts):
        raise EncoderError(f"{first.name} names no files beside it", KEY)
    return [folder.path / part for part in parts]


def _feature(wanted: str, model: str, kind: str, config: Mapping[str, Any], names: Iterable[str]) -> str:
    """What 'auto' means for this model, or `wanted` if it has that. Raises EncoderError."""
    names = list(names)
    projects = kind in TWO_TOWERS or _architecture(config).endswith(ONE_TOWER)
    has_class_token = any(CLASS_TOKEN.search(name) for name in names)
    if wanted == "auto":
        if projects:
            return "projection"
        if kind == "clip_vision_model" or any(POOLER.search(name) for name in names):
            return "pooler"
        return "cls" if has_class_token else "pooler"
    if wanted == "projection" and not projects:
        raise EncoderError(f"{model} has no projection: choose auto, pooler, cls or mean", FEATURE)
    if wanted == "cls" and not has_class_token:
        raise EncoderError(f"{model} has no class token: choose auto, pooler or mean", FEATURE)
    return wanted


def _architecture(config: Mapping[str, Any]) -> str:
    return str((config.get("architectures") or [""])[0])


def _before_patches(config: Mapping[str, Any], names: Iterable[str]) -> int:
    """Tokens before those of the patches: class, distillation and register tokens."""
    names = list(names)
    special = any(CLASS_TOKEN.search(name) for name in names) + any(n.endswith("distillation_token") for n in names)
    return special + int(config.get("num_register_tokens") or 0)


def _preprocessing(folder: Folder, model: str, arguments: Mapping[str, Any]) -> Preprocessing:
    try:
        shipped = preprocessing_of(folder, model)
    except EncoderError:
        if any(arguments[name] is None for name in ("size", "mean", "std")):
            raise
        shipped = None  # all that matters is said by the user
    return with_settings(shipped, arguments, f"{model} has no {FILES[0]}")


def _tokenizer_files(folder: Folder, model: str) -> list[Path]:
    if folder.first(*TOKENIZER) is None:
        log.warning("%s: images only, there is no tokeniser beside its weights (%s)", model, " or ".join(TOKENIZER))
        return []
    known = {*TOKENIZER, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
    return sorted(file for file in folder.path.iterdir() if file.name in known)


def _network(model: str, facts: Mapping[str, Any]) -> Any:
    """The library's network from the folder, no part that matters left random."""
    import torch
    import transformers

    folder = facts["folder"]
    architecture = _architecture(read_json(Path(folder) / "config.json", KEY))
    cls: Any = getattr(transformers, architecture) if architecture.endswith(ONE_TOWER) else transformers.AutoModel
    settings = {"mask_ratio": 0.0} if facts["kind"] == "vit_mae" else {}  # else three quarters of an image are hidden
    try:
        network, report = cls.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **settings,
        )
    except Exception as error:  # OSError, ValueError, RuntimeError, SafetensorError ... by the kind of fault
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"{model}: transformers cannot load it: {reason}", KEY) from error
    missing = sorted(name for name in report["missing_keys"] if not _unused(name, facts["feature"]))
    if missing and all(POOLER.search(name) for name in missing):
        raise EncoderError(f"{model}: its weights have no pooler, which would be random: choose cls or mean", FEATURE)
    if missing:
        what = f"{len(missing)} tensors are not in its weights and would be random ({first_few(missing)})"
        raise EncoderError(f"{model}: {what}: they are not those of {type(network).__name__}", KEY)
    return network


def _unused(name: str, feature: str) -> bool:
    """Whether a tensor takes no part in the feature."""
    return feature in ("cls", "mean") and POOLER.search(name) is not None


def _image_side(network: Any, facts: Mapping[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    feature, before = facts["feature"], facts["before_patches"]
    if feature == "projection":
        if facts["kind"] in TWO_TOWERS:
            return lambda pixels: network.get_image_features(pixel_values=pixels).pooler_output
        return lambda pixels: network(pixel_values=pixels).image_embeds
    tower = network.vision_model if facts["kind"] in TWO_TOWERS else network
    visible = _all_patches if facts["kind"] == "vit_mae" else _nothing_more

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        output = tower(pixel_values=pixels, **visible(network, pixels))
        if feature == "pooler":
            return _pooled(output)
        last = output.last_hidden_state
        if feature == "cls":
            return last[:, 0]
        return last.flatten(2).mean(2) if last.ndim == 4 else last[:, before:].mean(1)

    return encode


def _pooled(output: Any) -> torch.Tensor:
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        raise EncoderError("the model has no pooled output: choose cls or mean", FEATURE)
    vectors: torch.Tensor = pooled.flatten(1)
    return vectors


def _nothing_more(network: Any, pixels: torch.Tensor) -> dict[str, Any]:
    return {}


def _all_patches(network: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """ViT-MAE shuffles its patches by random numbers: rising ones leave them where they are."""
    import torch

    patch = network.config.patch_size
    count = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
    return {"noise": torch.arange(count, device=pixels.device).repeat(len(pixels), 1)}


def _text_side(network: Any, facts: Mapping[str, Any]) -> TextSide:
    sizes = network.config.text_config
    context = int(sizes.max_position_embeddings) - (sizes.pad_token_id + 1 if facts["kind"] in SHIFTED else 0)
    padded = facts["kind"] in PADDED

    @functools.cache
    def tokenizer() -> LibraryTokenizer:
        found = _tokenizer(facts["folder"])
        names = [name for name in found.model_input_names if not (padded and name == "attention_mask")]
        return LibraryTokenizer(found, min(context, int(found.model_max_length)), padded, names)

    def tokenize(texts: list[str]) -> Tokens:
        with _quiet():
            return tokenizer().tokens(texts)

    def batch(rows: list[Any], length: int | None) -> Any:
        with _quiet():
            return tokenizer().batch(rows, length)

    return TextSide(
        tokenize=tokenize,
        batch=batch,
        encode=lambda tokens: network.get_text_features(**tokens).pooler_output,
        rule=_rule(network, facts["kind"]),
    )


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # ImportError, OSError, ValueError ... by what is missing
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"its tokeniser cannot be loaded: {reason}", KEY) from error


def _rule(network: Any, kind: str) -> Rule:
    if kind == "align":
        return Rule(1 / network.temperature.item())
    return Rule(network.logit_scale.exp().item(), network.logit_bias.item() if kind == "siglip" else None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings, reports and progress bars: what matters of them is an error or a line of ours."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
