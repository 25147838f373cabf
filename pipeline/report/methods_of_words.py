"""Texts, tags, names, zero-shot classes, retrieval and search as methods: lines of the report, sentences of a paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.metrics.catalog import METRICS
from pipeline.report.recorded import Citations, Record, seed_of, setting, unit_of
from pipeline.report.words import counted, look_up, number

WORKS: dict[str, str] = {
    "clip": METRICS["top1"].source,
    "siglip": "Zhai, X., Mustafa, B., Kolesnikov, A. and Beyer, L. (2023). Sigmoid loss for language image "
    "pre-training. IEEE/CVF International Conference on Computer Vision, 11975-11986.",
    "bootstrap": "Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman and Hall.",
    "groups drawn whole": "Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. "
    "Cambridge University Press.",
    "exact share": "Clopper, C. J. and Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated in "
    "the case of the binomial. Biometrika 26(4), 404-413.",
    "calibrated": "Broecker, J. and Smith, L. A. (2007). Increasing the reliability of reliability diagrams. "
    "Weather and Forecasting 22(3), 651-661.",
    "selective": "El-Yaniv, R. and Wiener, Y. (2010). On the foundations of noise-free selective classification. "
    "Journal of Machine Learning Research 11, 1605-1641.",
    "csls": "Conneau, A., Lample, G., Ranzato, M., Denoyer, L. and Jegou, H. (2018). Word translation without parallel "
    "data. International Conference on Learning Representations.",
    "hubs": "Radovanovic, M., Nanopoulos, A. and Ivanovic, M. (2010). Hubs in space: popular nearest neighbors in "
    "high-dimensional data. Journal of Machine Learning Research 11, 2487-2531.",
    "billions": "Johnson, J., Douze, M. and Jegou, H. (2021). Billion-scale similarity search with GPUs. "
    "IEEE Transactions on Big Data 7(3), 535-547.",
    "pmi": "Church, K. W. and Hanks, P. (1990). Word association norms, mutual information, and lexicography. "
    "Computational Linguistics 16(1), 22-29.",
    "nltk": "Bird, S., Klein, E. and Loper, E. (2009). Natural Language Processing with Python. O'Reilly.",
}
"""What these may cite, by a short name."""

_SOURCES = {
    "folder": "the .txt files of a folder",
    "file": "a text file",
    "table": "a column of a table",
    "captions": "the data set's own captions",
    "labels": "the data set's class names",
    "words": "a list of texts",
}


def _source(record: Record) -> str:
    return _SOURCES.get(str(setting(record, "text.source")), "a text index that was there")


def _kinds(record: Record) -> list[str]:
    return list(setting(record, "text.kinds", ["lines"]))


def _grams(record: Record) -> list[str]:
    return [kind for kind in _kinds(record) if kind != "lines"]


def _joined(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _text_lines(record: Record) -> list[str]:
    kinds = ["whole lines" if kind == "lines" else kind for kind in _kinds(record)]
    lines = [f"Texts: {_joined(kinds)} of {_source(record)}, each once."]
    if _grams(record):
        small = " in small letters" if setting(record, "text.lower", False) is True else ""
        ends = " and do not cross lines" if setting(record, "text.across_lines", True) is False else ""
        lines.append(
            f"N-grams are of words and punctuation{small}, counted over all texts{ends}: at most "
            f"{number(setting(record, 'text.top_k', 0))} of each kind, words by how often they occur, pairs and "
            f"triples by pointwise mutual information where they occur {number(setting(record, 'text.min_count', 0))} "
            "times or more."
        )
    return lines


def _text_sentence(record: Record, cite: Citations) -> str:
    kinds = [{"lines": "lines"}.get(kind, kind) for kind in _kinds(record)]
    text = f"The texts were the {_joined(kinds)} of {_source(record)}, each once"
    if not _grams(record):
        return f"{text}."
    top, least = (number(setting(record, f"text.{key}", 0)) for key in ("top_k", "min_count"))
    return (
        f"{text} (NLTK {cite('nltk')}; up to {top} of each kind of n-gram, unigrams by frequency, bigrams and trigrams "
        f"occurring at least {least} times by pointwise mutual information {cite('pmi')})."
    )


def _after(record: Record) -> str:
    prefix = setting(record, "text.prefix", "")
    return f" after “{prefix}”" if prefix else ""


def _text_embedding_lines(record: Record) -> list[str]:
    return [f"Each text{_after(record)} became a vector by the text side of the same encoder, scaled to unit length."]


def _text_embedding_sentence(record: Record, cite: Citations) -> str:
    return f"Each text{_after(record)} was represented by the model's text encoder; vectors were scaled to unit length."


def _wishes(record: Record) -> str:
    """What an index was asked for."""
    return (
        f"at most {setting(record, 'index.memory')} of memory, {number(setting(record, 'index.query_ms', None), 1)} ms "
        f"a query and a recall of {number(setting(record, 'index.recall', None))} at "
        f"{number(setting(record, 'index.k', None))}"
    )


def _index_lines(what: str) -> Callable[[Record], list[str]]:
    return lambda record: [
        f"Index of {what}: Faiss, by inner product of unit vectors, of the kind that suits {_wishes(record)}; its "
        f"recall was measured against exact search ({seed_of(record, 'index.seed')})."
    ]


def _index_sentence(what: str) -> Callable[[Record, Citations], str]:
    return lambda record, cite: (
        f"A Faiss {cite('billions')} inner-product index of the {what} was built for {_wishes(record)}, its recall "
        "measured against exact search on held-out queries."
    )


def _csls(record: Record) -> bool:
    return bool(setting(record, "tagging.hub_correction") == "csls")


def _least(record: Record) -> str:
    least = setting(record, "tagging.min_score", None)
    return "" if least is None else f" with a cosine of at least {number(least)}"


def _tag_lines(record: Record) -> list[str]:
    how = "by cosine"
    if _csls(record):
        how = "by CSLS (twice the cosine less the mean cosines of image and entry to their 10 nearest) among the 100"
        how += " nearest by cosine"
    tags = counted(setting(record, "tagging.k", 0), "entry", "entries")
    return [f"Tags: for each image the {tags} nearest {how}{_least(record)}."]


def _tag_sentence(record: Record, cite: Citations) -> str:
    k = number(setting(record, "tagging.k", 0))
    text = f"Each image was tagged with its {k} nearest texts by cosine similarity{_least(record)}"
    if _csls(record):
        text += (
            ", after the 100 nearest had been ordered by cross-domain similarity local scaling with 10 neighbours "
            f"{cite('csls')}, as some texts are near to all images {cite('hubs')}"
        )
    return f"{text}."


def _name_lines(record: Record) -> list[str]:
    lines = [
        "Names: the texts whose mean cosine with a group's images exceeds that with all other images most, chosen in "
        f"one half of the images{_halves(record)} and measured in the other, both ways "
        f"({seed_of(record, 'naming.seed')}); of texts that say nearly the same (cosine above 0.95, or one within the "
        f"other) one is named. Intervals (95 %): each {unit_of(record)} is a unit; Student's t.",
    ]
    if times := setting(record, "naming.permutations", 0):
        lines.append(
            f"p of a group: its largest difference over all texts against the same of {number(times)} permutations of "
            "the images over the groups, itself counted as one."
        )
    return lines


def _halves(record: Record) -> str:
    return " (groups whole)" if look_up(record, "images.grouped") else ""


def _name_sentence(record: Record, cite: Citations) -> str:
    text = (
        "Clusters and classes were named by the texts with the largest difference between the mean cosine similarity "
        "to the group's images and to all others; names were selected in one random half of the "
        f"images{_halves(record)} and estimated in the other, and vice versa, with 95 % infinitesimal-jackknife "
        f"intervals {cite('jaeckel')}"
    )
    if not (times := setting(record, "naming.permutations", 0)):
        return f"{text}."
    return (
        f"{text}. The largest difference over all texts was compared with that of {number(times)} permutations of the "
        f"images over the groups {cite('permuted')}, p = (1 + permutations reaching it) / (1 + permutations) "
        f"{cite('never zero')}."
    )


def _sigmoid(record: Record) -> bool:
    """Whether the model is one of those whose probabilities are of each text by itself."""
    encoder = record.get("encoder") or {}
    return "siglip" in f"{encoder.get('model')} {encoder.get('recognised')}".lower()


def _templates(record: Record) -> str:
    templates = list(setting(record, "prompts.templates", []))
    if len(templates) == 1:
        return f"in the prompt “{templates[0]}”"
    name = setting(record, "prompts.name")
    return f"in {len(templates)} prompts ({name}), the mean of their unit vectors made unit again,"


def _zero_shot_lines(record: Record) -> list[str]:
    rule = "a sigmoid of each scaled cosine" if _sigmoid(record) else "softmax over the classes of the scaled cosines"
    lines = [
        f"Zero-shot: each class {_templates(record)} against each image; the nearest by cosine wins, of equal ones the "
        f"first. Probabilities: the model's own rule, {rule}."
    ]
    if none := setting(record, "zero_shot.none_prompt", None):
        lines.append(f"‘None of these’ is one class more, with the text “{none}”; an image that is called so is wrong.")
    if (least := setting(record, "zero_shot.threshold", None)) is not None:
        lines.append(f"Predictions with a probability below {number(least)} count as ‘none of these’.")
    if look_up(record, "images.labelled"):
        lines.append(_intervals(record, "zero_shot"))
    return lines


def _intervals(record: Record, section: str) -> str:
    times = number(setting(record, f"{section}.resamples", 0))
    return (
        f"Intervals (95 %): {times} bootstrap samples, each {unit_of(record)} a unit "
        f"({seed_of(record, f'{section}.seed')})."
    )


def _bootstrap(record: Record, cite: Citations, section: str) -> str:
    unit = "groups of images" if look_up(record, "images.grouped") else "images"
    source = cite("groups drawn whole") if look_up(record, "images.grouped") else cite("bootstrap")
    return (
        f"95 % intervals are bootstrap percentiles over {unit} {source} "
        f"({number(setting(record, f'{section}.resamples', 0))} samples; Clopper-Pearson at 0 and 1 "
        f"{cite('exact share')})"
    )


def _zero_shot_sentence(record: Record, cite: Citations) -> str:
    rule = f"a sigmoid of the scaled cosine {cite('siglip')}" if _sigmoid(record) else "softmax of the scaled cosines"
    text = (
        f"Images were classified without training {cite('clip')}: each class was put {_templates(record)} and each "
        "image assigned to the class with the largest cosine similarity; probabilities follow from the model's own "
        f"rule, {rule}."
    )
    if (least := setting(record, "zero_shot.threshold", None)) is not None:
        text += f" Predictions with a probability below {number(least)} were withheld {cite('selective')}."
    if not look_up(record, "images.labelled"):
        return text
    return (
        f"{text} Accuracy (top-1, top-5, and its mean over classes {cite('macro')}) stands beside the share of the "
        f"largest class. Calibration was measured by the expected calibration error in 15 bins {cite('ece')} and "
        "compared with that of a model of the same confidences that is right as often as it says "
        f"{cite('calibrated')}. {_bootstrap(record, cite, 'zero_shot')}."
    )


def _retrieval_lines(record: Record) -> list[str]:
    return [
        "Retrieval: each image's captions among all captions, and each caption's image among all images, by cosine; a "
        "rank is 1 + the wrong candidates that are at least as near as the nearest right one. Equal captions count as "
        "right for each of their images, and, beside it, as wrong.",
        _intervals(record, "retrieval"),
    ]


def _retrieval_sentence(record: Record, cite: Citations) -> str:
    return (
        "Captions were retrieved by images and images by captions by cosine similarity, and scored by recall at 1, 5 "
        f"and 10 and the median rank {cite('recall_at_1')}; {_bootstrap(record, cite, 'retrieval')}."
    )


def _search_lines(record: Record) -> list[str]:
    queries, images, minus = (list(setting(record, f"search.{key}", [])) for key in ("queries", "images", "minus"))
    asked = [counted(len(queries), "text")] if queries else []
    asked += [counted(len(images), "image")] if images else []
    k = number(setting(record, "search.k", 0))
    text = f"Search: the {k} nearest images by cosine to {_joined(asked or ['a query'])}"
    if setting(record, "search.combine", False) is True:
        less = f" less those of {counted(len(minus), 'text')}" if minus else ""
        text += f", all as one query: the sum of their unit vectors{less}"
    return [f"{text}."]


def _search_sentence(record: Record, cite: Citations) -> str:
    return "Images were ranked by their cosine similarity to each query."


LINES: dict[str, Callable[[Record], list[str]]] = {
    "texts": _text_lines,
    "text_embedding": _text_embedding_lines,
    "text_index": _index_lines("texts"),
    "image_index": _index_lines("images"),
    "tagging": _tag_lines,
    "naming": _name_lines,
    "zero_shot": _zero_shot_lines,
    "retrieval": _retrieval_lines,
    "search": _search_lines,
}
"""Stage -> what it did, a plain line each, in the order of the work."""

SENTENCES: dict[str, Callable[[Record, Citations], Any]] = {
    "texts": _text_sentence,
    "text_embedding": _text_embedding_sentence,
    "text_index": _index_sentence("texts"),
    "image_index": _index_sentence("images"),
    "tagging": _tag_sentence,
    "naming": _name_sentence,
    "zero_shot": _zero_shot_sentence,
    "retrieval": _retrieval_sentence,
    "search": _search_sentence,
}
"""Stage -> a sentence or two of a methods section."""
