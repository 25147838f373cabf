"""The stages. A new one is a module with one `STAGE` and a line here."""

from __future__ import annotations

import importlib

from pipeline.stage import Stage

# in the order in which a report shows them
NAMES = (
    "listing",
    "encoder",
    "embedding",
    "images",
    "text_sources",
    "texts",
    "text_embedding",
    "text_index",
    "prompt_names",
    "query_images",
    "neighbours",
    "data_quality",
    "class_distances",
    "label_scores",
    "projection",
    "k_selection",
    "clustering",
    "cluster_metrics",
    "repeats",
    "replicates",
    "k_support",
    "significance",
    "label_structure",
    "zero_shot",
    "retrieval",
    "experiment",
    "tagging",
    "naming",
    "image_index",
    "search",
    "robustness",
    "training_base",
    "training",
)


def known_stages() -> dict[str, Stage]:
    """Stage by name. The modules are light: what is heavy they import when they run."""
    return {name: importlib.import_module(f"pipeline.stages.{name}").STAGE for name in NAMES}
