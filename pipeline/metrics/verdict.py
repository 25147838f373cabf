"""From the numbers to a sentence: are there clusters, or was one cloud cut up?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.metrics.catalog import METRICS
from pipeline.metrics.gaps import NONE, REAL
from pipeline.metrics.significance import FEWEST as FEWEST_CLOUDS
from pipeline.metrics.significance import LOGARITHMIC, Excess, excess

Level = Literal["supported", "weak", "none", "unknown"]
ALPHA = 0.05
ALPHA_ALONE = 0.01  # of a gap without an excess: of a few clouds one in twenty has a gap by chance
GATE = 0.05  # by which the best silhouette over k has to exceed the clouds' best
FEWEST = 50  # images below which nothing can be concluded
SMALLEST = 0.02  # excess below which a silhouette's is trivial, ...
SMALLEST_SHARE = 0.2  # ... or this share of the clouds' own silhouette, where that is less
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
    silhouette in the embedding. gap: the median of the clusters' gaps there, NaN where there is none to be told,
    gap_sd: its standard deviation over half-samples, NaN without; null_gaps: the same median of each cloud that has
    one; real_gaps: clusters with a gap of at most 0.7. share: of images in clusters, and null_shares: of each cloud,
    0 for one in which fewer than two clusters were found. null: what clouds were compared with, a key of CLOUDS.
    """

    images: int
    of: int
    clusters: int
    method: str
    projection: Excess | None
    embedding: Excess
    gap: float
    real_gaps: int
    gap_sd: float = math.nan
    null_gaps: Sequence[float] = ()
    share: float = 1.0
    null_shares: Sequence[float] = ()
    null: str = "gaussian"

    @property
    def by_share(self) -> bool:
        """Whether the clouds have so few clusters that their silhouettes say nothing: fewer than two of them, or than
        half, have one. The share of images in clusters is compared then."""
        silhouettes = self.embedding.replicates
        without = sum(share == 0 for share in self.null_shares)
        return without > 0 and silhouettes < max(FEWEST_CLOUDS, len(self.null_shares) / 2)

    @property
    def p(self) -> float:
        """One-sided, in [0, 1]: of the silhouette in the embedding, or of the share of images in clusters by its rank
        among the clouds'."""
        if self.by_share:
            return (1 + sum(share >= self.share for share in self.null_shares)) / (1 + len(self.null_shares))
        return self.embedding.p

    @property
    def excess(self) -> float:
        """Of the same."""
        return self.share - sum(self.null_shares) / len(self.null_shares) if self.by_share else self.embedding.excess

    @property
    def exceeds(self) -> bool:
        """Whether there is more of it than chance gives."""
        if self.by_share:  # of few clouds no rank is below 0.05: the gaps have to carry the verdict
            return self.share > max(self.null_shares)
        return self.embedding.p < ALPHA

    @property
    def matters(self) -> bool:
        """Whether it is enough more to matter."""
        return self.exceeds and (self.by_share or self.excess >= smallest(self.embedding.null_mean))

    @property
    def gap_p(self) -> float:
        """One-sided, in [0, 1]: the chance of so deep a median gap if the data were one more cloud; NaN where fewer
        than two clouds have one."""
        return excess("gap", -self.gap, [-gap for gap in self.null_gaps]).p

    @property
    def gap_is_real(self) -> bool:
        """Whether half of the clusters or more have a gap around them."""
        return self.gap <= REAL


def smallest(null_mean: float) -> float:
    """The excess of a silhouette that matters, >= 0, by the clouds' own mean silhouette.

    A fifth of that where it is small: dimensions that hold nothing but noise make all silhouettes small.

    >>> smallest(0.35), round(smallest(0.03), 3), smallest(-0.01)
    (0.02, 0.006, 0.0)
    """
    return min(SMALLEST, SMALLEST_SHARE * max(null_mean, 0.0))


def decide(evidence: Evidence) -> tuple[Level, str]:
    """The verdict, and why nothing can be told or there is nothing to tell of ('' otherwise).

    Supported: the silhouette in the embedding exceeds that of the null clouds (p < 0.05), by enough to matter, and the
    median gap is real. None: no excess, or no gaps: a cloud that is no Gaussian exceeds one without any clusters.
    Between: weak, but a gap alone only if clouds hardly have such a one by chance (p < 0.01).
    """
    if evidence.images < FEWEST:
        return "unknown", f"{evidence.images} images are too few: at least {FEWEST}"
    if evidence.clusters < 2:
        return "none", "there is one cluster only" if evidence.clusters else "all images are noise"
    if not evidence.by_share:
        if math.isfinite(evidence.embedding.observed) and evidence.embedding.replicates < FEWEST_CLOUDS:
            return "unknown", "fewer than two of the clouds to compare with have clusters to measure"
        if not math.isfinite(evidence.embedding.p):
            return "unknown", "the silhouette is not defined, of the data or of the clouds compared with"
    elif len(evidence.null_shares) < FEWEST_CLOUDS:
        return "unknown", "there is one cloud to compare with: at least two are needed"
    if not math.isfinite(evidence.gap):
        return "unknown", "the clusters are too small to see gaps between them"
    if evidence.matters and evidence.gap_is_real:
        return "supported", ""
    if evidence.exceeds and evidence.gap < NONE:
        return "weak", ""
    alone = evidence.gap_is_real and evidence.gap_p < ALPHA_ALONE
    return ("weak", "") if alone else ("none", "")


def sentence(evidence: Evidence) -> str:
    """The verdict for readers who never heard of a null."""
    level, why = decide(evidence)
    if level == "unknown":
        return f"Whether there are clusters cannot be told: {why}."
    if why:
        return f"{why[0].upper()}{why[1:]}: {WORDS[level]}."
    ends = _conclusion(evidence, level)
    if evidence.by_share:
        return f"{_shares(evidence)} In the encoder's own space they {_gaps(evidence)}: {ends}."
    joint = "and" if evidence.matters == evidence.gap_is_real else "but"
    return f"{_silhouettes(evidence)} {joint} {_gaps(evidence)}: {ends}."


def _shares(evidence: Evidence) -> str:
    mean = sum(evidence.null_shares) / len(evidence.null_shares)
    return (
        f"The clusters hold {evidence.share:.0%} of the images; of a structureless cloud {CLOUDS[evidence.null]} the "
        f"same steps find {mean:.0%} in clusters."
    )


def _silhouettes(evidence: Evidence) -> str:
    cloud = f"a structureless cloud {CLOUDS[evidence.null]}"
    first = ""
    if evidence.projection is not None:
        observed, null = evidence.projection.observed, evidence.projection.null_mean
        first = (
            f"The {evidence.method} silhouette is {observed:.2f}; {cloud} gives {null:.2f} through the same pipeline. "
        )
        cloud = "that cloud"
    number = excess_in_words("silhouette", evidence.excess, 2)
    exceeds = f"do not exceed {cloud} ({number}, p = {p_in_words(evidence.p)})"
    if evidence.exceeds:
        beyond = f"{evidence.excess:.2f}" if evidence.excess >= SMALLEST else f"{evidence.excess:.2g}"
        exceeds = f"exceed {cloud} by {beyond}" + ("" if evidence.matters else ", too little to matter,")
    return f"{first}In the encoder's own space the groups {exceeds}"


def _gaps(evidence: Evidence) -> str:
    spread = f" ± {evidence.gap_sd:.2f}" if math.isfinite(evidence.gap_sd) else ""
    number = f"({evidence.gap:.2f}{spread}; 1 = none)"
    if evidence.gap_is_real:
        return f"are separated by real gaps {number}"
    if evidence.gap < NONE:
        return f"are separated by shallow dips only {number}"
    return f"have no gaps between them {number}"


def _conclusion(evidence: Evidence, level: Level) -> str:
    if level == "weak":
        return "weak evidence of clusters"
    if level == "none" and evidence.gap_is_real:
        return f"{WORDS[level]}, as such clouds can have gaps like these by chance"
    if level == "none" and evidence.real_gaps > 1:
        having = f"{evidence.real_gaps} of the clusters have a gap around them"
        return f"{WORDS[level]} at k = {evidence.clusters}, though {having}: try fewer"
    if level == "none" and evidence.matters:
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
