"""How images become vectors: encoders, their preprocessing, precision and batches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.schema.fields import MISSING, setting


class Color(Enum):
    gray = "gray"
    rgb = "rgb"


class Scaling(Enum):
    none = "none"
    unit = "unit"


class PrecisionMode(Enum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Activation(Enum):
    auto = "auto"
    quickgelu = "quickgelu"
    gelu = "gelu"


class Resize(Enum):
    shortest = "shortest"
    longest = "longest"
    squash = "squash"


class Interpolation(Enum):
    bicubic = "bicubic"
    bilinear = "bilinear"
    lanczos = "lanczos"
    nearest = "nearest"


class Channels(Enum):
    rgb = "rgb"
    gray = "gray"
    gray_rgb = "gray_rgb"


# OpenAI's own names are no identifiers, so this Enum is made by a call
OpenAIModel = Enum(
    "OpenAIModel",
    {
        "RN50": "RN50",
        "RN101": "RN101",
        "RN50x4": "RN50x4",
        "RN50x16": "RN50x16",
        "RN50x64": "RN50x64",
        "ViT-B/32": "ViT-B/32",
        "ViT-B/16": "ViT-B/16",
        "ViT-L/14": "ViT-L/14",
        "ViT-L/14@336px": "ViT-L/14@336px",
    },
)


class OpenAIPreprocessing(Enum):
    openai = "openai"
    transformers = "transformers"


class HuggingfaceFeature(Enum):
    auto = "auto"
    projection = "projection"
    pooler = "pooler"
    cls = "cls"
    mean = "mean"


class TimmFeature(Enum):
    pooled = "pooled"
    cls = "cls"
    mean = "mean"


@dataclass
class EncoderSettings:
    """Shared by every encoder."""

    name: str = MISSING
    kind: str = MISSING  # key in inference.encoders.KINDS
    normalize: bool = MISSING


@dataclass
class PixelsEncoder(EncoderSettings):
    size: int = setting(low=1, high=4096)
    color: Color = MISSING
    antialias: bool = MISSING
    scaling: Scaling = MISSING


@dataclass
class PrecomputedEncoder(EncoderSettings):
    path: str = setting(path=True)
    column: str = MISSING
    text_path: str | None = setting(path=True)
    text_names: str | None = MISSING
    logit_scale: float | None = setting(low=0.001, high=10_000)


@dataclass
class OpenAIEncoder(EncoderSettings):
    model: OpenAIModel | None = MISSING
    weights: str | None = setting(path=True)
    preprocessing: OpenAIPreprocessing = MISSING


@dataclass
class PreparedOtherwise(EncoderSettings):
    """Over the model's own preprocessing; null: as it is."""

    resize: Resize | None = MISSING
    interpolation: Interpolation | None = MISSING
    mean: list[float] | None = MISSING
    std: list[float] | None = MISSING


@dataclass
class CheckpointEncoder(PreparedOtherwise):
    path: str = setting(path=True)
    model: str | None = MISSING
    activation: Activation = MISSING
    antialias: bool = MISSING


@dataclass
class OpenClipEncoder(PreparedOtherwise):
    model: str = MISSING
    pretrained: str | None = MISSING  # a tag or a file
    revision: str | None = MISSING


@dataclass
class OwnPreprocessing(PreparedOtherwise):
    """For encoders whose models may carry none; null: the model's own."""

    size: int | None = setting(low=1, high=4096)
    channels: Channels | None = MISSING


@dataclass
class HuggingfaceEncoder(OwnPreprocessing):
    model: str = MISSING  # an id of the hub or a folder
    revision: str | None = MISSING
    feature: HuggingfaceFeature = MISSING


@dataclass
class TimmEncoder(OwnPreprocessing):
    model: str = MISSING
    weights: str | None = setting(path=True)
    revision: str | None = MISSING
    feature: TimmFeature = MISSING


@dataclass
class PrecisionSettings:
    mode: PrecisionMode = MISSING
    compile: bool = MISSING
    min_fidelity: float = setting(low=0, high=1)


@dataclass
class EmbeddingSettings:
    batch_size: int | None = setting(low=1, high=65_536)
    workers: int | None = setting(low=0, high=256)
    timeout: float = setting(low=0.1)
