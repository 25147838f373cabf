"""From the numbers to a sentence: are there clusters, or was one cloud cut up?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.metrics.catalog import METRICS
from pipeline.metrics.gaps import NONE, REAL
from pipeline.metrics.significance import FEWEST as FEWEST_CLOUDS
from pipeline.metrics.significance import LOGARITHMIC, Excess

Level = Literal["supported", "weak", "none", "unknown"]
ALPHA = 0.05
GATE = 0.05  # by which the best silhouette over k has to exceed the clouds' best
FEWEST = 50  # images below which nothing can be concluded
WORDS: dict[Level, str] = {
    "supported": "clusters supported",
    "weak": "weak",
    "none": "no clusters supported",
    "unknown": "cannot be told",
}


CLOUDS = {
    "gaussian": "with the same covariance",
    "radii": "with the same covariance and tails",
    "box": "filling the same box evenly",
    "features": "of the same features, shuffled",
    "isotropic": "with the same variance, but round",
}
"""What each null (`pipeline.metrics.nulls.NULLS`) has of the data, in words."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is based on.

    images: that were compared, of `of`; clusters: how many. projection: the silhouette of the clusters in the
    projection against nulls, None where there is no projection, `method` its name in words; embedding: their
    silhouette in the embedding; gap: the median of the clusters' gaps there, NaN where there is none to be told;
    real_gaps: clusters with a gap of at most 0.7; null: what clouds were compared with, a key of CLOUDS.
    """

    images: int
    of: int
    clusters: int
    method: str
    projection: Excess | None
    embedding: Excess
    gap: float
    real_gaps: int
    null: str = "gaussian"


def decide(evidence: Evidence) -> tuple[Level, str]:
    """The verdict, and why nothing can be told ('' otherwise).

    Supported: the silhouette in the embedding exceeds that of the null clouds (p < 0.05) and the median gap is real.
    None: no excess, or no gaps: a cloud that is no Gaussian exceeds one without any clusters. Between: weak.
    """
    if evidence.images < FEWEST:
        return "unknown", f"{evidence.images} images are too few: at least {FEWEST}"
    if evidence.clusters < 2:
        return "unknown", "there is one cluster" if evidence.clusters else "all images are noise"
    if math.isfinite(evidence.embedding.observed) and evidence.embedding.replicates < FEWEST_CLOUDS:
        return "unknown", "fewer than two of the clouds to compare with have clusters to measure"
    if not math.isfinite(evidence.embedding.p):
        return "unknown", "the silhouette is not defined, of the data or of the clouds compared with"
    if not math.isfinite(evidence.gap):
        return "unknown", "the clusters are too small to see gaps between them"
    more = evidence.embedding.p < ALPHA
    if more and evidence.gap <= REAL:
        return "supported", ""
    if (more and evidence.gap < NONE) or (not more and evidence.gap <= REAL):
        return "weak", ""
    return "none", ""


def sentence(evidence: Evidence) -> str:
    """The verdict for readers who never heard of a null."""
    level, why = decide(evidence)
    if level == "unknown":
        return f"Whether there are clusters cannot be told: {why}."
    first = ""
    if evidence.projection is not None:
        observed, null = evidence.projection.observed, evidence.projection.null_mean
        first = (
            f"The {evidence.method} silhouette is {observed:.2f}; a structureless cloud {CLOUDS[evidence.null]} gives "
            f"{null:.2f} through the same pipeline. "
        )
    cloud = "that cloud" if first else f"a structureless cloud {CLOUDS[evidence.null]}"
    beyond, p = evidence.embedding.excess, evidence.embedding.p
    less = f"do not exceed {cloud} ({excess_in_words('silhouette', beyond, 2)}, p = {p_in_words(p)})"
    exceeds = f"exceed {cloud} by {beyond:.2f}" if p < ALPHA else less
    joint = "but" if (p < ALPHA) != (evidence.gap <= REAL) else "and"
    ends = _conclusion(evidence, level)
    return f"{first}In the encoder's own space the groups {exceeds} {joint} {_gaps(evidence)}: {ends}."


def _gaps(evidence: Evidence) -> str:
    number = f"({evidence.gap:.2f}; 1 = none)"
    if evidence.gap <= REAL:
        return f"are separated by real gaps {number}"
    if evidence.gap < NONE:
        return f"are separated by shallow dips only {number}"
    return f"have no gaps between them {number}"


def _conclusion(evidence: Evidence, level: Level) -> str:
    if level == "weak":
        return "weak evidence of clusters"
    if level == "none" and evidence.real_gaps > 1:
        having = f"{evidence.real_gaps} of the clusters have a gap around them"
        return f"{WORDS[level]} at k = {evidence.clusters}, though {having}: try fewer"
    if level == "none" and evidence.embedding.p < ALPHA:
        return f"{WORDS[level]}; a cloud that is no Gaussian was cut up"
    return WORDS[level]


def p_in_words(value: float) -> str:
    """A p-value with two digits.

    >>> p_in_words(0.0345), p_in_words(1e-9), p_in_words(math.nan)
    ('0.035', '< 0.001', '')
    """
    if not math.isfinite(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def excess_in_words(name: str, value: float, digits: int = 3) -> str:
    """The excess of the score `name` with its sign; 'ln' where it is the logarithm of a ratio.

    >>> excess_in_words("silhouette", 0.56473), excess_in_words("davies_bouldin", 1.4796), excess_in_words("x", -0.0001)
    ('+0.565', 'ln +1.480', '0.000')
    """
    if not math.isfinite(value):
        return ""
    number = f"{value:+.{digits}f}"
    number = number[1:] if float(number) == 0 else number
    return f"ln {number}" if name in LOGARITHMIC else number


def measured(space: str, clusters_of: str) -> str:
    """Which clusters are measured where. space: of the score; clusters_of: where the clusters were found.

    >>> measured("embedding", "projection")
    'the same clusters, in the embedding'
    """
    if clusters_of == "embedding":
        return "clusters of the embedding" + (", in the projection" if space == "projection" else "")
    return "the same clusters, in the embedding" if space == "embedding" else "in the projection (the published kind)"


def score_in_words(name: str, of: str = "") -> str:
    """The score `name`, and of which numbers of clusters it is the best.

    >>> score_in_words("davies_bouldin"), score_in_words("best_silhouette", "the best of k = 2 to 20")
    ('Davies-Bouldin', 'Silhouette, the best of k = 2 to 20')
    """
    return f"{METRICS['silhouette'].label}, {of}" if of else METRICS[name].label
