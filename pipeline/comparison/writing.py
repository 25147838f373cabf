"""A comparison as files in a folder, and in the words of the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.differences import differences, shown
from pipeline.comparison.entries import Entry
from pipeline.comparison.pictures import figures
from pipeline.comparison.rows import over_seeds, rows
from pipeline.comparison.scores import OF_WORDS, SEPARATION
from pipeline.comparison.sheets import Sheet, brief, sheets
from pipeline.comparison.texts import latex, markdown
from pipeline.comparison.words import Refused, between, interval, not_compared, protocol, signed
from pipeline.report.privacy import Privacy
from pipeline.report.words import is_missing
from pipeline.schema import PlotSettings

MOST_TOLD = 12  # differences in the console


@dataclass(frozen=True)
class Compared:
    """What was written: a row for each run; differences; tables; what was not compared and why."""

    rows: pd.DataFrame
    differences: pd.DataFrame
    sheets: list[Sheet]
    refused: list[Refused]
    folder: Path


def write(
    entries: Sequence[Entry], reports: Sequence[str], folder: Path, heading: str, privacy: Privacy, plots: PlotSettings
) -> Compared:
    """comparison.csv, .md, .tex, .html, differences.csv and the pictures. reports: of each entry, as a link from the
    folder; '' where there is none."""
    from pipeline.report.comparison import Page, render_comparison

    table = rows(entries, reports, privacy)
    apart = differences(entries)
    complete = [entry for entry in entries if entry.complete]
    said = privacy.text(protocol(complete, privacy)) if complete else ""
    some = shown(apart, entries)
    found = sheets(entries, over_seeds(table, entries), some, len(apart), said)
    refused = [replace(line, text=privacy.text(line.text)) for line in not_compared(entries)]
    heading = privacy.text(heading)
    table.to_csv(folder / "comparison.csv", index=False)
    apart.to_csv(folder / "differences.csv", index=False)
    (folder / "comparison.md").write_text(markdown(found, heading), encoding="utf-8", errors="replace")
    (folder / "comparison.tex").write_text(latex(found, heading), encoding="utf-8", errors="replace")
    drawn = _draw(entries, table, some, folder, plots)
    page = Page(heading, drawn, found, [line.text for line in refused], said)
    (folder / "comparison.html").write_text(render_comparison(table, page), encoding="utf-8")
    return Compared(table, apart, found, refused, folder)


def _draw(
    entries: Sequence[Entry], table: pd.DataFrame, apart: pd.DataFrame, folder: Path, plots: PlotSettings
) -> dict[str, Path]:
    """Name -> PNG file."""
    from pipeline.figure_files import save
    from pipeline.plots.style import look

    with look(plots.width_mm, plots.palette.value):
        drawn = figures(entries, table, apart)
        save(drawn, folder, plots)
    return {name: folder / f"{name}.png" for name in drawn}


def show(compared: Compared, title: str, say: Any, all_refused: bool = False) -> None:
    """What the console says at the end: scores, differences, published values, what was not compared; of that only what
    nobody who sweeps over encoders would expect, unless all_refused."""
    _show_scores(compared.rows, title, say)
    if len(table := compared.differences):
        cells = [
            [between(row), brief(row["score"]), signed(row["difference"]), interval(row)]
            for row in _main(table).to_dict("records")
        ]
        more = f"; all {len(table):,} in differences.csv" if len(table) > len(cells) else ""
        heads = ["first − second", "score", "difference", "95 % interval"]
        say.table(f"paired differences on the same images{more}", heads, cells)
    for sheet in compared.sheets:
        if sheet.title == "Published values":
            short = [[row[0].split(":")[0], _short(row[1]), *row[2:]] for row in sheet.rows]
            heads = ["experiment", "score", "published", "measured", "95 % of runs", "by chance", "verdict"]
            say.table("published values", heads, short)
    for failure in unfinished(compared.rows):
        say.error(failure)
    for line in compared.refused:
        if all_refused or not line.expected:
            say.warning(line.text)
    say.place("comparison", compared.folder / "comparison.html")


def unfinished(rows: pd.DataFrame) -> list[str]:
    """What did not complete and why; jobs with the same reason in one line."""
    found: dict[tuple[Any, Any], list[Any]] = {}
    for row in rows[rows["status"] != "complete"].to_dict("records"):
        found.setdefault((row["status"], row["reason"]), []).append(row)
    lines = []
    for (status, reason), jobs in found.items():
        first, *others = jobs
        more = f" and {len(others)} more ({', '.join(str(job['job']) for job in others)})" if others else ""
        lines.append(f"job {first['job']} ({first['overrides']}){more}: {status}" + (f": {reason}" if reason else ""))
    return lines


def _short(score: str) -> str:
    """Narrow enough for a console; the files have it whole."""
    return score.replace(", in the projection", ", proj.").replace(", in the embedding", ", emb.")


def _main(table: pd.DataFrame) -> pd.DataFrame:
    """Excess in the embedding, agreement with labels and what texts tell, where all are many."""
    if len(table) <= MOST_TOLD:
        return table
    keys = table["score"]
    beyond = keys.str.startswith("embedding/") & keys.str.endswith("/excess")
    return table[beyond | keys.isin(["labels/ari", "zero_shot/top1"])].head(MOST_TOLD)


def _show_scores(rows: pd.DataFrame, title: str, say: Any) -> None:
    from pipeline.comparison.pictures import AGAINST_K
    from pipeline.console.tables import number

    too_many = ("ami", "davies_bouldin")  # for the width of a console; the files have them
    keys = [key for key, _ in AGAINST_K if key in rows and not key.endswith(too_many)]
    keys = keys or [key for key in (SEPARATION,) if key in rows]
    spaces = [key.removeprefix("cluster_metrics/").replace("/", "\n").replace("_", "\n") for key in keys]
    spaces = [space if key != SEPARATION else "class\ndistances\nauc" for key, space in zip(keys, spaces, strict=True)]
    trust = [name for name in ("verdict", "excess", "gap") if name in rows and rows[name].notna().any()]
    cells = [
        [row["model"], row["job"], row["status"], f"{row['k']:.0f}" if row["k"] == row["k"] else "-"]
        + [("-" if is_missing(row[name]) else row[name]) if name == "verdict" else number(row[name]) for name in trust]
        + [number(row[key]) for key in keys]
        for row in rows.to_dict("records")
    ]
    heads = [{"verdict": "clusters?", "excess": "beyond\nclouds", "gap": "gap\n(1:\nnone)"}[name] for name in trust]
    say.table(title, ["model", "job", "status", "k", *heads, *spaces], cells)
    if words := [key for key in OF_WORDS if key in rows and not key.endswith(("5", "10"))]:
        told = [key.replace("/", "\n", 1).replace("/", " ").replace("_", " ") for key in words]
        told_of = rows[rows[words].notna().any(axis=1)].to_dict("records")
        lines = [[row["model"], row["job"], *(number(row[key]) for key in words)] for row in told_of]
        say.table(
            "by texts: compare encoders and prompts on the same images and classes", ["model", "job", *told], lines
        )
