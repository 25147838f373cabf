"""How well clusters agree with labels that they never saw."""

from __future__ import annotations

import warnings

import numpy as np

from pipeline.metrics.blocks import Array, Integers


def contingency(labels: Array, clusters: Array) -> tuple[Integers, Array, Array]:
    """Count images by label and cluster: table (L, K) int64, label values (L,), cluster values (K,).

    Values are sorted. `labels` (n,) numbers or strings, `clusters` (n,) integers. Rows with a number below 0
    in either (no label, noise) are left out. ValueError where lengths differ.

    >>> table, rows, columns = contingency(np.array(["cat", "dog", "cat"]), np.array([1, 0, 0]))
    >>> table.tolist(), rows.tolist(), columns.tolist()
    ([[1, 1], [1, 0]], ['cat', 'dog'], [0, 1])
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1:
        raise ValueError(f"labels and clusters must both be (n,), got {labels.shape} and {clusters.shape}")
    known = _known(labels) & _known(clusters)
    label_values, label_codes = np.unique(labels[known], return_inverse=True)
    cluster_values, cluster_codes = np.unique(clusters[known], return_inverse=True)
    table = np.zeros((len(label_values), len(cluster_values)), dtype=np.int64)
    np.add.at(table, (label_codes, cluster_codes), 1)
    return table, label_values, cluster_values


def agreement(labels: Array, clusters: Array) -> dict[str, float]:
    """Agreement of labels (n,) with clusters (n,), higher is better.

    None of the numbers changes when either side is renamed. ari: adjusted Rand index, in [-0.5, 1], 0 by
    chance (Hubert & Arabie 1985). ami: adjusted mutual information (arithmetic mean), at most 1, 0 by chance
    (Vinh, Epps & Bailey 2010). nmi: mutual information over the arithmetic mean of the entropies, in [0, 1].
    accuracy: share of images in the best one-to-one match of clusters and labels (Hungarian method, Kuhn
    1955), in [0, 1]. purity: share of images that carry the most frequent label of their cluster, in (0, 1].
    Rows without label or cluster are left out as in `contingency`; NaN where none is left.

    >>> found = agreement(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 2]))
    >>> round(found["accuracy"], 3), found["purity"]     # cluster 1 has no label left to itself
    (0.833, 1.0)
    """
    table, _, _ = contingency(labels, clusters)
    n = int(table.sum())
    if n == 0:
        return dict.fromkeys(("ari", "ami", "nmi", "accuracy", "purity"), float("nan"))
    return {
        **_adjusted(table),
        "accuracy": _best_match(table) / n,
        "purity": int(table.max(axis=0).sum()) / n,
    }


def _known(values: Array) -> Array:
    if np.issubdtype(values.dtype, np.number):
        return np.asarray(values >= 0)
    return np.ones(values.shape, dtype=bool)


def _adjusted(table: Integers) -> dict[str, float]:
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    rows, columns = np.nonzero(table)
    labels, clusters = (np.repeat(codes, table[rows, columns]) for codes in (rows, columns))
    with warnings.catch_warnings():
        # scikit-learn suspects a regression where most values differ; here they are cluster ids.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        return {
            "ari": float(adjusted_rand_score(labels, clusters)),
            "ami": float(adjusted_mutual_info_score(labels, clusters)),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
        }


def _best_match(table: Integers) -> int:
    from scipy.optimize import linear_sum_assignment

    return int(table[linear_sum_assignment(table, maximize=True)].sum())
