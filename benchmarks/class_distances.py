"""Class distances of 2 x 5,000 vectors of 512 numbers: ours against what a user does today.

    python -m benchmarks.class_distances [--runs 5]

Each measurement is a process of its own; medians of cpu seconds and of peak memory beyond what the process held when
its data were there. The baseline is written from PROTOCOLS.md, section 8: per class a flat inner-product index searched
with k = n (faiss where it is installed, else its equivalent in numpy: products, then every row sorted), the upper
triangle of the result; for all ordered pairs of classes the matrix of products, appended to a Python list; mean,
minimum and maximum of the lists. It gives three numbers for each; ours gives the tables, histograms, AUC, d', overlap,
everything again after centring, and intervals.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.timing import machine

CLASSES, MEMBERS, DIMENSION = 2, 5_000, 512


def data() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) float32 in a cone, and their classes."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(CLASSES), MEMBERS)
    vectors = random.normal(size=(len(codes), DIMENSION)) + 0.5 + 0.5 * random.normal(size=(CLASSES, DIMENSION))[codes]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), codes


def baseline(vectors: np.ndarray, codes: np.ndarray) -> Any:
    """Section 8's way, its two faults included."""
    by_class = [vectors[codes == code] for code in range(CLASSES)]
    found = []
    for members in by_class:
        similarities = _search(members)
        upper = similarities[np.triu_indices(len(members), k=1)]
        center = members.mean(axis=0)
        found.append([upper.mean(), upper.min(), upper.max(), np.linalg.norm(members - center, axis=1).max()])
    everything: list[float] = []
    for one in by_class:
        for other in by_class:
            for row in one @ other.T:
                everything.extend(row)
    return found, np.mean(everything), min(everything), max(everything)


def _search(members: np.ndarray) -> np.ndarray:
    try:
        import faiss
    except ImportError:
        return -np.sort(-(members @ members.T), axis=1)
    index = faiss.IndexFlatIP(members.shape[1])
    index.add(members)
    return np.asarray(index.search(members, len(members))[0])


def plain(vectors: np.ndarray, codes: np.ndarray) -> Any:
    """Ours without centring: still tables, histograms, separation and intervals."""
    from pipeline.metrics.distances import class_distances

    return class_distances(vectors, codes, CLASSES)


def centered(vectors: np.ndarray, codes: np.ndarray) -> Any:
    """Ours as a run has it by default."""
    from pipeline.metrics.distances import class_distances

    return class_distances(vectors, codes, CLASSES, centered=True)


WAYS = {"baseline": baseline, "ours": centered, "ours, centered=false": plain}


def measure(way: str) -> dict[str, float]:
    """In this process: cpu and wall seconds, and peak memory above that of the data, in MiB."""
    import scipy.spatial.distance
    import scipy.special  # noqa: F401  imports are nobody's work

    import pipeline.metrics.distances  # noqa: F401

    with contextlib.suppress(ImportError):
        import faiss  # noqa: F401
    vectors, codes = data()
    before = _peak()
    start, cpu = time.perf_counter(), time.process_time()
    WAYS[way](vectors, codes)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - start, "memory": _peak() - before}


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        sys.stdout.write(json.dumps(measure(arguments.one)))
        return
    command = [sys.executable, "-m", "benchmarks.class_distances", "--one"]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.runs):  # in turn, so that a busy moment hits all alike
        for way in WAYS:
            found[way].append(json.loads(subprocess.run([*command, way], check=True, capture_output=True).stdout))
    medians = {
        way: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for way, runs in found.items()
    }
    lines = ["| way | cpu, s | wall, s | memory, MB | baseline's cpu over it | its memory over the baseline's |"]
    lines.append("|---|---|---|---|---|---|")
    base = medians["baseline"]
    for way, it in medians.items():
        ratios = f"{base['cpu'] / it['cpu']:.1f} | 1/{base['memory'] / it['memory']:.0f}"
        lines.append(f"| {way} | {it['cpu']:.2f} | {it['wall']:.2f} | {it['memory']:,.0f} | {ratios} |")
    faiss = ["faiss-cpu"] if importlib.util.find_spec("faiss") else []
    where = machine("numpy", *faiss) + ("" if faiss else "; no faiss: its equivalent in numpy")
    sys.stdout.write("\n".join(lines) + f"\n\n{where}; medians of {arguments.runs}\n")


if __name__ == "__main__":
    main()
