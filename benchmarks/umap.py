"""UMAP to five dimensions in a fresh process: plain umap-learn against ours, imports and compilation included.

python -m benchmarks.umap                   10,000 x 512, as it comes and with the compiled functions on disk
python -m benchmarks.umap --pixels          9,827 x 50,176 bytes, time and memory
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.silhouettes import mixture
from benchmarks.timing import Cost, machine, process_cost
from pipeline.metrics.blocks import Array

PLAIN = """
import sys, numpy, umap
vectors = numpy.load(sys.argv[1])
umap.UMAP(n_components=5, random_state=0).fit_transform(vectors)
"""
OURS = """
import sys, numpy
from pipeline.geometry.projection import umap_projection
vectors = numpy.load(sys.argv[1], mmap_mode="r")
umap_projection(vectors, 5, seed=0)
"""


def pixels(n: int = 9_827, d: int = 224 * 224) -> Array:
    """(n, d) uint8 with the structure of photographs: a few smooth patterns, and noise."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(40, d)).astype(np.float32)
    result = np.empty((n, d), dtype=np.uint8)
    for start in range(0, n, 500):
        rows = result[start : start + 500]
        weights = random.normal(size=(len(rows), 40)).astype(np.float32)
        rows[:] = np.clip(128 + 8 * (weights @ patterns) + random.normal(0, 10, rows.shape), 0, 255)
    return result


def rows(vectors: Array, times: int) -> Iterator[str]:
    """Both ways in turns, each with nothing compiled and then with what that run left on disk."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "vectors.npy"
        np.save(file, vectors)
        for turn in range(times):
            for name, code in (("umap-learn", PLAIN), ("ours", OURS)):
                environment = {"NUMBA_CACHE_DIR": str(Path(place) / f"{name} {turn}"), "PYTHONWARNINGS": "ignore"}
                for state in ("cold", "warm"):
                    found = process_cost([sys.executable, "-c", code, str(file)], environment)
                    costs.setdefault((name, state), []).append(found)
    medians = {key: Cost.median(found) for key, found in costs.items()}
    shape = " x ".join(f"{size:,}" for size in vectors.shape)
    for theirs, ours, words in (
        ("cold", "cold", "nothing compiled"),
        ("warm", "warm", "compiled functions on disk"),
        ("cold", "warm", "umap-learn with nothing compiled, ours with compiled functions on disk"),
    ):
        pairs = zip(medians["umap-learn", theirs], medians["ours", ours], ("s", "s", "GB"), strict=True)
        cells = [f"{a:.1f} {unit} | {b:.1f} {unit} | {b / a:.2f}" for a, b, unit in pairs]
        yield f"| {shape}, {words} | {' | '.join(cells)} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", action="store_true", help="raw pixels instead of embeddings")
    parser.add_argument("--times", type=int, default=None, help="5; 1 for pixels")
    asked = parser.parse_args()
    vectors = pixels() if asked.pixels else mixture(10_000, 512)
    sys.stdout.write(machine("numpy", "umap-learn", "numba", "torch") + "\n\n")
    sys.stdout.write(
        "| vectors | umap-learn | ours | ratio | umap-learn, cpu | ours, cpu | ratio "
        "| umap-learn, memory | ours, memory | ratio |\n"
    )
    sys.stdout.write("|" + "---|" * 10 + "\n")
    for line in rows(vectors, asked.times or (1 if asked.pixels else 5)):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
