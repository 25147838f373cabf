"""Training a CLIP on the data set: a checkpoint for the next run, and how it got there."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from inference.embed import EmbeddingFailed
from inference.images import ReadingRules
from pipeline.errors import RunError
from pipeline.schema import Config, Positives, TrainingCaptions, TrainingRecipe, TrainingSettings, plain
from pipeline.stage import Drawing, Facts, Stage, Workspace
from pipeline.stages import training_rows as rows_of
from pipeline.stages.training_base import Start
from pipeline.stages.training_rows import NO_PART, NO_TEXT, Texts

log = logging.getLogger(__name__)

AT = (1, 5, 10)
WAYS = ("image_to_text", "text_to_image")
FEWEST = 2  # images, and different texts, of which each part must have so many
# what a setting that is null means: by recipe, and from scratch or from a base
USUAL: dict[str, dict[str, Any]] = {
    "scratch": {
        "epochs": 30,
        "batch_size": 128,
        "lr": 5e-4,
        "weight_decay": 0.2,
        "schedule": "cosine",
        "patience": None,
    },
    "base": {"epochs": 10, "batch_size": 128, "lr": 1e-5, "weight_decay": 0.1, "schedule": "cosine", "patience": None},
    "tutorial": {
        "epochs": 20,
        "batch_size": 32,
        "lr": 1e-4,
        "weight_decay": 1e-3,
        "schedule": "plateau",
        "patience": 3,
    },
}


def run(
    settings: Any, workspace: Workspace, candidates: pd.DataFrame, training_base: Start, prompt_names: dict[str, str]
) -> dict[str, Any]:
    """`checkpoint`, `checkpoint_last`: folders. `training_curves`: a row an epoch, 0 before the first.
    `training_summary`: name, value. `training_images`: id, part ('' for what was left out), reason, detail."""
    chosen: TrainingSettings = settings.training
    texts = rows_of.texts_of(candidates, chosen, settings.prompts.templates, prompt_names)
    usable = (texts.meaning >= 0) & (candidates["problem"] == "").to_numpy()
    _must_differ(texts, usable)
    found = rows_of.parts(candidates, usable, chosen.valid_share, chosen.seed)
    begun = _begin(settings, workspace, training_base, texts, found == "train")
    wanted = np.flatnonzero(found != "")
    pictures = _read(settings, workspace, candidates.iloc[wanted], begun.trainee.preprocessing)
    table = _told(candidates, texts, found, wanted, pictures)
    data = _Data(candidates.iloc[wanted[pictures.rows]], table["part"].to_numpy()[wanted[pictures.rows]], texts,
                 wanted[pictures.rows], pictures.pixels)  # fmt: skip
    _enough(data, table)
    leaks = rows_of.leaked(candidates, table["part"].to_numpy())
    for part, count in leaks.items():
        if count:
            log.warning(
                "training: %d images of the %s split are, to the byte, images that are learned from", count, part
            )
    recipe = _recipe(chosen, training_base, begun, data)
    trained = _train(begun, data, recipe, workspace, settings)
    return _results(settings, workspace, begun, data, recipe, trained, table, leaks)


@dataclass(frozen=True)
class _Begun:
    """The network at its start."""

    trainee: Any
    base: dict[str, Any]  # for the card


@dataclass(frozen=True)
class _Data:
    """What could be read: its rows of `candidates`, their part, their row numbers there, pixels in the same order."""

    table: pd.DataFrame
    part: np.ndarray
    texts: Texts
    rows: np.ndarray
    pixels: np.ndarray

    def of(self, part: str) -> np.ndarray:
        """Rows of the pixels."""
        return np.flatnonzero(self.part == part)


def _must_differ(texts: Texts, usable: np.ndarray) -> None:
    count = len(np.unique(texts.meaning[usable]))
    if count < FEWEST:
        what = "class names" if texts.by_class else "captions"
        said = f"all {what} are equal" if count else "the data set has neither captions nor labels"
        raise RunError(f"training: {said}: there is nothing to tell apart")


def _begin(settings: Any, workspace: Workspace, start: Start, texts: Texts, learned: np.ndarray) -> _Begun:
    from inference.encoders import EncoderError, Look, NoTextSide, describe
    from inference.training.scratch import make
    from inference.training.trainee import Trainee

    handle, base = start.handle, {"kind": settings.training.base.value}
    try:
        if handle is None:
            shape = rows_of.architecture(settings.training)
            occurring = texts.of[learned].ravel()
            folder = make(
                workspace.folder / "scratch", shape, [texts.texts[i] for i in occurring], settings.training.seed
            )
            look = Look(workspace.folder, lambda path: "")
            name = f"local-dir:{folder}"
            given = dict.fromkeys(("pretrained", "revision", "mean", "std", "resize", "interpolation"))
            handle = describe("open_clip", {"model": name, **given}, False, look)
        else:
            told = handle.description
            base |= {"model": told.model, "sha256": ", ".join(told.hashes), "revision": told.revision}
        return _Begun(Trainee(handle, start.device), base)
    except (EncoderError, NoTextSide) as error:
        raise RunError(f"training.base: {error}") from error


def _read(settings: Any, workspace: Workspace, table: pd.DataFrame, preprocessing: Any) -> Any:
    from inference.training.pixels import read_pixels

    contents = table["content_hash"].str.partition(" turned ")[0].array
    try:
        return read_pixels(
            table["path"].array, preprocessing, workspace.folder / "pixels",
            rules=ReadingRules(**plain(settings.images)), contents=contents, workers=workspace.workers,
            timeout=workspace.timeout, progress=workspace.progress,
        )  # fmt: skip
    except EmbeddingFailed as error:
        log.error("reading failed:\n%s", error)
        raise RunError(f"training: {str(error).strip().splitlines()[-1]}") from error


def _told(candidates: pd.DataFrame, texts: Texts, found: np.ndarray, wanted: np.ndarray, pictures: Any) -> pd.DataFrame:
    """`training_images`."""
    problems = candidates["problem"].str.partition(": ")
    reason = problems[0].to_numpy(dtype=object, copy=True)
    detail = problems[2].to_numpy(dtype=object, copy=True)
    part = found.copy()
    silent = (texts.meaning < 0) & (reason == "")
    reason[silent] = NO_TEXT
    reason[(found == "") & (reason == "")] = NO_PART
    for row, why, more in pictures.unreadable:
        part[wanted[row]], reason[wanted[row]], detail[wanted[row]] = "", why, more
    if count := int(silent.sum()):
        log.warning("training: %d images have no %s and are left out", count, "label" if texts.by_class else "caption")
    if pictures.unreadable:
        log.warning("training: %d images could not be read; see training_images", len(pictures.unreadable))
    return pd.DataFrame({"id": candidates["id"], "part": part, "reason": reason, "detail": detail})


def _enough(data: _Data, table: pd.DataFrame) -> None:
    for part, name in (("train", "training"), ("valid", "validation")):
        rows = data.of(part)
        if len(rows) < FEWEST:
            images = "1 usable image" if len(rows) == 1 else "no usable image"
            raise RunError(f"training: the {name} split has {images}: it needs {FEWEST} at least; see training_images")
        if len(np.unique(data.texts.meaning[data.rows[rows]])) < FEWEST:
            raise RunError(f"training: all texts of the {name} split are equal: there is nothing to tell apart")


def usual(chosen: TrainingSettings) -> dict[str, Any]:
    """What the settings mean, those that are null filled in."""
    tutorial = chosen.recipe is TrainingRecipe.tutorial
    defaults = USUAL["tutorial" if tutorial else "scratch" if chosen.base.value == "scratch" else "base"]
    given = {name: getattr(chosen, name) for name in defaults}
    return {name: default if given[name] is None else plain(given[name]) for name, default in defaults.items()}


def _recipe(chosen: TrainingSettings, start: Start, begun: _Begun, data: _Data) -> Any:
    from inference.training.loop import Recipe

    tutorial = chosen.recipe is TrainingRecipe.tutorial
    meanings = data.texts.meaning[data.rows[data.of("train")]]
    repeated = len(np.unique(meanings)) < len(meanings)
    shared = chosen.positives is Positives.shared or (chosen.positives is Positives.auto and repeated)
    filled = usual(chosen)
    batch = min(filled["batch_size"], int((data.part == "train").sum()))
    if not shared and not tutorial and repeated:
        log.warning("training: equal texts count as wrong for each other (training.positives=own)")
    if chosen.positives is Positives.shared and tutorial:
        log.warning("training.positives: has no effect with training.recipe=tutorial, whose targets are soft")
    loss: Any = "tutorial" if tutorial else "sigmoid" if begun.trainee.bias() is not None else "contrastive"
    return Recipe(
        **(filled | {"batch_size": batch}),
        loss=loss,
        shared=shared and not tutorial,
        accumulate=chosen.accumulate,
        warmup=chosen.warmup,
        train=chosen.train.value,
        layer_decay=chosen.layer_decay,
        augment=chosen.augment.value,
        betas=(0.9, 0.999) if tutorial else (0.9, 0.98),
        epsilon=1e-8 if tutorial else 1e-6,
        seed=chosen.seed,
        threads=chosen.threads or _cores(),
        precision=start.precision,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Trained:
    trained: Any
    examples: Any
    judges: dict[str, _Judge]
    test: dict[str, float]


def _train(begun: _Begun, data: _Data, recipe: Any, workspace: Workspace, settings: Any) -> _Trained:
    from inference.training.loop import Examples, TrainingFailed, evaluated, train
    from inference.training.states import Changed

    judges = {part: _Judge(data, part) for part in ("valid", "test") if len(data.of(part))}
    valid = judges["valid"]
    examples = Examples(data.pixels, data.texts.texts, data.texts.of[data.rows], data.texts.meaning[data.rows],
                        data.of("train"), data.of("valid"), valid.asked)  # fmt: skip
    identity = {name: value for name, value in plain(asdict(recipe)).items() if name != "threads"}
    identity["data"] = _fingerprint(data)
    identity["templates"] = list(settings.prompts.templates)
    try:
        trained = train(
            begun.trainee, examples, recipe, workspace.folder / "training", valid.measures, identity, workspace.progress
        )
        if trained.stopped:
            log.warning("training ended early: %s; the best epoch was %d", trained.stopped, trained.best)
        judge = judges.get("test")
        test = evaluated(begun.trainee, examples, data.of("test"), judge.asked, judge.measures) if judge else {}
    except (Changed, TrainingFailed) as error:
        raise RunError(f"training: {error}") from error
    return _Trained(trained, examples, judges, test)


class _Judge:
    """What is measured of the images of a part: recall of texts by images and of images by texts, with equal texts all
    right, and zero-shot accuracy where there are several classes."""

    def __init__(self, data: _Data, part: str) -> None:
        rows = data.rows[data.of(part)]
        texts = data.texts
        self.own, self.text_of = np.unique(texts.of[rows, 0], return_inverse=True)
        self.asked = np.concatenate([texts.prompts.ravel(), self.own])
        self.shape = texts.prompts.shape
        places = {label: i for i, label in enumerate(texts.classes)}
        labels = data.table["label"].iloc[data.of(part)]
        self.truth = np.array([places.get(label, -1) for label in labels], np.int64)

    def measures(self, images: np.ndarray, texts: np.ndarray, scale: float) -> dict[str, float]:
        """Shares in [0, 1], higher is better."""
        from pipeline.metrics import retrieval

        prompts, own = texts[: math.prod(self.shape)], texts[math.prod(self.shape) :]
        rows = np.arange(len(images))
        _, by_image = retrieval.image_ranks(images, own, rows, self.text_of)
        ranks = (by_image.shared, retrieval.caption_ranks(images, own, rows, self.text_of).shared)
        told = {
            f"{way}_recall_at_{k}": float((found <= k).mean())
            for way, found in zip(WAYS, ranks, strict=True)
            for k in AT
        }
        return told | self._zero_shot(images, prompts, scale)

    def _zero_shot(self, images: np.ndarray, prompts: np.ndarray, scale: float) -> dict[str, float]:
        from inference.probability import Rule
        from pipeline.metrics import zero_shot

        known = self.truth >= 0
        if not len(prompts) or not known.any():
            return {}
        classes = zero_shot.ensembled(prompts.reshape(*self.shape, -1))
        rule = Rule(scale if math.isfinite(scale) else 1.0)
        found = zero_shot.classified(images[known], classes, self.truth[known], rule, 1)
        return {"zero_shot_top1": float((found.rank == 0).mean())}

    def chances(self) -> dict[str, float]:
        """What a random order would give."""
        from pipeline.metrics import retrieval

        n = len(self.text_of)
        copies = np.bincount(self.text_of)
        told: dict[str, float] = {}
        for k, text, image in zip(
            AT,
            retrieval.chance(np.ones(n, np.int64), len(self.own)),
            retrieval.chance(copies[self.text_of], n),
            strict=True,
        ):
            told |= {f"{WAYS[0]}_recall_at_{k}": float(text), f"{WAYS[1]}_recall_at_{k}": float(image)}
        return told | ({"zero_shot_top1": 1 / self.shape[0]} if self.shape[0] else {})


def _fingerprint(data: _Data) -> str:
    """Of images, texts and parts."""
    state = hashlib.sha256()
    own = data.texts.of[data.rows, 0]
    for content, part, text in zip(data.table["content_hash"], data.part, own, strict=True):
        state.update(f"{content}\0{part}\0{data.texts.texts[text]}\n".encode())
    return state.hexdigest()


def _results(
    settings: Any, workspace: Workspace, begun: _Begun, data: _Data, recipe: Any, made: _Trained, table: pd.DataFrame,
    leaks: Mapping[str, int],
) -> dict[str, Any]:  # fmt: skip
    from inference.training import folder

    trained, trainee = made.trained, begun.trainee
    summary = _summary(data, made, leaks, table)
    card = _card(settings, workspace, begun, data, recipe, trained, summary)
    place, description = workspace.folder, trainee.handle.description
    best = folder.write(
        place / "checkpoint",
        description,
        trainee.network.state_dict(),
        trainee.preprocessing,
        card | {"epoch": trained.best},
    )
    last = folder.write(
        place / "last", description, trained.last, trainee.preprocessing, card | {"epoch": len(trained.history) - 1}
    )
    return {
        "checkpoint": best,
        "checkpoint_last": last,
        "training_curves": pd.DataFrame(trained.history).astype({"epoch": np.int64}),
        "training_summary": pd.DataFrame(list(summary.items()), columns=["name", "value"]),
        "training_images": table,
    }


def _summary(data: _Data, made: _Trained, leaks: Mapping[str, int], table: pd.DataFrame) -> dict[str, float]:
    trained = made.trained
    best = trained.history[trained.best]
    told: dict[str, float] = {"epochs": len(trained.history) - 1, "best_epoch": trained.best}
    told |= {f"{part}_images": len(data.of(part)) for part in ("train", "valid", "test")}
    told |= {f"{part}_copies": count for part, count in leaks.items()}
    told["left_out"] = int((table["part"] == "").sum())
    told |= {f"valid_{name}": best[name] for name in best if name not in ("epoch", "train_loss", "lr", "valid_loss")}
    told |= {"valid_loss": best["valid_loss"], "start_valid_loss": trained.history[0]["valid_loss"]}
    told |= {f"test_{name}": value for name, value in made.test.items()}
    for part, judge in made.judges.items():
        told |= {f"{part}_chance_{name}": value for name, value in judge.chances().items()}
    return {name: value for name, value in told.items() if math.isfinite(value)}


def _card(
    settings: Any,
    workspace: Workspace,
    begun: _Begun,
    data: _Data,
    recipe: Any,
    trained: Any,
    summary: dict[str, float],
) -> dict[str, Any]:
    """What has to be known of a checkpoint to believe it later."""
    from inference.training.folder import versions

    chosen: TrainingSettings = settings.training
    classes = data.texts.classes if data.texts.by_class else []
    shape = {"architecture": plain(chosen.architecture)} if begun.base["kind"] == "scratch" else {}
    return {
        "format": 1,
        "command": workspace.command,
        "stopped": trained.stopped,
        "base": begun.base,
        "data": {"dataset": settings.dataset.name, "fingerprint": _fingerprint(data), "classes": classes},
        "texts": {"captions": "labels" if data.texts.by_class else "column",
                  "templates": list(settings.prompts.templates), "names": list(chosen.names)},
        "recipe": plain(asdict(recipe)) | {"threads": trained.threads, "device": begun.trainee.device.split(":")[0]},
        **shape,
        "metrics": summary,
        "versions": versions(),
    }  # fmt: skip


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """The summary, as it stands."""
    table = made["training_summary"]
    return dict(zip(table["name"], table["value"].astype(float), strict=True))


def check(made: Mapping[str, Any], config: Config) -> list[str]:
    """Not too many images may have been unreadable; nothing to tell else."""
    table = made["training_images"]
    lost = (table["part"] == "") & ~table["reason"].isin([NO_TEXT, NO_PART])
    if lost.sum() > config.dataset.max_unreadable * len(table):
        raise RunError(
            f"{lost.sum()} of {len(table)} images could not be read, more than dataset.max_unreadable = "
            f"{config.dataset.max_unreadable:g} allows; see training/training_images.csv"
        )
    return []


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """The curves."""
    from pipeline.plots.training import training_curves

    table = made["training_curves"]
    summary = made["training_summary"].set_index("name")["value"]
    names = {f"{WAYS[0]}_recall_at_1": "text by image, recall at 1",
             f"{WAYS[1]}_recall_at_1": "image by text, recall at 1",
             "zero_shot_top1": "zero-shot accuracy"}  # fmt: skip
    shown = [name for name in names if name in table]
    figure = training_curves(
        table["epoch"].to_numpy(),
        {"training": table["train_loss"].to_numpy(), "validation": table["valid_loss"].to_numpy()},
        {names[name]: table[name].to_numpy() for name in shown},
        [float(summary.get(f"valid_chance_{name}", np.nan)) for name in shown],
        table["lr"].to_numpy(),
        int(summary["best_epoch"]),
    )
    return {"curves": figure}


def refuse(facts: Facts, settings: Any) -> str | None:
    """Two images with texts at least."""
    if facts.images < FEWEST:
        return "one image cannot be told from others"
    wanted = settings.training.captions
    if wanted is TrainingCaptions.column and not facts.captioned:
        return "the data set has no captions"
    if not facts.captioned or wanted is TrainingCaptions.labels:
        if not facts.classes:
            return (
                "the data set has neither captions nor labels" if not facts.captioned else "the data set has no labels"
            )
        if len(facts.classes) < FEWEST:
            return f"the data set has one class, '{facts.classes[0]}', and no captions: there is nothing to tell apart"
    return None


def _keyed(settings: Any) -> Any:
    """The data set's name stands in the card; its images are known otherwise."""
    return {"training": settings.training, "templates": settings.prompts.templates, "images": settings.images,
            "dataset": settings.dataset.name}  # fmt: skip


STAGE = Stage(
    name="training",
    needs=("candidates", "training_base", "prompt_names"),
    makes=("checkpoint", "checkpoint_last", "training_curves", "training_summary", "training_images"),
    settings=("training", "prompts", "images", "dataset"),
    run=run,
    metrics=metrics,
    check=check,
    draw=draw,
    refuse=refuse,
    keyed=_keyed,
    reads=True,
    packages=(
        "numpy",
        "torch",
        "open_clip_torch",
        "transformers",
        "tokenizers",
        "timm",
        "Pillow",
        "opencv-python-headless",
    ),
)
