"""UMAP to five dimensions in a fresh process: plain umap-learn against ours, imports and compilation included.

python -m benchmarks.umap                   10,000 x 512, as it comes and with the compiled functions on disk
python -m benchmarks.umap --pixels          9,827 x 50,176 bytes, time and memory
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.silhouettes import mixture
from benchmarks.timing import machine
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


class Cost(NamedTuple):
    """What a process took: wall and processor seconds, largest memory in GB."""

    wall: float
    cpu: float
    memory: float


def measured(code: str, file: Path, compiled: Path) -> Cost:
    """A new process, with its compiled functions in `compiled`."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(compiled), "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(file)], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a benchmark failed with status {process.returncode}")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)


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
                compiled = Path(place) / f"{name} {turn}"
                for state in ("cold", "warm"):
                    costs.setdefault((name, state), []).append(measured(code, file, compiled))
    for state, words in (("cold", "nothing compiled"), ("warm", "compiled functions on disk")):
        plain, ours = ([*zip(*costs[name, state], strict=True)] for name in ("umap-learn", "ours"))
        cells = []
        for theirs, own, unit in zip(plain, ours, ("s", "cpu-s", "GB"), strict=True):
            a, b = statistics.median(theirs), statistics.median(own)
            cells.append(f"{a:.1f} {unit} | {b:.1f} {unit} | {b / a:.2f}")
        shape = " x ".join(f"{size:,}" for size in vectors.shape)
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
        "| vectors | umap-learn | ours | ratio | umap-learn | ours | ratio | umap-learn | ours | ratio |\n"
    )
    sys.stdout.write("|" + "---|" * 10 + "\n")
    for line in rows(vectors, asked.times or (1 if asked.pixels else 5)):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
