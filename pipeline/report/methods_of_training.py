"""A training as methods: lines of the report, sentences of a paper. What was really set, from the checkpoint's card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.report.parts import share
from pipeline.report.recorded import Citations, Record
from pipeline.report.words import counted, look_up, number

WORKS: dict[str, str] = {
    "adamw": "Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. International Conference on "
    "Learning Representations.",
    "unicl": "Yang, J. et al. (2022). Unified contrastive learning in image-text-label space. IEEE/CVF Conference on "
    "Computer Vision and Pattern Recognition, 19163-19173.",
    "locked": "Zhai, X. et al. (2022). LiT: zero-shot transfer with locked-image text tuning. IEEE/CVF Conference on "
    "Computer Vision and Pattern Recognition, 18123-18133.",
}
"""What these may cite, by a short name; works on CLIP and SigLIP are those of words."""

_LOSSES = {
    "contrastive": "the symmetric cross-entropy of CLIP",
    "sigmoid": "the sigmoid loss of SigLIP",
    "tutorial": "cross-entropies with soft targets, softmax((I Iᵀ + T Tᵀ) / 2) of unscaled vectors",
}
_LEARN = {
    "all": "all weights learned",
    "heads": "only the projections and the scale learned",
    "image": "the text tower was locked",
    "text": "the image tower was locked",
}
_KEPT_ASIDE = (("valid", "validation"), ("test", "test"))
_AUGMENT = {"crop": "crops", "crop_flip": "crops and mirror images", "affine": "small turns, zooms and shifts"}


def _told(record: Record, dotted: str, default: Any = None) -> Any:
    return look_up(record, f"training.{dotted}", default)


def _base(record: Record) -> str:
    kind, model = _told(record, "base.kind"), _told(record, "base.model")
    shape = _told(record, "architecture")
    if kind == "scratch" and shape:
        return (
            f"from random weights (a ViT of {counted(shape['layers'], 'layer')} of width {number(shape['width'])} for "
            f"images of {shape['image_size']} x {shape['image_size']} pixels in patches of {shape['patch']}, "
            f"{counted(shape['text_layers'], 'layer')} of width {number(shape['text_width'])} for texts, vectors of "
            f"{number(shape['dimension'])} numbers)"
        )
    return f"from the weights of {model}" + (f" (base: {kind})" if kind != "scratch" else "")


def _texts(record: Record) -> str:
    if _told(record, "texts.captions") == "column":
        return "their captions"
    return f"their class names in {counted(len(_told(record, 'texts.templates', [])), 'template')}"


def _rate(record: Record) -> str:
    recipe = _told(record, "recipe", {})
    schedules = {"cosine": "falling as a cosine to 0", "plateau": "times 0.8 where the validation loss does not fall"}
    rate = f"learning rate {recipe.get('lr'):g}, {schedules.get(recipe.get('schedule'), 'constant')}"
    warm = recipe.get("warmup") and recipe.get("schedule") != "plateau"
    return rate + (f" after a rise over {share(recipe['warmup'])} of the steps" if warm else "")


def _steps(record: Record) -> str:
    recipe = _told(record, "recipe", {})
    many = f", gradients of {recipe['accumulate']} summed" if recipe.get("accumulate", 1) > 1 else ""
    layers = f", each layer at {recipe['layer_decay']:g} of the one above" if recipe.get("layer_decay", 1) != 1 else ""
    return (
        f"batches of {number(recipe.get('batch_size'))}{many}, {_rate(record)}{layers}, weight decay "
        f"{recipe.get('weight_decay'):g}, {recipe.get('precision')}, seed {recipe.get('seed')}"
    )


def _chosen(record: Record) -> str:
    found, stopped = _told(record, "metrics", {}), _told(record, "stopped")
    valid, tested = (counted(found[f"{part}_images"], f"{name} image") for part, name in _KEPT_ASIDE)
    kept = f"Of {counted(found.get('epochs'), 'epoch')} number {number(found.get('best_epoch'))} was kept, with the "
    told = f"{kept}smallest loss on {valid}"
    told += f"; {tested} were looked at once, at the end" if found["test_images"] else ""
    return f"{told}." + (f" It ended early: {stopped}." if stopped else "")


def _augmented(record: Record) -> str:
    kind = _AUGMENT.get(str(_told(record, "recipe.augment")), "")
    return f"; images varied by {kind}" if kind else ""


def _lines(record: Record) -> list[str]:
    found, recipe = _told(record, "metrics", {}), _told(record, "recipe", {})
    shared = "equal texts of a batch are all right" if recipe.get("shared") else "only an image's own text is right"
    return [
        f"Training: {_base(record)}.",
        f"Learned from {counted(found.get('train_images'), 'image')} and {_texts(record)}, by "
        f"{_LOSSES.get(recipe.get('loss'), recipe.get('loss'))}; {shared}; {_LEARN.get(recipe.get('train'), '')}"
        f"{_augmented(record)}.",
        f"AdamW: {_steps(record)}.",
        _chosen(record),
    ]


def _sentences(record: Record, cite: Citations) -> str:
    found, recipe = _told(record, "metrics", {}), _told(record, "recipe", {})
    work = {"sigmoid": "siglip", "contrastive": "clip"}.get(recipe.get("loss"))
    source = f" {cite(work)}" if work else ""
    shared = f", equal texts of a batch counted as right {cite('unicl')}" if recipe.get("shared") else ""
    locked = f" {cite('locked')}" if recipe.get("train") == "text" else ""
    part = "" if recipe.get("train") == "all" else f"; {_LEARN.get(recipe.get('train'), '')}{locked}"
    return (
        f"A CLIP was trained {_base(record)}, on {counted(found.get('train_images'), 'image')} and {_texts(record)} by "
        f"{_LOSSES.get(recipe.get('loss'), recipe.get('loss'))}{source}{shared}{part}{_augmented(record)}, with AdamW "
        f"{cite('adamw')} ({_steps(record)}). {_chosen(record)}"
    )


LINES: dict[str, Callable[[Record], list[str]]] = {"training": _lines}
"""Stage -> what it did, a plain line each."""

SENTENCES: dict[str, Callable[[Record, Citations], str]] = {"training": _sentences}
"""Stage -> sentences of a methods section."""
