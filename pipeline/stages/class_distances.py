"""How tight the classes are and how far apart: centres, radii, cosines over pairs of images, each pair once; before
and after the mean of all images is subtracted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CallError
from pipeline.stage import Drawing, Facts, Stage, Workspace, key_part
from pipeline.stages.groups import group_numbers

log = logging.getLogger(__name__)

PAIRS_UP_TO = 100  # classes up to which metrics.json has every pair of them; the table always has
SAVED_UP_TO = 2**31  # bytes of pairs.npy: 32,768 images
SPREAD = ("mean", "sd", "min", "max")
MEANS = ("within", "between", "gap")
OF_CLASS = ("gap", "gap_low", "gap_high", "d_prime", "overlap", "auc", "auc_error")
OF_ALL = (*OF_CLASS, "auc_low", "auc_high")
AFTER = "centered_"  # before the names of what is measured after centring


def run(settings: Any, workspace: Workspace, images: pd.DataFrame, image_embeddings: np.ndarray) -> dict[str, Any]:
    """Tables by class, by pair of classes and over all; histograms of cosines; centres (C, d)."""
    from pipeline.metrics.distances import class_distances

    chosen = settings.class_distances
    rows = _with_direction(image_embeddings, images)
    names, codes = np.unique(images["label"].iloc[rows].tolist(), return_inverse=True)
    vectors = image_embeddings if len(rows) == len(images) else image_embeddings[rows]
    groups = group_numbers(images["group"].iloc[rows])
    found = class_distances(vectors, codes, len(names), centered=chosen.centered, groups=groups)
    _say_what_is_not_defined(names, found, chosen.centered)
    blocks, pairs = _pairs(vectors, codes, names, workspace) if chosen.save_pairs else (None, None)
    return {
        "class_summary": _by_class(names, found),
        "class_pairs": _by_pair(names, found),
        "class_overall": _overall(found),
        "class_separation": _separation(names, found),
        "similarity_histograms": _histograms(found),
        "centers": found.centers,
        "pair_blocks": blocks,
        "pairs": pairs,
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


def _say_what_is_not_defined(names: np.ndarray, found: Any, centered: bool) -> None:
    if len(names) == 1:
        log.warning("there is one class only, '%s': distances between classes are not defined", names[0])
    single = names[found.counts == 1].tolist()
    if single:
        log.warning("classes of one image have no pairs, so no within-class cosine: %s", ", ".join(single[:10]))
    if centered and found.centered is None:
        log.warning("an image lies at the mean of all and has no direction from it: nothing is said after centring")


def _pairs(vectors: np.ndarray, codes: np.ndarray, names: np.ndarray, workspace: Workspace) -> tuple[Any, Any]:
    """Every cosine, written to a file block by block, and where in it each pair of classes stands."""
    from pipeline.metrics.distances import pair_blocks, write_pairs

    blocks = pair_blocks(np.bincount(codes, minlength=len(names)))
    workspace.folder.mkdir(parents=True, exist_ok=True)
    file = Path(workspace.folder) / "pairs.npy"
    shape = (sum(block[3] for block in blocks),)
    if shape == (0,):  # an empty file cannot be mapped
        out = np.zeros(shape, dtype=np.float32)
    else:
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        write_pairs(vectors, codes, len(names), out)
        out.flush()
        out = np.load(file, mmap_mode="r")
    table = pd.DataFrame(blocks, columns=["class_a", "class_b", "start", "pairs"])
    return table.assign(class_a=names[table["class_a"]], class_b=names[table["class_b"]]), out


def _views(found: Any) -> list[tuple[str, Any]]:
    """(what names begin with, cosines) before and, where there is one, after centring."""
    return [("", found.cosines)] + ([(AFTER, found.centered)] if found.centered is not None else [])


def _named(names: np.ndarray, places: np.ndarray) -> list[str | None]:
    return [str(names[place]) if place >= 0 else None for place in places]


def _by_class(names: np.ndarray, found: Any) -> pd.DataFrame:
    columns = {
        "class": names,
        "count": found.counts,
        "radius_max": found.radius_max,
        "radius_mean": found.radius_mean,
        "radius_p95": found.radius_p95,
        "center_norm": np.linalg.norm(found.centers, axis=1),
        "nearest_center": _named(names, found.nearest_center),
    }
    for prefix, cosines in _views(found):
        columns |= {f"{prefix}within_{name}": getattr(cosines, f"within_{name}") for name in SPREAD}
        columns |= {f"{prefix}others_{name}": getattr(cosines, f"others_{name}") for name in ("mean", "sd")}
        columns[f"{prefix}nearest_class"] = _named(names, cosines.nearest)
    return pd.DataFrame(columns)


def _by_pair(names: np.ndarray, found: Any) -> pd.DataFrame:
    a, b = np.triu_indices(len(names), k=1)
    columns = {"class_a": names[a], "class_b": names[b], "center_distance": found.center_distance[a, b]}
    for prefix, cosines in _views(found):
        columns |= {f"{prefix}between_{name}": getattr(cosines, f"between_{name}")[a, b] for name in SPREAD}
        columns[f"{prefix}center_cosine"] = cosines.center_cosine[a, b]
    return pd.DataFrame(columns)


def _overall(found: Any) -> pd.DataFrame:
    rows = [
        {
            "centered": prefix == AFTER,
            "pairs_of": key,
            "pairs": spread.pairs,
            **{name: getattr(spread, name) for name in SPREAD},
            "mean_low": getattr(cosines.overall_intervals, key).low,
            "mean_high": getattr(cosines.overall_intervals, key).high,
            "mean_length": found.mean_length,
        }
        for prefix, cosines in _views(found)
        for key, spread in (("within", cosines.overall_within), ("between", cosines.overall_between))
    ]
    return pd.DataFrame(rows)


def _separation(names: np.ndarray, found: Any) -> pd.DataFrame:
    """Within against between: a row over all classes (class missing), then one for each class."""
    scores = ("gap", "d_prime", "overlap", "auc", "auc_error")
    parts = []
    for prefix, cosines in _views(found):
        overall = {name: getattr(cosines.overall, name) for name in scores}
        overall |= {"auc_low": cosines.auc_interval.low, "auc_high": cosines.auc_interval.high}
        overall |= {"within_mean": cosines.overall_within.mean, "between_mean": cosines.overall_between.mean}
        by_class = {name: getattr(cosines.by_class, name) for name in scores}
        by_class |= {"within_mean": cosines.within_mean, "between_mean": cosines.others_mean}
        for of, intervals in ((overall, cosines.overall_intervals), (by_class, cosines.class_intervals)):
            for name in MEANS:
                of |= {f"{name}_{end}": getattr(getattr(intervals, name), end) for end in ("low", "high")}
        parts += [pd.DataFrame([{"class": None, **overall}]), pd.DataFrame({"class": names, **by_class})]
        for part in parts[-2:]:
            part.insert(0, "centered", prefix == AFTER)
    order = ["centered", "class", "within_mean", "within_low", "within_high", "between_mean", "between_low",
             "between_high", *OF_CLASS, "auc_low", "auc_high"]  # fmt: skip
    rows = [row for part in parts for row in part.to_dict("records")]
    table = pd.DataFrame(rows, columns=order)
    return table.astype({"class": "string"})


def _histograms(found: Any) -> pd.DataFrame:
    columns = {"bin_left": found.cosines.edges[:-1], "bin_right": found.cosines.edges[1:]}
    for prefix, cosines in _views(found):
        columns |= {f"{prefix}within": cosines.within_counts, f"{prefix}between": cosines.between_counts}
    return pd.DataFrame(columns)


def _class_key(name: str) -> str:
    """A class as part of a key; one that is called 'all' is not all of them."""
    return "%61ll" if name == "all" else key_part(name)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """within/<class>/..., between/<a>|<b>/..., radius/<class>/..., separation/<class>/..., and all but radii over all;
    the same after centring below centered/."""
    summary, overall = made["class_summary"], made["class_overall"]
    numbers: dict[str, float] = {"mean_length": overall["mean_length"].iloc[0]}
    for row in summary.to_dict("records"):
        numbers |= {
            f"radius/{_class_key(row['class'])}/{what}": row[f"radius_{what}"] for what in ("max", "mean", "p95")
        }
    for centered in (False, True) if overall["centered"].any() else (False,):
        place, column = ("centered/", AFTER) if centered else ("", "")
        for row in overall[overall["centered"] == centered].to_dict("records"):
            names = (*SPREAD, "mean_low", "mean_high")
            numbers |= {f"{place}{row['pairs_of']}/all/{name}": row[name] for name in names}
        for row in summary.to_dict("records"):
            name = _class_key(row["class"])
            numbers |= {f"{place}within/{name}/{what}": row[f"{column}within_{what}"] for what in SPREAD}
        for row in made["class_pairs"].to_dict("records") if len(summary) <= PAIRS_UP_TO else ():
            pair = f"{_class_key(row['class_a'])}|{_class_key(row['class_b'])}"
            values = {what: row[f"{column}between_{what}"] for what in ("mean", "min", "max")}
            numbers |= {f"{place}between/{pair}/{what}": value for what, value in values.items()}
        separation = made["class_separation"]
        for row in separation[separation["centered"] == centered].to_dict("records"):
            of_all = pd.isna(row["class"])
            name = "all" if of_all else _class_key(row["class"])
            numbers |= {f"{place}separation/{name}/{what}": row[what] for what in (OF_ALL if of_all else OF_CLASS)}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Class similarity as a heat map; cosines within against between; both also after centring."""
    figures = _figures(made, "", "cosine in the embedding space")
    if made["class_overall"]["centered"].any():
        figures |= _figures(made, AFTER, "cosine in the embedding space, seen from the mean of all images")
    return figures


def _figures(made: Mapping[str, Any], prefix: str, space: str) -> dict[str, Any]:
    from pipeline.plots.distances import class_similarity, within_between

    summary, pairs, histograms = made["class_summary"], made["class_pairs"], made["similarity_histograms"]
    names = summary["class"].tolist()
    place = {name: i for i, name in enumerate(names)}
    matrix = np.diag(summary[f"{prefix}within_mean"].to_numpy(dtype=float))
    for row in pairs.to_dict("records"):
        a, b = place[row["class_a"]], place[row["class_b"]]
        matrix[a, b] = matrix[b, a] = row[f"{prefix}between_mean"]
    edges = np.append(histograms["bin_left"].to_numpy(), histograms["bin_right"].iloc[-1])
    within, between = histograms[f"{prefix}within"].to_numpy(), histograms[f"{prefix}between"].to_numpy()
    overall, separation = made["class_overall"], made["class_separation"]
    overall = overall[overall["centered"] == bool(prefix)]
    means = tuple(overall.set_index("pairs_of")["mean"].loc[["within", "between"]])
    scores = separation[(separation["centered"] == bool(prefix)) & separation["class"].isna()].iloc[0]
    subtitle = "; ".join([space, *_scores_in_words(scores)])
    ending = "_centered" if prefix else ""
    return {
        f"class_similarity{ending}": class_similarity(matrix, names, space),
        f"within_between{ending}": within_between(edges, within, between, subtitle, means),
    }


def _scores_in_words(scores: Mapping[str, Any]) -> list[str]:
    words = {"auc": "AUC {:.3f}", "d_prime": "d′ {:.2f}", "overlap": "overlap {:.3f}"}
    return [form.format(scores[name]) for name, form in words.items() if np.isfinite(scores[name])]


def refuse(facts: Facts, settings: Any) -> str | None:
    """Class distances need classes; all products must fit."""
    if not facts.classes:
        return "the images have no labels: class distances need classes"
    pairs = facts.images * (facts.images - 1) // 2
    size = 4 * pairs / 2**30
    if settings.class_distances.save_pairs and 4 * pairs > SAVED_UP_TO:
        raise CallError(
            f"class_distances.save_pairs = true: {facts.images:,} images have {pairs:,} pairs, {size:,.1f} GB; "
            f"at most {SAVED_UP_TO / 2**30:g} GB are written (32,768 images); dataset.limit=<images> takes a sample"
        )
    return None


STAGE = Stage(
    name="class_distances",
    needs=("images", "image_embeddings"),
    makes=(
        "class_summary",
        "class_pairs",
        "class_overall",
        "class_separation",
        "similarity_histograms",
        "centers",
        "pair_blocks",
        "pairs",
    ),
    settings=("class_distances",),
    version=3,
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    packages=("numpy",),
)
