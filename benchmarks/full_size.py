"""Every experiment from end to end, on made-up data in the layout and the size of the published: time and memory.

    python -m benchmarks.full_size [--share 0.1] [--only rocov2_none pixels_kmeans] [--place folder]

Each is a fresh process with an empty cache and compiled functions on disk. The pictures are random patterns of a few
kinds, the networks have random weights: their scores mean nothing, what they take does not depend on that. `--share`
makes so much less of everything; at 1 the protocol must be the published one but for what is said in its last column.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.embedding import make_weights
from benchmarks.memory import peaks
from benchmarks.timing import machine
from inference.encoders.tutorial import new_head
from pipeline.run_dir import Run, load_run

HOME = Path(__file__).resolve().parents[1]
ROCOV2, CIFAR_TRAIN, CIFAR_TEST, OPEN_IMAGES = 9_827, 50_000, 10_000, 10_000
MODALITIES = ("Plain x-ray", "X-Ray Computed Tomography", "Ultrasonography", "Magnetic Resonance Imaging", "angiogram")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def picture(kind: int, number: int, side: int) -> np.ndarray:
    """(side, side, 3) uint8: the pattern of a kind, one of its own over it, and noise."""
    shared, own = np.random.default_rng(kind), np.random.default_rng([kind, number])
    coarse = (shared.uniform(0, 255, (7, 7, 3)) + own.uniform(0, 255, (7, 7, 3))) / 2
    smooth = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + own.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def write(files: Sequence[tuple[Path, int]], side: int) -> None:
    """A picture of the given kind for each path, in the format of its ending."""

    def one(number: int) -> None:
        file, kind = files[number]
        cv2.imwrite(str(file), picture(kind, number, side))

    for folder in {file.parent for file, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(one, range(len(files))))


def rocov2(data: Path, share: float) -> None:
    """The merged table of the test split and its images, 224 pixels a side."""
    names = [f"ROCOv2_2023_test_{number:06d}" for number in range(round(ROCOV2 * share))]
    root = data / "ROCOv2"
    files = [(root / "test_images" / "test" / f"{name}.jpg", i % len(MODALITIES)) for i, name in enumerate(names)]
    write(files, 224)
    rows = {"id": range(1, len(names) + 1), "image": names}
    more = {"caption": [f"Scan {name}" for name in names], "modality": [MODALITIES[kind] for _, kind in files]}
    pd.DataFrame(rows | more).to_csv(root / "merged_dataset_test.csv", index=False)


def open_images(data: Path, share: float) -> None:
    """Images of five labels that people verified, 256 pixels a side, and the tables."""
    names = [f"{number:016x}" for number in range(round(OPEN_IMAGES * share))]
    root = data / "open_images"
    labels = [f"/m/{kind:05d}" for kind in range(5)]
    write([(root / "validation" / f"{name}.jpg", i % 5) for i, name in enumerate(names)], 256)
    verified = {"ImageID": names, "Source": "verification", "LabelName": [labels[i % 5] for i in range(len(names))]}
    pd.DataFrame(verified | {"Confidence": 1}).to_csv(
        root / "validation-annotations-human-imagelabels.csv", index=False
    )
    described = {"LabelName": labels, "DisplayName": ["Cat", "Dog", "Tree", "Car", "Flower"]}
    pd.DataFrame(described).to_csv(root / "class-descriptions.csv", index=False)


def cifar(data: Path, train: int, test: int) -> None:
    """CIFAR-10 as class folders of PNGs."""
    files = [
        (data / "cifar10" / split / CLASSES[number % 10] / f"{number:05d}.png", number % 10)
        for split, count in (("train", train), ("test", test))
        for number in range(count)
    ]
    write(files, 32)


def network(place: Path) -> list[str]:
    """Settings of OpenAI's ViT-B/32 with random weights."""
    make_weights(place / "random.safetensors")
    return ["encoder.model=ViT-B/32", f"encoder.weights={place / 'random.safetensors'}"]


def tutorial(place: Path) -> list[str]:
    """Settings of the tutorial CLIP with random weights: ResNet-50, DistilBERT and two heads, as it saves them."""
    import timm
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    parts = {
        "image_encoder.model": timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="avg"),
        "image_projection": new_head(2048, 256),
        "text_encoder.model": DistilBertModel(DistilBertConfig()),
        "text_projection": new_head(768, 256),
    }
    weights = {f"{part}.{name}": value for part, of in parts.items() for name, value in of.state_dict().items()}
    torch.save(weights, place / "tutorial.pt")
    return [f"encoder.path={place / 'tutorial.pt'}"]


def _rocov2(place: Path, share: float) -> list[str]:
    rocov2(place / "data", share)
    return []


def _rocov2_openai(place: Path, share: float) -> list[str]:
    rocov2(place / "data", share)
    return network(place)


def _rocov2_finetuned(place: Path, share: float) -> list[str]:
    rocov2(place / "data", share)
    return tutorial(place)


def _open_images(place: Path, share: float) -> list[str]:
    open_images(place / "data", share)
    return network(place)


def _cifar(place: Path, share: float) -> list[str]:
    cifar(place / "data", round(CIFAR_TRAIN * share), round(CIFAR_TEST * share))
    return []


def _cifar_test(place: Path, share: float) -> list[str]:
    cifar(place / "data", 0, round(CIFAR_TEST * share))
    return network(place)


# experiment -> what makes its data below a folder, and gives the settings that go with them
EXPERIMENTS: dict[str, Callable[[Path, float], list[str]]] = {
    "rocov2_none": _rocov2,
    "rocov2_openai": _rocov2_openai,
    "rocov2_finetuned": _rocov2_finetuned,
    "open_images_tsne": _open_images,
    "pixels_kmeans": _cifar,
    "mieb_clustering": _cifar_test,
    "tac_kmeans": _cifar_test,
    "zero_shot_table": _cifar_test,
}


@dataclass(frozen=True)
class Measured:
    """What a call took: seconds, and MB of all its processes at their largest, added up."""

    wall: float
    cpu: float
    memory: float
    main: float
    run: Run


def measured(name: str, place: Path, share: float, more: Sequence[str]) -> Measured:
    """An experiment in a fresh process; SystemExit where it fails."""
    words = EXPERIMENTS[name](place, share)
    folders = [f"paths.{kind}={place / kind}" for kind in ("data", "outputs", "cache")]
    before = _cpu()
    found, wall = peaks([sys.executable, str(HOME / "run.py"), f"experiment={name}", *words, *folders, *more])
    cpu, (main_one, *others) = _cpu() - before, found.values()
    run = load_run(max((place / "outputs").glob("*/*/run.json")).parent)
    return Measured(wall, cpu, main_one + sum(others), main_one, run)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(name: str, it: Measured) -> str:
    """Of the table: what it took, the three longest stages, and what differs from the protocol."""
    stages = sorted(it.run.record["stages"], key=lambda stage: -stage["seconds"])[:3]
    longest = ", ".join(f"{stage['name']} {stage['seconds']:.0f} s" for stage in stages)
    differs = "; ".join(it.run["experiment_scores"]["differs"].unique()) or "nothing"
    size = f"{it.run.record['images']['read']:,} | {it.wall:.0f} s | {it.cpu:.0f} s"
    return f"| `{name}` | {size} | {it.memory / 1000:.1f} GB | {it.main / 1000:.1f} GB | {longest} | {differs} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the images")
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS), metavar="experiment")
    parser.add_argument("--place", type=Path, help="keep data and runs here; else they are removed")
    parser.add_argument("--set", nargs="+", default=[], help="more settings")
    asked = parser.parse_args()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(HOME / ".cache" / "numba"))
    sys.stdout.write(machine("numpy", "scikit-learn", "faiss-cpu", "torch", "umap-learn") + "\n\n")
    sys.stdout.write("| experiment | images | wall | cpu | memory, all processes | the main one | longest stages ")
    sys.stdout.write("| differs from the protocol |\n|" + "---|" * 8 + "\n")
    for name in asked.only:
        with nullcontext(asked.place / name) if asked.place else tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(row(name, measured(name, Path(folder), asked.share, asked.set)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
