"""What a training learns from: which images, with which texts, and which are kept aside."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.candidates import shares
from pipeline.errors import RunError
from pipeline.schema import TrainingCaptions, TrainingSettings, plain

log = logging.getLogger(__name__)

NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing", "held_out"),
}
NO_TEXT, NO_PART = "no text", "another split"


@dataclass(frozen=True)
class Texts:
    """texts: each once. of: (n, t) int64, those that each image may have; -1 where it has none. meaning: (n,) int64,
    equal where texts mean the same, -1 where there is none. prompts: (C, P) int64, the class texts of zero-shot, none
    where C is below 2; classes: their C labels. by_class: whether the texts are made of class names."""

    texts: list[str]
    of: np.ndarray
    meaning: np.ndarray
    prompts: np.ndarray
    classes: list[str]
    by_class: bool


def architecture(chosen: TrainingSettings) -> Any:
    """Of a model from scratch. Raises ValueError."""
    from inference.training.scratch import Architecture

    return Architecture(**plain(chosen.architecture))


def more_names(chosen: TrainingSettings) -> dict[str, list[str]]:
    """Label -> what it is called besides. Raises RunError for an entry that is not 'label=name'."""
    names: dict[str, list[str]] = {}
    for entry in chosen.names:
        label, mark, name = (part.strip() for part in entry.partition("="))
        if not (label and mark and name):
            raise RunError(f"training.names: '{entry}' is not 'label=name', as in '7=seven'")
        names.setdefault(label, []).append(name)
    return names


def texts_of(
    table: pd.DataFrame, chosen: TrainingSettings, templates: Sequence[str], called: Mapping[str, str]
) -> Texts:
    """Of the rows of `candidates`. called: label -> name in prompts, where it is not the label itself."""
    captions = table["caption"].fillna("").str.strip()
    by_class = chosen.captions is TrainingCaptions.labels
    if chosen.captions is TrainingCaptions.auto:
        by_class = not (captions != "").any()
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    codes, labels = pd.factorize(table["label"], sort=True)
    own = {label: called.get(label, label) for label in labels}
    prompts = np.array([[number(t.replace("{}", own[c])) for t in templates] for c in labels], np.int64)
    prompts = prompts.reshape(len(labels), len(templates)) if len(labels) > 1 else np.empty((0, 0), np.int64)
    if not by_class:
        of = np.array([number(text) if text else -1 for text in captions], np.int64)
        return Texts(list(numbers), of[:, None], of, prompts, list(labels), False)
    besides = more_names(chosen)
    if unknown := sorted(set(besides) - set(labels)):
        log.warning("training.names: %d labels are none of the classes, as '%s'", len(unknown), unknown[0])
    most = max([1, *(1 + len(besides.get(label, ())) for label in labels)])
    rows = []
    for label in labels:  # as many for each class: a name that others have more of comes more often
        names = [own[label], *besides.get(label, ())]
        names = [names[i % len(names)] for i in range(most)]
        rows.append([number(template.replace("{}", name)) for name in names for template in templates])
    of = np.array(rows, np.int64).reshape(len(labels), most * len(templates))
    of = np.concatenate([of, np.full((1, of.shape[1]), -1)])[codes]  # no label: the last row
    return Texts(list(numbers), of, codes.astype(np.int64), prompts, list(labels), True)


def parts(table: pd.DataFrame, usable: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(n,) 'train', 'valid', 'test', or '' for rows of no part: by the column `split` where one of its names is a
    training split; a validation split that is missing is a seeded share of the rest, whole groups of it, equal files
    together, the classes in proportion."""
    named = {name: part for part, names in NAMES.items() for name in names}
    splits = table["split"].str.strip().str.lower()
    found = splits.map(named).fillna("").to_numpy(dtype=object)
    if not (found == "train").any():
        if table["split"].notna().any():
            log.warning("training: no row is of a split called train: all are taken, and a share kept for validation")
        found = np.full(len(table), "train", dtype=object)
    found[~usable] = ""
    if not (found == "valid").any():
        pool = np.flatnonzero(found == "train")
        found[pool[_drawn(table.iloc[pool], share, seed)]] = "valid"
    return found


def _drawn(table: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Rows of about this share of the table."""
    random = np.random.default_rng((seed, 1))
    together = _together(table)
    first = np.unique(together, return_index=True)[1]  # a row for each unit
    labels = pd.factorize(table["label"].iloc[first].fillna(""), sort=True)[0]
    wanted = shares(np.bincount(labels), max(1, round(share * len(first))))
    chosen = [random.permutation(np.flatnonzero(labels == c))[:count] for c, count in enumerate(wanted)]
    return np.flatnonzero(np.isin(together, np.concatenate(chosen)))


def _together(table: pd.DataFrame) -> np.ndarray:
    """(n,) numbers from 0, equal for rows of one group, and for equal files; chains of both are one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(table)
    groups, _ = pd.factorize(table["group"])
    files, names = pd.factorize(table["content_hash"])
    rows = np.arange(n)
    grouped = groups >= 0
    left = np.concatenate([rows, rows[grouped]])
    right = np.concatenate([n + files, n + len(names) + groups[grouped]])
    size = n + len(names) + groups.max(initial=-1) + 1
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][:n])


def leaked(table: pd.DataFrame, found: np.ndarray) -> dict[str, int]:
    """How many images of each part that is kept aside are, to the byte, images that are learned from."""
    learned = set(table["content_hash"][found == "train"])
    return {part: int(table["content_hash"][found == part].isin(learned).sum()) for part in ("valid", "test")}
