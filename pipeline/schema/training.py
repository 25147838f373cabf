"""How a CLIP is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pipeline.schema.fields import MISSING, setting


class TrainingRecipe(Enum):
    contrastive = "contrastive"
    tutorial = "tutorial"


class TrainingBase(Enum):
    scratch = "scratch"
    openai = "openai"
    open_clip = "open_clip"
    checkpoint = "checkpoint"


class TrainingCaptions(Enum):
    auto = "auto"
    column = "column"
    labels = "labels"


class Positives(Enum):
    auto = "auto"
    shared = "shared"
    own = "own"


class RateSchedule(Enum):
    cosine = "cosine"
    plateau = "plateau"
    constant = "constant"


class TrainedPart(Enum):
    all = "all"
    heads = "heads"
    image = "image"
    text = "text"


class Augment(Enum):
    none = "none"
    crop = "crop"
    crop_flip = "crop_flip"
    affine = "affine"


@dataclass
class ArchitectureSettings:
    """The fields of inference.training.scratch.Architecture."""

    image_size: int = setting(low=8, high=1024)
    patch: int = setting(low=1, high=1024)
    width: int = setting(low=8, high=4096)
    layers: int = setting(low=1, high=100)
    dimension: int = setting(low=2, high=4096)
    text_width: int = setting(low=8, high=4096)
    text_layers: int = setting(low=1, high=100)
    context: int = setting(low=3, high=1024)
    words: int = setting(low=0, high=1_000_000)


@dataclass
class TrainingSettings:
    recipe: TrainingRecipe = MISSING
    base: TrainingBase = MISSING
    model: str | None = MISSING
    weights: str | None = MISSING  # a path, or a tag of open_clip
    architecture: ArchitectureSettings = field(default_factory=ArchitectureSettings)
    captions: TrainingCaptions = MISSING
    names: list[str] = MISSING
    positives: Positives = MISSING
    train: TrainedPart = MISSING
    augment: Augment = MISSING
    valid_share: float = setting(low=0.01, high=0.9)
    epochs: int | None = setting(low=1, high=100_000)
    batch_size: int | None = setting(low=2, high=1_000_000)
    accumulate: int = setting(low=1, high=10_000)
    lr: float | None = setting(low=0, high=10)
    weight_decay: float | None = setting(low=0, high=10)
    warmup: float = setting(low=0, high=1)
    schedule: RateSchedule | None = MISSING
    layer_decay: float = setting(low=0.01, high=1)
    patience: int | None = setting(low=1)
    threads: int | None = setting(low=1, high=1024)
    seed: int = setting(low=0, high=2**32 - 1)
