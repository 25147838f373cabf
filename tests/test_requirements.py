"""requirements-gpu.txt is requirements.txt with another Faiss."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from pipeline.record import version

HOME = Path(__file__).resolve().parents[1]


def _needs(file: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (HOME / file).read_text().splitlines())
    return {line for line in lines if line and not line.startswith("-")}


def test_the_gpu_set_differs_by_faiss_alone() -> None:
    cpu, gpu = _needs("requirements.txt"), _needs("requirements-gpu.txt")
    assert [line.partition(">")[0] for line in sorted(cpu ^ gpu)] == ["faiss-cpu", "faiss-gpu"]


def test_the_version_of_the_other_faiss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name != "faiss-gpu":
            raise importlib.metadata.PackageNotFoundError
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", installed)
    assert version.__wrapped__("faiss-cpu") == "1.2.3"
    assert version.__wrapped__("faiss-else") == "not installed"
