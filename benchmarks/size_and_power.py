"""How often the verdict says 'clusters supported' where there is one cloud (size), and where there are four (power).

    python -m benchmarks.size_and_power run [--results FILE] [--sets 60] [--umap-sets 12]
    python -m benchmarks.size_and_power table [--results FILE]

Each set is drawn anew from its seed: 500 vectors of 20 numbers (512 where the family says so), through the stages that
a run has, k = 4, `significance=default`: once clustered in the embedding (`projection=none`), some also through UMAP.
A line is written for each set as soon as it is done, and sets that are there are not done again: kill it, go on.
`table` prints the shares with Wilson's 95 % intervals, as they stand in docs/trust.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

N, D, K = 500, 20, 4
Draw = Callable[[np.random.Generator], np.ndarray]


def isotropic(random: np.random.Generator) -> np.ndarray:
    """A round Gaussian."""
    return random.normal(size=(N, D))


def anisotropic(random: np.random.Generator) -> np.ndarray:
    """A Gaussian ten times as long in one direction as in another."""
    return isotropic(random) * np.linspace(5, 0.5, D)


def power_law(random: np.random.Generator) -> np.ndarray:
    """A Gaussian with standard deviations 1, 1/2, 1/3, ..., as images have."""
    return isotropic(random) / np.arange(1, D + 1)


def heavy_tails(random: np.random.Generator) -> np.ndarray:
    """Student's t with 5 degrees of freedom."""
    return isotropic(random) / np.sqrt(random.chisquare(5, size=(N, 1)) / 5)


def cone(random: np.random.Generator) -> np.ndarray:
    """Unit vectors around one direction, as encoders give them."""
    made = isotropic(random) * np.linspace(2, 0.5, D)
    made[:, 0] += 2 * math.sqrt(D)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def wide_cone(random: np.random.Generator) -> np.ndarray:
    """The same of 512 numbers, with spreads that fall like a power: more dimensions than vectors."""
    made = random.normal(size=(N, 512)) * np.arange(1, 513) ** -0.7
    made[:, 0] += 3
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def skewed(random: np.random.Generator) -> np.ndarray:
    """Log-normal."""
    return np.exp(0.7 * isotropic(random)) * np.linspace(3, 0.5, D)


def gamma(random: np.random.Generator) -> np.ndarray:
    """Gamma with shape 1.5 in each direction."""
    return random.gamma(1.5, size=(N, D)) * np.linspace(3, 0.5, D)


def rectangle(random: np.random.Generator) -> np.ndarray:
    """Uniform in a box, eight by four by ones."""
    return random.uniform(-1, 1, size=(N, D)) * np.r_[4, 2, np.full(D - 2, 0.5)]


def ball(random: np.random.Generator) -> np.ndarray:
    """Uniform in a ball."""
    rays = isotropic(random)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True) * random.uniform(size=(N, 1)) ** (1 / D)


def sheet(random: np.random.Generator) -> np.ndarray:
    """A square with a little noise."""
    made = 0.2 * isotropic(random)
    made[:, :2] += random.uniform(-3, 3, (N, 2))
    return made


def arc(random: np.random.Generator) -> np.ndarray:
    """A half circle with a little noise."""
    return _on_circle(random, random.uniform(0, np.pi, N), 0.15)


def ring(random: np.random.Generator) -> np.ndarray:
    """A whole circle with some noise."""
    return _on_circle(random, random.uniform(0, 2 * np.pi, N), 0.3)


def _on_circle(random: np.random.Generator, angles: np.ndarray, noise: float) -> np.ndarray:
    made = noise * random.normal(size=(N, D))
    made[:, 0] += 3 * np.cos(angles)
    made[:, 1] += 3 * np.sin(angles)
    return made


def mixture(separation: float) -> Draw:
    """Four round Gaussians of standard deviation 1 at equal distances of 2 x separation: at 1 the density between two
    of them is just about to have a dip."""

    def draw(random: np.random.Generator) -> np.ndarray:
        centres = np.eye(K, D) * separation * math.sqrt(2)
        return isotropic(random) + centres[random.integers(0, K, N)]

    return draw


ONE_CLOUD: dict[str, Draw] = {
    draw.__name__.replace("_", " "): draw
    for draw in (
        isotropic, anisotropic, power_law, heavy_tails, cone, wide_cone, skewed, gamma, rectangle, ball, sheet, arc,
        ring,
    )
}  # fmt: skip
FOUR: dict[str, Draw] = {f"four, separation {s:g}": mixture(s) for s in (1.0, 1.5, 2.0, 3.0)}
FAMILIES = ONE_CLOUD | FOUR


def settings(projection: str) -> Any:
    """The run's own defaults with k = 4."""
    from hydra import compose, initialize_config_dir

    from pipeline.config import CONF, read, register

    os.environ.setdefault("CLIPSCOPE_HOME", str(CONF.parent))
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return read(compose("config", [f"projection={projection}", f"clustering.k={K}"]))


def verdict(family: str, number: int, projection: str) -> dict[str, Any]:
    """One set through the stages."""
    from pipeline.stage import Workspace
    from pipeline.stages import clustering, k_support, replicates, significance

    logging.disable(logging.CRITICAL)
    chosen = settings(projection)
    chosen.significance.seed = number
    vectors = FAMILIES[family](np.random.default_rng([number, list(FAMILIES).index(family)])).astype(np.float32)
    images = pd.DataFrame({"label": [None] * N, "group": [None] * N})
    places = vectors if projection == "none" else replicates.projected(chosen.projection, vectors)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        clusters = clustering.run(chosen, workspace, images, vectors, places)["clusters"]
        made = replicates.run(chosen, workspace, images, vectors, places)
        no_range = pd.DataFrame({"k": [], "silhouette_projection": []}, dtype=float)
        k_gate = k_support.run(chosen, workspace, vectors, no_range, **made)["k_gate"]
        found = significance.run(chosen, workspace, vectors, clusters, k_gate, **made)["verdict"].iloc[0]
    numbers = {name: round(float(found[name]), 4) for name in ("excess", "p", "gap", "gap_sd", "gap_p")}
    return {"family": family, "set": number, "projection": projection, "verdict": found["verdict"], **numbers}


def work(results: Path, sets: int, umap_sets: int, processes: int) -> None:
    """Do what is not there yet, a line for each set as it is done."""
    known = {(row["family"], row["set"], row["projection"]) for row in rows_of(results)}
    every = [(f, n, p) for p, count in (("none", sets), ("umap", umap_sets)) for n in range(count) for f in FAMILIES]
    todo = [job for job in every if job not in known]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=alone) as pool:
        for done, future in enumerate(as_completed([pool.submit(verdict, *job) for job in todo])):
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(future.result()) + "\n")
            sys.stderr.write(f"\r{done + 1} of {len(todo)}")


def alone() -> None:
    """In a worker process: sets side by side, each on one core."""
    from pipeline.metrics import blocks

    blocks.workers = lambda: 1


def rows_of(results: Path) -> Iterator[dict[str, Any]]:
    """What is there; a line that a kill cut off is left out."""
    if results.is_file():
        for line in results.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, count / of
    middle, reach = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - reach) / (1 + z * z / of), (middle + reach) / (1 + z * z / of)


def table(results: Path) -> str:
    """Shares of verdicts by family, as Markdown."""
    rows = list(rows_of(results))
    lines = ["| data | through | sets | supported (95 %) | weak | none | median excess | median gap |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for family in FAMILIES:
        for projection, name in (("none", "embedding"), ("umap", "UMAP")):
            of = [row for row in rows if (row["family"], row["projection"]) == (family, projection)]
            if not of:
                continue
            counts = Counter(row["verdict"] for row in of)
            low, high = wilson(counts["supported"], len(of))
            shares = f"{counts['supported'] / len(of):.0%} ({low:.0%} to {high:.0%})"
            rest = " | ".join(f"{counts[level] / len(of):.0%}" for level in ("weak", "none"))
            middles = " | ".join(f"{np.median([row[key] for row in of]):.2f}" for key in ("excess", "gap"))
            lines.append(f"| {family} | {name} | {len(of)} | {shares} | {rest} | {middles} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table"])
    parser.add_argument("--results", type=Path, default=Path("outputs/size_and_power.jsonl"))
    parser.add_argument("--sets", type=int, default=60)
    parser.add_argument("--umap-sets", type=int, default=12)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    if given.action == "run":
        work(given.results, given.sets, given.umap_sets, given.processes)
    else:
        sys.stdout.write(table(given.results) + "\n")


if __name__ == "__main__":
    main()
