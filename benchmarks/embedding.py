"""Image files to vectors, ViT-B/32 with random weights: ours against what a user does today.

    python -m benchmarks.embedding [--images 1500] [--folder <JPEGs>] [--device cpu] [--clip-retrieval <python>]

(a) one image at a time: Pillow, OpenAI's preprocessing, fp32; (b) transformers' processor on 32 images, its model in
fp32, no workers; (c) with the Python of an environment that has it, clip-retrieval's inference as it comes. Each way
reads the same files and ends with vectors in memory or on disk; loading the network is not timed on any side: of ours,
the seconds from the first images that are done until the end. In turns, so that whatever else the machine does meets
all. The bound is 1 / (1 / decode + 1 / model) of one core, times the cores.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import machine
from inference.embed import BATCH, embed
from inference.encoders import EncoderHandle, Look, describe
from inference.images import ImageFile
from inference.preprocessing import CLIP_MEAN, CLIP_STD
from inference.runtime import resolve

ONE_BY_ONE = 100  # images for (a), at most: it is slow
CLIP_RETRIEVAL_BATCHES = 2  # of 256 images
WARM = 0.15  # share of the images that are done before the clock starts


def make_images(folder: Path, count: int) -> list[Path]:
    """JPEGs of 400 x 533 pixels with structure at all scales, about 30 kB each."""
    from PIL import Image

    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        layers = [rng.integers(0, 256, (533 // s + 1, 400 // s + 1, 3), dtype=np.uint8) for s in (200, 50, 12)]
        parts = [np.asarray(Image.fromarray(x).resize((400, 533), Image.Resampling.BICUBIC), float) for x in layers]
        pixels = 0.6 * parts[0] + 0.3 * parts[1] + 0.1 * parts[2]
        files.append(folder / f"{i:06d}.jpg")
        Image.fromarray(pixels.astype(np.uint8)).save(files[-1], quality=90)
    return files


def make_weights(file: Path) -> None:
    """Random ones, in the true form."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, file)


def handle(weights: Path, device: str, mode: str) -> EncoderHandle:
    """encoder=openai with these weights."""
    arguments = {"model": None, "weights": str(weights), "preprocessing": "openai"}
    described = describe("openai", arguments, True, Look(weights.parent, lambda path: "random"))
    return described.at(resolve(device, mode))


def one_at_a_time(files: list[Path], weights: Path) -> float:
    """Images per second: what a short script does, OpenAI's transform written out."""
    import torch
    from PIL import Image
    from torchvision import transforms

    network = handle(weights, "cpu", "fp32").load().network  # type: ignore[attr-defined]
    transform = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    found = []
    start = time.perf_counter()
    with torch.inference_mode():
        for file in files[:ONE_BY_ONE]:
            found.append(network.encode_image(transform(Image.open(file))[None]).numpy())
    return len(found) / (time.perf_counter() - start)


def transformers_loop(files: list[Path], size: int = 32) -> float:
    """Images per second: transformers' own processor and model in batches."""
    import torch
    from PIL import Image
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    model = CLIPModel(CLIPConfig()).eval()
    processor = CLIPImageProcessor()
    files = files[: 10 * size]
    found = []
    start = time.perf_counter()
    with torch.inference_mode():
        for i in range(0, len(files), size):
            images = [Image.open(file).convert("RGB") for file in files[i : i + size]]
            found.append(model.get_image_features(**processor(images=images, return_tensors="pt")).pooler_output)
    return len(files) / (time.perf_counter() - start)


CLIP_RETRIEVAL = """
import sys, time, warnings
warnings.simplefilter("ignore")
from clip_retrieval.clip_inference import mapper, main
ready, load = [], mapper.ClipMapper.__init__
def loaded(self, *args, **kwargs):
    load(self, *args, **kwargs)
    ready.append(time.perf_counter())
mapper.ClipMapper.__init__ = loaded
main.main(sys.argv[1], sys.argv[2], clip_model="hf_clip:" + sys.argv[3], enable_text=False)
print("seconds", time.perf_counter() - ready[0])
"""


def clip_retrieval(files: list[Path], python: Path) -> float:
    """Images per second of clip-retrieval's own inference, a model of transformers in a folder of its own."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    with tempfile.TemporaryDirectory() as made:
        for file in files[: CLIP_RETRIEVAL_BATCHES * 256]:
            (Path(made) / "images").mkdir(exist_ok=True)
            shutil.copy(file, Path(made) / "images")
        CLIPModel(CLIPConfig()).save_pretrained(Path(made) / "model")
        CLIPImageProcessor().save_pretrained(Path(made) / "model")
        write_tokenizer(Path(made) / "model")
        call = [str(python), "-c", CLIP_RETRIEVAL, *(str(Path(made) / name) for name in ("images", "vectors", "model"))]
        said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        count = len(np.concatenate([np.load(file) for file in Path(made).glob("vectors/img_emb/*.npy")]))
    return count / float(said.rsplit("seconds", 1)[1])


def write_tokenizer(folder: Path) -> None:
    """The smallest that CLIPProcessor takes: images alone are encoded."""
    (folder / "vocab.json").write_text('{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    (folder / "merges.txt").write_text("#version: 0.2\n")


def ours(files: list[Path], weights: Path, device: str) -> tuple[float, float]:
    """Images per second after the start, and start included."""
    marks: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        embed(
            [str(file) for file in files],
            handle(weights, device, "auto"),
            Path(folder),
            progress=lambda done, total: marks.append((done, time.perf_counter())),
        )
        end = time.perf_counter()
    first = next(mark for mark in marks if mark[0] >= WARM * len(files))
    return (len(files) - first[0]) / (end - first[1]), len(files) / (end - start)


def bound(files: list[Path], weights: Path, device: str, cores: int) -> tuple[float, float, float]:
    """Images per second of one core that only decodes, of one that only encodes, and the bound of all cores."""
    import torch

    torch.set_num_threads(1)
    encoder: Any = handle(weights, device, "auto").load()
    batch = BATCH["cpu" if device == "cpu" else "gpu"]
    pixels = np.stack([encoder.preprocess(ImageFile(file)) for file in files[:batch]])
    decode = _rate(lambda: [encoder.preprocess(ImageFile(file)) for file in files[:batch]], batch)
    model = _rate(lambda: encoder.encode_images(pixels), batch)
    return decode, model, cores / (1 / decode + 1 / model)


def _rate(work: Callable[[], Any], images: int, times: int = 9) -> float:
    work()
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return images / statistics.median(seconds)


def rounds(files: list[Path], weights: Path, device: str, times: int) -> Iterator[tuple[float, float, float, float]]:
    """(a), (b), ours, ours with the start; in turns."""
    for _ in range(times):
        yield (one_at_a_time(files, weights), transformers_loop(files), *ours(files, weights, device))


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--folder", type=Path, help="of JPEGs; default: generated ones")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clip-retrieval", type=Path, metavar="PYTHON", help="of an environment that has it")
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        weights = Path(made) / "ViT-B-32.safetensors"
        make_weights(weights)
        files = sorted(chosen.folder.rglob("*.jpg")) if chosen.folder else make_images(Path(made), chosen.images)
        files = (files * (chosen.images // len(files) + 1))[: chosen.images]
        found = list(rounds(files, weights, chosen.device, chosen.times))
        from pipeline.record import cores

        peer = clip_retrieval(files, chosen.clip_retrieval) if chosen.clip_retrieval else None
        decode, model, limit = bound(files, weights, chosen.device, cores())
    a, b, fast, whole = (statistics.median(column) for column in zip(*found, strict=True))
    out = sys.stdout.write
    out("| way | images/s | ours over it |\n|---|---|---|\n")
    out(f"| one at a time, fp32 | {a:.1f} | {statistics.median(r[2] / r[0] for r in found):.1f} |\n")
    out(f"| transformers, batches of 32, fp32 | {b:.1f} | {statistics.median(r[2] / r[1] for r in found):.1f} |\n")
    if peer:
        out(f"| clip-retrieval | {peer:.1f} | {fast / peer:.1f} |\n")
    out(f"| ours | {fast:.1f} | |\n| ours, start of the processes included | {whole:.1f} | |\n")
    out(f"\nOne core decodes {decode:.0f} images/s and encodes {model:.0f}; bound of {cores()} cores {limit:.1f}, ")
    out(f"of which ours reaches {fast / limit:.0%}.\n\n")
    out(machine("numpy", "torch", "torchvision", "transformers", "open_clip_torch") + "\n")


if __name__ == "__main__":
    main()
