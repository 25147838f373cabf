"""What a run says while it works and at its end. Quiet in pipes and CI: only the summary and what went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SPACES = ("projection", "embedding", "labels")


class Say:
    """stdout for results, stderr for progress, warnings and errors."""

    def __init__(self) -> None:
        self.out = Console(soft_wrap=True, highlight=False)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)
        self.lively = self.err.is_terminal and not os.environ.get("CI")

    def error(self, line: str) -> None:
        """What went wrong, in a line."""
        self.err.print(f"[bold red]error:[/] {escape(line)}")

    def warning(self, line: str) -> None:
        """What the user should know before believing the numbers."""
        self.err.print(f"[yellow]warning:[/] {escape(line)}")

    def note(self, line: str) -> None:
        """Progress in words; nothing in pipes."""
        if self.lively:
            self.err.print(f"[dim]{escape(line)}[/]")

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar with rate and time left, or, as long as nobody says how far it is, the time so far."""
        if not self.lively:
            yield lambda done, total: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(f"{what:<16}", total=None, amount="")
            yield lambda done, total: _advance(progress, task, done, total)

    def summary(self, run: Any) -> None:
        """The table at the end of a run: every score with the space in which it was taken."""
        record, metrics = run.record, run.metrics
        images, encoder = record["images"], record.get("encoder", {})
        self.out.print()
        self.out.print(
            f"[bold]{escape(record['dataset']['name'])}[/]: {images.get('read', 0):,} images"
            + (f", {images['classes']} classes" if images.get("classes") else "")
            + (f", [yellow]{images['skipped']:,} skipped[/]" if images.get("skipped") else "")
            + f"  |  encoder {escape(encoder.get('name', '?'))}: {encoder.get('dimension', '?'):,} dimensions"
            f"  |  projection {escape(record['config']['projection']['name'])}"
            + (f"  |  k = {metrics['clustering/k']:.0f}" if "clustering/k" in metrics else "")
        )
        for table in (_cluster_scores(metrics), _class_scores(metrics)):
            if table is not None:
                self.out.print(table)

    def place(self, what: str, path: object) -> None:
        """Where something lies, on a line of its own so that it can be copied."""
        self.out.print(Text(f"{what}: {path}"))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Any small table."""
        made = Table(title=title, title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            made.add_column(column, justify="left" if i == 0 else "right")
        for row in rows:
            made.add_row(*(escape(str(cell)) for cell in row))
        self.out.print(made)


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
    speed = progress.tasks[0].speed
    progress.update(task, amount=f"{done:,}/{total:,}" + (f"  {speed:,.0f}/s" if speed else ""))


def _cluster_scores(metrics: dict[str, float]) -> Table | None:
    found = {tuple(key.split("/")[1:]): value for key, value in metrics.items() if key.startswith("cluster_metrics/")}
    if not found:
        return None
    from pipeline.metrics.catalog import METRICS

    table = Table(title="clusters: each score in the space named", title_justify="left", title_style="bold")
    table.add_column("score")
    for space in SPACES:
        table.add_column(space, justify="right")
    table.add_column("better")
    names = dict.fromkeys(name for _, name in found)
    for name in names:
        info = METRICS.get(name)
        cells = [_number(found.get((space, name))) for space in SPACES]
        table.add_row(info.label if info else name, *cells, (info.better or "") if info else "")
    return table


def _class_scores(metrics: dict[str, float]) -> Table | None:
    rows = [("within classes", "within"), ("between classes", "between")]
    if not any(f"class_distances/{key}/all/mean" in metrics for _, key in rows):
        return None
    table = Table(
        title="class distances: cosines in the embedding space", title_justify="left", title_style="bold"
    )
    table.add_column("pairs of images")
    for name in ("mean", "sd", "min", "max"):
        table.add_column(name, justify="right")
    for label, key in rows:
        values = [metrics.get(f"class_distances/{key}/all/{name}") for name in ("mean", "sd", "min", "max")]
        table.add_row(label, *(_number(value) for value in values))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
