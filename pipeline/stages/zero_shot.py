"""Each image to the class whose text is nearest; where labels are known, how often and how surely that is right."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import RunError
from pipeline.metrics import zero_shot as metric
from pipeline.stage import Drawing, Facts, Stage, Workspace, key_part
from pipeline.stages.groups import group_numbers
from pipeline.stages.text_vectors import no_text_side, text_vectors

log = logging.getLogger(__name__)

NONE = "none of these"
SHEET = 24  # images shown with their bars
ERRORS = 24  # of the most confident ones
SHOWN_CLASSES = 5  # bars of an image


@dataclass(frozen=True)
class Classes:
    """names: as they are reported; prompts: what each is called in a template; none: whether the last is NONE."""

    names: list[str]
    prompts: list[str]
    none: bool = False

    @property
    def own(self) -> int:
        """How many there are without NONE."""
        return len(self.names) - self.none


def run(
    settings: Any,
    workspace: Workspace,
    images: pd.DataFrame,
    image_embeddings: np.ndarray,
    text_encoder: Any,
    prompt_names: Mapping[str, str],
) -> dict[str, Any]:
    """`predictions`: a row an image. The rest only where labels are known: `zero_shot_scores` (name, value, low, high),
    `zero_shot_classes`, `zero_shot_confusion` (pairs that occur), `zero_shot_calibration` (a row a bin),
    `zero_shot_coverage`; `class_text_similarities`: mean cosine of each label's images to each class text."""
    chosen = settings.zero_shot
    classes = _classes(chosen, images["label"], prompt_names)
    vectors, probability = _class_vectors(settings, classes, text_encoder, workspace)
    truth = _truth(images["label"], classes, prompt_names)
    try:
        found = metric.classified(image_embeddings, vectors, truth, probability, chosen.top_k)
    except ValueError as error:
        raise RunError(str(error)) from error
    made: dict[str, Any] = {"predictions": _predictions(images, classes, truth, found, chosen.threshold)}
    made |= dict.fromkeys(STAGE.makes[1:])
    made["class_text_similarities"] = _similarities(images, image_embeddings, vectors, classes)
    if (truth >= 0).any():
        groups = group_numbers(images["group"])
        made |= _scored(chosen, classes, truth, found, groups, images["label"].notna().to_numpy())
    elif images["label"].notna().any():
        log.warning("no label of the data set is one of the classes, so nothing is scored: %s", _some(classes.names))
    return made


def _classes(chosen: Any, labels: pd.Series, called: Mapping[str, str]) -> Classes:
    names = list(chosen.classes) or sorted(labels.dropna().unique())
    prompts = [called.get(name, name) for name in names]
    seen: dict[str, str] = {}
    for name, prompt in zip(names, prompts, strict=True):
        if seen.setdefault(prompt, name) != name:
            raise RunError(f"zero_shot.names: the classes '{seen[prompt]}' and '{name}' are both called '{prompt}'")
    if idle := sorted(label for label, prompt in called.items() if label not in names and prompt not in prompts):
        log.warning("zero_shot.names: labels that are none of the classes: %d, as '%s'", len(idle), idle[0])
    if chosen.none_prompt is None:
        return Classes(names, prompts)
    if NONE in names:
        raise RunError(f"zero_shot.none_prompt: a class is called '{NONE}' already")
    return Classes([*names, NONE], prompts, none=True)


def _class_vectors(settings: Any, classes: Classes, encoder: Any, workspace: Workspace) -> tuple[np.ndarray, Any]:
    """(C, d): the ensemble of the templates for each class; the none prompt stands as it is. And cosines to
    probabilities by the model's own rule."""
    texts = _texts(settings, classes.prompts)
    found = text_vectors(texts, encoder, workspace, workspace.folder / "prompts")
    own, each = len(classes.prompts), len(settings.prompts.templates)
    vectors = metric.ensembled(found.vectors[: own * each].reshape(own, each, -1))
    return np.concatenate([vectors, found.vectors[own * each :]]), found.probability


def _texts(settings: Any, prompts: Sequence[str]) -> list[str]:
    """Each class in every template, then the none prompt if there is one."""
    texts = [template.replace("{}", name) for name in prompts for template in settings.prompts.templates]
    none = settings.zero_shot.none_prompt
    return texts if none is None else [*texts, none]


def _truth(labels: pd.Series, classes: Classes, called: Mapping[str, str]) -> np.ndarray:
    """(n,) the class of each image's label, found by its name or by what it is called; -1 where there is none."""
    places = {prompt: i for i, prompt in enumerate(classes.prompts)}
    places |= {name: i for i, name in enumerate(classes.names[: classes.own])}
    found = [
        places.get(label, places.get(called.get(label, ""), -1)) if isinstance(label, str) else -1 for label in labels
    ]
    return np.array(found, np.int64)


def _predictions(
    images: pd.DataFrame, classes: Classes, truth: np.ndarray, found: metric.Classified, threshold: float | None
) -> pd.DataFrame:
    names = np.array(classes.names, dtype=object)
    table = pd.DataFrame({"id": images["id"], "label": images["label"], "predicted": names[found.classes[:, 0]]})
    table["probability"], table["cosine"] = found.probabilities[:, 0], found.cosines[:, 0]
    if threshold is not None:
        table["named"] = (table["probability"] >= threshold) & (found.classes[:, 0] < classes.own)
    if (truth >= 0).any():
        known = truth >= 0
        right = pd.Series(found.rank == 0, dtype="boolean").where(pd.Series(known))
        table["right"] = right
        table["true_rank"] = pd.Series(found.rank + 1, dtype="Int64").where(pd.Series(known))
        table["true_probability"] = found.true_probability
    for place in range(1, found.classes.shape[1]):
        table[f"class_{place + 1}"] = names[found.classes[:, place]]
        table[f"probability_{place + 1}"] = found.probabilities[:, place]
        table[f"cosine_{place + 1}"] = found.cosines[:, place]
    return table


def _scored(
    chosen: Any, classes: Classes, truth: np.ndarray, found: metric.Classified, groups: np.ndarray | None,
    labelled: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """All that needs labels. An image that is called NONE though it has one of the classes counts as wrong; at no
    threshold is it named."""
    count, times = len(classes.names), chosen.resamples
    scored = np.flatnonzero(truth >= 0)
    predicted, confidence = found.classes[:, 0], found.probabilities[:, 0]
    right = (found.rank == 0)[scored]
    of_scored = None if groups is None else groups[scored]
    certainty = np.where(predicted < classes.own, confidence, -1.0)
    outside = certainty[(truth < 0) & labelled]
    total = metric.scores(truth, found.rank, count, groups, times, (chosen.seed, 0))
    each = metric.class_scores(truth, predicted, count, groups, times, (chosen.seed, 1))
    calibrated = metric.calibration(confidence[scored], right, of_scored, times, (chosen.seed, 2))
    curve = metric.coverage(certainty[scored], right, outside)
    named = curve.threshold >= 0
    if total.unscored:
        log.warning(
            "zero_shot: %d of %d images have no label among the classes and are not scored", total.unscored, len(truth)
        )
    pairs, counts = metric.confusions(truth, predicted)
    names = np.array(classes.names, dtype=object)
    table = _score_table(chosen, classes, total, calibrated, certainty[scored], right, outside, predicted)
    return {
        "zero_shot_scores": table,
        "zero_shot_classes": pd.DataFrame({
            "class": names, "prompt": [*classes.prompts, *([chosen.none_prompt] if classes.none else [])],
            "images": each.images, "predicted": each.predicted, "right": each.right, "recall": each.recall,
            "recall_low": each.recall_interval.low, "recall_high": each.recall_interval.high,
            "precision": each.precision, "f1": each.f1,
        }),
        "zero_shot_confusion": pd.DataFrame(
            {"label": names[pairs[:, 0]], "predicted": names[pairs[:, 1]], "images": counts}
        ),
        "zero_shot_calibration": pd.DataFrame({
            "low": calibrated.edges[:-1], "high": calibrated.edges[1:], "images": calibrated.counts,
            "confidence": calibrated.confidence, "accuracy": calibrated.accuracy,
        }),
        "zero_shot_coverage": pd.DataFrame({
            "threshold": curve.threshold[named], "coverage": curve.coverage[named],
            "accuracy": curve.accuracy[named], "named_outside": curve.named_outside[named],
        }),
    }  # fmt: skip


def _score_table(
    chosen: Any, classes: Classes, total: metric.Scores, calibrated: metric.Calibration, certainty: np.ndarray,
    right: np.ndarray, outside: np.ndarray, predicted: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    """name, value, low, high: a row each."""
    nowhere = metric.Interval(np.nan, np.nan)
    rows: list[tuple[str, float, metric.Interval]] = [
        ("images", total.images, nowhere),
        ("classes", classes.own, nowhere),
        ("top1", total.top1, total.top1_interval),
        ("top5", total.top5, total.top5_interval),
        ("macro", total.macro, total.macro_interval),
        ("majority", total.majority, nowhere),
        ("chance1", total.chance1, nowhere),
        ("chance5", total.chance5, nowhere),
        ("ece", calibrated.ece, calibrated.ece_interval),
        ("adaptive_ece", calibrated.adaptive_ece, nowhere),
        ("calibrated_ece", calibrated.calibrated_ece, metric.Interval(0.0, calibrated.calibrated_high)),
        ("overconfidence", calibrated.confident, nowhere),
    ]
    if classes.none:
        rows.append(("called_none", float((predicted == classes.own).mean()), nowhere))
    if chosen.threshold is not None:
        at = metric.at_threshold(certainty, right, chosen.threshold, outside)
        rows += [(name, float(getattr(at, name)[0]), nowhere) for name in ("coverage", "accuracy", "named_outside")]
    return pd.DataFrame([(name, value, span.low, span.high) for name, value, span in rows],
                        columns=["name", "value", "low", "high"])  # fmt: skip


def _similarities(
    images: pd.DataFrame, image_embeddings: np.ndarray, vectors: np.ndarray, classes: Classes
) -> pd.DataFrame | None:
    """label, class, cosine: the mean cosine of the label's images to the class text; None without labels."""
    if images["label"].isna().all():
        return None
    codes, labels = pd.factorize(images["label"], sort=True)
    means = metric.mean_cosines(image_embeddings, codes, len(labels), vectors)
    rows = [(label, name, means[i, j]) for i, label in enumerate(labels) for j, name in enumerate(classes.names)]
    return pd.DataFrame(rows, columns=["label", "class", "cosine"])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def metrics(made: Mapping[str, Any]) -> dict[str, float]:
    """The scores with their intervals; the recall of each class."""
    if made.get("zero_shot_scores") is None:
        return {}
    numbers: dict[str, float] = {}
    for row in made["zero_shot_scores"].to_dict("records"):
        numbers[row["name"]] = row["value"]
        numbers |= {f"{row['name']}_low": row["low"], f"{row['name']}_high": row["high"]}
    each = made["zero_shot_classes"]
    numbers |= {f"recall/{key_part(name)}": value for name, value in zip(each["class"], each["recall"], strict=True)}
    return numbers


def draw(settings: Any, made: Mapping[str, Any], needs: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Images with the probabilities of their best classes, similarities of labels and class texts; where labels are
    known the confusions, each class, calibration, coverage, and the surest errors."""
    from pipeline.plots.zero_shot import answers

    rows = needs["images"].join(made["predictions"].drop(columns=["id", "label"]))
    chosen = np.sort(np.random.default_rng(drawing.seed).permutation(len(rows))[:SHEET])
    seen = rows["path"].any()
    figures = {}
    if seen:
        shown = [_answer(row, drawing) for row in rows.iloc[chosen].to_dict("records")]
        figures["answers"] = answers(shown, "some images and what they are taken for")
    if (similar := made.get("class_text_similarities")) is not None:
        figures["similarities"] = _similarity_map(settings, similar)
    if made.get("zero_shot_scores") is not None:
        figures |= _score_figures(settings, made)
        wrong = rows[~rows["right"].fillna(True).astype(bool)].nlargest(ERRORS, "probability")
        if seen and len(wrong):
            errors = [_answer(row, drawing) for row in wrong.to_dict("records")]
            figures["errors"] = answers(errors, "the most confident errors")
    return figures


def _answer(row: Mapping[str, Any], drawing: Drawing) -> Any:
    """A row of images and predictions, as it is drawn."""
    from pipeline.plots.zero_shot import Answer

    places = [1, *(n for n in range(2, SHOWN_CLASSES + 1) if f"class_{n}" in row)]
    names = [row["predicted"] if n == 1 else row[f"class_{n}"] for n in places]
    values = [row["probability"] if n == 1 else row[f"probability_{n}"] for n in places]
    label = row["label"] if isinstance(row["label"], str) else ""
    rank = row.get("true_rank")
    true = int(rank) - 1 if rank is not None and not pd.isna(rank) and rank <= len(names) else -1
    return Answer(drawing.thumbnail(row["path"]), str(row["id"]), names, values, true, label)


def _similarity_map(settings: Any, similar: pd.DataFrame) -> Any:
    from pipeline.plots.heat_maps import image_text_similarity

    matrix = similar.pivot(index="label", columns="class", values="cosine")
    matrix = matrix.reindex(index=similar["label"].unique(), columns=similar["class"].unique())
    templates = list(settings.prompts.templates)
    texts = f"“{templates[0]}”" if len(templates) == 1 else f"the mean of {len(templates)} prompts"
    return image_text_similarity(matrix.to_numpy(), list(matrix.index), list(matrix.columns), f"texts: {texts}")


def _score_figures(settings: Any, made: Mapping[str, Any]) -> dict[str, Any]:
    from pipeline.plots.heat_maps import confusion
    from pipeline.plots.zero_shot import class_bars, coverage_curve, reliability

    scores = made["zero_shot_scores"].set_index("name")
    each, bins, curve = made["zero_shot_classes"], made["zero_shot_calibration"], made["zero_shot_coverage"]
    names = each["class"].tolist()
    counts = np.zeros((len(names), len(names)), np.int64)
    places = {name: i for i, name in enumerate(names)}
    for label, predicted, images in made["zero_shot_confusion"].itertuples(index=False):
        counts[places[label], places[predicted]] = images
    order = each.sort_values("recall", ascending=False, kind="stable", na_position="last")
    order = order[order["images"] > 0]
    ece = scores.loc["ece"]
    return {
        "confusion": confusion(counts, names),
        "classes": class_bars(
            order["class"].tolist(), order["recall"].to_numpy(),
            (order["recall_low"].to_numpy(), order["recall_high"].to_numpy()), order["precision"].to_numpy(),
            order["images"].to_numpy(), float(scores.loc["chance1", "value"]),
        ),
        "calibration": reliability(
            np.append(bins["low"].to_numpy(), 1.0), bins["images"].to_numpy(), bins["confidence"].to_numpy(),
            bins["accuracy"].to_numpy(), float(ece["value"]), (float(ece["low"]), float(ece["high"])),
            float(scores.loc["calibrated_ece", "high"]),
        ),
        "coverage": coverage_curve(
            curve["coverage"].to_numpy(), curve["accuracy"].to_numpy(), curve["named_outside"].to_numpy(),
            curve["threshold"].to_numpy(), "probability", settings.zero_shot.threshold,
        ),
    }  # fmt: skip


def refuse(facts: Facts, settings: Any) -> str | None:
    """Texts need an encoder that sees them; classes must come from somewhere."""
    if (reason := no_text_side(facts)) is not None:
        return reason
    chosen = settings.zero_shot
    if not chosen.classes and not facts.classes:
        return "the data set has no labels: name the classes, as in 'zero_shot.classes=[a cat,a dog]'"
    if not chosen.classes and len(facts.classes) == 1:
        return f"the data set has one class, '{facts.classes[0]}': name two or more in zero_shot.classes"
    named = None if chosen.names else facts.no_vector(_texts(settings, list(chosen.classes) or list(facts.classes)))
    return facts.no_probability or named


STAGE = Stage(
    name="zero_shot",
    needs=("images", "image_embeddings", "text_encoder", "prompt_names"),
    makes=(
        *("predictions", "zero_shot_scores", "zero_shot_classes", "zero_shot_confusion", "zero_shot_calibration"),
        *("zero_shot_coverage", "class_text_similarities"),
    ),
    settings=("zero_shot", "prompts"),
    run=run,
    metrics=metrics,
    draw=draw,
    refuse=refuse,
    concerns=lambda facts: facts.text_side,
    packages=("numpy", "torch", "transformers", "open_clip_torch"),
)
