"""Models of open_clip: by name and tag, from the hub (hf-hub:organisation/name) or a folder (local-dir:path).

The networks, tokenisers and preprocessing are open_clip's own; only finding and reading files is done here, because
the library retries an unreachable hub for most of a minute and fills with random numbers what it does not find.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.encoders import Description, EncoderError, Look, Runtime, open_clip_modules, text_towers
from inference.encoders.checkpoints import inspect_checkpoint, read_checkpoint
from inference.encoders.folders import Folder, Wanted, called, find_folder, folder_name, read_json
from inference.encoders.image_settings import refuse_wrong, with_settings
from inference.encoders.networks import digest, dimension_of, fill, fuse_quickgelu
from inference.encoders.tokens import Tokens, bpe_tokens, stacked, unknown
from inference.encoders.torch_model import TextSide, TorchEncoder
from inference.encoders.weights import Hub, find_weights
from inference.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from inference.probability import Rule

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

HUB, FOLDER = "hf-hub:", "local-dir:"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of a repository that names no other
LOCAL_WEIGHTS = (*WEIGHTS, "open_clip_pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin")
TOKENIZER = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "vocab.json")
CONFIG = "open_clip_config.json"
DEFAULTS = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
POSITION_IDS = "text.transformer.embeddings.position_ids"  # a buffer that transformers wrote until 4.31


@dataclass(frozen=True)
class _Source:
    """model: as open_clip's config has it; preprocess: what is not its default; tower: folder with the config of a text
    tower of transformers; tokenizer: folder, None where the library brings it along or there is none (`silent`: why
    texts cannot be encoded)."""

    name: str
    model: dict[str, Any]
    preprocess: Mapping[str, Any]
    weights: Path
    where: str
    revision: str | None
    tower: str | None = None
    tokenizer: str | None = None
    silent: str = ""


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Find the model, its weights and its tokeniser."""
    name = arguments["model"]
    found = _folder(arguments, look) if name.startswith((HUB, FOLDER)) else _named(arguments, look)
    refuse_wrong(arguments)
    preprocessing = with_settings(_preprocessing(found), arguments)
    inspected = inspect_checkpoint(found.weights, _weights_key(name))
    if inspected.scripted:  # only OpenAI published such archives, all with QuickGELU, which their tensors do not show
        found.model["quick_gelu"] = True
    weights = look.content_hash(str(found.weights))
    tower = look.content_hash(f"{found.tower}/config.json") if found.tower else ""
    fingerprint = f"open_clip:1:{digest(found.model)}:{tower}:{weights}"
    if found.silent:
        log.warning("%s: images only, its tokeniser is missing: %s", found.name, found.silent)
    return Description(
        name="open_clip",
        model=found.name,
        preprocessing=preprocessing.words(),
        image_fingerprint=f"{fingerprint}:{preprocessing.fingerprint()}",
        text_fingerprint=None if found.silent else f"{fingerprint}:{_tokenizer_hash(found, look)}",
        weights=(str(found.weights),),
        hashes=(weights,),
        revision=found.revision,
        recognised=f"open_clip model, {inspected.format} ({found.where})",
        facts=(
            ("config", json.dumps(found.model)),
            ("preprocessing", asdict(preprocessing)),
            ("tower", found.tower),
            ("tokenizer", found.tokenizer),
        ),
    )


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> TorchEncoder:
    """The network with its weights, all of them."""
    facts = dict(description.facts)
    config, preprocessing = json.loads(facts["config"]), Preprocessing(**facts["preprocessing"])
    network = _network(config, facts["tower"])
    _fill(network, config, description.weights[0], description.model, _weights_key(arguments["model"]))
    if not runtime.exact:
        fuse_quickgelu(network)

    def encode_image(pixels: torch.Tensor) -> torch.Tensor:
        return network.encode_image(pixels, normalize=False)

    dimension = dimension_of(network, encode_image, preprocessing, description.model, "encoder.model")
    text = None if description.text_fingerprint is None else _text_side(network, config, facts["tokenizer"])
    return TorchEncoder(description, runtime, network, preprocessing, encode_image, dimension, text)


def _weights_key(model: str) -> str:
    """The setting that says which weights."""
    return "encoder.model" if model.startswith((HUB, FOLDER)) else "encoder.pretrained"


def _named(arguments: Mapping[str, Any], look: Look) -> _Source:
    """A model of the library's own list, with weights by tag or from a file."""
    configs = config_files()
    name = arguments["model"].replace("/", "-")
    if name not in configs:
        raise EncoderError(_no_model(arguments["model"], list(configs)), "encoder.model")
    model = json.loads(configs[name].read_text(encoding="utf-8"))
    tags = open_clip_modules.tables().get(name, {})
    pretrained = arguments["pretrained"]
    if pretrained is None:
        raise EncoderError(f"{name} needs weights: {_listed(tags)}a file of yours", "encoder.pretrained")
    tag = pretrained.lower().replace("-", "_")
    file = Path(pretrained).expanduser()
    if tag in tags and not file.is_file():
        return _tagged(name, tag, model, tags[tag], arguments["revision"], look)
    if not file.is_file():
        raise EncoderError(_no_tag(name, pretrained, tags), "encoder.pretrained")
    where = find_weights(
        name, given=str(file.resolve()), key="encoder.pretrained", names=(), checkpoints=look.checkpoints, hub=None
    )
    return _with_text(_Source(name, model, _agreed(tags), where.path, where.where, None), None, look)


def _agreed(tags: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How images are prepared for a file of the user's: as for all published weights of that model where these agree
    (SigLIP's do, on other values than CLIP's), else the library's usual way."""
    published = [{key: tag[key] for key in DEFAULTS if key in tag} for tag in tags.values()]
    return published[0] if published and all(one == published[0] for one in published) else {}


def _tagged(
    name: str, tag: str, model: dict[str, Any], published: Mapping[str, Any], revision: str | None, look: Look
) -> _Source:
    repository, _, file = published["hf_hub"].rpartition("/")
    files = (str(Path(file).with_suffix(".safetensors")), file) if file else WEIGHTS
    found = find_weights(
        f"{name} ({tag})",
        given=None,
        key="encoder.pretrained",
        names=(f"{name}-{tag}.safetensors", f"{name}-{tag}.pt", *(f"{folder_name(repository)}/{n}" for n in files)),
        checkpoints=look.checkpoints,
        hub=Hub(repository, files, revision),
    )
    if published.get("quick_gelu"):  # else GELU takes its place without a word
        model["quick_gelu"] = True
    preprocess = {key: value for key, value in published.items() if key in DEFAULTS}
    source = _Source(f"{name} ({tag})", model, preprocess, found.path, found.where, found.revision)
    return _with_text(source, None, look)


def _folder(arguments: Mapping[str, Any], look: Look) -> _Source:
    """A repository of the hub or a folder, with its own open_clip_config.json."""
    given = arguments["model"]
    if arguments["pretrained"] is not None:
        raise EncoderError(f"{given} brings its own weights: leave it null", "encoder.pretrained")
    name = given.removeprefix(HUB).removeprefix(FOLDER)
    if given.startswith(FOLDER) and not Path(name).expanduser().is_dir():
        raise EncoderError(f"no such folder: {name}", "encoder.model")
    folder = find_folder(
        name,
        Wanted(needed=((CONFIG,), LOCAL_WEIGHTS)),
        key="encoder.model",
        revision=arguments["revision"],
        checkpoints=look.checkpoints,
        otherwise=", or say encoder.model=local-dir:<folder>",
    )
    config = read_json(folder.path / CONFIG, "encoder.model")
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config.get("model_cfg", {})):
        raise EncoderError(f"{CONFIG} of {name} describes no model (model_cfg)", "encoder.model")
    weights = folder.first(*LOCAL_WEIGHTS) or folder.path / LOCAL_WEIGHTS[0]
    preprocess = config.get("preprocess_cfg") or {}
    source = _Source(called(given, folder), config["model_cfg"], preprocess, weights, folder.where, folder.revision)
    return _with_text(source, folder, look)


def _with_text(source: _Source, folder: Folder | None, look: Look) -> _Source:
    """The same with the files that its text side needs: the config of a text tower that is transformers', without which
    the network cannot be built, and a tokeniser that is not open_clip's own."""
    text = source.model["text_cfg"]
    tower, tokenizer = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if tower:
        source = replace(source, tower=str(_found_elsewhere(tower, ("config.json",), look)))
    if not tokenizer:
        return source
    beside = folder.path if folder is not None and folder.first(*TOKENIZER) else None
    if beside is not None and source.revision is None:  # as open_clip does it for a folder
        return replace(source, tokenizer=str(beside))
    try:
        return replace(source, tokenizer=str(_found_elsewhere(tokenizer, TOKENIZER, look)))
    except EncoderError as error:
        return replace(source, tokenizer=str(beside)) if beside else replace(source, silent=error.message)


def _found_elsewhere(model: str, files: tuple[str, ...], look: Look) -> Path:
    wanted = Wanted((files,))
    return find_folder(model, wanted, key="encoder.model", revision=None, checkpoints=look.checkpoints).path


def _preprocessing(found: _Source) -> Preprocessing:
    settings: dict[str, Any] = DEFAULTS | {key: value for key, value in found.preprocess.items() if value is not None}
    side = found.model["vision_cfg"].get("image_size", 224)
    height, width = (side, side) if isinstance(side, int) else (side[0], side[-1])
    if settings["fill_color"] and settings["resize_mode"] == "longest":
        raise EncoderError(f"{found.name} fills borders with {settings['fill_color']}: only black is done here")
    return Preprocessing(
        size=(height, width),
        mean=_three(settings["mean"]),
        std=_three(settings["std"]),
        resize=settings["resize_mode"],
        interpolation="bilinear" if settings["interpolation"] == "bilinear" else "bicubic",
        palette="resize_first",
    )


def _three(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,) * 3


def _network(config: dict[str, Any], tower: str | None = None) -> Any:
    """open_clip's own network, as its factory builds it, with random numbers in it."""
    config = deepcopy(config)
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"] |= {"hf_model_name": tower, "hf_model_pretrained": False}
    kind = "CoCa" if custom and "multimodal_cfg" in config else "CustomTextCLIP" if custom else "CLIP"
    networks = open_clip_modules.module_for(config, "coca_model" if kind == "CoCa" else "model")
    try:
        return getattr(networks, kind)(**config)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise EncoderError(f"open_clip cannot build it: {error}", "encoder.model") from error


def _fill(network: Any, config: Mapping[str, Any], file: str, what: str, key: str) -> None:
    """As open_clip's load_checkpoint, without its silent changes: no resized positions, no bias out of nothing."""
    convert, model = (open_clip_modules.module_for(config, name) for name in ("convert", "model"))
    tensors = convert.convert_state_dict(network, read_checkpoint(file, key).tensors)
    for name in ("input_resolution", "context_length", "vocab_size"):  # of OpenAI's archives
        tensors.pop(name, None)
    if "positional_embedding" in tensors and not hasattr(network, "positional_embedding"):
        tensors = model.convert_to_custom_text_state_dict(tensors)
    for name in ("logit_scale", "logit_bias"):
        wanted = getattr(network, name, None)
        if name in tensors and wanted is not None and tensors[name].numel() == wanted.numel():
            tensors[name] = tensors[name].reshape(wanted.shape)
    if POSITION_IDS not in network.state_dict():
        tensors.pop(POSITION_IDS, None)
    fill(network, tensors, what, key)


def _text_side(network: Any, config: Mapping[str, Any], folder: str | None) -> TextSide:
    @functools.cache
    def tokenizer() -> Any:
        return _tokenizer(config["text_cfg"], folder)

    scale = network.logit_scale.exp().item()
    bias = getattr(network, "logit_bias", None)
    lengths = text_towers.lengths_for(network)
    return TextSide(
        tokenize=lambda texts: _tokens(tokenizer(), texts, lengths),
        batch=stacked,
        encode=text_towers.encode(network),
        rule=Rule(scale, None if bias is None else bias.item()),
    )


def _tokenizer(text: Mapping[str, Any], folder: str | None) -> Any:
    """The tokeniser that open_clip's own `get_tokenizer` chooses, from local files."""
    library = open_clip_modules.own("tokenizer")
    context = text.get("context_length", library.DEFAULT_CONTEXT_LENGTH)
    settings = text.get("tokenizer_kwargs") or {}
    if folder is None:
        return library.SimpleTokenizer(context_length=context, **settings)
    return library.HFTokenizer(folder, context_length=context, tokenizer_mode=text.get("tokenizer_mode"), **settings)


def _tokens(tokenizer: Any, texts: list[str], lengths: text_towers.Lengths) -> Tokens:
    """Rows as the library's own call makes them."""
    if getattr(tokenizer, "reduction_fn", None) is not None:  # its own way to shorten what is too long
        rows, found = tokenizer(texts), [tokenizer.encode(text) for text in texts]
        cut = np.array([len(ids) + 2 > tokenizer.context_length for ids in found], bool)
        return Tokens(list(rows), lengths(rows), cut, np.array([not ids for ids in found], bool))
    if hasattr(tokenizer, "encode"):  # open_clip's own
        return bpe_tokens(tokenizer, texts, tokenizer.context_length, lengths)
    rows = tokenizer(texts)
    inner, special = tokenizer.tokenizer, 3  # 'clips' mode adds start, end and class
    clips = tokenizer.tokenizer_mode == "clips"
    clean = [tokenizer.clean_fn(text) for text in texts]
    found = inner(clean, add_special_tokens=not clips, verbose=False)["input_ids"]
    cut = np.array([len(ids) + (special if clips else 0) > tokenizer.context_length for ids in found], bool)
    return Tokens(list(rows), lengths(rows), cut, unknown(inner, found))


def _tokenizer_hash(found: _Source, look: Look) -> str:
    if found.tokenizer is None:
        return "open_clip's own"
    files = sorted(file for file in Path(found.tokenizer).iterdir() if file.name.startswith(("token", "special")))
    files += [Path(found.tokenizer) / name for name in TOKENIZER[1:] if (Path(found.tokenizer) / name).is_file()]
    return ":".join(look.content_hash(str(file)) for file in files)


def config_files() -> dict[str, Path]:
    """Name -> file of all of the library's models; read from its folder, because its import takes seconds."""
    return {file.stem: file for file in sorted((open_clip_modules.folder() / "model_configs").glob("*.json"))}


def _no_model(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 3, 0.5)
    advice = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    return f"open_clip has no model '{name}': {advice}It has {len(known)}: {', '.join(known)}"


def _no_tag(model: str, tag: str, tags: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(tag, list(tags), 1, 0.5)
    advice = f"did you mean {nearest[0]}? " if nearest else ""
    return f"'{tag}' is no file, and no tag of {model}: {advice}Allowed: {_listed(tags)}a file of yours"


def _listed(tags: Mapping[str, Any]) -> str:
    return f"{', '.join(tags)} or " if tags else ""
