"""Where a network computes and how exactly: settled before it is loaded, in words a user can act on."""

from __future__ import annotations

import sys
from pathlib import Path

from inference.encoders import EncoderError, Runtime

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvmap", "/dev/dxg", "/dev/kfd")  # NVIDIA's, Jetson's, WSL's, AMD's


def resolve(device: str, mode: str, compiled: bool = False) -> Runtime:
    """The runtime that the settings `device`, `precision.mode` and `precision.compile` mean here. Raises EncoderError.

    mode 'auto': the fastest type that the hardware has natively, bf16 on a GPU that knows it or a CPU with AMX, else
    fp32; with the faster way of reading. 'fp32', 'bf16' and 'fp16' mean themselves; fp32 reads by the exact way.
    """
    place = _device(device)
    precision = _fastest(place) if mode == "auto" else mode
    if precision == "fp16" and place == "cpu":
        raise EncoderError("fp16 is not for a CPU: choose bf16, fp32 or auto", "precision.mode")
    if compiled and mode == "fp32":
        raise EncoderError(
            "fp32 is the exact way, which is never compiled: choose auto, bf16 or fp16", "precision.mode"
        )
    return Runtime(place, precision, exact=mode == "fp32", compiled=compiled)


def _device(wanted: str) -> str:
    if wanted == "cpu" or (wanted == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "mps":
        if torch.backends.mps.is_available():
            return wanted
        raise EncoderError("mps: this machine has no Apple GPU that torch can use", "device")
    if not torch.cuda.is_available():
        raise EncoderError(f"{wanted}: no usable NVIDIA GPU ({_cuda_versions()}); auto takes what there is", "device")
    number = int(wanted.removeprefix("cuda").removeprefix(":") or 0)
    if number >= torch.cuda.device_count():
        raise EncoderError(f"{wanted}: there are {torch.cuda.device_count()} GPUs, numbered from 0", "device")
    return wanted


def _may_have_gpu() -> bool:
    """False where Linux shows no driver of a GPU: seen without loading torch, which takes longer than many a run."""
    return sys.platform != "linux" or any(Path(file).exists() for file in DRIVERS)


def _cuda_versions() -> str:
    """Why not: what torch was built for, and what the driver says."""
    import subprocess

    import torch

    built = f"torch {torch.__version__} " + (
        f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
    )
    call = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(call, capture_output=True, text=True, timeout=5, check=True).stdout.split()
        return f"{built}; driver {said[0]}" if said else f"{built}; the driver names no GPU"
    except (OSError, subprocess.SubprocessError):
        return f"{built}; no NVIDIA driver answers"


def _fastest(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    if device == "cpu":
        return "bf16" if "amx_bf16" in _cpu_flags() else "fp32"
    return "fp32"


def _cpu_flags() -> set[str]:
    """Of this CPU, as Linux names them; elsewhere none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of anyone's
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.split())
