"""The published rows that a run is compared with, and the settings in which it differs from their protocols.

A protocol is what `experiment=<name>` alone would compose, so it stands nowhere but in conf/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.errors import CallError, one_of
from pipeline.schema import MODEL, Comparison, Config, Difference, ExperimentSettings, PublishedRow, choice_of, plain

# what changes no score beyond chance, or says only where something lies; seeds: repeats are made over them
ASIDE = ("name", "seed", "sample_seed", "max_unreadable", "pixel_size", "max_fit", "download", "base_url", "top_k",
         "resamples")  # fmt: skip
OWN = tuple(
    f"cluster_metrics/{score}"
    for score in ("projection/silhouette", "projection/calinski_harabasz", "projection/davies_bouldin", "labels/ari",
                  "labels/ami", "labels/nmi", "labels/accuracy")
)  # fmt: skip
HUB_NAMES = {  # of OpenAI's models, as transformers knows them
    "openai/clip-vit-base-patch32": "ViT-B/32",
    "openai/clip-vit-base-patch16": "ViT-B/16",
    "openai/clip-vit-large-patch14": "ViT-L/14",
    "openai/clip-vit-large-patch14-336": "ViT-L/14@336px",
}


def comparisons(config: Config, places: tuple[Path, ...]) -> list[Comparison]:
    """Of the experiment that was named, the row that fits best; else every row that this data set and encoder have.
    places: folders of conf/ with groups. Raises CallError."""
    chosen = config.experiment
    settings = _settings(config)
    if chosen.name == "none":
        found = [
            (name, row)
            for name, rows in _known(places, settings)
            for row in rows
            if _same_data_and_encoder(settings, row)
        ]
        told = [_compared(settings, name, row, _composed(name)) for name, row in found]
        told.sort(key=lambda one: len(one.differs))
        return told if told and not _model_is_open(settings) else [*told, *_of_its_own(chosen)]
    if not chosen.published:
        return []
    protocol = _composed(chosen.name)
    return [_compared(settings, chosen.name, row, protocol) for row in _rows(settings, chosen)]


def _of_its_own(chosen: ExperimentSettings) -> list[Comparison]:
    """Where nothing was published, repetitions are worth telling all the same."""
    row = PublishedRow(row="this run's own settings", scores=dict.fromkeys(OWN))
    return [Comparison("none", "", chosen.decimals, row)] if chosen.repeats > 1 else []


def _rows(settings: Mapping[str, Any], chosen: ExperimentSettings) -> list[PublishedRow]:
    """The row that was named, else the first with the fewest conditions that the run does not meet: one for each model
    where only the file of weights says which it is."""
    rows: list[PublishedRow] = chosen.published
    if chosen.row is None:
        unmet = [len(_unmet(settings, row)) for row in rows]
        nearest = [row for row, count in zip(rows, unmet, strict=True) if count == min(unmet)]
        return nearest if _model_is_open(settings) else nearest[:1]
    for row in rows:
        if row.row == chosen.row:
            return [row]
    raise CallError(f"experiment.row = {chosen.row}: no such row{one_of(chosen.row, [row.row for row in rows])}")


def _known(places: tuple[Path, ...], settings: Mapping[str, Any]) -> Iterator[tuple[str, list[PublishedRow]]]:
    """Experiments in conf/ that may be about this data set, and their rows; read without composing them, and only where
    the data set's name stands in the file, as every call that names no experiment comes here."""
    data = settings["dataset"]
    for file in sorted(file for place in places for file in (place / "experiment").glob("[!_]*.yaml")):
        text = file.read_text(encoding="utf-8")
        if "published:" not in text or ("dataset." in text and not (data["name"] in text or data["source"] in text)):
            continue
        content: Any = OmegaConf.to_container(OmegaConf.create(text))
        section = content.get("experiment") or content
        yield file.stem, [PublishedRow(**row) for row in section["published"]]


def _composed(name: str) -> Config:
    """What the experiment alone would be."""
    from hydra import compose

    config: Config = OmegaConf.to_object(compose("config", overrides=[f"experiment={name}"]))  # type: ignore[assignment]
    return config


def _compared(settings: Mapping[str, Any], name: str, row: PublishedRow, protocol: Config) -> Comparison:
    told, expected = protocol.experiment, _settings(protocol)
    differs = {difference.key: difference for difference in _unmet(settings, row)}
    met = row.where.keys() - differs.keys()
    sections = [
        section for section in ("dataset", "encoder", *_sections_of(row)) if _same_table(section, row, expected)
    ]
    for section in sections:
        for difference in _differences(section, settings[section], expected[section]):
            if difference.key not in met:
                differs.setdefault(difference.key, difference)
    elsewhere = settings["encoder"]["kind"] == "precomputed" != expected["encoder"]["kind"]
    notes = ["the vectors were made elsewhere, so what made them is not compared"] if elsewhere else []
    return Comparison(name, told.source or "", told.decimals, row, list(differs.values()), notes)


def _same_table(section: str, row: PublishedRow, expected: Mapping[str, Any]) -> bool:
    """False for the data set of a row that is about another than the experiment chooses."""
    return (
        section != "dataset"
        or row.where.get("dataset.name", expected["dataset"]["name"]) == expected["dataset"]["name"]
    )


def _sections_of(row: PublishedRow) -> list[str]:
    """The sections that change these scores, besides data and encoder."""
    stages = {key.split("/")[0] for key in row.scores}
    changing = {"cluster_metrics": ("projection", "clustering"), "zero_shot": ("prompts", "zero_shot")}
    return [section for stage, sections in changing.items() if stage in stages for section in sections]


def _same_data_and_encoder(settings: Mapping[str, Any], row: PublishedRow) -> bool:
    """Given vectors may be anybody's."""
    if settings["encoder"]["kind"] == "precomputed" or not row.where:
        return False
    unmet = {difference.key for difference in _unmet(settings, row)}
    if _model_is_open(settings):
        unmet.discard(MODEL)
    return not any(key.split(".")[0] in ("dataset", "encoder") for key in unmet)


def _model_is_open(settings: Mapping[str, Any]) -> bool:
    """Whether it is whatever the file of weights holds, which is not known before it is read: the stage
    `experiment` then keeps the rows of that model."""
    encoder = settings["encoder"]
    return bool(encoder["kind"] == "openai" and encoder["model"] is None)


def _unmet(settings: Mapping[str, Any], row: PublishedRow) -> list[Difference]:
    """Conditions of the row that do not hold. What given vectors do not tell holds."""
    found = []
    for key, wanted in row.where.items():
        section, _, name = key.partition(".")
        value = settings[section].get(name)
        told = section != "encoder" or settings["encoder"]["kind"] != "precomputed"
        if told and value != wanted:
            found.append(Difference(key, value, wanted))
    return found


def _differences(section: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    if section == "encoder" and mine["kind"] != theirs["kind"]:
        if mine["kind"] != "precomputed":
            yield Difference("encoder.kind", mine["kind"], theirs["kind"])
        elif mine["normalize"] and not theirs["normalize"]:
            yield Difference("encoder.normalize", True, False)
    elif section in ("projection", "clustering") and choice_of(section, mine) != choice_of(section, theirs):
        yield Difference(section, choice_of(section, mine), choice_of(section, theirs))
    elif section == "prompts":
        if mine["name"] == theirs["name"] and mine["templates"] != theirs["templates"]:
            yield Difference("prompts.templates", len(mine["templates"]), f"the {len(theirs['templates'])} of its own")
    elif section != "dataset" or mine["source"] == theirs["source"]:  # another source may hold the same images
        for key in theirs:
            if key in mine and key not in ASIDE and mine[key] != theirs[key]:
                yield Difference(f"{section}.{key}", mine[key], theirs[key])


def _settings(config: Config) -> dict[str, dict[str, Any]]:
    """Section -> settings that scores depend on, plain; names and kinds stay, as rows are found by them."""
    sections = {}
    for section in ("dataset", "encoder", "projection", "clustering", "prompts", "zero_shot"):
        chosen = getattr(config, section)
        paths = {f.name for f in dataclasses.fields(chosen) if f.metadata.get("path")}
        sections[section] = {key: value for key, value in plain(chosen).items() if key not in paths}
    sections["encoder"] = _of_openai(sections["encoder"], getattr(config.encoder, "weights", None) is not None)
    return sections


def _of_openai(encoder: dict[str, Any], from_file: bool) -> dict[str, Any]:
    """OpenAI's models by one name, whichever library they come from."""
    if encoder["kind"] == "openai" and encoder["model"] is None and not from_file:
        return {**encoder, "model": "ViT-B/32"}
    own = ("size", "resize", "interpolation", "channels", "mean", "std")
    if encoder["kind"] == "huggingface" and encoder["model"] in HUB_NAMES and all(encoder[key] is None for key in own):
        name = encoder["name"]
        return {"name": name, "kind": "openai", "model": HUB_NAMES[encoder["model"]], "preprocessing": "transformers",
                "normalize": encoder["normalize"]}  # fmt: skip
    return encoder
