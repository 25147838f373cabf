"""Clusters and classes as groups that words may describe: what naming and tagging share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Groups:
    """kind: 'cluster' or 'class'; codes: (n,) from 0, -1 for none; names: of each code."""

    kind: str
    codes: np.ndarray
    names: list[str]


def groups_of(images: pd.DataFrame, clusters: np.ndarray | None) -> list[Groups]:
    """The clusters, where there are any, and the classes, where there are several."""
    found = []
    if clusters is not None and (clusters >= 0).any():
        names = [f"cluster {number}" for number in range(int(clusters.max()) + 1)]
        found.append(Groups("cluster", np.asarray(clusters, np.int64), names))
    codes, labels = pd.factorize(images["label"], sort=True)
    if len(labels) > 1:
        found.append(Groups("class", codes.astype(np.int64), [str(label) for label in labels]))
    return found
