"""Texts to vectors, ViT-B/32 with random weights: ours against a plain loop, both in fp32.

    python -m benchmarks.texts [--texts 2000] [--times 3]

The loop is what a user writes: open_clip's tokeniser and `encode_text` on 32 texts, all threads. Ours: one process a
core, texts sorted by length and encoded as far as they reach. Loading is timed on no side: of ours, the seconds from
the first texts that are done until the end; the start of the processes is told beside. In turns, so that whatever else
the machine does meets all. Two kinds of texts: n-grams (1 to 3 words) and captions (8 to 30 words).
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

from benchmarks.embedding import WARM, handle, make_weights
from benchmarks.timing import machine
from inference.texts import embed_texts

WORDS = (
    "a the of in with on and chest x-ray scan showing left right lower upper lobe small large old young man woman dog "
    "cat running sitting green blue street window tree mountain river photograph arrow lesion tumour fracture heart "
    "kidney contrast abdominal computed tomography image demonstrating bilateral opacity effusion normal unusual"
)
LOOP = 320  # texts for the plain loop, at most: it is slow, and as slow for each
KINDS = {"n-grams": (1, 4), "captions": (8, 31)}  # words


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


def ours(texts: list[str], weights: Path, mode: str) -> tuple[float, float, np.ndarray]:
    """Texts per second after the start, and start included; the vectors."""
    marks: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = embed_texts(
            texts,
            handle(weights, "cpu", mode),
            Path(folder),
            progress=lambda done, total: marks.append((done, time.perf_counter())),
        )
        end = time.perf_counter()
        vectors = np.array(made.vectors)
    first = next(mark for mark in marks if mark[0] >= WARM * len(texts))
    return (len(texts) - first[0]) / (end - first[1]), len(texts) / (end - start), vectors


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    out = sys.stdout.write
    out("| texts | plain loop /s | ours /s | ours over it | ours with the start /s | largest 1 - cosine |\n")
    out("|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as made:
        weights = Path(made) / "ViT-B-32.safetensors"
        make_weights(weights)
        for kind in KINDS:
            texts = make_texts(kind, chosen.texts)
            found = []
            for _ in range(chosen.times):
                theirs, expected = loop(texts, weights)
                fast, whole, vectors = ours(texts, weights, "fp32")
                apart = 1 - (expected.astype(np.float64) * vectors[: len(expected)]).sum(axis=1).min()
                found.append((theirs, fast, fast / theirs, whole, apart))
            middle = [statistics.median(column) for column in zip(*found, strict=True)]
            out("| {} | {:.0f} | {:.0f} | {:.1f} | {:.0f} | {:.0e} |\n".format(kind, *middle))
    out("\n" + machine("numpy", "torch", "open_clip_torch") + "\n")


if __name__ == "__main__":
    main()
