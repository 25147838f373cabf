"""OpenAI's nine CLIP models, with OpenAI's weights or any in the same form, as OpenAI's own package computes them.

The network is open_clip's, which agrees with OpenAI's; files are read for their tensors alone, so nothing in them runs.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import Description, EncoderError, Look, Runtime, open_clip_modules, text_towers
from inference.encoders.checkpoints import Inspection, inspect_checkpoint, read_checkpoint
from inference.encoders.image_settings import with_settings
from inference.encoders.networks import fill, fuse_quickgelu, undrawn
from inference.encoders.recognition import clip_sizes, looks_like
from inference.encoders.tokens import bpe_tokens, stacked
from inference.encoders.torch_model import TextSide, TorchEncoder
from inference.encoders.weights import Found, Hub, find_weights
from inference.preprocessing import Preprocessing, openai_preprocessing, transformers_clip_preprocessing
from inference.probability import Rule

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PREPROCESSING = {"openai": openai_preprocessing, "transformers": transformers_clip_preprocessing}
DEFAULT = "ViT-B/32"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
SETTINGS = ("input_resolution", "context_length", "vocab_size")  # numbers that the archives keep among the tensors
HEAD = 64  # width of an attention head, the same in all of them


@dataclass(frozen=True)
class Architecture:
    """The numbers that make one CLIP of OpenAI's form differ from another.

    patch: side of a ViT's patches in pixels, None for a ResNet, whose vision_layers are blocks in four stages;
    image_size: side in pixels; dimension: of the vectors.
    """

    dimension: int
    image_size: int
    patch: int | None
    vision_width: int
    vision_layers: int | tuple[int, ...]
    text_width: int
    text_layers: int = 12
    context: int = 77
    vocabulary: int = 49408

    def words(self) -> str:
        """'ViT, patches of 32, 12 layers 768 wide, 224x224 pixels, 512-D'."""
        kind = f"ViT, patches of {self.patch}" if self.patch else "ResNet"
        layers = self.vision_layers if isinstance(self.vision_layers, int) else "-".join(map(str, self.vision_layers))
        size = f"{self.image_size}x{self.image_size} pixels"
        return f"{kind}, {layers} layers {self.vision_width} wide, {size}, {self.dimension}-D"

    def like(self, other: Architecture) -> bool:
        """Whether they differ in nothing but the number of layers."""
        depth = {"vision_layers": 0, "text_layers": 0}
        return asdict(self) | depth == asdict(other) | depth


@dataclass(frozen=True)
class Published:
    """file: OpenAI's own; sha256: of that file, which OpenAI's addresses contain; repository: on the hub, as
    safetensors."""

    file: str
    sha256: str
    repository: str
    architecture: Architecture


MODELS = {
    "RN50": Published(
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        "timm/resnet50_clip.openai",
        Architecture(1024, 224, None, 64, (3, 4, 6, 3), 512),
    ),
    "RN101": Published(
        "RN101.pt",
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        "timm/resnet101_clip.openai",
        Architecture(512, 224, None, 64, (3, 4, 23, 3), 512),
    ),
    "RN50x4": Published(
        "RN50x4.pt",
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        "timm/resnet50x4_clip.openai",
        Architecture(640, 288, None, 80, (4, 6, 10, 6), 640),
    ),
    "RN50x16": Published(
        "RN50x16.pt",
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        "timm/resnet50x16_clip.openai",
        Architecture(768, 384, None, 96, (6, 8, 18, 8), 768),
    ),
    "RN50x64": Published(
        "RN50x64.pt",
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        "timm/resnet50x64_clip.openai",
        Architecture(1024, 448, None, 128, (3, 15, 36, 10), 1024),
    ),
    "ViT-B/32": Published(
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "timm/vit_base_patch32_clip_224.openai",
        Architecture(512, 224, 32, 768, 12, 512),
    ),
    "ViT-B/16": Published(
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "timm/vit_base_patch16_clip_224.openai",
        Architecture(512, 224, 16, 768, 12, 512),
    ),
    "ViT-L/14": Published(
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "timm/vit_large_patch14_clip_224.openai",
        Architecture(768, 224, 14, 1024, 24, 768),
    ),
    "ViT-L/14@336px": Published(
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        "timm/vit_large_patch14_clip_336.openai",
        Architecture(768, 336, 14, 1024, 24, 768),
    ),
}


def describe(arguments: Mapping[str, Any], look: Look) -> Description:
    """Find the weights, and see from the shapes of their tensors which model they are."""
    wanted = arguments["model"] or (None if arguments["weights"] else DEFAULT)
    found = _found(wanted or DEFAULT, arguments["weights"], look)
    inspection = inspect_checkpoint(found.path, "encoder.weights")
    architecture = architecture_of(inspection, found.path.name, "encoder.weights")
    name = _named(architecture, wanted, found.path.name)
    preprocessing = with_settings(PREPROCESSING[arguments["preprocessing"]](architecture.image_size), arguments)
    digest = look.content_hash(str(found.path))
    return Description(
        name="openai",
        model=name or f"CLIP of OpenAI's form ({architecture.words()})",
        preprocessing=preprocessing.words(),
        image_fingerprint=f"openai:1:{digest}:{preprocessing.fingerprint()}",
        text_fingerprint=f"openai:1:{digest}",
        weights=(str(found.path),),
        hashes=(digest,),
        revision=found.revision,
        recognised=f"{_recognised(inspection, name, digest)} ({found.where})",
        facts=(("preprocessing", asdict(preprocessing)),),
        published=_is_published(name, digest) or found.revision is not None,
    )


def load(arguments: Mapping[str, Any], description: Description, runtime: Runtime) -> TorchEncoder:
    """The network with its weights, all of them."""
    path, key = description.weights[0], "encoder.weights"
    inspection = inspect_checkpoint(path, key)
    architecture = architecture_of(inspection, Path(path).name, key)
    network = network_of(architecture, read_checkpoint(path, key).tensors, inspection.scripted, Path(path).name, key)
    if not runtime.exact:
        fuse_quickgelu(network)
    preprocessing = Preprocessing(**dict(description.facts)["preprocessing"])
    return TorchEncoder(
        description,
        runtime,
        network,
        preprocessing,
        network.encode_image,
        architecture.dimension,
        text_side(network, architecture.context),
    )


def architecture_of(inspection: Inspection, what: str, key: str) -> Architecture:
    """From the shapes of the tensors of the file `what`. Raises EncoderError: they are no CLIP of OpenAI's form."""
    sizes = clip_sizes(inspection.tensors)
    if sizes is None or "token_embedding.weight" not in inspection.tensors or sizes.vision_width is None:
        family = looks_like(inspection.tensors)
        seems = f", but looks like {family}" if family else ""
        raise EncoderError(f"{what} is no CLIP of OpenAI's form{seems}: encoder=checkpoint knows other forms", key)
    return Architecture(
        dimension=sizes.embed_dim,
        image_size=sizes.image or 0,
        patch=sizes.patch,
        vision_width=sizes.vision_width,
        vision_layers=sizes.vision_layers or 0,
        text_width=sizes.text_width,
        text_layers=sizes.text_layers,
        context=sizes.context,
        vocabulary=sizes.vocabulary,
    )


def network_of(
    architecture: Architecture, tensors: Mapping[str, torch.Tensor], scripted: bool, what: str, key: str
) -> Any:
    """open_clip's network in float32 with QuickGELU, filled with the tensors of the file `what`.

    scripted: from a TorchScript archive. OpenAI's package brings the weights of such a file to half precision, which
    they have already where the file is OpenAI's own; so is done here. Raises EncoderError.
    """
    import torch

    library = open_clip_modules.own("model")
    a = architecture
    vision = library.CLIPVisionCfg(
        layers=a.vision_layers, width=a.vision_width, patch_size=a.patch, image_size=a.image_size
    )
    text = library.CLIPTextCfg(
        context_length=a.context,
        vocab_size=a.vocabulary,
        width=a.text_width,
        heads=a.text_width // HEAD,
        layers=a.text_layers,
    )
    with undrawn():
        network = library.CLIP(a.dimension, vision, text, quick_gelu=True, cast_dtype=torch.float32)
    fill(network, {name: tensor for name, tensor in tensors.items() if name not in SETTINGS}, what, key)
    if scripted:
        library.convert_weights_to_lp(network, torch.float16)
        network.float()
    return network


def text_side(network: Any, context: int) -> TextSide:
    """OpenAI's tokens, the network's text tower, and softmax with the model's own scale."""
    lengths = text_towers.lengths_for(network)
    return TextSide(
        tokenize=lambda texts: bpe_tokens(_tokenizer(), texts, context, lengths),
        batch=stacked,
        encode=text_towers.encode(network),
        rule=Rule(network.logit_scale.exp().item()),
    )


@functools.cache
def _tokenizer() -> Any:
    """open_clip's, which brings the vocabulary along, with the special tokens spelt as OpenAI spells them."""
    import regex

    tokenizer = open_clip_modules.own("tokenizer").SimpleTokenizer()
    spelling = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    pattern = tokenizer.pat.pattern
    for theirs, openai in spelling.items():
        pattern = pattern.replace(theirs, regex.escape(openai))
        tokenizer.encoder[openai] = tokenizer.encoder.pop(theirs)
    tokenizer.pat = regex.compile(pattern, regex.IGNORECASE)
    tokenizer.cache = {special: special for special in spelling.values()}
    return tokenizer


def _found(model: str, given: str | None, look: Look) -> Found:
    published = MODELS[model]
    stem = published.file.removesuffix(".pt")
    folder = published.repository.rpartition("/")[2]
    return find_weights(
        f"OpenAI's {model}",
        given=given,
        key="encoder.weights",
        names=(f"{stem}.safetensors", published.file, f"{folder}/{HUB_FILES[0]}"),
        checkpoints=look.checkpoints,
        hub=Hub(published.repository, HUB_FILES),
    )


def _named(architecture: Architecture, wanted: str | None, file: str) -> str | None:
    """Which of the nine it is; None for none of them. Raises EncoderError where another was wanted."""
    name = next((name for name, model in MODELS.items() if architecture.like(model.architecture)), None)
    if wanted is not None and name != wanted:
        holds = name or f"none of OpenAI's nine ({architecture.words()})"
        raise EncoderError(
            f"{wanted}, but {file} holds {holds}: leave encoder.model null to take what the file holds", "encoder.model"
        )
    if name and architecture != MODELS[name].architecture:
        usual = MODELS[name].architecture
        log.warning(
            "%s holds a %s with %s image and %s text layers instead of %s and %s",
            *(file, name, architecture.vision_layers, architecture.text_layers, usual.vision_layers, usual.text_layers),
        )
    return name


def _is_published(name: str | None, digest: str) -> bool:
    """Whether a file with this hash is OpenAI's own."""
    return name is not None and digest == MODELS[name].sha256


def _recognised(inspection: Inspection, name: str | None, digest: str) -> str:
    if name and _is_published(name, digest):
        return f"OpenAI's own {MODELS[name].file}, the published file to the byte"
    return f"CLIP of OpenAI's form, {inspection.format}"
