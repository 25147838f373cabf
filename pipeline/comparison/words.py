"""A comparison in words: what was compared, what was not and why, and by which protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.comparison.entries import Entry
from pipeline.comparison.identity import why_other_images
from pipeline.comparison.pairs import blocks
from pipeline.comparison.scores import WAYS
from pipeline.metrics.catalog import METRICS
from pipeline.report.privacy import Privacy
from pipeline.report.words import NONE, counted, flatten, is_missing, look_up, number, plain, score

BETWEEN_SPACES = (
    "agreement with labels, nearest neighbours and probe, class separation, what texts tell, and each one's excess "
    "over its own clouds without clusters"
)
_SPACES = {"projection": "in the projection", "embedding": "in the embedding"}
_PACKAGES = ("umap-learn", "openTSNE", "scikit-learn", "faiss-cpu", "hdbscan", "torch", "numpy")


@dataclass(frozen=True)
class Refused:
    """What is not compared and why. expected: as models are of different spaces by their nature."""

    text: str
    expected: bool = False


def label(key: str) -> str:
    """A score of `differences.csv` in words.

    >>> label("labels/ari"), label("embedding/silhouette_cosine/excess"), label("retrieval/image_to_text/recall_at_1")
    ('Adjusted Rand index', 'Excess silhouette (cosine), in the embedding', 'Recall at 1, image to caption')
    """
    parts = key.split("/")
    beyond = parts[-1] == "excess"
    name = parts[-2] if beyond else parts[-1]
    words = METRICS[name].label
    if beyond:
        words = f"Excess {words[0].lower()}{words[1:]}"
    if parts[0] in _SPACES:
        words += f", {_SPACES[parts[0]]}"
    if parts[0] == "class_distances":
        words += ", of pairs within classes against between"
    return f"{words}, {WAYS[parts[1]]}" if parts[0] == "retrieval" else words


def between(row: Mapping[str, Any]) -> str:
    """Which two, of a row of the differences.

    >>> between({"model_a": "openai", "model_b": "none", "k_a": 8.0, "k_b": 8.0})
    'openai − none, k = 8'
    >>> between({"model_a": "none", "model_b": "none", "k_a": 4.0, "k_b": 8.0})
    'none: k = 4 − k = 8'
    """
    one, other = row["model_a"], row["model_b"]
    seeds = f", {row['seeds']}" if row.get("seeds") else ""
    k, l = row["k_a"], row["k_b"]  # noqa: E741
    if one == other:
        return f"{one}: k = {number(k)} − k = {number(l)}{seeds}"
    at = "" if is_missing(k) else f", k = {number(k)}" if k == l else f", k = {number(k)} and {number(l)}"
    return f"{one} − {other}{at}{seeds}"


def interval(row: Mapping[str, Any]) -> str:
    """'-0.1 to 0.3', or that there is none."""
    return NONE if is_missing(row["low"]) else f"{signed(row['low'])} to {signed(row['high'])}"


def signed(value: Any) -> str:
    """A difference, with its sign."""
    return NONE if is_missing(value) else ("+" if float(value) > 0 else "") + score(value)


def not_compared(entries: Sequence[Entry]) -> list[Refused]:
    """Sentences: what of these runs cannot be compared, why, and what still is."""
    known = [entry for entry in entries if entry.identity is not None]
    found = [Refused(f"{_called([entry])}: no images: nothing of it is compared.") for entry in entries
             if entry.complete and entry.identity is None]  # fmt: skip
    groups = blocks(known)
    for block in groups[1:]:
        why = why_other_images(block[0].identity, groups[0][0].identity)  # type: ignore[arg-type]
        them = f"{_called(block)} and {_called(groups[0])}"
        found.append(Refused(f"{them}: other images ({why}): nothing is compared between them."))
    for block in groups:
        found += _within(block)
    return found


def _within(block: Sequence[Entry]) -> list[Refused]:
    """Of runs of the same images."""
    found = []
    by_id = [entry for entry in block if entry.identity is not None and entry.identity.contents is None]
    if by_id and len(by_id) < len(block):
        said = f"{_called(by_id)}: vectors without images: taken for the same images by their ids alone."
        found.append(Refused(said, expected=True))
    told = [entry for entry in block if entry.run.has("predictions") or entry.run.has("retrieval_ranks")]
    for same, of, what, lost in (
        ("same_labels", block, "labels", "agreement with labels, class separation and what texts tell are"),
        ("same_words", told, "captions or classes", "zero-shot accuracy and retrieval are"),
    ):
        others = _unlike_the_first(of, same)
        if others:
            them = f"{_called(others)} and {_called(of[:1])}"
            found.append(Refused(f"{them}: other {what}: {lost} not compared between them."))
            break
    others = _unlike_the_first(block, "same_embedding")
    if others:
        return [*found, Refused(
            f"{_called(others)} and {_called(block[:1])}: other encoders, so other spaces: raw silhouettes, "
            f"Calinski-Harabasz and Davies-Bouldin are not compared between them; compared are {BETWEEN_SPACES}.",
            expected=True,
        )]  # fmt: skip
    others = [entry for entry in _unlike_the_first(block, "same_projection") if entry.run.has("projection")]
    if others and block[0].run.has("projection"):
        how = [look_up(entry.run.record, "config.projection", {}) for entry in (block[0], others[0])]
        why = "other projections" if how[0] != how[1] else "projections made by other versions, or unseeded"
        them = f"{_called(others)} and {_called(block[:1])}"
        lost = "raw scores in the projection are not compared between them; those in the embedding are."
        found.append(Refused(f"{them}: {why}, so other spaces: {lost}", expected=how[0] != how[1]))
    return found


def _unlike_the_first(block: Sequence[Entry], same: str) -> list[Entry]:
    return [entry for entry in block[1:] if not getattr(block[0].identity, same)(entry.identity)]


def _called(entries: Sequence[Entry]) -> str:
    names = [entry.name for entry in entries]
    job = "job " if len(names) == 1 and names[0].isdigit() else "jobs " if all(map(str.isdigit, names)) else ""
    return job + (", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more")


def of_other_versions(entries: Sequence[Entry]) -> list[str]:
    """In words, in which versions runs differ: of clipscope, and of what changes numbers."""
    found = []
    commits = list(dict.fromkeys(str(look_up(entry.run.record, "git.commit", "")) for entry in entries))
    if len(known := [commit[:9] for commit in commits if commit]) > 1:
        found.append(f"clipscope {' and '.join(known[:3])}")
    for package in _PACKAGES:
        versions = list(dict.fromkeys(str(look_up(entry.run.record, f"versions.{package}", "")) for entry in entries))
        if len(known := [version for version in versions if version]) > 1:
            found.append(f"{package} {' and '.join(known[:3])}")
    return found


def protocol(entries: Sequence[Entry], privacy: Privacy) -> str:
    """Data, encoders, projections, clusterers, clouds and versions of complete runs, for a caption."""
    records = [entry.run.record for entry in entries]
    parts = [
        ("Data", [_data(record) for record in records]),
        ("Encoder", [privacy.text(_encoder(record)) for record in records]),
        ("Projection", [_choice(record, "projection") for record in records]),
        ("Clusters", [_choice(record, "clustering") for record in records]),
        ("Compared with", [_clouds(record) for record in records]),
    ]
    said = [f"{name}: {'; '.join(dict.fromkeys(values))}." for name, values in parts if any(values)]
    return " ".join([*said, f"{_versions(records)}."])


def _data(record: Mapping[str, Any]) -> str:
    images = record.get("images") or {}
    classes = f" in {counted(images['classes'], 'class', 'classes')}" if images.get("classes") else ""
    name = look_up(record, "dataset.name", "?")
    return f"{name}, {counted(images.get('read', images.get('listed', 0)), 'image')}{classes}"


def _encoder(record: Mapping[str, Any]) -> str:
    encoder = record.get("encoder") or {}
    model = f" {encoder['model']}" if encoder.get("model") else ""
    return f"{encoder.get('name')}{model}" + (f", {encoder['dimension']:,}-D" if encoder.get("dimension") else "")


def _choice(record: Mapping[str, Any], group: str) -> str:
    """'umap (n_components=5, n_neighbors=15)': without seeds and k, which are in the rows or vary."""
    settings = look_up(record, f"config.{group}", {})
    others = ", ".join(
        f"{key}={plain(value)}" for key, value in flatten(settings)
        if key.split(".")[-1] not in ("name", "seed", "k", "max_fit")
    )  # fmt: skip
    return f"{settings.get('name', '?')}" + (f" ({others})" if others else "")


def _clouds(record: Mapping[str, Any]) -> str:
    chosen = look_up(record, "config.significance", {})
    flat = look_up(record, "config.projection.name") == "none"
    count = chosen.get("embedding_replicates" if flat else "replicates") or 0
    if not count:
        return ""
    return f"{count} {chosen.get('null_model')} clouds without clusters, {chosen.get('half_samples')} half-samples"


def _versions(records: Sequence[Mapping[str, Any]]) -> str:
    git = [look_up(record, "git.commit", "") for record in records]
    ours = " and ".join(dict.fromkeys(str(commit)[:9] for commit in git if commit))
    found = [f"clipscope {ours}".strip()]
    for package in _PACKAGES:
        versions = dict.fromkeys(str(look_up(record, f"versions.{package}", "")) for record in records)
        known = [version for version in versions if version and version != "not installed"]
        found += [f"{package} {' and '.join(known)}"] if known else []
    return ", ".join(found)


def what_intervals_are(table: pd.DataFrame) -> str:
    """How the intervals of the differences were made, for the note below them."""
    parts = []
    halves = table.loc[table["over"] == "half-samples", "count"]
    if len(halves):
        few = int(halves.min())
        parts.append(
            f"95 % intervals over {few} shared half-samples (difference ∓ t · sd of the halves' differences; Shao and "
            "Wu 1989)" + (", wide with so few: significance=publication takes 20" if few < 20 else "")
        )
    if (table["over"] == "images").any():
        parts.append("zero-shot and retrieval: paired bootstrap over images (groups)")
    return "; ".join(parts) + "." if parts else "No intervals: the runs share no half-samples."
