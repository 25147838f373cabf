"""The pictures of a run for its report: where each belongs, and what is written below it."""

from __future__ import annotations

import base64
from pathlib import Path, PurePath

from pipeline.report.parts import Picture, RunFolder
from pipeline.report.privacy import Privacy

_CAPTIONS = {
    "sheet": "A random sample of the images.",
    "data_overview": "What the data set is made of.",
    "duplicates_sheet": "Images that the data set has more than once: group, nearest cosine within it, label.",
    "extremes_sheet": "The darkest, brightest and most blurred images, as the encoder sees them.",
    "elbow": "Inertia over the number of clusters, and its knee: the point farthest below the line between the ends.",
    "silhouettes_by_k": "Mean silhouette over the number of clusters; the two spaces do not compare.",
    "dispersion_by_k": "Calinski-Harabasz and Davies-Bouldin over the number of clusters.",
    "blades_by_k": "The silhouette of every image, by cluster, for several numbers of clusters.",
    "map": "The map, coloured by cluster and by label. It is for looking: distances on it mean little.",
    "class_similarity_centered": "Mean cosine similarity after centring: what remains without the common cone.",
    "within_between_centered": "Cosine similarities of pairs after centring.",
    "label_scores": "How well each label is told apart: the AUC, and the neighbours of the images that show it.",
    "similarity": "Mean cosine similarity within classes (diagonal) and between classes.",
    "within": "Cosine similarities of pairs within a class and of pairs between classes.",
    "between": "Cosine similarities of pairs within a class and of pairs between classes.",
    "observed_against_null": "Each score of the images beside that of clouds without clusters, in both spaces.",
    "gaps": "Gap of each cluster to its nearest (shaded: none), ± its standard deviation over half-samples, and how "
    "much of it half of the images find again.",
    "k_choice": "Silhouette and stability over the number of clusters, of the images and of clouds without clusters; "
    "below, what each criterion votes for, and how its votes spread over halves of the images.",
    "label_structure": "Each score with the labels, and with labels that were dealt out at random.",
    "label": "How the images of each label spread over the clusters.",
    "silhouette": "The silhouette of every image, by cluster.",
    "blades": "The silhouette of every image, by cluster.",
    "cosine": "What cosine similarity is: the cosine of the angle between two vectors, whatever their lengths.",
    "answers": "Some images, and the probabilities of the classes that they are taken for.",
    "errors": "The errors that the model is surest of.",
    "similarities": "Mean cosine of the images of each label with the text of each class.",
    "confusion": "What the images of each class were called.",
    "classes": "How well each class is told, with 95 % intervals.",
    "calibration": "How often predictions of some probability are right, and how many there are of each.",
    "coverage": "Fewer names, more of them right: where predictions below a probability count as ‘none of these’.",
    "recall": "Share of queries with a right answer among the k nearest, beside a random order.",
    "tags": "Some images and their tags.",
    "rates": "Every perturbation, the one that changes most clusters on top; dashed: the images as they are.",
    "curves": "Over severity (0: the images as they are): who changes cluster, and what else is measured.",
    "changed_sheet": "Images that changed their cluster, those whose vectors turned most: as they are, and perturbed.",
    "categories": "How much more often the tags of a group come from each category than those of all images.",
}
_OF_STAGE = {
    ("naming", "map"): "The map, with the first name of each cluster. It is for looking: distances on it mean little.",
    ("training", "curves"): "Loss, what was found among the validation images, and the learning rate, epoch by epoch.",
}
_PLACES = {
    "data_quality": "quality",
    "class_distances": "distances",
    "label_scores": "labels",
    "projection": "map",
    "k_selection": "k_selection",
    "clustering": "map",
    "cluster_metrics": "map",
    "k_support": "trust",
    "significance": "trust",
    "label_structure": "label_structure",
    "zero_shot": "zero_shot",
    "retrieval": "retrieval",
    "naming": "names",
    "tagging": "tags",
    "search": "search",
    "robustness": "robustness",
    "training": "training",
}
_FIRST = frozenset({"observed_against_null", "rates"})  # of its section; the others stand in the order of their names
_LAST = frozenset({"answers", "errors", "cosine", "changed_sheet"})


def _caption(stage: str, name: str) -> str:
    if (stage, name) in _OF_STAGE:
        return _OF_STAGE[stage, name]
    if name.startswith("query_"):
        return "The nearest images, the nearest first."
    if name.startswith("cluster_") and name.removeprefix("cluster_").isdigit():
        return f"Cluster {int(name.removeprefix('cluster_'))}: members nearest to its centre, and random ones."
    if name in _CAPTIONS:
        return _CAPTIONS[name]
    words = name.split("_")
    known = [caption for key, caption in _CAPTIONS.items() if key in words or f"{key}s" in words]
    return known[0] if known else " ".join(words).capitalize() + "."


def _place(stage: str, name: str) -> str:
    if name.startswith("cluster_") and name.removeprefix("cluster_").isdigit():
        return "clusters"
    return _PLACES.get(stage, "pictures")


def pictures_of(run: RunFolder, privacy: Privacy, place: str) -> list[Picture]:
    """The pictures of a section as data URIs, as far as they may be shown and are still there."""
    shown = [it for it in privacy.pictures(run.pictures) if _place(it[0], PurePath(it[1]).stem) == place]
    shown.sort(key=lambda it: ((name := PurePath(it[1]).stem) not in _FIRST, name in _LAST))
    return [_picture(*it) for it in shown if Path(it[2]).is_file()]


def picture_of(run: RunFolder, privacy: Privacy, stage: str, name: str) -> Picture | None:
    """One picture by its stage and name, None where it is not there or may not be shown."""
    shown = [it for it in privacy.pictures(run.pictures) if (it[0], PurePath(it[1]).stem) == (stage, name)]
    return next((_picture(*it) for it in shown if Path(it[2]).is_file()), None)


def _picture(stage: str, name: str, path: Path) -> Picture:
    data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    caption = _caption(stage, PurePath(name).stem)
    return Picture(f"data:image/png;base64,{data}", f"{caption} (picture: {stage}/{name})", caption)
