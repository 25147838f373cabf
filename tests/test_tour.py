"""The tour works, and what stands in it is what comes out today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.tour import TOUR, copied, executed, texts

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
TOLD = ("run", "compare", "verdicts", "tags")  # cells whose outputs are compared: verdicts and scores
LARGE = 1000  # from here up a score (Calinski-Harabasz) that moves with every machine


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def kinds(cell: Any) -> list[list[str]]:
    """Of a cell's outputs: text, HTML, pictures."""
    return [sorted(output.get("data", {})) for output in cell.get("outputs", [])]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tour_gives_what_stands_in_it(tmp_path: Path) -> None:
    fresh = {cell.id: cell for cell in executed(copied(tmp_path)).cells}
    committed = {cell.id: cell for cell in nbformat.read(TOUR, as_version=4).cells}
    assert "clusters supported" in texts(committed["run"]) and "98.6 %" in texts(committed["run"])
    for name in TOLD:
        then, now = texts(committed[name]), texts(fresh[name])
        assert NUMBER.sub("#", now) == NUMBER.sub("#", then), name
        for a, b in zip(numbers(then), numbers(now), strict=True):
            assert b == pytest.approx(a, rel=0.3) if a >= LARGE else b == pytest.approx(a, abs=0.1, rel=0.02), name
    names = [sorted(re.findall(r"[a-z]+", texts(cell["named"]))) for cell in (committed, fresh)]
    assert names[0] == names[1]  # of clusters, in whatever order their sizes put them
    assert [kinds(cell) for cell in fresh.values()] == [kinds(cell) for cell in committed.values()]


def test_what_is_committed_is_small_and_says_nothing_of_a_machine() -> None:
    written = TOUR.read_text(encoding="utf-8")
    assert len(written) < 1_000_000
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|Users|work)/|\d{4}-\d{2}-\d{2}|\d{2}:\d{2}", written)
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))  # in order, from the start
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


@pytest.mark.parametrize("place", [".", "docs"])
def test_its_first_cell_works_in_both_folders(place: str) -> None:
    first = next(cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code")
    done = subprocess.run([sys.executable, "-c", first.source], cwd=TOUR.parents[1] / place, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
