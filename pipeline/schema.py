"""The schema of every choice: types and ranges. Values stand in conf/, a comment beside each.

A class per choice. Hydra composes them (pipeline/config), everything below sees only these plain objects.
Classes are not frozen because OmegaConf cannot override frozen ones; nothing writes into them after the check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

Texts = list[str]  # for a class with a setting that is called `list`
MISSING: Any = "???"  # OmegaConf's own mark for 'a value must be given'


def setting(low: float | None = None, high: float | None = None, *, path: bool = False) -> Any:
    """A field whose value the YAML gives: lowest and highest allowed value; `path`: relative to the call."""
    return field(default=MISSING, metadata={"low": low, "high": high, "path": path})


class Color(Enum):
    gray = "gray"
    rgb = "rgb"


class Scaling(Enum):
    none = "none"
    unit = "unit"


class SeveralLabels(Enum):
    first = "first"
    drop = "drop"
    joined = "joined"


class ReleaseLayout(Enum):
    auto = "auto"
    merged = "merged"
    official = "official"


class ManyLabels(Enum):
    first_wanted = "first_wanted"
    most_specific = "most_specific"
    drop = "drop"
    multi = "multi"


class Space(Enum):
    projection = "projection"
    embedding = "embedding"


class Covariance(Enum):
    full = "full"
    diag = "diag"
    tied = "tied"
    spherical = "spherical"


class Linkage(Enum):
    ward = "ward"
    average = "average"
    complete = "complete"
    single = "single"


class SixteenBit(Enum):
    range = "range"
    percentile = "percentile"
    full = "full"


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


class CacheUse(Enum):
    use = "use"
    none = "none"


class PictureFormat(Enum):
    png = "png"
    svg = "svg"
    pdf = "pdf"


class Palette(Enum):
    petroff10 = "petroff10"
    tab10 = "tab10"
    okabe_ito = "okabe_ito"


class Hidden(Enum):
    path = "path"
    caption = "caption"
    id = "id"
    images = "images"


@dataclass
class DatasetSettings:
    """Shared by every data set."""

    name: str = MISSING
    source: str = MISSING  # key in pipeline.datasets.SOURCES
    limit: int | None = setting(low=1)
    limit_per_class: int | None = setting(low=1)
    sample_seed: int = setting(low=0, high=2**32 - 1)
    max_unreadable: float = setting(low=0, high=1)
    pixel_size: int = setting(low=1, high=4096)


@dataclass
class DigitsDataset(DatasetSettings):
    splits: list[str] = MISSING


@dataclass
class FoldersDataset(DatasetSettings):
    root: str | None = setting(path=True)
    pairs: list[str] = MISSING
    recursive: bool = MISSING
    group: str | None = MISSING
    splits: list[str] = MISSING


@dataclass
class FilesDataset(DatasetSettings):
    files: Texts = setting(path=True)
    list: str | None = setting(path=True)
    group: str | None = MISSING


@dataclass
class WebdatasetDataset(DatasetSettings):
    shards: Any = setting(path=True)  # a pattern or several: text or list
    image: str | None = MISSING
    label: str | None = MISSING
    caption: str | None = MISSING
    group: str | None = MISSING


@dataclass
class ColumnSettings:
    """Which column of a table holds what; null: the column of that very name, where there is one."""

    image: str | None = MISSING
    id: str | None = MISSING
    label: str | None = MISSING
    caption: str | None = MISSING
    group: str | None = MISSING
    split: str | None = MISSING


@dataclass
class TableDataset(DatasetSettings):
    path: str = setting(path=True)
    root: str | None = setting(path=True)
    outside_root: bool = MISSING
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    extension: str = MISSING
    label_separator: str | None = MISSING
    several_labels: SeveralLabels = MISSING
    splits: list[str] = MISSING


@dataclass
class ParquetDataset(DatasetSettings):
    path: str = setting(path=True)
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    splits: list[str] = MISSING


@dataclass
class HuggingfaceDataset(DatasetSettings):
    path: str = MISSING  # a folder, or an id of the hub
    subset: str | None = MISSING
    split: str | None = MISSING
    revision: str | None = MISSING
    columns: ColumnSettings = field(default_factory=ColumnSettings)


@dataclass
class Rocov2Dataset(DatasetSettings):
    root: str | None = setting(path=True)
    layout: ReleaseLayout = MISSING
    table: str | None = setting(path=True)
    splits: list[str] = MISSING
    several_labels: SeveralLabels = MISSING


@dataclass
class OpenImagesDataset(DatasetSettings):
    root: str | None = setting(path=True)
    labels: Any = setting(path=True)  # a path, several, or none: text, list or null
    classes_table: str | None = setting(path=True)
    image_ids: str | None = setting(path=True)
    classes: list[str] = MISSING
    several_labels: ManyLabels = MISSING
    machine_threshold: float | None = setting(low=0, high=1)
    upright: bool = MISSING
    download: bool = MISSING
    base_url: str = MISSING
    download_split: str | None = MISSING


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
class ProjectionSettings:
    """Shared by every projection."""

    name: str = MISSING


@dataclass
class UmapProjection(ProjectionSettings):
    n_components: int = setting(low=1, high=1000)
    n_neighbors: int = setting(low=2, high=1000)
    min_dist: float = setting(low=0, high=1)
    seed: int | None = setting(low=0, high=2**32 - 1)
    max_fit: int = setting(low=100)


@dataclass
class TsneProjection(ProjectionSettings):
    perplexity: float = setting(low=1, high=1000)
    n_iter: int = setting(low=1, high=100_000)
    seed: int | None = setting(low=0, high=2**32 - 1)
    max_fit: int = setting(low=100)


@dataclass
class PcaProjection(ProjectionSettings):
    n_components: int = setting(low=1)


@dataclass
class NoProjection(ProjectionSettings):
    max_fit: int = setting(low=100)


@dataclass
class ClusteringSettings:
    """Shared by every clusterer."""

    name: str = MISSING
    space: Space = MISSING


@dataclass
class KmeansClustering(ClusteringSettings):
    k: int | None = setting(low=2)
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class MinibatchKmeansClustering(ClusteringSettings):
    k: int | None = setting(low=2)
    batch_size: int = setting(low=1)
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class SphericalKmeansClustering(ClusteringSettings):
    k: int | None = setting(low=2)
    n_iter: int = setting(low=1, high=100_000)
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**31 - 1)


@dataclass
class GmmClustering(ClusteringSettings):
    k: int | None = setting(low=2)
    covariance_type: Covariance = MISSING
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class AgglomerativeClustering(ClusteringSettings):
    k: int | None = setting(low=2)
    linkage: Linkage = MISSING
    max_rows: int = setting(low=2)


@dataclass
class HdbscanClustering(ClusteringSettings):
    min_cluster_size: int = setting(low=2)
    min_samples: int | None = setting(low=1)


class NullModel(Enum):
    gaussian = "gaussian"
    radii = "radii"
    box = "box"
    features = "features"
    isotropic = "isotropic"


@dataclass
class SignificanceSettings:
    name: str = MISSING
    null_model: NullModel = MISSING
    replicates: int = setting(low=0, high=1000)
    embedding_replicates: int = setting(low=0, high=10_000)
    half_samples: int = setting(low=0, high=1000)
    permutations: int = setting(low=0, high=100_000)
    max_images: int = setting(low=50, high=20_000)
    seed: int = setting(low=0, high=2**32 - 1)


class SelectionSpace(Enum):
    projection = "projection"


class TextKind(Enum):
    lines = "lines"
    unigrams = "unigrams"
    bigrams = "bigrams"
    trigrams = "trigrams"


@dataclass
class TextSettings:
    """Shared by every source of texts; where there are none, this is all."""

    name: str = MISSING
    source: str = MISSING  # none, folder, file, table, captions, labels or words


@dataclass
class LabelsText(TextSettings):
    prefix: str = MISSING


@dataclass
class WordsText(TextSettings):
    words: Texts = MISSING
    prefix: str = MISSING


@dataclass
class GramSettings(TextSettings):
    """Shared by sources that hold more than names."""

    kinds: list[TextKind] = MISSING
    lower: bool = MISSING
    min_count: int = setting(low=1)
    top_k: int = setting(low=1, high=10_000_000)
    chunk_size: int = setting(low=1, high=10_000_000)
    prefix: str = MISSING


@dataclass
class FilesText(GramSettings):
    """A folder or a file, as `source` says."""

    path: str = setting(path=True)
    across_lines: bool = MISSING


@dataclass
class TableText(GramSettings):
    path: str = setting(path=True)
    column: str = MISSING
    category_column: str | None = MISSING


@dataclass
class CaptionsText(GramSettings):
    pass


@dataclass
class PromptSettings:
    """How a class becomes texts: each template with the class in place of its `{}`."""

    name: str = MISSING
    templates: list[str] = MISSING


@dataclass
class PublishedRow:
    """A row of a published table. where: setting -> the value that it was measured with, by which runs find it; images,
    classes: how many, None where that does not matter; scores: key of metrics.json -> value, None where none was
    published."""

    row: str = MISSING
    where: dict[str, Any] = field(default_factory=dict)
    images: int | None = None
    classes: int | None = None
    scores: dict[str, float | None] = field(default_factory=dict)


@dataclass
class Difference:
    """A setting that is not as the protocol has it."""

    key: str = MISSING
    value: Any = None
    protocol: Any = None


@dataclass
class Comparison:
    """A published row that a run is compared with, and how the run's settings differ from its protocol. decimals: of
    the published values; notes: what cannot be told."""

    experiment: str = MISSING
    source: str = MISSING
    decimals: int = MISSING
    row: PublishedRow = field(default_factory=PublishedRow)
    differs: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ExperimentSettings:
    """Published values and how they are compared with. compared: filled in when the call is read."""

    name: str = MISSING
    source: str | None = MISSING
    needs: str | None = MISSING
    decimals: int = setting(low=0, high=17)
    repeats: int = setting(low=1, high=1000)
    row: str | None = MISSING
    published: list[PublishedRow] = MISSING
    compared: list[Comparison] = field(default_factory=list)


@dataclass
class KSelectionSettings:
    k_min: int = setting(low=2)
    k_max: int = setting(low=2, high=1000)
    space: SelectionSpace = MISSING
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**32 - 1)


@dataclass
class AnalysisSettings:
    name: str = MISSING
    stages: list[str] = MISSING
    strict: bool = MISSING


@dataclass
class PathSettings:
    data: str = MISSING
    checkpoints: str = MISSING
    outputs: str = MISSING
    cache: str = MISSING


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


@dataclass
class ImageSettings:
    """The fields of inference.images.ReadingRules."""

    sixteen_bit: SixteenBit = MISSING
    max_pixels: int = setting(low=1)
    max_bytes: int = setting(low=1)
    max_aspect: float = setting(low=1)


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


@dataclass
class PlotSettings:
    formats: list[PictureFormat] = MISSING
    dpi: int = setting(low=30, high=1200)
    width_mm: float = setting(low=60, high=400)
    palette: Palette = MISSING


@dataclass
class ReportSettings:
    hide: list[Hidden] = MISSING


@dataclass
class TrackingSettings:
    """Shared by every tracker; with nothing more: none."""

    name: str = MISSING


@dataclass
class TensorboardTracking(TrackingSettings):
    dir: str | None = setting(path=True)


@dataclass
class MlflowTracking(TrackingSettings):
    uri: str | None = MISSING
    experiment: str = MISSING


@dataclass
class SweepSettings:
    resume: str | None = MISSING  # read from the command line before anything is composed, see pipeline.config.resume
    objective: str | None = MISSING


@dataclass
class Config:
    """One run, whole."""

    dataset: Any = MISSING
    encoder: Any = MISSING
    projection: Any = MISSING
    clustering: Any = MISSING
    significance: Any = MISSING
    text: Any = MISSING
    prompts: Any = MISSING
    experiment: Any = MISSING
    tracking: Any = MISSING
    analysis: AnalysisSettings = MISSING
    stages: list[str] = MISSING
    seed: int = setting(low=0, high=2**32 - 1)
    device: str = MISSING
    precision: PrecisionSettings = field(default_factory=PrecisionSettings)
    cache: CacheUse = MISSING
    dry_run: bool = MISSING
    run: str | None = setting(path=True)
    from_run: str | None = setting(path=True)
    runs: list[str] = setting(path=True)
    paths: PathSettings = field(default_factory=PathSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    data_quality: DataQualitySettings = field(default_factory=DataQualitySettings)
    class_distances: ClassDistanceSettings = field(default_factory=ClassDistanceSettings)
    k_selection: KSelectionSettings = field(default_factory=KSelectionSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    tagging: TaggingSettings = field(default_factory=TaggingSettings)
    naming: NamingSettings = field(default_factory=NamingSettings)
    zero_shot: ZeroShotSettings = field(default_factory=ZeroShotSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    robustness: RobustnessSettings = field(default_factory=RobustnessSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    plots: PlotSettings = field(default_factory=PlotSettings)
    report: ReportSettings = field(default_factory=ReportSettings)


@dataclass(frozen=True)
class SweepJob:
    """Where a job of a sweep writes, and what makes it differ from the others."""

    folder: Path
    number: int
    overrides: tuple[str, ...]


# group -> schema name in Hydra's store -> class. The stored names begin with '_' and so are never offered as choices.
CHOICES: dict[str, dict[str, type]] = {
    "dataset": {
        "digits": DigitsDataset,
        "folders": FoldersDataset,
        "files": FilesDataset,
        "table": TableDataset,
        "webdataset": WebdatasetDataset,
        "parquet": ParquetDataset,
        "huggingface": HuggingfaceDataset,
        "rocov2": Rocov2Dataset,
        "open_images": OpenImagesDataset,
    },
    "encoder": {
        "none": PixelsEncoder,
        "precomputed": PrecomputedEncoder,
        "openai": OpenAIEncoder,
        "checkpoint": CheckpointEncoder,
        "open_clip": OpenClipEncoder,
        "huggingface": HuggingfaceEncoder,
        "timm": TimmEncoder,
    },
    "projection": {"umap": UmapProjection, "tsne": TsneProjection, "pca": PcaProjection, "none": NoProjection},
    "clustering": {
        "kmeans": KmeansClustering,
        "minibatch_kmeans": MinibatchKmeansClustering,
        "spherical_kmeans": SphericalKmeansClustering,
        "gmm": GmmClustering,
        "agglomerative": AgglomerativeClustering,
        "hdbscan": HdbscanClustering,
    },
    "significance": {"default": SignificanceSettings},
    "text": {
        "none": TextSettings,
        "folder": FilesText,
        "file": FilesText,
        "table": TableText,
        "captions": CaptionsText,
        "labels": LabelsText,
        "words": WordsText,
    },
    "prompts": {"default": PromptSettings},
    "experiment": {"default": ExperimentSettings},
    "tracking": {"none": TrackingSettings, "tensorboard": TensorboardTracking, "mlflow": MlflowTracking},
}


def plain(value: Any) -> Any:
    """The same as dictionaries, lists, strings and numbers: for records and cache keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def restored(record: Mapping[str, Any]) -> Config:
    """The config of a recorded run, from `plain` of it. What an older run did not know is None."""
    return Config(**{f.name: restored_section(f.name, record.get(f.name)) for f in dataclasses.fields(Config)})


def restored_section(name: str, values: Any) -> Any:
    """A section or setting of a recorded run, from `plain` of it."""
    if name in CHOICES:
        return _filled(_class_of(name, values or {}), values or {})
    return _typed(get_type_hints(Config)[name], values)


def choice_of(group: str, values: Mapping[str, Any]) -> str:
    """Which shipped choice these settings belong to, whatever the user calls them; their name where that is open."""
    name = str(values.get("name"))
    keys = {choice: {f.name for f in dataclasses.fields(kind)} for choice, kind in CHOICES[group].items()}
    alike = [choice for choice in keys if keys[choice] == {*values}]
    return name if name in keys or not alike else alike[0]


def _class_of(group: str, values: Mapping[str, Any]) -> type:
    """Which choice these settings belong to: the name is the user's own, so by the keys, then by the name."""

    def fit(choice: str) -> tuple[int, bool]:
        keys = {f.name for f in dataclasses.fields(CHOICES[group][choice])}
        return -len(keys ^ set(values)), values.get("name") == choice

    return CHOICES[group][max(CHOICES[group], key=fit)]


def _filled(kind: type, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    return kind(**{f.name: _typed(hints[f.name], values.get(f.name)) for f in dataclasses.fields(kind)})


def _typed(hint: Any, value: Any) -> Any:
    """A plain value as the schema has it."""
    if dataclasses.is_dataclass(hint):
        return _filled(hint, value or {})  # type: ignore[arg-type]
    if get_origin(hint) is list and isinstance(value, list):
        return [_typed(get_args(hint)[0], item) for item in value]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value) if value in {choice.value for choice in hint} else None
    return value
