"""points.parquet holds what is known of each image."""

from __future__ import annotations

import pandas as pd

from pipeline.points import points_table

IMAGES = pd.DataFrame({"id": ["a", "b"], "path": "", "label": None, "caption": None, "group": None, "mode": "RGB"})


def test_predictions_and_tags_stand_beside_their_images() -> None:
    tags = pd.DataFrame({"id": ["b", "b"], "rank": [1, 2], "text": ["a cat", "a dog"]})
    made = points_table({"images": IMAGES, "predictions": pd.DataFrame({"predicted": ["x", "y"]}), "tags": tags})
    assert list(made.columns) == ["id", "path", "label", "caption", "group", "prediction", "tags"]
    assert made["prediction"].tolist() == ["x", "y"]
    assert made["tags"].isna().tolist() == [True, False] and made["tags"][1] == "a cat; a dog"


def test_tags_that_nobody_has_are_missing_texts() -> None:
    none = pd.DataFrame({"id": [], "rank": [], "text": []})
    made = points_table({"images": IMAGES, "tags": none})
    assert made["tags"].isna().all() and made["tags"].dtype == "str"
