"""Perturbed pixels as methods: lines of the report, a sentence of a paper."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.recorded import Citations, Record, seed_of, setting, unit_of
from pipeline.report.words import look_up, number

WORKS: dict[str, str] = {
    "corruptions": "Hendrycks, D. and Dietterich, T. (2019). Benchmarking neural network robustness to common "
    "corruptions and perturbations. International Conference on Learning Representations.",
}
"""What these may cite, by a short name."""

_SETS = {"imagenet_c": "of ImageNet-C", "cifar10_c": "of CIFAR-10-C"}


def _definitions(record: Record) -> str:
    chosen = str(setting(record, "robustness.definitions"))
    return _SETS.get(chosen, "of ImageNet-C, or of CIFAR-10-C where images are mostly nearer to 32 than to 224 pixels")


def _names(record: Record) -> str:
    names = [str(name) for name in setting(record, "robustness.perturbations", [])]
    return ", ".join("JPEG compression" if name == "jpeg" else name.replace("_", " ") for name in names)


def _occlusion(record: Record) -> str:
    """It is none of the published ones."""
    return "; occlusion hides 10 to 50 % of the area" * ("occlusion" in setting(record, "robustness.perturbations", []))


def _severities(record: Record) -> str:
    severities = list(setting(record, "robustness.severities", []))
    return f"severit{'y' if len(severities) == 1 else 'ies'} {', '.join(map(str, severities))}"


def _how_many(record: Record) -> str:
    most, read = setting(record, "robustness.images", None), look_up(record, "images.read")
    if most is None or (read is not None and read <= most):
        return "all images"
    return f"a random sample of {number(most)} images"


def _lines(record: Record) -> list[str]:
    seed = seed_of(record, "robustness.seed")
    return [
        f"Robustness: the pixels of {_how_many(record)} were perturbed ({_names(record)}; {_severities(record)} of 5), "
        f"embedded again and assigned anew ({seed}). Parameters {_definitions(record)}; lengths grow with the shorter "
        f"side{_occlusion(record)}.",
        "A new vector is placed in the projection by its own transform, where clusters were found there. Changes count "
        "from what the same rule says of the unperturbed image. Class centres leave out the image's own "
        f"{unit_of(record)}.",
        f"Intervals (95 %): {number(setting(record, 'robustness.resamples', 0))} bootstrap samples, each "
        f"{unit_of(record)} a unit.",
    ]


def _sentence(record: Record, cite: Citations) -> str:
    unit = unit_of(record).split(" ")[0]
    return (
        f"Robustness was assessed on {_how_many(record)}: their pixels were perturbed ({_names(record)}, "
        f"{_severities(record)}; parameters {_definitions(record)} {cite('corruptions')}{_occlusion(record)}), "
        "embedded again by the same encoder and assigned to the same clusters; we report the share of images that "
        f"changed their cluster, with 95 % bootstrap percentile intervals over {unit}s {_source(record, cite)}, the "
        "adjusted Rand index with the clean assignment, the cosine similarity to the clean vector and the share "
        "nearest to the centre of their own class."
    )


def _source(record: Record, cite: Citations) -> str:
    return cite("groups drawn whole") if look_up(record, "images.grouped") else cite("bootstrap")


LINES: dict[str, Callable[[Record], list[str]]] = {"robustness": _lines}
"""Stage -> what it did, a plain line each."""

SENTENCES: dict[str, Callable[[Record, Citations], str]] = {"robustness": _sentence}
"""Stage -> a sentence of a methods section."""
