"""How tight the classes are and how far apart: centres, radii, cosines over pairs of images, each pair once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.stage import Drawing, Facts, Stage, Workspace, key_part

log = logging.getLogger(__name__)

PAIRS_UP_TO = 100  # classes up to which metrics.json has every pair of them; the table always has
SPREAD = ("mean", "sd", "min", "max")


def run(settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray) -> dict[str, Any]:
    """Tables by class, by pair of classes and over all; histograms of cosines; centres (C, d)."""
    from pipeline.metrics.distances import class_distances

    rows = _with_direction(image_embeddings, images)
    names, codes = np.unique(images["label"].to_numpy(dtype=str)[rows], return_inverse=True)
    vectors = image_embeddings if len(rows) == len(images) else image_embeddings[rows]
    distances = class_distances(vectors, codes, len(names))
    _say_what_is_not_defined(names, distances.counts)
    return {
        "class_summary": _by_class(names, distances),
        "class_pairs": _by_pair(names, distances),
        "class_overall": _overall(distances),
        "similarity_histograms": pd.DataFrame(
            {
                "bin_left": distances.edges[:-1],
                "bin_right": distances.edges[1:],
                "within": distances.within_counts,
                "between": distances.between_counts,
            }
        ),
        "centers": distances.centers,
    }


def _with_direction(vectors: np.ndarray, images: pd.DataFrame) -> np.ndarray:
    """Rows that have a label and a direction: an all-black image as raw pixels has none."""
    from pipeline.metrics.blocks import row_lengths

    labelled = images["label"].notna().to_numpy()
    directed = row_lengths(vectors) > 0
    lost = images["id"][labelled & ~directed].tolist()
    if lost:
        some = ", ".join(lost[:5])
        log.warning("%d images have all-zero vectors, so no cosine; left out of class distances: %s", len(lost), some)
    return np.flatnonzero(labelled & directed)


def _say_what_is_not_defined(names: np.ndarray, counts: np.ndarray) -> None:
    if len(names) == 1:
        log.warning("there is one class only, '%s': distances between classes are not defined", names[0])
    single = names[counts == 1].tolist()
    if single:
        log.warning("classes of one image have no pairs, so no within-class cosine: %s", ", ".join(single[:10]))


def _by_class(names: np.ndarray, distances: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "class": names,
            "count": distances.counts,
            "radius_max": distances.radius_max,
            "radius_mean": distances.radius_mean,
            "radius_p95": distances.radius_p95,
            **{f"within_{name}": getattr(distances, f"within_{name}") for name in SPREAD},
            "center_norm": np.linalg.norm(distances.centers, axis=1),
        }
    )


def _by_pair(names: np.ndarray, distances: Any) -> pd.DataFrame:
    a, b = np.triu_indices(len(names), k=1)
    return pd.DataFrame(
        {
            "class_a": names[a],
            "class_b": names[b],
            **{f"between_{name}": getattr(distances, f"between_{name}")[a, b] for name in SPREAD},
            "center_cosine": distances.center_cosine[a, b],
            "center_distance": distances.center_distance[a, b],
        }
    )


def _overall(distances: Any) -> pd.DataFrame:
    spreads = {"within": distances.overall_within, "between": distances.overall_between}
    rows = [
        {"pairs_of": key, "pairs": spread.pairs, **{name: getattr(spread, name) for name in SPREAD}}
        for key, spread in spreads.items()
    ]
    return pd.DataFrame(rows)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """within/<class>/..., between/<a>|<b>/..., radius/<class>/..., and both over all."""
    numbers: dict[str, float] = {}
    for row in made["class_overall"].to_dict("records"):
        numbers |= {f"{row['pairs_of']}/all/{name}": row[name] for name in SPREAD}
    for row in made["class_summary"].to_dict("records"):
        name = key_part(row["class"])
        numbers |= {f"within/{name}/{what}": row[f"within_{what}"] for what in SPREAD}
        numbers |= {f"radius/{name}/{what}": row[f"radius_{what}"] for what in ("max", "mean", "p95")}
    for row in made["class_pairs"].to_dict("records") if len(made["class_summary"]) <= PAIRS_UP_TO else ():
        pair = f"{key_part(row['class_a'])}|{key_part(row['class_b'])}"
        numbers |= {f"between/{pair}/{what}": row[f"between_{what}"] for what in ("mean", "min", "max")}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Class similarity as a heat map; cosines within against between."""
    from pipeline.plots.distances import class_similarity, within_between

    summary, pairs, histograms = made["class_summary"], made["class_pairs"], made["similarity_histograms"]
    names = summary["class"].tolist()
    place = {name: i for i, name in enumerate(names)}
    matrix = np.diag(summary["within_mean"].to_numpy(dtype=float))
    for row in pairs.to_dict("records"):
        a, b = place[row["class_a"]], place[row["class_b"]]
        matrix[a, b] = matrix[b, a] = row["between_mean"]
    edges = np.append(histograms["bin_left"].to_numpy(), histograms["bin_right"].iloc[-1])
    figures = {"class_similarity": class_similarity(matrix, names)}
    within, between = histograms["within"].to_numpy(), histograms["between"].to_numpy()
    means = tuple(made["class_overall"].set_index("pairs_of")["mean"].loc[["within", "between"]])
    figures["within_between"] = within_between(edges, within, between, "cosine in the embedding space", means)
    return figures


def refuse(facts: Facts, settings: Any) -> str | None:
    """Class distances need classes."""
    return None if facts.classes else "the images have no labels (one flat folder): class distances need classes"


STAGE = Stage(
    name="class_distances",
    needs=("images", "image_embeddings"),
    makes=("class_summary", "class_pairs", "class_overall", "similarity_histograms", "centers"),
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    packages=("numpy",),
)
