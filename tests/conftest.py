"""Fixtures that several test modules need."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def not_root() -> None:
    """Skips a test of permissions where nothing is forbidden."""
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
