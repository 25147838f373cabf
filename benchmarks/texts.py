"""Words, ViT-B/32 with random weights, ours beside what a user writes: texts to vectors, and a search on an old run.

    python -m benchmarks.texts [--texts 2000] [--images 60] [--times 3]      four minutes on two quiet cores

Texts to vectors, both in fp32: the plain way is open_clip's tokeniser and `encode_text` on 32 texts, all threads. Ours:
one process a core, texts sorted by length and encoded as far as they reach. Loading is timed on no side: of ours, the
seconds from the first texts that are done until the end. Two kinds of texts: n-grams (1 to 3 words) and captions (8 to
30 words).

A search: a whole process each, from its start to its end, on a run that was made before. The plain way reads the
vectors, the network and the query, and prints the five nearest. Ours finds the run, checks what it was made with, and
leaves a table, a picture, a record and a report; the second time the same query is asked.

All in turns, so that whatever else the machine does meets all; medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedding import WARM, handle, make_images, make_weights
from benchmarks.timing import Cost, machine, process_cost
from inference.texts import embed_texts

WORDS = (
    "a the of in with on and chest x-ray scan showing left right lower upper lobe small large old young man woman dog "
    "cat running sitting green blue street window tree mountain river photograph arrow lesion tumour fracture heart "
    "kidney contrast abdominal computed tomography image demonstrating bilateral opacity effusion normal unusual"
)
LOOP = 192  # texts for the plain loop, at most: it is slow, and as slow for each
KINDS = {"n-grams": (1, 4), "captions": (8, 31)}  # words
QUERY = "a brown cat lying on a porch"
PLAIN = """
import sys

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file

vectors, weights, query = np.load(sys.argv[1]), sys.argv[2], sys.argv[3]
network = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
network.load_state_dict(load_file(weights))
with torch.inference_mode():
    found = network.eval().encode_text(open_clip.get_tokenizer("ViT-B-32-quickgelu")([query]), normalize=True).numpy()
scores = vectors @ found[0]
for row in np.argsort(-scores)[:5]:
    print(row, scores[row])
"""


def make_texts(kind: str, count: int) -> list[str]:
    """Different texts of as many words as that kind has."""
    rng = np.random.default_rng(0)
    words = np.array(WORDS.split())
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(rng.choice(words, rng.integers(*KINDS[kind])))] = None
    return list(made)


def loop(texts: list[str], weights: Path, size: int = 32) -> tuple[float, np.ndarray]:
    """Texts per second of the plain loop, and the vectors, of length 1."""
    import open_clip
    import torch

    network: Any = handle(weights, "cpu", "fp32").load().network  # type: ignore[attr-defined]
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    found, texts = [], texts[:LOOP]
    with torch.inference_mode():
        network.encode_text(tokenizer(texts[:size]))
        start = time.perf_counter()
        for i in range(0, len(texts), size):
            found.append(network.encode_text(tokenizer(texts[i : i + size]), normalize=True).numpy())
        seconds = time.perf_counter() - start
    return len(texts) / seconds, np.concatenate(found)


def ours(texts: list[str], weights: Path) -> tuple[float, np.ndarray]:
    """Texts per second after the start of the processes; the vectors."""
    marks: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        made = embed_texts(
            texts,
            handle(weights, "cpu", "fp32"),
            Path(folder),
            progress=lambda done, total: marks.append((done, time.perf_counter())),
        )
        end = time.perf_counter()
        vectors = np.array(made.vectors)
    first = next(mark for mark in marks if mark[0] >= WARM * len(texts))
    return (len(texts) - first[0]) / (end - first[1]), vectors


def encoding(kind: str, weights: Path, count: int, times: int) -> str:
    """A row of the table."""
    texts, found = make_texts(kind, count), []
    for _ in range(times):
        theirs, expected = loop(texts, weights)
        fast, vectors = ours(texts, weights)
        apart = 1 - (expected.astype(np.float64) * vectors[: len(expected)]).sum(axis=1).min()
        found.append((theirs, fast, fast / theirs, apart))
    theirs, fast, ratio, apart = (statistics.median(column) for column in zip(*found, strict=True))
    what = f"{kind} to vectors, texts/s (largest 1 - cosine {apart:.0e})"
    return f"| {what} | {theirs:.0f} | {fast:.0f} | {ratio:.1f} |"


def searches(place: Path, weights: Path, images: int, times: int) -> list[str]:
    """Rows of the table: a query that is new, and the same again."""
    (place / "images").mkdir()
    make_images(place / "images", images)
    paths = [f"paths.outputs={place}/outputs", f"paths.cache={place}/cache"]
    run = [sys.executable, "run.py", *paths]
    process_cost(
        [*run, "dataset=folders", f"dataset.root={place}/images", "encoder=openai", f"encoder.weights={weights}",
         "device=cpu", "stages=[embedding,images]"],
        {},
    )  # fmt: skip
    folder = next(place.glob("outputs/2*/*"))
    vectors = str(folder / "embeddings" / "img_emb" / "img_emb_0000.npy")
    costs: dict[str, list[Cost]] = {"plain": [], "new": [], "again": []}
    for turn in range(times):
        query = f"{QUERY}, {turn}"
        search = [*run, f"from_run={folder}", "analysis=search", f'search.queries=["{query}"]']
        costs["plain"].append(process_cost([sys.executable, "-c", PLAIN, vectors, str(weights), query], {}))
        costs["new"].append(process_cost(search, {}))
        costs["again"].append(process_cost(search, {}))
    plain, new, again = (Cost.median(costs[name]) for name in costs)
    return [
        f"| {what}, s (cpu) | {plain.wall:.1f} ({plain.cpu:.1f}) | {cost.wall:.1f} ({cost.cpu:.1f}) "
        f"| {plain.wall / cost.wall:.1f} |"
        for what, cost in (("a search on an old run", new), ("the same query again", again))
    ]


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    say("| work | plain way | ours | times as fast |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        weights = Path(made) / "ViT-B-32.safetensors"
        make_weights(weights)
        for kind in KINDS:
            say(encoding(kind, weights, chosen.texts, chosen.times))
        for row in searches(Path(made), weights, chosen.images, chosen.times):
            say(row)
    say("\n" + machine("numpy", "torch", "open_clip_torch"))


def say(line: str) -> None:
    """Seen at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
