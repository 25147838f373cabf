"""Image models of timm: by name, with its published weights or a file, from the hub (hf-hub:...) or a folder.

The networks are timm's own without their classifier: a vector is what the classifier would have seen, unless
`encoder.feature` says otherwise. Images are made RGB, then prepared as timm's `create_transform` does for evaluation.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, EncoderError, Look, Runtime
from inference.encoders.checkpoints import inspect_checkpoint, read_checkpoint
from inference.encoders.folders import Wanted, called, find_folder, folder_name, read_json
from inference.encoders.image_settings import refuse_wrong, with_settings
from inference.encoders.networks import digest, dimension_of, fill, first_few, misfits, with_counters
from inference.encoders.torch_model import TorchEncoder
from inference.encoders.weights import Hub, find_weights
from inference.preprocessing import CHANNELS, Preprocessing

if TYPE_CHECKING:
    import torch

HUB, FOLDER = "hf-hub:", "local-dir:"
MODEL, WEIGHTS = "encoder.model", "encoder.weights"
FILES = ("model.safetensors", "pytorch_model.bin")
MODES: dict[str, Any] = {"center": "shortest", "squash": "squash"}  # timm's crop_mode -> resize
PLANES: dict[int, Any] = {3: "rgb", 1: "gray"}  # channels of the first layer -> channels of the image
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")


@dataclass(frozen=True)
class _Source:
    """architecture: timm's name of it; published: timm's config of the weights; options: of `create_model`."""

    name: str
    architecture: str
    published: Mapping[str, Any]
    options: Mapping[str, Any]
    weights: Path
    where: str
    revision: str | None
    key: str  # the setting that says which weights


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Find the model and its weights."""
    refuse_wrong(arguments)
    found = _folder(arguments, look) if arguments["model"].startswith((HUB, FOLDER)) else _named(arguments, look)
    preprocessing = with_settings(_preprocessing(found, arguments), arguments)
    inspected = inspect_checkpoint(found.weights, found.key)
    weights = look.content_hash(str(found.weights))
    options = dict(found.options)
    if CHANNELS[preprocessing.channels] == 1:
        options["in_chans"] = 1
    if arguments["size"] is not None and found.published.get("fixed_input_size"):
        options["img_size"] = arguments["size"]
    heads = found.published.get("classifier") or ()
    classifier = _classifier((heads,) if isinstance(heads, str) else tuple(heads), inspected.tensors)
    network, feature = digest([found.architecture, options]), arguments["feature"]
    words = f"timm model {found.architecture}, {inspected.format} ({found.where}), feature: {feature}"
    return Description(
        name="timm",
        model=found.name,
        preprocessing=preprocessing.words(),
        image_fingerprint=f"timm:1:{network}:{feature}:{weights}:{preprocessing.fingerprint()}",
        weights=(str(found.weights),),
        hashes=(weights,),
        revision=found.revision,
        recognised=words + (f"; classifier left out: {first_few(classifier)}" if classifier else ""),
        facts=(
            ("architecture", found.architecture),
            ("options", json.dumps(options)),
            ("classifier", tuple(classifier)),
            ("key", found.key),
            ("preprocessing", asdict(preprocessing)),
        ),
    )


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> TorchEncoder:
    """The network with its weights, all of them but a classifier's."""
    facts = dict(description.facts)
    preprocessing = Preprocessing(**facts["preprocessing"])
    network = _filled(description, facts, preprocessing)
    encode_image = _image_side(network, arguments["feature"], description.model)
    dimension = dimension_of(network, encode_image, preprocessing, description.model, "encoder.size")
    return TorchEncoder(description, runtime, network, preprocessing, encode_image, dimension)


def _named(arguments: Mapping[str, Any], look: Look) -> _Source:
    """A model of timm's own list, with published weights or a file."""
    given = arguments["model"]
    architecture, _, tag = given.partition(".")
    known = _architectures()
    if architecture not in known:
        raise EncoderError(_no_model(architecture, known), MODEL)
    tags, published = _published(architecture, tag)
    if tag and tag not in tags:
        nearest = difflib.get_close_matches(tag, tags, 1, 0.5)
        advice = f"did you mean {architecture}.{nearest[0]}? " if nearest else ""
        have = f"it has {', '.join(tags)}" if tags else "it has none"
        raise EncoderError(f"timm has no weights '{tag}' for {architecture}: {advice}{have}", MODEL)
    if arguments["weights"] is not None:
        path = str(Path(arguments["weights"]).expanduser().resolve())
        found = find_weights(given, given=path, key=WEIGHTS, names=(), checkpoints=look.checkpoints, hub=None)
        return _Source(given, architecture, published, {}, found.path, found.where, None, WEIGHTS)
    name = f"{architecture}.{published['tag']}" if published.get("tag") else architecture
    repository = published.get("hf_hub_id")
    if not repository:
        have = f"; published: {', '.join(f'{architecture}.{tag}' for tag in tags)}" if tags else ""
        raise EncoderError(f"timm has no published weights of {name}: give a file{have}", WEIGHTS)
    file = published.get("hf_hub_filename")
    files = (file,) if file else FILES
    found = find_weights(
        name,
        given=None,
        key=WEIGHTS,
        names=(f"{name}.safetensors", *(f"{folder_name(repository)}/{file}" for file in files)),
        checkpoints=look.checkpoints,
        hub=Hub(repository, files, arguments["revision"]),
    )
    return _Source(name, architecture, published, {}, found.path, found.where, found.revision, MODEL)


def _folder(arguments: Mapping[str, Any], look: Look) -> _Source:
    """A repository of the hub or a folder, with timm's config.json."""
    given = arguments["model"]
    name = given.removeprefix(HUB).removeprefix(FOLDER)
    if given.startswith(FOLDER) and not Path(name).expanduser().is_dir():
        raise EncoderError(f"no such folder: {name}", MODEL)
    own = arguments["weights"] is not None
    folder = find_folder(
        name,
        Wanted(needed=(("config.json",),) if own else (("config.json",), FILES)),
        key=MODEL,
        revision=arguments["revision"],
        checkpoints=look.checkpoints,
        otherwise=f", or say encoder.model={FOLDER}<folder>",
    )
    name = called(given, folder)
    config = read_json(folder.path / "config.json", MODEL)
    architecture, published = config.get("architecture"), dict(config.get("pretrained_cfg") or config)
    if not isinstance(architecture, str):
        raise EncoderError(f"config.json of {name} is not one of timm's: it names no architecture", MODEL)
    known = _architectures()
    if architecture not in known:
        raise EncoderError(_no_model(architecture, known), MODEL)
    options = {key: value for key, value in (config.get("model_args") or {}).items() if key != "num_classes"}
    planes = options.pop("in_chans", None)
    if planes is not None:
        published["input_size"] = [planes, *published.get("input_size", [3, 224, 224])[1:]]
    if own:
        weights = Path(arguments["weights"]).expanduser().resolve()
        return _Source(name, architecture, published, options, weights, "as given", folder.revision, WEIGHTS)
    weights = folder.first(*FILES) or folder.path / FILES[0]
    return _Source(name, architecture, published, options, weights, folder.where, folder.revision, MODEL)


@functools.cache
def _architectures() -> tuple[str, ...]:
    """timm's models by name, read from its source: its import takes seconds."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError("the package timm is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    pattern = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
    return tuple(sorted({n for file in folder.glob("*.py") for n in pattern.findall(file.read_text(encoding="utf-8"))}))


def _published(architecture: str, tag: str) -> tuple[list[str], dict[str, Any]]:
    """The tags that have weights, and timm's config of `tag` (the default where that is '' or unknown)."""
    from timm.models import get_pretrained_cfg, list_pretrained

    names = [name for name in list_pretrained(f"{architecture}*") if name.partition(".")[0] == architecture]
    tags = [name.partition(".")[2] for name in names]
    found = get_pretrained_cfg(f"{architecture}.{tag}" if tag in tags and tag else architecture)
    return tags, found.to_dict() if found is not None else {}


def _no_model(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 3, 0.5)
    advice = f": did you mean {' or '.join(nearest)}?" if nearest else ""
    return f"timm has no model '{name}'{advice} (timm.list_models() lists all {len(tuple(known))})"


def _preprocessing(found: _Source, arguments: Mapping[str, Any]) -> Preprocessing:
    """What timm's `create_transform(**resolve_data_config(...))` does for evaluation."""
    from timm.data import resolve_data_config

    said = resolve_data_config(pretrained_cfg=dict(found.published))
    said |= {name: arguments[name] for name in ("mean", "std") if arguments[name] is not None}
    planes, height, width = said["input_size"]
    resize_to = math.floor(height / said["crop_pct"])
    if said["crop_mode"] not in MODES or planes not in PLANES or (height != width and said["crop_pct"] != 1):
        what = f"{planes}x{height}x{width}, crop_mode={said['crop_mode']}, crop_pct={said['crop_pct']}"
        raise EncoderError(f"{found.name} takes images in a way that is not supported: {what}", MODEL)
    try:
        return Preprocessing(
            size=(height, width),
            mean=tuple(said["mean"]),
            std=tuple(said["std"]),
            resize=MODES[said["crop_mode"]],
            resize_to=None if resize_to == height else resize_to,
            interpolation=said["interpolation"] if said["interpolation"] in INTERPOLATIONS else "bilinear",
            channels=PLANES[planes],
        )
    except ValueError as error:
        raise EncoderError(f"{found.name}: {error}", "encoder.mean") from error


def _classifier(heads: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """Of the names of a file's tensors those of its classifier."""
    return [name for name in names if name.rpartition(".")[0] in heads]


def _filled(description: Description, facts: Mapping[str, Any], preprocessing: Preprocessing) -> Any:
    """The network, filled from the file as it is, or as timm converts it from another layout."""
    import timm

    key, name, options = facts["key"], facts["architecture"], json.loads(facts["options"])
    read = read_checkpoint(description.weights[0], key).tensors
    network = timm.create_model(name, pretrained=False, num_classes=0, **options)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = with_counters(wanted, {name: read[name] for name in read if name not in facts["classifier"]})
    if not misfits(wanted, tensors):
        network.load_state_dict(tensors)
        return network
    _refuse_another_size(wanted, tensors, options, name)
    planes = CHANNELS[preprocessing.channels]
    converted = _converted(name, options, tensors, (planes, *preprocessing.size))
    if converted is not None:
        return converted
    fill(network, tensors, f"{name}{_channels_advice(wanted, tensors)}", key)
    return network


def _refuse_another_size(
    wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any], name: str
) -> None:
    """Positions of another size of image are resized where the user says the size, never in silence."""
    if "img_size" in options or "pos_embed" not in wanted or "pos_embed" not in tensors:
        return
    there, here = tuple(tensors["pos_embed"].shape), wanted["pos_embed"]
    if there != here:
        what = f"the weights are for another size of image than {name}'s (pos_embed is {there} instead of {here})"
        raise EncoderError(f"{what}: say it", "encoder.size")


def _converted(
    name: str, options: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], input_size: tuple[int, ...]
) -> Any:
    """The network filled by timm's own conversion (positions resized, other programs' names); None where that does
    not fit either."""
    import timm

    overlay = {"state_dict": dict(tensors), "input_size": input_size, "classifier": None, "source": None}
    try:
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, pretrained_strict=True, num_classes=0, **options
        )
    except (RuntimeError, KeyError, AttributeError, TypeError, ValueError, AssertionError):
        return None
    network.pretrained_cfg.pop("state_dict", None)  # a second copy of all weights
    return network


def _channels_advice(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, torch.Tensor]) -> str:
    """Where only the colours of the first layer differ: what to say."""
    for name, shape in wanted.items():
        if len(shape) == 4 and name in tensors and tensors[name].ndim == 4:
            there = int(tensors[name].shape[1])
            if there == shape[1]:
                return ""
            choice = "gray" if there == 1 else "rgb or gray_rgb"
            return f" for {shape[1]} channel(s), but for {there}: choose encoder.channels={choice}"
    return ""


def _image_side(network: Any, feature: str, model: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if feature == "pooled":
        return lambda pixels: network(pixels)
    before = int(getattr(network, "num_prefix_tokens", 0))
    if feature == "cls" and not getattr(network, "has_class_token", before > 0):
        raise EncoderError(f"{model} has no class token: choose pooled or mean", "encoder.feature")

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        tokens = network.forward_features(pixels)
        if tokens.ndim != 3:
            raise EncoderError(f"{model} has no tokens: choose pooled", "encoder.feature")
        return tokens[:, 0] if feature == "cls" else tokens[:, before:].mean(1)

    return encode
