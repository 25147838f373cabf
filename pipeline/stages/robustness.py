"""Images with noise, blur, other light ... embedded again: how many change their cluster and their class.

The same centres tell the cluster of an image before and after. Beside it stands what is often taken for this: the
perturbed images clustered anew, whose silhouette can stay high when most of them have changed sides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from inference.embed import PASSING
from inference.encoders import EncoderHandle
from inference.fidelity import exact
from inference.perturbations import CLEAN, perturbed_place, suiting
from pipeline.metrics import robustness as metric
from pipeline.metrics.resampling import units
from pipeline.schema import (
    Definition,
    KmeansClustering,
    MinibatchKmeansClustering,
    PcaProjection,
    PrecomputedEncoder,
    SphericalKmeansClustering,
    TsneProjection,
    UmapProjection,
)
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages.clouds import clustered_space
from pipeline.stages.clustering import CLUSTER
from pipeline.stages.embedding import embed_images, listed_contents
from pipeline.stages.groups import group_numbers
from pipeline.stages.quiet import quietly

log = logging.getLogger(__name__)

SHOWN = 2  # images of each perturbation, of those that changed sides
SAME = 0.999  # cosine of an image's vector with that of the same image read again, below which something is wrong
AGREE = 0.9  # share of images that keep the run's cluster when they are placed anew, below which it is said
CENTRED = (
    KmeansClustering,
    MinibatchKmeansClustering,
    SphericalKmeansClustering,
)  # whose clusters are what is nearest to a centre

Near = tuple[np.ndarray, np.ndarray]
Place = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sides:
    """How the cluster of an image is told from its vector, before and after.

    place: vectors -> points of `space`, 'embedding' or 'projection'; assign: points and the rows of their images ->
    their clusters; rule: 'centre' or 'neighbour'; why: in words where it is not the run's own way.
    """

    place: Place
    assign: Callable[[np.ndarray, np.ndarray], np.ndarray]
    space: str
    rule: str
    why: str = ""


@dataclass(frozen=True)
class Step:
    """A perturbation at a severity. at (r,): which images of the sample could be read; vectors (r, d): theirs."""

    name: str
    severity: int
    at: np.ndarray
    vectors: np.ndarray


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    encoder: EncoderHandle,
    encoding: pd.DataFrame,
    projection: np.ndarray,
    neighbour_rows: np.ndarray,
    neighbour_distances: np.ndarray,
    clusters: np.ndarray,
    centroids: np.ndarray,
) -> dict[str, Any]:
    """`robustness_scores`: a row for each perturbation and severity, the first for the images as they are, read again.
    `robustness_images`: the same of each image. `robustness_skipped`: what could not be read. `robustness_protocol`:
    one row, how it was done."""
    chosen = settings.robustness
    rows = _sample(len(images), chosen)
    sample = images.iloc[rows].reset_index(drop=True)
    definitions = _definitions(chosen, sample)
    steps, skipped = _read(settings, workspace, sample, _as_used(encoder, encoding), definitions)
    near = (neighbour_rows, neighbour_distances)
    sides = _sides(settings, image_embeddings, projection, near, clusters, centroids)
    unit = units(len(images), group_numbers(images["group"]))
    codes, classes = pd.factorize(images["label"], sort=True)
    judge = metric.ClassCentres(image_embeddings, codes, unit) if len(classes) else None
    before = _Judged(sides, judge, image_embeddings[rows], rows)
    after = [_Judged(sides, judge, step.vectors, rows[step.at]) for step in steps]
    table = pd.concat([_of_images(*pair, sample, before, classes) for pair in zip(steps, after, strict=True)])
    k = len(centroids)
    scores = [_of_step(settings, sides.space, *pair, before, k) for pair in zip(steps, after, strict=True)]
    agrees = float((before.clusters == clusters[rows]).mean())
    _warn(steps, before, sides, agrees, len(rows))
    told = {"images": len(rows), "definitions": definitions, "space": sides.space, "rule": sides.rule}
    return {
        "robustness_scores": _with_shares(chosen, scores, steps, after, before, codes[rows], unit[rows], k),
        "robustness_images": table.reset_index(drop=True),
        "robustness_skipped": skipped,
        "robustness_protocol": pd.DataFrame([told | {"agrees": agrees, "why": sides.why}]),
    }


def _sample(n: int, chosen: Any) -> np.ndarray:
    """Rising rows."""
    drawn = np.random.default_rng(chosen.seed).permutation(n)
    return np.sort(drawn if chosen.images is None else drawn[: chosen.images])


def _definitions(chosen: Any, sample: pd.DataFrame) -> str:
    """One set for all images of a run: those that suit most of them."""
    if chosen.definitions is not Definition.auto:
        return str(chosen.definitions.value)
    return suiting(float(sample[["width", "height"]].min(axis=1).median()))


def _as_used(encoder: EncoderHandle, encoding: pd.DataFrame) -> EncoderHandle:
    """The encoder as it made the run's vectors in the end; how near that is to the exact way has been judged there."""
    used = encoder.at(exact(encoder.runtime)) if bool(encoding["fell_back"].iloc[0]) else encoder
    return replace(used, min_fidelity=0.0)


def _read(
    settings: Any, workspace: Workspace, sample: pd.DataFrame, encoder: EncoderHandle, definitions: str
) -> tuple[list[Step], pd.DataFrame]:
    """All steps, embedded in one go; and what could not be read: id, perturbation, severity, reason, detail."""
    chosen, n = settings.robustness, len(sample)
    names = [(CLEAN, 0), *((name.value, severity) for name in chosen.perturbations for severity in chosen.severities)]
    places = [_place(image, *name, definitions, chosen.seed) for name in names for image in sample.to_dict("records")]
    contents = [*listed_contents(sample["content_hash"])] * len(names)
    made = embed_images(places, contents, encoder, settings.images, workspace)
    ends = np.searchsorted(made.rows, np.arange(len(names) + 1) * n)
    steps = [
        Step(*name, made.rows[ends[i] : ends[i + 1]] - i * n, made.vectors[ends[i] : ends[i + 1]])
        for i, name in enumerate(names)
    ]
    ids = sample["id"].tolist()
    lost = [(ids[row % n], *names[row // n], reason, detail) for row, reason, detail in made.unreadable]
    return steps, pd.DataFrame(lost, columns=["id", "perturbation", "severity", "reason", "detail"])


def _place(image: Mapping[str, Any], name: str, severity: int, definitions: str, seed: int) -> str:
    return perturbed_place(image["path"], name, severity, definitions, seed, image["id"])


def _umap(chosen: UmapProjection, vectors: np.ndarray, projection: np.ndarray, near: Near) -> Place | None:
    from pipeline.geometry.projection import umap_placer

    settings = (chosen.n_components, chosen.n_neighbors, chosen.min_dist, chosen.seed)
    return umap_placer(vectors, projection, *settings, neighbours=near, max_fit=chosen.max_fit)


def _tsne(chosen: TsneProjection, vectors: np.ndarray, projection: np.ndarray, near: Near) -> Place | None:
    from pipeline.geometry.tsne import tsne_placer

    settings = (chosen.perplexity, chosen.n_iter, chosen.seed)
    return tsne_placer(vectors, projection, *settings, neighbours=near, max_fit=chosen.max_fit)


def _pca(chosen: PcaProjection, vectors: np.ndarray, projection: np.ndarray, near: Near) -> Place | None:
    from pipeline.geometry.projection import pca_placer

    return pca_placer(vectors, projection)


PLACE: dict[type, Callable[[Any, np.ndarray, np.ndarray, Near], Place | None]] = {
    UmapProjection: _umap,
    TsneProjection: _tsne,
    PcaProjection: _pca,
}


def _sides(
    settings: Any, vectors: np.ndarray, projection: np.ndarray, near: Near, clusters: np.ndarray, centres: np.ndarray
) -> Sides:
    """By the same centres, in the space in which the clusters were found. Where clusters have no centres, or new points
    have no place there, by the nearest other image."""
    space, why = clustered_space(settings), ""
    place: Place | None = _unmoved
    if space == "projection":
        place = _placer(settings.projection, vectors, projection, near)
    if place is None:
        space, place = "embedding", _unmoved
        why = "nothing further can be placed in this projection, which comes out otherwise when it is made again"
    if isinstance(settings.clustering, CENTRED) and not why:
        return Sides(place, _by_centre(settings.clustering, centres), space, "centre")
    if not why:
        why = f"{settings.clustering.name} does not assign images to what is nearest to a centre"
    known = projection if space == "projection" else vectors
    return Sides(place, _by_neighbour(known, clusters), space, "neighbour", why)


def _placer(chosen: Any, vectors: np.ndarray, projection: np.ndarray, near: Near) -> Place | None:
    if getattr(chosen, "seed", 0) is None:
        return None
    with quietly():  # what there is to say of the projection has been said
        return PLACE[type(chosen)](chosen, vectors, projection, near)


def _unmoved(vectors: np.ndarray) -> np.ndarray:
    return vectors


def _by_centre(chosen: Any, centres: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    from pipeline.metrics.blocks import unit_rows

    directed = isinstance(chosen, SphericalKmeansClustering)

    def assign(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if directed:
            return metric.nearest_centre(unit_rows(points), unit_rows(centres))
        return metric.nearest_centre(points, centres)

    return assign


def _by_neighbour(points: np.ndarray, clusters: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    from pipeline.geometry.neighbours import nearest_among

    def assign(new: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not len(new):
            return np.empty(0, np.int64)
        found = nearest_among(new, points, 2)[0]
        other = np.where(found[:, 0] == rows, found[:, 1], found[:, 0])  # an image is not its own neighbour
        return np.asarray(clusters[other])

    return assign


class _Judged:
    """Vectors (r, d) of the images `rows`: where they lie, in which cluster, nearest to which class."""

    def __init__(self, sides: Sides, judge: metric.ClassCentres | None, vectors: np.ndarray, rows: np.ndarray) -> None:
        self.vectors = vectors
        with quietly():
            self.points = sides.place(vectors) if len(vectors) else np.empty((0, 1))
        self.clusters = sides.assign(self.points, rows) if len(rows) else np.empty(0, np.int64)
        self.classes = judge.nearest(vectors, rows) if judge else None


def _of_images(
    step: Step, after: _Judged, sample: pd.DataFrame, before: _Judged, classes: Sequence[str]
) -> pd.DataFrame:
    """A row for each image that could be read."""
    table = pd.DataFrame({
        "id": sample["id"].to_numpy()[step.at], "perturbation": step.name, "severity": step.severity,
        "cosine": metric.cosines(after.vectors, before.vectors[step.at]),
        "clean_cluster": before.clusters[step.at], "cluster": after.clusters,
        "flipped": after.clusters != before.clusters[step.at],
    })  # fmt: skip
    if after.classes is not None and before.classes is not None:
        names = np.array([*classes, None], dtype=object)
        table["clean_class"], table["nearest_class"] = names[before.classes[step.at]], names[after.classes]
    return table


def _of_step(settings: Any, space: str, step: Step, after: _Judged, before: _Judged, k: int) -> dict[str, Any]:
    """What is one number for all images."""
    cosines = metric.cosines(after.vectors, before.vectors[step.at])
    known = cosines[~np.isnan(cosines)]
    silhouette, again = _clustered_again(settings.clustering, space, after.points, k)
    clean = before.clusters[step.at]
    return {
        "perturbation": step.name,
        "severity": step.severity,
        "images": len(step.at),
        "unreadable": len(before.clusters) - len(step.at),
        "ari": metric.agreement(clean, after.clusters) if k else np.nan,
        "cosine": float(known.mean()) if len(known) else np.nan,
        "cosine_min": float(known.min()) if len(known) else np.nan,
        "reclustered_silhouette": silhouette,
        "reclustered_ari": np.nan if again is None else metric.agreement(clean, again),
    }


def _clustered_again(chosen: Any, space: str, points: np.ndarray, k: int) -> tuple[float, np.ndarray | None]:
    """These points alone, by the run's clusterer and its k: mean silhouette, as the run has it in that space, and
    clusters; NaN and None where there are too few points."""
    from pipeline.metrics.clustering import silhouette, silhouette_samples

    way = "euclidean" if space == "projection" else "cosine"
    if len(points) <= k or len(points) < 2:
        return np.nan, None
    try:
        with quietly():
            found = CLUSTER[type(chosen)](chosen, np.ascontiguousarray(points), k if hasattr(chosen, "k") else None)
    except ValueError:
        return np.nan, None
    return silhouette(silhouette_samples(points, found.clusters, (way,))[way]), found.clusters


def _with_shares(
    chosen: Any, scores: list[dict[str, Any]], steps: list[Step], after: list[_Judged], before: _Judged,
    codes: np.ndarray, unit: np.ndarray, k: int,
) -> pd.DataFrame:  # fmt: skip
    """`robustness_scores`: with the share of images that changed sides, and of those nearest to their own class."""
    flips, right = (np.full((len(before.clusters), len(steps)), np.nan) for _ in range(2))
    for i, (step, found) in enumerate(zip(steps, after, strict=True)):
        flips[step.at, i] = found.clusters != before.clusters[step.at] if k else np.nan
        if found.classes is not None:
            of_class = codes[step.at]
            right[step.at, i] = np.where(of_class >= 0, found.classes == of_class, np.nan)
    table = pd.DataFrame(scores)
    place = 4
    for number, (name, events) in enumerate((("flip_rate", flips), ("accuracy", right))):
        told = metric.shares(events, unit, chosen.resamples, (chosen.seed, number))
        short = name.removesuffix("_rate")
        values = {name: told.value, f"{short}_low": told.interval.low, f"{short}_high": told.interval.high}
        for column, value in values.items():
            table.insert(place, column, value)
            place += 1
    return table


def _warn(steps: list[Step], before: _Judged, sides: Sides, agrees: float, n: int) -> None:
    again = metric.cosines(steps[0].vectors, before.vectors[steps[0].at])
    if len(again) and np.nanmin(again, initial=1.0) < SAME:
        log.warning(
            "robustness: images that were read again, as they are, give other vectors than before (cosine %.4f at "
            "worst): the first row of its table says how much of all that follows is not the perturbation",
            np.nanmin(again),
        )  # fmt: skip
    if sides.why:
        what = "the nearest other image, before and after, tells the cluster"
        log.warning("robustness: %s in the %s: %s", what, sides.space, sides.why)
    if agrees < AGREE:
        log.warning(
            "robustness: only %.0f %% of the images are in the run's own cluster when they are assigned again, "
            "unperturbed: changes are counted from there", 100 * agrees,
        )  # fmt: skip
    if lost := n - min(len(step.at) for step in steps):
        log.warning("robustness: up to %d of %d images could no longer be read; see skipped.csv there", lost, n)


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """Each perturbation and severity; the mean over perturbations."""
    scores, told = made["robustness_scores"], made["robustness_protocol"].iloc[0]
    numbers: dict[str, float] = {"images": float(told["images"]), "agrees": float(told["agrees"])}
    columns = [name for name in scores if name not in ("perturbation", "severity")]
    for row in scores.to_dict("records"):
        numbers |= {f"{row['perturbation']}/{row['severity']}/{name}": row[name] for name in columns}
    perturbed = scores[scores["severity"] > 0]
    for severity, of_all in perturbed.groupby("severity"):
        numbers |= {
            f"mean/{severity}/{name}": float(of_all[name].mean())
            for name in ("flip_rate", "ari", "cosine", "accuracy", "reclustered_silhouette")
        }
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Every perturbation at the largest severity; curves against severity where there are several; the images that
    changed most, beside what they were."""
    from pipeline.plots.robustness import curves, rates

    scores = made["robustness_scores"]
    found = {(row["perturbation"], row["severity"]): row for row in scores.to_dict("records")}
    severities = sorted({severity for _, severity in found if severity})
    names = list(dict.fromkeys(name for name, severity in found if severity))
    clean = found[CLEAN, 0]
    last = severities[-1]
    figures = {"rates": rates({name: found[name, last] for name in names}, clean, last)}
    if len(severities) > 1:
        rows = {name: [clean, *(found[name, severity] for severity in severities)] for name in names}
        figures["curves"] = curves([0, *severities], rows)
    if needs["images"]["path"].any() and (sheet := _changed(settings, made, needs["images"], drawing, last)):
        figures["changed_sheet"] = sheet
    return figures


def _changed(settings: Any, made: Mapping[str, Any], images: pd.DataFrame, drawing: Drawing, severity: int) -> Any:
    """For each perturbation the images whose vectors turned most, of those that changed sides; None where none did."""
    from pipeline.plots.robustness import pairs_sheet

    definitions, seed = made["robustness_protocol"]["definitions"].iloc[0], settings.robustness.seed
    table = made["robustness_images"]
    worst = table[table["flipped"] & (table["severity"] == severity)].sort_values("cosine", kind="stable")
    worst = worst.groupby("perturbation", sort=False).head(SHOWN).sort_values("perturbation", kind="stable")
    of_id = images.set_index("id")[["path", "label"]]
    thumbnails, titles = [], []
    for row in worst.to_dict("records"):
        image = {"id": row["id"], **of_id.loc[row["id"]].to_dict()}
        label = image["label"] if isinstance(image["label"], str) else ""
        place = _place(image, row["perturbation"], severity, definitions, seed)
        thumbnails += [drawing.thumbnail(image["path"]), drawing.thumbnail(place)]
        said = f"{row['perturbation'].replace('_', ' ')} {severity}"
        titles += [f"{_cluster(row['clean_cluster'])}\n{label}", f"→ {_cluster(row['cluster'])}\n{said}"]
    return pairs_sheet(thumbnails, titles) if len(worst) else None


def _cluster(number: int) -> str:
    return f"cluster {number}" if number >= 0 else "no cluster"


def refuse(facts: Facts, settings: Any) -> str | None:
    """The images must be there, and what made vectors of them."""
    if isinstance(settings.encoder, PrecomputedEncoder):
        return (
            "encoder=precomputed has vectors, but nothing that could make one of a changed image: name the encoder "
            "that made them (encoder=openai, say)"
        )
    return None if facts.images >= 2 else "one image cannot change sides"


STAGE = Stage(
    name="robustness",
    needs=(
        *("images", "image_embeddings", "encoder", "encoding", "projection", "neighbour_rows", "neighbour_distances"),
        *("clusters", "centroids"),
    ),
    makes=("robustness_scores", "robustness_images", "robustness_skipped", "robustness_protocol"),
    settings=("robustness", "clustering", "projection", "images", "encoder"),
    keyed=lambda settings: {name: part for name, part in vars(settings).items() if name != "encoder"},
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    settled=lambda made: not made["robustness_skipped"]["reason"].isin(PASSING).any(),
    packages=(
        *("numpy", "Pillow", "opencv-python-headless", "torch", "torchvision", "scikit-learn", "faiss-cpu"),
        *("umap-learn", "openTSNE"),
    ),
)
