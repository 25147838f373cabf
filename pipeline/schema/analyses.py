"""The settings of each analysis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.schema.fields import MISSING, setting


@dataclass
class AnalysisSettings:
    name: str = MISSING
    stages: list[str] = MISSING
    strict: bool = MISSING


@dataclass
class DataQualitySettings:
    near_duplicate: float | None = setting(low=-1, high=1)


@dataclass
class ClassDistanceSettings:
    centered: bool = MISSING
    save_pairs: bool = MISSING


BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}  # endings of a size


def size_in_bytes(size: str) -> int:
    """Of a size as in 500MB.

    >>> size_in_bytes("1.5 kB")
    1500
    """
    ending = max((end for end in BYTES if size.lower().endswith(end.lower())), key=len)
    return int(float(size[: -len(ending)]) * BYTES[ending])


@dataclass
class IndexSettings:
    memory: str = MISSING  # as in 4GB: an ending of BYTES
    query_ms: float = setting(low=0.001)
    recall: float = setting(low=0.1, high=1)
    k: int = setting(low=1, high=10_000)
    device: str = MISSING
    seed: int = setting(low=0, high=2**31 - 1)


class HubCorrection(Enum):
    none = "none"
    csls = "csls"


@dataclass
class TaggingSettings:
    index: str | None = setting(path=True)
    k: int = setting(low=1, high=10_000)
    min_score: float | None = setting(low=-1, high=1)
    hub_correction: HubCorrection = MISSING
    sidecars: bool = MISSING
    overwrite: bool = MISSING


@dataclass
class NamingSettings:
    names: int = setting(low=1, high=100)
    permutations: int = setting(low=0, high=100_000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class ZeroShotSettings:
    classes: list[str] = MISSING
    names: str | None = setting(path=True)
    top_k: int = setting(low=1, high=1000)
    none_prompt: str | None = MISSING
    threshold: float | None = setting(low=0, high=1)
    resamples: int = setting(low=100, high=100_000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class RetrievalSettings:
    resamples: int = setting(low=100, high=100_000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class SearchSettings:
    queries: list[str] = MISSING
    images: list[str] = setting(path=True)
    minus: list[str] = MISSING
    combine: bool = MISSING
    k: int = setting(low=1, high=100_000)


class Perturbation(Enum):
    """The names of inference.perturbations.PERTURBATIONS."""

    gaussian_noise = "gaussian_noise"
    shot_noise = "shot_noise"
    impulse_noise = "impulse_noise"
    gaussian_blur = "gaussian_blur"
    defocus_blur = "defocus_blur"
    motion_blur = "motion_blur"
    jpeg = "jpeg"
    brightness = "brightness"
    contrast = "contrast"
    downsampling = "downsampling"
    occlusion = "occlusion"


class Definition(Enum):
    auto = "auto"
    imagenet_c = "imagenet_c"
    cifar10_c = "cifar10_c"


@dataclass
class RobustnessSettings:
    perturbations: list[Perturbation] = MISSING
    severities: list[int] = setting(low=1, high=5)
    images: int | None = setting(low=2)
    definitions: Definition = MISSING
    resamples: int = setting(low=100, high=100_000)
    seed: int = setting(low=0, high=2**32 - 1)
