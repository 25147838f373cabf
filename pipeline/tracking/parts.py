"""What of a run any tracker gets, with `report.hide` kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.report.privacy import privacy_of
from pipeline.run_dir import Run
from pipeline.sweep_record import flat


def name_of(run: Run) -> str:
    """date/time, or date/time/job of a sweep."""
    return "/".join(run.folder.parts[-3:] if run.record.get("sweep") else run.folder.parts[-2:])


def settings_of(run: Run) -> dict[str, str]:
    """Every setting by its dotted key, as text; what holds paths hidden where paths are."""
    privacy = privacy_of(run)
    return {key: privacy.setting(key, value) for key, value in flat(run.config).items()}


def epochs(run: Run) -> Iterator[tuple[str, int, float]]:
    """(name, epoch, value) of a training's curves."""
    if not run.has("training_curves"):
        return
    curves: list[dict[str, Any]] = run.table("training_curves").to_dict("records")
    for row in curves:
        for key, value in row.items():
            if key != "epoch" and value == value:
                yield f"training/epochs/{key}", int(row["epoch"]), float(value)
