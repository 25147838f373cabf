"""A run at a glance as a piece of HTML, for notebooks."""

from __future__ import annotations

from pipeline.report.page import encodable, environment
from pipeline.report.parts import RunFolder
from pipeline.report.pictures import picture_of
from pipeline.report.privacy import privacy_of
from pipeline.report.sections import glance
from pipeline.report.words import subject

_MAPS = (("naming", "map"), ("clustering", "map"))  # the first that is there: one has names


def card(run: RunFolder) -> str:
    """Verdict, facts, scores by space, warnings and the map; escaped, and without what `report.hide` hides. No time and
    no place is in it, so the same run gives the same card wherever and whenever it was made."""
    privacy = privacy_of(run)
    pictures = filter(None, (picture_of(run, privacy, *place) for place in _MAPS))
    html = (
        environment()
        .get_template("card.html.j2")
        .render(
            title=subject(run.record, "run"),
            status=str(run.record.get("status")),
            reason=privacy.text(run.record.get("reason") or ""),
            it=glance.content(run, privacy),
            map=next(pictures, None),
        )
    )
    return encodable(html)
