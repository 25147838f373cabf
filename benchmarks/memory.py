"""Peak memory of an embedding at 10,000 and at 100,000 images: the same but for the table of their names.

python -m benchmarks.memory                 JPEGs of 64 x 64 pixels, encoder=none
python -m benchmarks.memory --network       the same through a network (timm's smallest, random weights)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.timing import machine

HOME = Path(__file__).resolve().parents[1]
CONTENTS = 1_000  # different files; the other names are hard links


def images(root: Path, count: int) -> None:
    """`count` names in ten classes."""
    for i in range(count):
        file = root / f"class {i % 10}" / f"image {i:07d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if i < CONTENTS:
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
            cv2.imwrite(str(file), cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_CUBIC))
        else:
            os.link(root / f"class {i % CONTENTS % 10}" / f"image {i % CONTENTS:07d}.jpg", file)


def peaks(command: list[str]) -> tuple[dict[int, float], float]:
    """Process -> its largest resident memory in MB, the command's own first, and the seconds that it took; SystemExit
    where it fails."""
    found: dict[int, float] = {}
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            for pid in [process.pid, *_children(process.pid)]:
                if pid == process.pid or _command(pid) != _command(process.pid):  # else it is only a copy yet
                    found[pid] = max(found.get(pid, 0.0), _peak(pid))
            time.sleep(0.02)
        errors = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"a benchmark failed with status {process.returncode}: {errors[-2000:]}")
    return found, time.perf_counter() - start


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


def network(folder: Path) -> list[str]:
    """Settings of a network with random weights, saved in `folder`."""
    import timm
    import torch

    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "random.pt")
    sizes = ["encoder.size=64", "encoder.mean=[0.5]", "encoder.std=[0.5]"]
    return ["encoder=timm", "encoder.model=test_resnet", f"encoder.weights={folder}/random.pt", *sizes]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--network", action="store_true")
    asked = parser.parse_args()
    sys.stdout.write(machine("numpy", "pandas") + "\n\n")
    sys.stdout.write("| images | all processes, MB | the main one | each worker, at most | wall, s |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for count in asked.counts:
        with tempfile.TemporaryDirectory() as place:
            images(Path(place) / "images", count)
            words = ["dataset=folders", f"dataset.root={place}/images", "stages=[images]", "embedding.workers=2"]
            words += network(Path(place)) if asked.network else ["encoder=none", "encoder.size=16"]
            words += [f"paths.outputs={place}/outputs", f"paths.cache={place}/cache"]
            found, seconds = peaks([sys.executable, str(HOME / "run.py"), *words])
        main_one, *others = found.values()
        cells = f"{sum(found.values()):,.0f} | {main_one:,.0f} | {max(others, default=0):,.0f} | {seconds:.0f}"
        sys.stdout.write(f"| {count:,} | {cells} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
