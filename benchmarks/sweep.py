"""A sweep over eight k against one run, 9,827 vectors of 512 numbers, each from an empty cache.

    python -m benchmarks.sweep [--times 5]

Neighbours, projection and the choice of k do not depend on k, so the first job makes them for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.protocol2 import command, written
from benchmarks.timing import Cost, machine, process_cost

CALLS = {"one run": ("clustering.k=8",), "eight": ("-m", "clustering.k=2,4,8,16,3,5,6,7")}


def measured(times: int) -> Iterator[str]:
    """A row each for wall and processor seconds; both ways in turns, compiled functions on disk from a run before."""
    costs: dict[str, list[Cost]] = {call: [] for call in CALLS}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        written(place)
        compiled = {"NUMBA_CACHE_DIR": str(place / "numba")}
        process_cost(command(place, place / "first", *CALLS["one run"]), compiled)
        for turn in range(times):
            for call, settings in CALLS.items():
                costs[call].append(process_cost(command(place, place / f"{call} {turn}", *settings), compiled))
    one, eight = (Cost.median(found) for found in costs.values())
    for name, a, b in (("wall", one.wall, eight.wall), ("cpu", one.cpu, eight.cpu)):
        yield f"| {name} | {a:.1f} s | {b:.1f} s | {b / a:.2f} | {(b - a) / 7:.2f} s |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    sys.stdout.write(machine("numpy", "scikit-learn", "umap-learn", "numba", "matplotlib") + "\n\n")
    sys.stdout.write("| time | one run | eight k | ratio | each further k |\n|---|---|---|---|---|\n")
    for line in measured(asked.times):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
