"""How often the verdict says 'clusters supported' where there is one cloud (size), and where there are four (power).

    python -m benchmarks.size_and_power run [options]
    python -m benchmarks.size_and_power table [the same options]
    python -m benchmarks.size_and_power excess [the same options]

Each set is drawn anew from its seed: 500 vectors of 20 numbers (512 where the family says so), through the stages that
a run has, with as many clusters asked for as were drawn (4 of one cloud), `significance=default`: once clustered in the
embedding (`projection=none`), some also through UMAP. The options change all this; `--settings` takes any of a run's:

    run --projections pca --sets 20 --settings projection.n_components=2 clustering=hdbscan

A line is written for each set as soon as it is done, and sets that are there are not done again: kill it, go on; sets
of other options may stand in the same file. `table` prints the shares of verdicts with Wilson's 95 % intervals and
counts those of all one-cloud sets; `excess` does the same with the silhouettes of mixtures. docs/trust.md has the
numbers beside their commands.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import logging
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.metrics.gaps import REAL
from pipeline.metrics.verdict import ALPHA, SMALLEST

N, D, K = 500, 20, 4
SHARE = "clustered_share"  # what the verdict compares instead of silhouettes where clouds have no clusters
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def isotropic(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A round Gaussian."""
    return random.normal(size=(n, d))


def anisotropic(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A Gaussian ten times as long in one direction as in another."""
    return isotropic(random, n, d) * np.linspace(5, 0.5, d)


def power_law(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A Gaussian with standard deviations 1, 1/2, 1/3, ..., as images have."""
    return isotropic(random, n, d) / np.arange(1, d + 1)


def heavy_tails(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Student's t with 5 degrees of freedom."""
    return isotropic(random, n, d) / np.sqrt(random.chisquare(5, size=(n, 1)) / 5)


def cone(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Unit vectors around one direction, as encoders give them."""
    made = isotropic(random, n, d) * np.linspace(2, 0.5, d)
    made[:, 0] += 2 * math.sqrt(d)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def wide_cone(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """The same of 512 numbers, with spreads that fall like a power: more dimensions than vectors."""
    made = random.normal(size=(n, 512)) * np.arange(1, 513) ** -0.7
    made[:, 0] += 3
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def skewed(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Log-normal."""
    return np.exp(0.7 * isotropic(random, n, d)) * np.linspace(3, 0.5, d)


def gamma(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Gamma with shape 1.5 in each direction."""
    return random.gamma(1.5, size=(n, d)) * np.linspace(3, 0.5, d)


def rectangle(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Uniform in a box, eight by four by ones."""
    return random.uniform(-1, 1, size=(n, d)) * np.r_[4, 2, np.full(d - 2, 0.5)]


def ball(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Uniform in a ball."""
    rays = isotropic(random, n, d)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True) * random.uniform(size=(n, 1)) ** (1 / d)


def sheet(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A square with a little noise."""
    made = 0.2 * isotropic(random, n, d)
    made[:, :2] += random.uniform(-3, 3, (n, 2))
    return made


def arc(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A half circle with a little noise."""
    return _on_circle(random, d, random.uniform(0, np.pi, n), 0.15)


def ring(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A whole circle with some noise."""
    return _on_circle(random, d, random.uniform(0, 2 * np.pi, n), 0.3)


def _on_circle(random: np.random.Generator, d: int, angles: np.ndarray, noise: float) -> np.ndarray:
    made = noise * random.normal(size=(len(angles), d))
    made[:, 0] += 3 * np.cos(angles)
    made[:, 1] += 3 * np.sin(angles)
    return made


@dataclass(frozen=True)
class Mixture:
    """Round Gaussians of standard deviation 1 at equal distances of 2 x separation, in a row where there are fewer
    dimensions than clusters: at 1 the density between two of them is just about to have a dip."""

    clusters: int
    separation: float

    def draw(self, random: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
        """Vectors, and which Gaussian each is from."""
        if d < self.clusters:
            centres = np.arange(self.clusters)[:, None] * np.eye(1, d) * 2 * self.separation
        else:
            centres = np.eye(self.clusters, d) * self.separation * math.sqrt(2)
        noise = isotropic(random, n, d)
        labels = random.integers(0, self.clusters, n)
        return noise + centres[labels], labels


ONE_CLOUD: dict[str, Draw] = {
    draw.__name__.replace("_", " "): draw
    for draw in (
        isotropic, anisotropic, power_law, heavy_tails, cone, wide_cone, skewed, gamma, rectangle, ball, sheet, arc,
        ring,
    )
}  # fmt: skip
MIXTURES = {
    f"{count}, separation {s:g}": Mixture(clusters, s)
    for count, clusters in (("four", 4), ("two", 2), ("ten", 10))
    for s in (1.0, 1.5, 2.0, 3.0)
}
FAMILIES = [*ONE_CLOUD, *MIXTURES]  # their places are in the seeds
USUAL = [family for family in FAMILIES if not family.startswith(("two", "ten"))]


@dataclass(frozen=True)
class Set:
    """One set and what is done with it; `settings`: of a run, with blanks between."""

    family: str
    set: int
    projection: str
    n: int = N
    d: int = D
    settings: str = ""

    def drawn(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(n, d) float32 vectors, and of a mixture which Gaussian each is from."""
        size = [] if (self.n, self.d) == (N, D) else [self.n, self.d]  # else smaller sets would be parts of larger
        random = np.random.default_rng([self.set, FAMILIES.index(self.family), *size])
        if self.family in ONE_CLOUD:
            return ONE_CLOUD[self.family](random, self.n, self.d).astype(np.float32), None
        vectors, labels = MIXTURES[self.family].draw(random, self.n, self.d)
        return vectors.astype(np.float32), labels

    def chosen(self) -> Any:
        """The run's own defaults but for these settings, and k."""
        made = copy.deepcopy(composed(self.projection, self.settings))
        if getattr(made.clustering, "k", 0) is None:
            made.clustering.k = MIXTURES[self.family].clusters if self.family in MIXTURES else K
        made.significance.seed = self.set
        return made


@functools.cache
def composed(projection: str, settings: str) -> Any:
    """The settings of a run."""
    from hydra import compose, initialize_config_dir

    from pipeline.config import CONF, read, register

    os.environ.setdefault("CLIPSCOPE_HOME", str(CONF.parent))
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return read(compose("config", [f"projection={projection}", *settings.split()]))


def verdict(one: Set) -> dict[str, Any]:
    """One set through the stages."""
    from sklearn.metrics import adjusted_rand_score

    from pipeline.stage import Workspace
    from pipeline.stages import clustering, k_support, replicates, significance

    logging.disable(logging.CRITICAL)
    chosen = one.chosen()
    vectors, labels = one.drawn()
    images = pd.DataFrame({"label": [None] * one.n, "group": [None] * one.n})
    places = vectors if one.projection == "none" else replicates.projected(chosen.projection, vectors)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        clusters = clustering.run(chosen, workspace, images, vectors, places)["clusters"]
        made = replicates.run(chosen, workspace, images, vectors, places)
        no_range = pd.DataFrame({"k": [], "silhouette_projection": []}, dtype=float)
        k_gate = k_support.run(chosen, workspace, vectors, no_range, **made)["k_gate"]
        told = significance.run(chosen, workspace, vectors, clusters, k_gate, **made)
    found, scores = told["verdict"].iloc[0], told["null_scores"]
    numbers = {name: found[name] for name in ("excess", "p", "gap", "gap_sd", "gap_p")}
    numbers["clouds"] = scores.loc[scores["name"] == found["score"], "null_mean"].iloc[0]
    if labels is not None:
        numbers["agreement"] = adjusted_rand_score(labels, clusters)
    rounded = {name: round(float(value), 6) for name, value in numbers.items()}
    return asdict(one) | {"verdict": found["verdict"], "score": found["score"], **rounded}


def work(results: Path, asked: list[Set], processes: int) -> None:
    """Do what is not there yet, a line for each set as it is done."""
    known = {made for made, _ in rows_of(results)}
    todo = [one for one in asked if one not in known]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=alone) as pool:
        for done, future in enumerate(as_completed([pool.submit(verdict, one) for one in todo])):
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(future.result()) + "\n")
            sys.stderr.write(f"\r{done + 1} of {len(todo)}")


def alone() -> None:
    """In a worker process: sets side by side, each on one core."""
    from pipeline.metrics import blocks

    blocks.workers = lambda: 1


def rows_of(results: Path) -> Iterator[tuple[Set, dict[str, Any]]]:
    """What is there; a line that a kill cut off is left out."""
    if results.is_file():
        for line in results.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                yield Set(**{field: row[field] for field in Set.__dataclass_fields__ if field in row}), row


def grouped(results: Path, asked: list[Set]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows of the sets that were asked for, by data and what they went through, in the order of the call."""
    known = dict(rows_of(results))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in asked:
        if one in known:
            groups.setdefault((_data(one), THROUGH.get(one.projection, one.projection)), []).append(known[one])
    return groups


THROUGH = {"none": "embedding", "umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}


def _data(one: Set) -> str:
    size = [f"{one.n:,} vectors"] * (one.n != N) + [f"{one.d} number{'s' * (one.d > 1)}"] * (one.d != D)
    return f"{one.family} ({' of '.join(size)})" if size else one.family


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, count / of
    middle, reach = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - reach) / (1 + z * z / of), (middle + reach) / (1 + z * z / of)


def table(groups: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Shares of verdicts by family, as Markdown, and counts of all sets of one cloud."""
    lines = ["| data | through | sets | supported (95 %) | weak | none | median excess | median gap |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (data, through), of in groups.items():
        counts = Counter(row["verdict"] for row in of)
        low, high = wilson(counts["supported"], len(of))
        shares = f"{counts['supported'] / len(of):.0%} ({low:.0%} to {high:.0%})"
        rest = " | ".join(f"{counts[level] / len(of):.0%}" for level in ("weak", "none"))
        excesses = [row["excess"] for row in of if row.get("score") != SHARE]
        middles = " | ".join(middle(values, 2) for values in (excesses, [row["gap"] for row in of]))
        lines.append(f"| {data} | {through} | {len(of)} | {shares} | {rest} | {middles} |")
    for through in dict.fromkeys(through for _, through in groups):
        one_cloud = [row for (_, t), of in groups.items() if t == through for row in of if row["family"] in ONE_CLOUD]
        counts = Counter(row["verdict"] for row in one_cloud)
        if not one_cloud:
            continue
        levels = ", ".join(f"{level} {counts[level]}" for level in ("supported", "weak", "none"))
        real = sum(row["gap"] <= REAL for row in one_cloud)
        lines.append(f"\n{through}, one cloud, {len(one_cloud)} sets: {levels}; a gap of at most {REAL}: {real}")
    return "\n".join(lines)


def excess(groups: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Silhouettes of mixtures, beside the clouds', as Markdown, and counts of all these sets; agreement: adjusted Rand
    index with the truth."""
    lines = ["| data | through | sets | agreement | clouds | excess | least excess / clouds | gap |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    every = []
    for (data, through), rows in groups.items():
        of = [row for row in rows if "agreement" in row and row["score"] != SHARE]
        every += of
        if of:
            middles = [middle([row[key] for row in of], digits) for key, digits in SHOWN]
            ratios = [row["excess"] / row["clouds"] for row in of if row["clouds"] > 0]
            middles.insert(3, f"{min(ratios):.2f}" if ratios else "")
            lines.append(f"| {data} | {through} | {len(of)} | {' | '.join(middles)} |")
    supported = [row for row in every if row["verdict"] == "supported"]
    found = [row for row in every if row["agreement"] >= FOUND]
    denied = [row for row in every if row not in supported and row["p"] < ALPHA and row["gap"] <= REAL]
    lines.append(
        f"\n{len(every)} sets: supported {len(supported)}, with an excess below {SMALLEST} "
        f"{sum(row['excess'] < SMALLEST for row in supported)}; denied though p < {ALPHA} and gaps are real "
        f"{len(denied)}; agreement at least {FOUND} {len(found)}, of which supported "
        f"{sum(row in supported for row in found)}"
    )
    return "\n".join(lines)


FOUND = 0.8  # agreement from which clusters count as found
SHOWN = (("agreement", 2), ("clouds", 4), ("excess", 4), ("gap", 2))


def middle(values: list[float], digits: int) -> str:
    """The median of those that are there."""
    known = [value for value in values if not math.isnan(value)]
    return f"{np.median(known):.{digits}f}" if known else ""


def asked_for(given: argparse.Namespace) -> list[Set]:
    """Every set of the call, in the order of the table's rows."""
    counts = {through: given.umap_sets if through == "umap" else given.sets for through in given.projections}
    settings = " ".join(given.settings)
    return [
        Set(family, number, through, n, d, settings)
        for family in FAMILIES
        if any(fnmatchcase(family, pattern) for pattern in given.families or USUAL)
        for n in given.n
        for d in given.d
        for through, count in counts.items()
        for number in range(count)
    ]


def main() -> None:
    """Run what is missing, or print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table", "excess"])
    parser.add_argument("--results", type=Path, default=Path("outputs/size_and_power.jsonl"))
    parser.add_argument("--sets", type=int, default=60)
    parser.add_argument("--umap-sets", type=int, default=12)
    parser.add_argument("--families", nargs="+", default=[], help="names, such as 'four*'; else all but two and ten")
    parser.add_argument("--n", nargs="+", type=int, default=[N], help="vectors of a set")
    parser.add_argument("--d", nargs="+", type=int, default=[D], help="numbers of a vector")
    parser.add_argument("--projections", nargs="+", default=["none", "umap"], help="choices of a run's projection")
    parser.add_argument("--settings", nargs="+", default=[], help="of a run, such as clustering=hdbscan")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    asked = asked_for(given)
    if not asked:
        parser.error(f"--families: none of {'; '.join(FAMILIES)} is {' or '.join(given.families)}")
    if given.action == "run":
        work(given.results, asked, given.processes)
    else:
        groups = grouped(given.results, asked)
        sys.stdout.write((table if given.action == "table" else excess)(groups) + "\n")


if __name__ == "__main__":
    main()
