"""One run, whole, and the choices of each group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.schema.analyses import (
    AnalysisSettings,
    ClassDistanceSettings,
    DataQualitySettings,
    IndexSettings,
    NamingSettings,
    RetrievalSettings,
    RobustnessSettings,
    SearchSettings,
    TaggingSettings,
    ZeroShotSettings,
)
from pipeline.schema.datasets import (
    DigitsDataset,
    FilesDataset,
    FoldersDataset,
    HuggingfaceDataset,
    ImageSettings,
    OpenImagesDataset,
    ParquetDataset,
    Rocov2Dataset,
    TableDataset,
    WebdatasetDataset,
)
from pipeline.schema.encoders import (
    CheckpointEncoder,
    EmbeddingSettings,
    HuggingfaceEncoder,
    OpenAIEncoder,
    OpenClipEncoder,
    PixelsEncoder,
    PrecisionSettings,
    PrecomputedEncoder,
    TimmEncoder,
)
from pipeline.schema.experiments import ExperimentSettings
from pipeline.schema.fields import MISSING, setting
from pipeline.schema.geometry import (
    AgglomerativeClustering,
    GmmClustering,
    HdbscanClustering,
    KmeansClustering,
    KSelectionSettings,
    MinibatchKmeansClustering,
    NoProjection,
    PcaProjection,
    SignificanceSettings,
    SphericalKmeansClustering,
    TsneProjection,
    UmapProjection,
)
from pipeline.schema.output import (
    CacheUse,
    MlflowTracking,
    PathSettings,
    PlotSettings,
    ReportSettings,
    SweepSettings,
    TensorboardTracking,
    TrackingSettings,
)
from pipeline.schema.texts import (
    CaptionsText,
    FilesText,
    LabelsText,
    PromptSettings,
    TableText,
    TextSettings,
    WordsText,
)
from pipeline.schema.training import TrainingSettings


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
