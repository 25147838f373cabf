"""points.parquet: a row per image with all that the run found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

COLUMNS = ["id", "path", "label", "caption", "group"]


def points_table(made: Mapping[str, Any]) -> pd.DataFrame:
    """id, path, label, caption, group; then cluster, map_x, map_y, silhouette_embedding and silhouette_projection as
    far as the run made them."""
    table = made["images"][COLUMNS].copy()
    if "clusters" in made:
        table["cluster"] = made["clusters"]
    if "map" in made:
        table["map_x"], table["map_y"] = made["map"][:, 0], made["map"][:, 1]
    if "image_silhouettes" in made:
        table = table.join(made["image_silhouettes"])
    return table
