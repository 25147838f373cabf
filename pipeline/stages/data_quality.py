"""What a data set is made of, and what is wrong with it: duplicates, leaks, odd images. Flagged, never removed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.stage import Drawing, Facts, Stage, Workspace

log = logging.getLogger(__name__)

NEIGHBOURS = 16  # in which near duplicates are looked for, the image itself included
EXACT_UP_TO = 100_000  # images; above, neighbours are found by an approximate index
EXTREMES = 8  # images of each kind
SHOWN = 40  # images on the sheet of duplicates
CROSSED = ("label", "group", "split")


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    skipped: pd.DataFrame,
    image_embeddings: np.ndarray,
    neighbour_rows: np.ndarray,
    neighbour_distances: np.ndarray,
) -> dict[str, Any]:
    """`data_quality`: name, value, detail of each finding. `duplicates`: a row for each image that has one, by group.
    `quality_extremes`: the darkest, brightest and most blurred images ("blurred")."""
    from pipeline.metrics.duplicates import crossing, joined, near_pairs, same_content

    same = same_content(images["content_hash"].tolist())
    near, cosines = np.empty((0, 2), np.int64), np.empty(0)
    if settings.data_quality.near_duplicate is not None and len(images) > 1:
        found = _neighbours(image_embeddings, neighbour_rows, neighbour_distances, workspace)
        near, cosines = near_pairs(image_embeddings, *found, settings.data_quality.near_duplicate)
    groups = joined(len(images), np.concatenate([same, near]))
    leaks = {name: crossing(groups, _values(images[name])) for name in CROSSED}
    duplicates = _duplicates(images, groups, near, cosines, leaks)
    for name, crossed in leaks.items():
        if crossed:
            log.warning(
                "%d groups of duplicates stand in more than one %s: see data_quality/duplicates.csv", len(crossed), name
            )
    return {
        "data_quality": pd.DataFrame(
            _findings(images, skipped, duplicates, leaks), columns=["name", "value", "detail"]
        ),
        "duplicates": duplicates,
        "quality_extremes": _extremes(images),
    }


def _neighbours(
    vectors: np.ndarray, rows: np.ndarray, distances: np.ndarray, workspace: Workspace
) -> tuple[np.ndarray, np.ndarray]:
    """Those that the projection has, if it has those of all images."""
    from pipeline.geometry.approximate import approximate_neighbours
    from pipeline.geometry.neighbours import nearest_neighbours

    if len(rows) == len(vectors) and rows.shape[1] > 1:
        return rows, distances
    k = min(NEIGHBOURS, len(vectors))
    try:
        if len(vectors) > EXACT_UP_TO:
            return approximate_neighbours(vectors, k, progress=workspace.progress)
        return nearest_neighbours(vectors, k, progress=workspace.progress)
    except ValueError as error:
        raise RunError(f"data_quality: {error}") from error


def _values(column: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in column]


def _duplicates(
    images: pd.DataFrame, groups: np.ndarray, near: np.ndarray, cosines: np.ndarray, leaks: Mapping[str, list[int]]
) -> pd.DataFrame:
    """Rows of one group follow each other. kind: 'exact' where the group has one content, else 'near'; cosine: the
    largest to another image of the group, 1 for the same bytes; crosses: what the group has several of."""
    nearest = np.zeros(len(images))
    np.maximum.at(nearest, near.ravel(), np.repeat(cosines, 2))
    nearest[images["content_hash"].duplicated(keep=False).to_numpy()] = 1.0
    table = images[["id", "path", *CROSSED, "content_hash"]].assign(duplicate_group=groups, cosine=nearest)
    table = table[table["duplicate_group"] >= 0].sort_values(["duplicate_group", "id"], kind="stable")
    contents = table.groupby("duplicate_group")["content_hash"].transform("nunique")
    crossed = {group: ", ".join(name for name in CROSSED if group in leaks[name]) for group in set(groups.tolist())}
    table = table.assign(
        kind=np.where(contents == 1, "exact", "near"), crosses=[crossed[group] for group in table["duplicate_group"]]
    )
    columns = ["duplicate_group", "kind", "id", "path", *CROSSED, "cosine", "crosses"]
    return table[columns].reset_index(drop=True)


def _findings(
    images: pd.DataFrame, skipped: pd.DataFrame, duplicates: pd.DataFrame, leaks: Mapping[str, list[int]]
) -> list[tuple[str, float, str]]:
    rows: list[tuple[str, float, str]] = [("images", len(images), "")]
    rows.append(("skipped", len(skipped), _listed(Counter(skipped["reason"]))))
    labels = images["label"].dropna()
    if len(labels):
        counts = Counter(labels)
        least, most = min(counts, key=lambda c: (counts[c], c)), max(counts, key=lambda c: (counts[c], c))
        rows.append(("unlabelled", len(images) - len(labels), ""))
        rows.append(("classes", len(counts), f"{least} has fewest ({counts[least]:,}), {most} most ({counts[most]:,})"))
        rows.append(("class_imbalance", counts[most] / counts[least], "images of the largest class over the smallest"))
    rows += _spreads(images)
    for name in ("mode", "format"):
        known = images[name][images[name].fillna("") != ""]
        if len(known):
            rows.append((f"{name}s", known.nunique(), _listed(Counter(known))))
    for kind in ("exact", "near"):
        of_kind = duplicates[duplicates["kind"] == kind]
        count = of_kind["duplicate_group"].nunique()
        rows.append((f"{kind}_duplicates", len(of_kind) - count, f"in {count:,} groups, one of each not counted"))
    for name in CROSSED:
        if images[name].notna().any():
            rows.append((f"duplicates_across_{name}s", len(leaks[name]), f"groups in more than one {name}"))
    return rows


def _spreads(images: pd.DataFrame) -> list[tuple[str, float, str]]:
    """Medians with what they lie between."""
    measured = {name: images[name].to_numpy(dtype=float) for name in ("width", "height", "bytes")}
    sized = (measured["width"] > 0) & (measured["height"] > 0)
    values = {name: column[column > 0] for name, column in measured.items()}
    values["aspect_ratio"] = measured["width"][sized] / measured["height"][sized]
    values |= {name: images[name].dropna().to_numpy(dtype=float) for name in ("brightness", "sharpness")}
    rows = []
    for name, known in values.items():
        if len(known):
            low, middle, high = np.quantile(known, [0, 0.5, 1])
            rows.append((f"median_{name}", float(middle), f"from {_short(low)} to {_short(high)}"))
    return rows


def _short(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def _extremes(images: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for kind, column, rising in (
        ("darkest", "brightness", True),
        ("brightest", "brightness", False),
        ("blurred", "sharpness", True),
    ):
        known = images[images[column].notna()].sort_values([column, "id"], ascending=[rising, True], kind="stable")
        chosen = known.head(EXTREMES)
        parts.append(chosen[["id", "path", "label"]].assign(kind=kind, value=chosen[column]))
    return pd.concat(parts, ignore_index=True)[["kind", "id", "path", "label", "value"]]


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """The counts among the findings."""
    table = made["data_quality"].set_index("name")["value"]
    counted = [name for name in table.index if "duplicates" in name or name == "class_imbalance"]
    return {name: float(table[name]) for name in counted}


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The data set at a glance; its duplicates; its odd images."""
    from pipeline.plots.images import image_sheet
    from pipeline.plots.quality import overview

    images = needs["images"]
    modes = Counter(mode for mode in images["mode"].fillna("") if mode)
    sizes = images["width"].to_numpy(), images["height"].to_numpy()
    quality = [images[name].to_numpy(dtype=float) for name in ("brightness", "sharpness")]
    figures = {"data_overview": overview(Counter(images["label"].dropna()), sizes, modes, *quality)}
    duplicates, extremes = made["duplicates"].head(SHOWN), made["quality_extremes"]
    if duplicates["path"].astype(bool).any():
        figures["duplicates_sheet"] = image_sheet(
            [drawing.thumbnail(path) for path in duplicates["path"]],
            [_title(row) for row in duplicates.to_dict("records")],
        )
    if extremes["path"].astype(bool).any():
        figures["extremes_sheet"] = image_sheet(
            [drawing.thumbnail(path) for path in extremes["path"]],
            [f"{row['kind']}: {row['value']:.3g}\n{_text(row['label'])}" for row in extremes.to_dict("records")],
        )
    return figures


def _title(row: Mapping[str, Any]) -> str:
    """Which group, and in what its members differ."""
    said = " · ".join(_text(row[name]) for name in CROSSED if name in row["crosses"].split(", ")) or _text(row["label"])
    cosine = "same bytes" if row["kind"] == "exact" else f"cosine {row['cosine']:.3f}"
    return f"{row['duplicate_group'] + 1}: {cosine}\n{said}"


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def refuse(facts: Facts, settings: Any) -> str | None:
    """One image is no data set."""
    return None if facts.images > 1 else "one image has no duplicates and nothing to be compared with"


STAGE = Stage(
    name="data_quality",
    needs=("images", "skipped", "image_embeddings", "neighbour_rows", "neighbour_distances"),
    makes=("data_quality", "duplicates", "quality_extremes"),
    settings=("data_quality",),
    run=run,
    refuse=refuse,
    metrics=metrics,
    draw=draw,
    draw_needs=("images",),
    packages=("numpy", "scipy", "faiss-cpu"),
)
