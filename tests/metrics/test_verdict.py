"""Every branch of the verdict, and its sentence word by word."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.metrics.nulls import NULLS
from pipeline.metrics.significance import Excess, excess
from pipeline.metrics.verdict import CLOUDS, FEWEST, WORDS, Evidence, decide, sentence

PROJECTION = Excess(0.834, 0.351, 0.02, 5, 0.483, 0.0001)


def scored(beyond: float, p: float, replicates: int = 5) -> Excess:
    return Excess(0.4, 0.4 - beyond, 0.01, replicates, beyond, p)


def evidence(beyond: float = 0.321, p: float = 0.001, gap: float = 0.08, **changes: Any) -> Evidence:
    given = {"images": 500, "of": 500, "clusters": 6, "method": "UMAP", "projection": PROJECTION, "real_gaps": 0}
    return Evidence(**{**given, "embedding": scored(beyond, p), "gap": gap, **changes})


def test_clusters_supported() -> None:
    assert decide(evidence()) == ("supported", "")
    assert sentence(evidence()) == (
        "The UMAP silhouette is 0.83; a structureless cloud with the same covariance gives 0.35 through the same "
        "pipeline. In the encoder's own space the groups exceed that cloud by 0.32 and are separated by real gaps "
        "(0.08; 1 = none): clusters supported."
    )


def test_a_cloud_that_is_no_gaussian_was_cut_up() -> None:
    found = evidence(gap=0.93)
    assert decide(found) == ("none", "")
    assert sentence(found).endswith(
        "exceed that cloud by 0.32 but have no gaps between them (0.93; 1 = none): "
        "no clusters supported; a cloud that is no Gaussian was cut up."
    )


def test_shallow_dips_are_weak() -> None:
    assert sentence(evidence(gap=0.78)).endswith(
        "exceed that cloud by 0.32 but are separated by shallow dips only (0.78; 1 = none): weak evidence of clusters."
    )


def test_gaps_without_an_excess_are_weak() -> None:
    found = evidence(beyond=0.013, p=0.2, gap=0.5, null_gaps=[1.0, 0.9, 0.95, 0.98, 1.02])
    assert decide(found) == ("weak", "")
    assert sentence(found).endswith(
        "do not exceed that cloud (+0.01, p = 0.2) but are separated by real gaps "
        "(0.50; 1 = none): weak evidence of clusters."
    )


def test_a_gap_such_as_clouds_have_is_none() -> None:
    """t = (0.95 - gap) / (0.1 sqrt(4/3)) on 2 degrees of freedom is 6.965 at p = 0.01: a gap of 0.146."""
    clouds = [0.85, 0.95, 1.05]
    found = evidence(beyond=0.013, p=0.2, gap=0.15, null_gaps=clouds)
    assert decide(found) == ("none", "") and 0.01 < found.gap_p < 0.011
    assert sentence(found).endswith(
        "(0.15; 1 = none): no clusters supported, as such clouds can have gaps like these by chance."
    )
    assert decide(evidence(beyond=0.013, p=0.2, gap=0.14, null_gaps=clouds)) == ("weak", "")
    assert decide(evidence(beyond=0.013, p=0.2, gap=0.14)) == ("none", "")  # no cloud has any
    assert decide(evidence(gap=0.5, null_gaps=[0.4, 0.5]))[0] == "supported"  # the excess is no chance


def test_a_trivial_excess_is_weak_at_best() -> None:
    """Of 2,000 images a silhouette of 0.354 can differ from 0.35 beyond all chance."""
    found = evidence(embedding=Excess(0.354, 0.35, 0.0005, 5, 0.004, 0.0001))
    assert decide(found) == ("weak", "")
    assert sentence(found).endswith(
        "exceed that cloud by 0.004, too little to matter, but are separated by real gaps (0.08; 1 = none): "
        "weak evidence of clusters."
    )
    assert decide(evidence(embedding=Excess(0.37, 0.35, 0.0005, 5, 0.0201, 0.0001)))[0] == "supported"
    # silhouettes shrink in many dimensions, and with them what matters
    assert decide(evidence(embedding=Excess(0.0057, 0.0033, 0.0002, 5, 0.0024, 0.001)))[0] == "supported"
    assert decide(evidence(embedding=Excess(0.01, -0.01, 0.002, 5, 0.02, 0.001)))[0] == "supported"
    found = evidence(embedding=Excess(0.354, 0.35, 0.0005, 5, 0.004, 0.0001), gap=0.9)
    assert sentence(found).endswith("too little to matter, and have no gaps between them (0.90; 1 = none): "
                                    "no clusters supported.")  # fmt: skip


UNDEFINED = excess("silhouette", 0.4, [])


@pytest.mark.parametrize(
    ("share", "null_shares", "gap", "level"),
    [
        (0.9, [0.0] * 5, 0.1, "supported"),
        (0.9, [0.0] * 5, 0.8, "weak"),
        (0.9, [0.0] * 5, 0.9, "none"),
        (0.3, [0.0, 0.0, 0.0, 0.0, 0.4], 0.1, "none"),
        (0.3, [0.0, 0.0, 0.0, 0.0, 0.4], 0.9, "none"),
        (0.9, [0.0], 0.1, "unknown"),
    ],
)
def test_clouds_without_clusters(share: float, null_shares: list[float], gap: float, level: str) -> None:
    found = evidence(embedding=UNDEFINED, share=share, null_shares=null_shares, gap=gap)
    assert decide(found)[0] == level
    assert found.by_share and 0 < found.p <= 1


def test_the_sentence_of_shares() -> None:
    found = evidence(embedding=UNDEFINED, share=0.934, null_shares=[0.0, 0.1, 0.0, 0.0], gap_sd=0.031)
    assert found.p == 0.2 and found.excess == pytest.approx(0.909)
    assert sentence(found) == (
        "The clusters hold 93% of the images; of a structureless cloud with the same covariance the same steps find 2% "
        "in clusters. In the encoder's own space they are separated by real gaps (0.08 ± 0.03; 1 = none): "
        "clusters supported."
    )


def test_shares_decide_only_where_clouds_lack_clusters() -> None:
    few = scored(0.3, 0.001, replicates=2)
    assert not evidence(embedding=scored(0.3, 0.001, 3), share=0.9, null_shares=[0, 0, 0.5, 0.5, 0.5]).by_share
    assert evidence(embedding=few, share=0.9, null_shares=[0, 0, 0, 0.5, 0.5]).by_share
    assert not evidence(embedding=few, null_shares=[1.0, 1.0]).by_share


def test_no_excess_and_no_gaps() -> None:
    found = evidence(beyond=-0.02, p=0.934, gap=1.02)
    assert decide(found) == ("none", "")
    assert sentence(found).endswith(
        "do not exceed that cloud (-0.02, p = 0.93) and have no gaps between them "
        "(1.02; 1 = none): no clusters supported."
    )


def test_no_excess_and_shallow_dips() -> None:
    found = evidence(beyond=0.0, p=0.5, gap=0.8)
    assert decide(found) == ("none", "")
    assert sentence(found).endswith(
        "do not exceed that cloud (0.00, p = 0.5) and are separated by shallow dips only (0.80; 1 = none): "
        "no clusters supported."
    )


def test_too_many_clusters_but_some_with_gaps() -> None:
    found = evidence(gap=0.9, real_gaps=3, clusters=12)
    assert sentence(found).endswith(
        "(0.90; 1 = none): no clusters supported at k = 12, though 3 of the clusters have a gap around them: try fewer."
    )
    assert "try fewer" not in sentence(evidence(gap=0.9, real_gaps=1))


def test_without_a_projection() -> None:
    assert sentence(evidence(projection=None)) == (
        "In the encoder's own space the groups exceed a structureless cloud with the same covariance by 0.32 and are "
        "separated by real gaps (0.08; 1 = none): clusters supported."
    )


@pytest.mark.parametrize(
    ("p", "gap", "level"),
    [
        (0.0499, 0.7, "supported"),
        (0.05, 0.7, "none"),
        (0.0499, 0.7001, "weak"),
        (0.0499, 0.8499, "weak"),
        (0.0499, 0.85, "none"),
        (0.05, 0.7001, "none"),
    ],
)
def test_edges(p: float, gap: float, level: str) -> None:
    assert decide(evidence(p=p, gap=gap))[0] == level


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"images": 49}, "49 images are too few: at least 50"),
        ({"p": math.nan}, "the silhouette is not defined, of the data or of the clouds compared with"),
        ({"gap": math.nan}, "the clusters are too small to see gaps between them"),
        (
            {"embedding": excess("silhouette", 0.4, [0.1])},
            "fewer than two of the clouds to compare with have clusters to measure",
        ),
    ],
)
def test_what_cannot_be_told(changes: dict[str, Any], why: str) -> None:
    found = evidence(**changes)
    assert decide(found) == ("unknown", why)
    assert sentence(found) == f"Whether there are clusters cannot be told: {why}."


@pytest.mark.parametrize(
    ("clusters", "said"),
    [(1, "There is one cluster only: no clusters supported."), (0, "All images are noise: no clusters supported.")],
)
def test_nothing_was_found(clusters: int, said: str) -> None:
    found = evidence(clusters=clusters, gap=math.nan, embedding=UNDEFINED)
    assert decide(found)[0] == "none" and sentence(found) == said


def test_the_first_reason_is_the_number_of_images() -> None:
    assert decide(evidence(images=FEWEST - 1, clusters=0, gap=math.nan))[1].startswith("49 images")
    assert decide(evidence(images=FEWEST))[0] == "supported"


def test_the_sentence_says_which_cloud_it_was() -> None:
    assert set(CLOUDS) == set(NULLS)
    said = {sentence(evidence(null=null)) for null in NULLS}
    assert len(said) == len(NULLS)
    assert sum("same covariance" in one for one in said) == 2  # of the Gaussian and of its tails, of no other
    assert "a structureless cloud with the same variance, but round gives 0.35" in sentence(evidence(null="isotropic"))


def test_every_level_has_its_word() -> None:
    levels = {decide(evidence(p=p, gap=gap))[0] for p in (0.01, 0.5) for gap in (0.1, 0.8, 0.95, math.nan)}
    assert levels == set(WORDS)
