"""What a training came to, in cells, for the report and the console."""

from __future__ import annotations

from pipeline.report.parts import RunFolder
from pipeline.report.words import NONE, number, score

HEADS = ["measure", "validation images", "test images", "by chance"]
_NAMES = {
    "zero_shot_top1": "zero-shot accuracy",
    **{f"image_to_text_recall_at_{k}": f"text by image, recall at {k}" for k in (1, 5, 10)},
    **{f"text_to_image_recall_at_{k}": f"image by text, recall at {k}" for k in (1, 5, 10)},
}


def cells(run: RunFolder) -> list[list[str]]:
    """A row of cells (HEADS) for each measure; empty where nothing was trained. Chance is that of the test images,
    where there are any."""
    if not run.has("training_summary"):
        return []
    table = run.table("training_summary")
    found = dict(zip(table["name"], table["value"], strict=True))
    kept = [part for part in ("test", "valid") if found.get(f"{part}_images")]
    rows = [["images", number(found["valid_images"]), number(found["test_images"]) if "test" in kept else NONE, NONE]]
    for name, words in _NAMES.items():
        if f"valid_{name}" in found:
            measured = [score(found[key]) if key in found else NONE for key in (f"valid_{name}", f"test_{name}")]
            rows.append([words, *measured, score(found.get(f"{kept[0]}_chance_{name}", float("nan")))])
    return rows


def sentence(run: RunFolder) -> str:
    """How many were learned from, and which epoch was kept; '' where nothing was trained."""
    if not run.has("training_summary"):
        return ""
    table = run.table("training_summary")
    found = dict(zip(table["name"], table["value"], strict=True))
    copies = int(sum(found.get(f"{part}_copies", 0) for part in ("valid", "test")))
    told = (
        f"Learned from {number(found['train_images'])} images in {number(found['epochs'])} epochs; epoch "
        f"{number(found['best_epoch'])} was kept, whose validation loss is the smallest: {score(found['valid_loss'])}, "
        f"{score(found['start_valid_loss'])} before the first."
    )
    return told + (f" {number(copies)} of the images kept aside are copies of these." if copies else "")
