"""What is done with vectors: projections, clusterings, the range of k, clouds without clusters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.schema.fields import MISSING, setting


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


@dataclass
class KSelectionSettings:
    k_min: int = setting(low=2)
    k_max: int = setting(low=2, high=1000)
    space: SelectionSpace = MISSING
    n_init: int = setting(low=1, high=1000)
    seed: int = setting(low=0, high=2**32 - 1)
