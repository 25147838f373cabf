"""Protocol 2 as a whole, 9,827 vectors of 512 numbers, in a fresh process: a plain script against `python run.py`.

    python -m benchmarks.protocol2 [--times 5]

The plain script is protocol2_baseline.py. Ours makes the same numbers and pictures (`analysis=clustering`), and more:
scores in the embedding too, Calinski-Harabasz and Davies-Bouldin for every k, suggestions by five criteria, how
faithful the projection is, tables, a report. Grids of images are left out on both sides, as there are vectors only.
Each measurement is a new process, the ways in turns; nothing is cached but compiled functions.

- `as published`: without a seed, so on all cores like the baseline, and k-means with one start.
- `by default`: seeded, so that the numbers repeat and UMAP's layout runs on one core, and k-means with ten starts.
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
from pipeline.run_dir import load_run

HOME = Path(__file__).resolve().parents[1]
N, D = 9_827, 512

PUBLISHED = (
    "projection.seed=null", "clustering.seed=42", "clustering.n_init=1", "k_selection.seed=42", "k_selection.n_init=1",
)  # fmt: skip
WAYS: dict[str, tuple[str, ...]] = {"as published": PUBLISHED, "by default": ()}
PICTURES = {
    ("clustering", "map"),
    ("k_selection", "elbow"),
    ("k_selection", "silhouettes_by_k"),
    ("k_selection", "blades_by_k"),
}


def written(place: Path) -> None:
    """vectors.npy, and a table with an id for each."""
    np.save(place / "vectors.npy", mixture(N, D))
    (place / "items.csv").write_text("id\n" + "".join(f"{row:06d}\n" for row in range(N)))


def command(place: Path, work: Path, *settings: str) -> list[str]:
    """A run on the vectors in `place`, into work/outputs, with work/cache."""
    return [
        sys.executable, str(HOME / "run.py"), *settings, "dataset=table", f"dataset.path={place / 'items.csv'}",
        "encoder=precomputed", f"encoder.path={place / 'vectors.npy'}", "analysis=clustering",
        f"paths.outputs={work / 'outputs'}", f"paths.cache={work / 'cache'}",
    ]  # fmt: skip


def ours(place: Path, work: Path, settings: tuple[str, ...]) -> Cost:
    """A run with nothing cached but compiled functions."""
    call = command(place, work, "clustering.k=8", "cache=none", *settings)
    cost = process_cost(call, {"NUMBA_CACHE_DIR": str(work / "numba")})
    complete(max((work / "outputs").glob("*/*/run.json")).parent)
    return cost


def complete(folder: Path) -> None:
    """SystemExit unless a run has all that the baseline makes."""
    run = load_run(folder)
    scores = run.table("k_scores")
    pictures = {(stage, name) for stage, name, _ in run.pictures}
    made = scores["k"].tolist() == list(range(1, 21)) and scores["silhouette_projection"].notna().sum() == 19
    if not (made and pictures >= PICTURES):
        raise SystemExit("a run does not make what the baseline makes")


def baseline(place: Path, work: Path) -> Cost:
    """The plain script."""
    command = [sys.executable, "-m", "benchmarks.protocol2_baseline", str(place / "vectors.npy"), str(work)]
    return process_cost(
        command, {"NUMBA_CACHE_DIR": str(work / "numba"), "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
    )


def measured(times: int) -> Iterator[str]:
    """A row for each way of ours, with nothing compiled and then with what that run left on disk."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            written(place)
            for way, settings in (("baseline", ()), *WAYS.items()):
                work = place / way
                work.mkdir()
                for state in ("cold", "warm"):
                    cost = baseline(place, work) if way == "baseline" else ours(place, work, settings)
                    costs.setdefault((way, state), []).append(cost)
    for state, words in (("cold", "nothing compiled"), ("warm", "compiled functions on disk")):
        theirs = Cost.median(costs["baseline", state])
        for way in WAYS:
            pairs = zip(theirs, Cost.median(costs[way, state]), ("s", "s", "GB"), strict=True)
            cells = [f"{a:.1f} {unit} | {b:.1f} {unit} | {b / a:.2f}" for a, b, unit in pairs]
            yield f"| {way}, {words} | {' | '.join(cells)} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    sys.stdout.write(machine("numpy", "scikit-learn", "umap-learn", "numba", "matplotlib") + "\n\n")
    sys.stdout.write(
        "| ours | baseline | ours | ratio | baseline, cpu | ours, cpu | ratio "
        "| baseline, memory | ours, memory | ratio |\n"
    )
    sys.stdout.write("|" + "---|" * 10 + "\n")
    for line in measured(asked.times):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
