from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Clipscope
from tests.cli.data import class_folders


@pytest.fixture
def cli(tmp_path: Path) -> Clipscope:
    """The command line with empty folders."""
    return Clipscope(tmp_path)


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    """A root with three class folders of eight small images each."""
    return class_folders(tmp_path / "images", {"cats (2)": 8, "dogs": 8, "Bäume": 8})
