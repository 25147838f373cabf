from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Clipscope
from tests.cli.data import class_folders

QUICK = ("test_wrong_calls.py",)  # whose calls end before anything is computed, and one whole run
ONE_RUN = "test_summary_and_report"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each call of the real command takes seconds, so plain `pytest` makes few of them; `make test` makes all."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name not in QUICK and item.name != ONE_RUN:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def cli(tmp_path: Path) -> Clipscope:
    """The command line with empty folders."""
    return Clipscope(tmp_path)


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    """A root with three class folders of eight small images each."""
    return class_folders(tmp_path / "images", {"cats (2)": 8, "dogs": 8, "Bäume": 8})
