"""What stages of words leave behind, made up: with text that other people may have written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tests.report.fake_run import record

NASTY = '<script>alert("1")</script>'
LINES = "=HYPERLINK(1)\nsecond line"
CONFIG: dict[str, Any] = {
    "text": {"name": "folder", "source": "folder", "path": "/ward/notes", "kinds": ["lines", "bigrams"], "top_k": 10000,
             "min_count": 3, "lower": True, "across_lines": True, "prefix": "a photo of "},
    "prompts": {"name": "photo", "templates": ["a photo of {}"]},
    "zero_shot": {"classes": [], "none_prompt": None, "threshold": 0.5, "resamples": 1000, "seed": 0},
    "retrieval": {"resamples": 1000, "seed": 0},
    "tagging": {"index": None, "k": 5, "min_score": None, "hub_correction": "csls"},
    "naming": {"names": 5, "permutations": 200, "seed": 0},
    "search": {"queries": ["a cat"], "images": ["/ward/photos/smith 7.jpg"], "minus": [], "combine": False, "k": 20},
    "index": {"memory": "4GB", "query_ms": 20.0, "recall": 0.95, "k": 10, "seed": 0},
}  # fmt: skip
STAGES = (
    "texts",
    "text_embedding",
    "text_index",
    "image_index",
    "tagging",
    "naming",
    "zero_shot",
    "retrieval",
    "search",
)


def words_record(stages: tuple[str, ...] = STAGES, **changes: Any) -> dict[str, Any]:
    """A record of a run with these stages besides."""
    made = record(**changes)
    made["stages"] += [{"name": name, "status": "done", "warnings": []} for name in stages]
    made["config"] |= {name: dict(section) for name, section in CONFIG.items()}
    return made


def zero_shot_frames(ece: float = 0.1, chance: float = 0.04, over: float = 0.08, name: str = "cat") -> dict[str, Any]:
    """Two classes; one image in ten is wrong."""
    nan = float("nan")
    scores = [
        ("images", 100, nan, nan), ("classes", 2, nan, nan), ("top1", 0.9, 0.83, 0.95), ("top5", nan, nan, nan),
        ("macro", 0.875, 0.8, 0.93), ("majority", 0.6, nan, nan), ("chance1", 0.5, nan, nan),
        ("chance5", nan, nan, nan),
        ("ece", ece, 0.05, 0.14), ("adaptive_ece", 0.09, nan, nan), ("calibrated_ece", chance / 2, 0.0, chance),
        ("overconfidence", over, nan, nan), ("coverage", 0.8, nan, nan), ("accuracy", 0.95, nan, nan),
        ("named_outside", 0.25, nan, nan),
    ]  # fmt: skip
    classes = {"class": [name, "dog"], "prompt": [name, "dog"], "images": [60, 40], "predicted": [62, 38],
               "right": [56, 34], "recall": [56 / 60, 0.85], "recall_low": [0.9, 0.7], "recall_high": [1, 0.95],
               "precision": [56 / 62, 34 / 38], "f1": [0.92, 0.87]}  # fmt: skip
    confusion = {"label": [name, "dog", "dog", name], "predicted": [name, "dog", name, "dog"], "images": [56, 34, 6, 4]}
    predictions = {"id": ["patient-1"], "label": [name], "predicted": ["dog"], "probability": [0.9], "cosine": [0.3],
                   "class_2": [name], "probability_2": [0.1], "cosine_2": [0.28]}  # fmt: skip
    return {
        "predictions": pd.DataFrame(predictions),
        "zero_shot_scores": pd.DataFrame(scores, columns=["name", "value", "low", "high"]),
        "zero_shot_classes": pd.DataFrame(classes),
        "zero_shot_confusion": pd.DataFrame(confusion),
    }


def retrieval_frames(strict: float = 0.25) -> dict[str, pd.DataFrame]:
    """Both ways; the strict judgement finds fewer."""
    rows = [
        {"way": way, "judged": judged, "queries": 100, "candidates": 90}
        | {
            f"recall_at_{k}{end}": value
            for k in (1, 5, 10)
            for end, value in (("", recall), ("_low", 0.2), ("_high", 0.4))
        }
        | {f"chance_at_{k}": k / 90 for k in (1, 5, 10)}
        | {"median_rank": 4.0, "median_low": 3.0, "median_high": 5.5, "mean_rank": 7.25}
        for way in ("image_to_text", "text_to_image")
        for judged, recall in (("shared", 0.3), ("strict", strict))
    ]
    return {"retrieval_scores": pd.DataFrame(rows)}


def names_frames(text: str = "zero", **changes: Any) -> dict[str, pd.DataFrame]:
    """Names of two clusters and a class; cluster 1 is not told from cluster 0."""
    row = {"kind": "cluster", "group": "cluster 0", "rank": 1, "text": text, "category": "", "halves": 2,
           "difference": 0.05, "low": 0.04, "high": 0.06, "effect": 1.5, "mean": 0.3, "worse": 0.999, "margin": 0.02,
           "runner_up": "cluster 1", "p": 0.005, "groups": 2}  # fmt: skip
    rows = [
        row, row | {"rank": 2, "text": "nought", "halves": 1},
        row | {"group": "cluster 1", "text": "one", "margin": -0.01, "runner_up": "cluster 0"},
        row | {"kind": "class", "group": "seven", "text": "seven", "p": 0.4},
    ]  # fmt: skip
    return {"group_names": pd.DataFrame([one | changes for one in rows])}


def tags_frames(text: str = "a cat", category: str = "animals/cats.txt") -> dict[str, pd.DataFrame]:
    """Tags, one of them a hub; what categories say of one class."""
    categories = [("class", "cat", category, 30, 0.75, 10.0, 1.55), ("class", "cat", "other.txt", 2, 0.05, 9.0, -1.9),
                  ("class", "cat", "few.txt", 1, 0.02, 1.0, np.nan)]  # fmt: skip
    return {
        "tags": pd.DataFrame({"id": ["patient-1"], "rank": 1, "text": text, "category": category, "score": 0.3}),
        "tag_counts": pd.DataFrame({"text": [text], "category": [category], "images": [40], "share": [0.4]}),
        "hubness": pd.DataFrame(
            {"way": ["cosine", "csls"], "skewness": [5.2, 1.1], "top_text": [text, text], "top_share": [0.2, 0.05],
             "unused": [0.9, 0.5]}
        ),
        "tag_recall": pd.DataFrame(
            {"kind": ["ivf_flat"], "images": 200, "k": 5, "recall": 0.957, "probed": 12, "probed_before": 4}
        ),
        "tag_categories": pd.DataFrame(
            categories, columns=["kind", "group", "category", "tags", "share", "expected", "lift"]
        ),
    }  # fmt: skip


def hits_frames(text: str = "a cat", caption: str = "Mrs Smith's chest") -> dict[str, pd.DataFrame]:
    """Two queries: a text, and a file."""
    rows = [
        {"query": query, "query_text": words, "query_image": image, "rank": rank, "score": 0.4 - 0.1 * rank,
         "id": f"patient-{rank}", "path": f"/ward/photos/{rank}.png", "label": "cat", "caption": caption}
        for query, words, image in ((0, text, ""), (1, "smith 7.jpg", "/ward/photos/smith 7.jpg"))
        for rank in range(1, 8)
    ]  # fmt: skip
    return {"hits": pd.DataFrame(rows)}


def index_frames() -> dict[str, pd.DataFrame]:
    """Texts, two files of which were skipped, and their index."""
    quality = {"kind": "exact", "entries": 1200, "dimension": 64, "k": 10, "queries": 100, "recall": 1.0,
               "query_ms": 0.21, "batch_query_ms": 0.012, "bytes": 307_245, "probed": 0,
               "explanation": "exact: 0.3 MB fits into 4.00 GB and one query takes about 0.2 ms"}  # fmt: skip
    summary = {
        "entries": 1200,
        "files": 4,
        "lines": 1300,
        "blank": 7,
        "long": 0,
        "repeated": 93,
        "nuls": 0,
        "skipped": 2,
    }
    skipped = {"path": ["ward/smith.txt", "b.txt"], "reason": ["encoding", "encoding"],
               "detail": ["not UTF-8, byte 9", "not UTF-8, byte 1"]}  # fmt: skip
    encoding = {"texts": 1200, "dimension": 64, "truncated": 3, "unknown": 0, "fidelity": 0.99999}
    return {
        "texts_summary": pd.DataFrame([summary]),
        "texts_skipped": pd.DataFrame(skipped),
        "text_encoding": pd.DataFrame([encoding]),
        "text_index_quality": pd.DataFrame([quality]),
    }


def all_frames(text: str = "zero") -> dict[str, pd.DataFrame]:
    """Everything at once."""
    parts = (zero_shot_frames(), retrieval_frames(), names_frames(text), tags_frames(text), hits_frames(text))
    return {name: frame for part in (*parts, index_frames()) for name, frame in part.items()}
