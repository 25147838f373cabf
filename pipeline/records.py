"""Records on disk, of runs and of sweeps, read by one rule. Imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import CallError


def read_record(file: Path, missing: str) -> Any:
    """What the JSON file holds. missing: what its folder is not, where there is none. Raises CallError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CallError(f"{file.parent}: not {missing}: it has no {file.name}") from error
    except OSError as error:
        raise CallError(f"{file}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CallError(f"{file}: damaged: {error}") from error
