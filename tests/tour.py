"""docs/tour.ipynb executed in a copy of the project, with outputs and cache of its own. `python -m tests.tour` renews
the outputs that stand in it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HOME = Path(__file__).resolve().parents[1]
TOUR = HOME / "docs" / "tour.ipynb"
CELL = 600  # seconds, at most


def copied(place: Path) -> Path:
    """What the tour needs of the project, as somebody has it who has just taken it."""
    unwanted = shutil.ignore_patterns("__pycache__", "local.yaml", "user")
    for name in ("pipeline", "inference", "conf", "hydra_plugins", "model_checkpoints/digits_clip"):
        shutil.copytree(HOME / name, place / name, ignore=unwanted)
    (place / "conf" / "user").mkdir()
    (place / "docs").mkdir()
    for file in (HOME / "run.py", *HOME.glob("requirements*.txt")):
        shutil.copy(file, place)
    shutil.copy(TOUR, place / "docs")
    return place


def executed(place: Path) -> Any:
    """The notebook with fresh outputs; raises nbclient's CellExecutionError where a cell fails. `place`: a copy."""
    notebook = nbformat.read(place / "docs" / TOUR.name, as_version=4)
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(HOME / ".cache" / "numba"),
        "IPYTHONDIR": str(place / ".ipython"),
    }
    client = NotebookClient(
        notebook, timeout=CELL, record_timing=False, resources={"metadata": {"path": place / "docs"}}
    )
    client.execute(env=environment)
    notebook.metadata.language_info = {"name": "python"}  # without the version that happened to be there
    return notebook


def texts(cell: Any) -> str:
    """What a code cell says: streams, and HTML without tags, styles and pictures, else plain text."""
    said = []
    for output in cell.outputs:
        data = output.get("data", {})
        html = re.sub(r"<style.*?</style>|<[^>]*>", " ", data.get("text/html", ""), flags=re.DOTALL)
        said.append(output.get("text") or html or data.get("text/plain", ""))
    return "\n".join(said)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(copied(Path(folder))), TOUR)
