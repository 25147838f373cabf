"""A checkpoint of unknown make: recognised by what is in it, then read by the encoder that knows such models.

Recognised: OpenAI's archives and state dicts; open_clip's, also inside training checkpoints; folders of transformers
and open_clip; the tutorial CLIP; files that clipscope's own training writes. All but the folders may be safetensors,
torch files, Lightning checkpoints or TorchScript archives, wrapped as training programs do it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.encoders import KINDS, Description, Encoder, EncoderError, Look, Runtime, tutorial
from inference.encoders.checkpoints import Inspection, inspect_checkpoint
from inference.encoders.image_settings import refuse_wrong, with_settings
from inference.encoders.networks import first_few
from inference.encoders.recognition import (
    ClipSizes,
    clip_sizes,
    fitting,
    has_clip_names,
    image_model,
    is_openai_archive,
    looks_like,
    read_configs,
)
from inference.preprocessing import Preprocessing

log = logging.getLogger(__name__)

KEY = "encoder.path"
QUICK = "-quickgelu"  # how open_clip marks configurations with QuickGELU
OWN = "clipscope"  # value of 'format' in the metadata of a file that clipscope's training writes
TUTORIAL = "tutorial_clip.safetensors"  # in a folder that it writes
# what a delegated encoder's own settings are, where this one has none of its own
HUGGINGFACE = ("revision", "size", "channels")
PREPROCESSING = ("mean", "std", "resize", "interpolation")  # handed on to whatever reads the weights
DELEGATED_KEYS = ("encoder.model", "encoder.pretrained", "encoder.weights")


@dataclass(frozen=True)
class _Reader:
    """Who reads a checkpoint: a kind of KINDS with its arguments; what it was recognised as, in words."""

    kind: str
    arguments: dict[str, Any]
    words: str


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Recognise the file or folder; names and shapes are read, no numbers."""
    refuse_wrong(arguments)
    path = Path(arguments["path"]).expanduser().resolve()
    if (path / TUTORIAL).is_file():
        path = path / TUTORIAL
    if path.is_dir():
        return _delegated(_folder(path), arguments, look)
    inspection = inspect_checkpoint(path, KEY)
    inspection, architecture = _own(path, inspection)
    if architecture == "tutorial" or (not architecture and tutorial.is_tutorial(inspection.tensors)):
        return _tutorial(arguments, path, inspection, look)
    if architecture or has_clip_names(inspection.tensors):
        return _delegated(_clip(arguments, path, inspection, architecture), arguments, look)
    if (path.parent / "config.json").is_file() and path.stem in ("model", "pytorch_model"):
        return _delegated(_folder(path.parent), arguments, look)
    raise EncoderError(_unrecognised(path, inspection), KEY)


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> Encoder:
    """The encoder that `describe` recognised, with every weight of the file in its place."""
    facts = dict(description.facts)
    if "kind" not in facts:
        return tutorial.load(description, runtime, KEY)
    module = importlib.import_module(KINDS[facts["kind"]])
    with _about_the_path():
        encoder: Encoder = module.load(dict(facts["arguments"]), replace(description, facts=facts["facts"]), runtime)
    return encoder


def _delegated(reader: _Reader, given: Mapping[str, Any], look: Look) -> Description:
    arguments = reader.arguments | {name: given.get(name) for name in PREPROCESSING}
    module = importlib.import_module(KINDS[reader.kind])
    with _about_the_path():
        found: Description = module.describe(arguments, look)
    facts = (("kind", reader.kind), ("arguments", tuple(arguments.items())), ("facts", found.facts))
    return replace(found, name="checkpoint", recognised=reader.words, facts=facts)


@contextlib.contextmanager
def _about_the_path() -> Iterator[None]:
    """Errors about another encoder's setting for the file become errors about this one's."""
    try:
        yield
    except EncoderError as error:
        if error.key in DELEGATED_KEYS:
            raise EncoderError(error.message, KEY) from error
        raise


def _folder(path: Path) -> _Reader:
    if (path / "open_clip_config.json").is_file():
        arguments = {"model": f"local-dir:{path}", "pretrained": None, "revision": None}
        return _Reader("open_clip", arguments, f"open_clip folder {path.name}")
    if (path / "config.json").is_file():
        arguments = {"model": str(path), "feature": "auto", **dict.fromkeys(HUGGINGFACE)}
        return _Reader("huggingface", arguments, f"transformers folder {path.name}")
    listed = first_few(sorted(file.name for file in path.iterdir())) or "nothing"
    raise EncoderError(
        f"the folder {path.name} has neither config.json (transformers) nor open_clip_config.json: it holds {listed}",
        KEY,
    )


def _own(path: Path, inspection: Inspection) -> tuple[Inspection, str]:
    """What a file that clipscope wrote says that it is; '' for any other file."""
    metadata = inspection.metadata or {}
    if metadata.get("format") != OWN:
        return inspection, ""
    architecture = metadata.get("architecture", "")
    if architecture != "tutorial" and not architecture.startswith(("openai:", "open_clip:")):
        raise EncoderError(f"{path.name} was written by clipscope for an architecture that is not known here "
                           f"('{architecture}'): use the version that wrote it", KEY)  # fmt: skip
    return replace(inspection, format=f"safetensors of clipscope's training ({architecture})"), architecture


def _tutorial(arguments: Mapping[str, Any], path: Path, inspection: Inspection, look: Look) -> Description:
    preprocessing = tutorial.default_preprocessing(arguments["antialias"])
    if said := (inspection.metadata or {}).get("preprocessing"):
        try:
            preprocessing = Preprocessing(**{name: _hashable(value) for name, value in json.loads(said).items()})
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise EncoderError(f"{path.name}: its preprocessing cannot be read: {error}", KEY) from error
    preprocessing = with_settings(preprocessing, {name: arguments.get(name) for name in PREPROCESSING})
    words = _words("tutorial CLIP (ResNet-50, DistilBERT)", inspection)
    return tutorial.describe(str(path), inspection.tensors, preprocessing, look, words)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _clip(arguments: Mapping[str, Any], path: Path, inspection: Inspection, architecture: str) -> _Reader:
    """A CLIP in OpenAI's or open_clip's names, by what a file of ours or the user says, or by its sizes."""
    from inference.encoders import open_clip

    origin, _, said = architecture.partition(":")
    name, activation = said or arguments["model"], arguments["activation"]
    published = is_openai_archive(inspection)
    if origin == "openai" or (name is None and published and activation != "gelu"):
        return _openai(said or None, path, inspection)
    if name is None:
        configs = read_configs(open_clip.config_files())
        sizes = clip_sizes(inspection.tensors)
        found = fitting(sizes, configs) if sizes else []
        if not found and activation == "quickgelu":
            return _openai(None, path, inspection)
        name = _chosen(path.name, sizes, {name: bool(configs[name].get("quick_gelu")) for name in found}, activation)
    words = _words(f"open_clip's {name}", inspection)
    return _Reader("open_clip", {"model": name, "pretrained": str(path), "revision": None}, words)


def _openai(name: str | None, path: Path, inspection: Inspection) -> _Reader:
    words = _words("CLIP of OpenAI's form" if name is None else f"OpenAI's {name}", inspection)
    return _Reader("openai", {"model": name, "weights": str(path), "preprocessing": "openai"}, words)


def _chosen(file: str, sizes: ClipSizes | None, quick: Mapping[str, bool], activation: str) -> str:
    """Of open_clip's configurations that fit (each with whether it has QuickGELU) the one that is meant."""
    if sizes is None:
        raise EncoderError(
            f"{file} is a CLIP whose weights do not show its architecture: say which of open_clip's it is",
            "encoder.model",
        )
    if not quick:
        raise EncoderError(
            f"{file} is a CLIP, but open_clip has no configuration of its sizes ({sizes.words()}). If it is made like "
            "OpenAI's models, say encoder.activation=quickgelu",
            KEY,
        )
    seen = len(set(quick.values())) == 1  # else both activations fit
    wanted = next(iter(quick.values())) if seen else False
    if activation != "auto":
        wanted = activation == "quickgelu"
    chosen = [name for name in quick if quick[name] == wanted]
    if not chosen:
        raise EncoderError(
            f"{activation}: open_clip has {first_few(list(quick))} only without it", "encoder.activation"
        )
    if len(chosen) > 1:
        raise EncoderError(
            f"{file} fits several configurations of open_clip, say which: {', '.join(chosen)}", "encoder.model"
        )
    if activation == "auto" and not seen:
        log.warning(
            "%s: weights do not show the activation; GELU was taken (%s, open_clip's usual). A model that began from "
            "OpenAI's weights has QuickGELU: say encoder.activation=quickgelu",
            file,
            chosen[0],
        )
    return chosen[0]


def _words(what: str, inspection: Inspection) -> str:
    taken = f", inside {' and '.join(inspection.unwrapped)}" if inspection.unwrapped else ""
    return f"{what}: {inspection.format}{taken}"


def _unrecognised(path: Path, inspection: Inspection) -> str:
    names = list(inspection.tensors)
    begin = f"{path.name} ({inspection.format}) holds {len(names)} tensors ({first_few(names)})"
    family = looks_like(names)
    if model := image_model(names):
        return (
            f"{begin} that look like {model}: say encoder=timm encoder.model=<its name in timm> encoder.weights={path}"
        )
    if "transformers" in family:
        return f"{begin} that look like {family}: give the folder that has its config.json, encoder.path=<folder>"
    return f"{begin} that " + (f"look like {family}, which alone is no model" if family else "no known model has")
