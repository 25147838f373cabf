"""Silhouettes for k = 2..20: scikit-learn's `silhouette_score` in a loop against one pass over the distances.

python -m benchmarks.silhouettes            prints a Markdown row for each number of dimensions
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.timing import in_turns, machine
from pipeline.geometry.clustering import kmeans
from pipeline.metrics.blocks import Array
from pipeline.metrics.clustering import silhouette, silhouette_samples

KS = range(2, 21)


def mixture(n: int, d: int, seed: int = 0) -> Array:
    """(n, d) float32: ten Gaussians of unit variance whose centres are about as far apart in any dimension."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(10, d)) * 8 / np.sqrt(d)
    return (centers[random.integers(0, 10, n)] + random.normal(size=(n, d))).astype(np.float32)


def row(n: int, d: int, times: int) -> str:
    """Measure, and compare the numbers too."""
    from sklearn.metrics import silhouette_score

    vectors = mixture(n, d)
    clusters = np.stack([kmeans(vectors, k, n_init=1).clusters for k in KS], axis=1)

    def loop() -> list[float]:
        return [float(silhouette_score(vectors, column)) for column in clusters.T]

    def one_pass() -> list[float]:
        return [silhouette(column) for column in silhouette_samples(vectors, clusters, ["euclidean"])["euclidean"].T]

    difference = np.abs(np.array(loop()) - one_pass()).max()
    theirs, ours, ratio = in_turns(loop, one_pass, times)
    return f"| {n:,} x {d} | {theirs:.2f} s | {ours:.2f} s | {ratio:.0f}x | {difference:.0e} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[5, 512])
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    lines = [
        machine("numpy", "scikit-learn"),
        "",
        "| vectors | scikit-learn, k = 2..20 | one pass | ratio | largest difference |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        sys.stdout.write(line + "\n")
    for d in asked.dimensions:
        sys.stdout.write(row(asked.rows, d, asked.times) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
