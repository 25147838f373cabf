"""Tags: the five entries nearest to each image, by Faiss' exact brute force and by the index that is chosen for them.

python -m benchmarks.tagging                            100,000 images, 1,000,000 entries of 512 values: half an hour
python -m benchmarks.tagging --memory 0.5               an index of at most half a GB
python -m benchmarks.tagging --query-ms 4               one that takes at most 4 ms a query, by rule

Synthetic unit vectors: a hundred entries about each centre, at a mean cosine of 0.5 to each other; images farther out
(0.4 to their entries). Both ways in turns on the same images, on all cores; then ours on all images. Recall is against
the brute force.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

from benchmarks.timing import in_turns, machine
from pipeline.geometry.index_choice import choose
from pipeline.geometry.indexes import build, measure, probed, search
from pipeline.metrics.blocks import Array, row_blocks

K = 5
BLOCK = 8192  # images at a time, as a run does it
TUNING = 500  # images that the index is tuned on, of others than those measured


def clustered(file: Path, n: int, d: int, clusters: int, noise: float, seed: int) -> Array:
    """(n, d) float32 unit vectors in a memory map: centres of length 1, and noise so many times as long."""
    centers = np.random.default_rng(0).normal(size=(clusters, d)).astype(np.float32) / np.sqrt(d)
    rng = np.random.default_rng(seed)
    vectors = np.lib.format.open_memmap(file, "w+", np.float32, (n, d))
    for rows in row_blocks(n, 1, most=BLOCK):
        size = rows.stop - rows.start
        aside = rng.standard_normal((size, d), np.float32) * np.float32(noise / np.sqrt(d))
        block = centers[rng.integers(0, clusters, size)] + aside
        vectors[rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    vectors.flush()
    return np.load(file, mmap_mode="r")


def compare(asked: argparse.Namespace, folder: Path) -> None:
    """Make, build, measure, print."""
    clusters = max(1, asked.entries // 100)
    entries = clustered(folder / "entries.npy", asked.entries, asked.dimensions, clusters, noise=1.0, seed=1)
    images = clustered(folder / "images.npy", asked.images + TUNING, asked.dimensions, clusters, noise=1.5, seed=2)
    tuning, images = images[:TUNING], images[TUNING:]
    part = np.array(images[: asked.compared])

    choice = choose(asked.entries, asked.dimensions, int(asked.memory * 1e9), asked.query_ms, asked.recall)
    say(f"{choice.explanation}\n")
    start = time.perf_counter()
    index = build(entries, choice, queries=np.array(tuning), k=K)
    built = time.perf_counter() - start

    flat = faiss.IndexFlatIP(asked.dimensions)
    flat.add(np.array(entries))
    theirs, ours, ratio = in_turns(lambda: flat.search(part, K), lambda: search(index, part, K, entries), asked.times)
    quality = measure(index, entries, part, K)
    start = time.perf_counter()
    for rows in row_blocks(len(images), 1, most=BLOCK):
        search(index, np.array(images[rows]), K, entries)
    whole = time.perf_counter() - start

    say(f"built in {built:.0f} s on one core, {quality.bytes / 1e9:.2f} GB, looks into {probed(index)}")
    say(f"one image by itself {quality.query_ms:.2f} ms; all {len(images):,} images {whole:.0f} s\n")
    say("| way | images/s | recall@5 | ratio, median of turns |\n|---|---|---|---|")
    say(f"| faiss.IndexFlatIP, all cores | {len(part) / theirs:,.0f} | 1 | 1 |")
    say(f"| {choice.kind} | {len(part) / ours:,.0f} | {quality.recall:.3f} | {ratio:.1f} |")
    say(f"| {choice.kind}, all images, once | {len(images) / whole:,.0f} | | |")


def say(line: str) -> None:
    """Seen at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--compared", type=int, default=2_048, help="images that both ways tag in each turn")
    parser.add_argument("--memory", type=float, default=4.0, help="GB")
    parser.add_argument("--query-ms", type=float, default=20.0)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where the vectors lie meanwhile")
    asked = parser.parse_args()
    say(machine("faiss-cpu", "numpy") + "\n")
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        compare(asked, Path(place))


if __name__ == "__main__":
    main()
