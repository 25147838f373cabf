"""points.parquet: a row per image with all that the run found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

COLUMNS = ["id", "path", "label", "caption", "group"]


def points_table(made: Mapping[str, Any]) -> pd.DataFrame:
    """id, path, label, caption, group; then cluster, map_x, map_y, silhouette_embedding, silhouette_projection,
    prediction (the zero-shot class) and tags (best first, with '; ' between, None for none) as far as the run made
    them."""
    table = made["images"][COLUMNS].copy()
    if "clusters" in made:
        table["cluster"] = made["clusters"]
    if "map" in made:
        table["map_x"], table["map_y"] = made["map"][:, 0], made["map"][:, 1]
    if "image_silhouettes" in made:
        table = table.join(made["image_silhouettes"])
    if "predictions" in made:
        table["prediction"] = made["predictions"]["predicted"]
    if "tags" in made:
        of_images = made["tags"].groupby("id", sort=False)["text"].agg("; ".join)
        table["tags"] = table["id"].map(of_images).astype("str")
    return table
