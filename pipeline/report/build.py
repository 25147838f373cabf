"""From a finished (or failed) run to one self-contained HTML page; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.page import encodable, environment
from pipeline.report.parts import RunFolder
from pipeline.report.privacy import Privacy, privacy_of
from pipeline.report.sections import sections_of
from pipeline.report.words import duration, moment, subject

_STATUS = {
    "failed": "This run failed.",
    "interrupted": "This run was interrupted.",
    "killed": "This run was killed before it could finish.",
    "running": "This run had not finished when this report was written.",
}


def render(run: RunFolder) -> str:
    """The report of a run as one HTML page that needs no other file and no network.

    Args:
        run: a finished, failed or interrupted run; parts that it does not have are left out.

    Returns:
        HTML, everything from outside escaped; pictures are embedded. `config.report.hide` of the run's
        record takes paths, captions, ids or images out.
    """
    privacy = privacy_of(run)
    title = subject(run.record, "run")
    html = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            name=privacy.run_name(run.name),
            status=str(run.record.get("status")),
            started=moment(run.record.get("started") or ""),
            took=duration(run.record.get("seconds")) if run.record.get("seconds") is not None else "",
            banner=_banner(run.record, privacy),
            sections=sections_of(run, privacy),
            hidden=sorted(privacy.hide),
        )
    )
    return encodable(html)


def _banner(record: Mapping[str, Any], privacy: Privacy) -> dict[str, str] | None:
    """What to say on top of the report of a run that is not complete."""
    status = str(record.get("status"))
    if status == "complete":
        return None
    done = [str(stage.get("name")) for stage in record.get("stages") or [] if stage.get("status") == "done"]
    there = f"Finished, and shown below: {', '.join(done)}." if done else "No stage was finished."
    return {
        "title": _STATUS.get(status, f"Status: {status}."),
        "reason": privacy.text(record.get("reason") or ""),
        "there": there,
    }
