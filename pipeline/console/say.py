"""What a run says while it works. Quiet in pipes and CI: only the summary and what went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipeline.console.tables import new_table

WIDE = 128  # columns in a pipe or a log file, where nothing says how wide it is
WIDEST = 24  # what a column keeps, beside one that gives way
_LEVELS = {"supported": "green", "weak": "yellow", "none": "red", "unknown": "", "": ""}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """`| head` has seen enough: the run goes on without a word more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Say:
    """stdout for results, stderr for progress, warnings and errors."""

    def __init__(self) -> None:
        self.out = _Console(soft_wrap=True, highlight=False)
        if not self.out.is_terminal:
            self.out.width = WIDE
        self.err = _Console(stderr=True, soft_wrap=True, highlight=False)
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
        )
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(f"{what:<16}", total=None, amount="")
            yield lambda done, total: _advance(progress, task, done, total)

    def summary(self, run: Any) -> None:
        """The table at the end of a run: every score with the space in which it was taken."""
        self.out.print()
        self.out.print(_headline(run.record, run.metrics))
        from pipeline.console import published, scores, words
        from pipeline.report import training

        for part in scores.parts(run):
            self.out.print(part)
        if found := training.cells(run):
            self.table("training: the epoch with the smallest validation loss", training.HEADS, found)
        for part in (*words.parts(run), *published.parts(run)):
            self.out.print(part)

    def verdict(self, run: Any) -> None:
        """Whether there are clusters, in a line, or that nothing was compared."""
        from pipeline.report.trust import QUESTION, answer

        if (found := answer(run)) is not None:
            words = (found.before, (found.strong, f"bold {_LEVELS[found.level]}"), found.after)
            self.out.print(Text.assemble((f"{QUESTION.lower()} ", "bold"), *words))

    def job(self, number: int, overrides: Sequence[str], status: str, seconds: float) -> None:
        """One line for a job of a sweep; its numbers come in the sweep's own table."""
        colour = "green" if status == "complete" else "red"
        self.out.print(f"job {number}: {escape(' '.join(overrides))}: [{colour}]{status}[/] in {seconds:.1f} s")

    def line(self, line: str) -> None:
        """A result in words."""
        self.out.print(Text(line))

    def place(self, what: str, path: object) -> None:
        """Where something lies, on a line of its own so that it can be copied."""
        self.out.print(Text(f"{what}: {path}"))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Any small table; the first column is text, which gives way where there is no room, the others numbers."""
        made = new_table(title)
        for i, column in enumerate(columns):
            words = [line for cell in (column, *(row[i] for row in rows)) for line in str(cell).split("\n")]
            least = max(map(len, words)) if i else 1
            made.add_column(column, justify="right" if i else "left", no_wrap=True, min_width=min(least, WIDEST))
        for row in rows:
            made.add_row(*(escape(str(cell)) for cell in row))
        self.out.print(made)


def _headline(record: dict[str, Any], metrics: dict[str, float]) -> str:
    images, encoder = record["images"], record["encoder"]
    done = {stage["name"] for stage in record["stages"] if stage["status"] == "done"}
    from pipeline.report.words import about_texts, subject

    count = f"{images['read']:,} images" if "read" in images else f"{images['listed']:,} images listed"
    if about_texts(record):
        count = f"{metrics.get('texts/entries', 0):,.0f} entries"
    parts = [f"[bold]{escape(subject(record))}[/]: {count}"]
    if images.get("classes"):
        parts[0] += f", {images['classes']} classes"
    if images.get("skipped"):
        parts[0] += f", [yellow]{images['skipped']:,} skipped[/]"
    if encoder.get("dimension"):
        parts.append(f"encoder {escape(encoder['name'])}, {encoder['dimension']:,}-D")
        if encoder["name"] == "checkpoint":  # whose settings do not say what it is
            parts[-1] += f", recognised as {escape(encoder['recognised'])}"
    if "projection" in done:
        parts.append(f"projection {escape(record['config']['projection']['name'])}")
    if "clustering/k" in metrics:
        parts.append(f"k = {metrics['clustering/k']:.0f}")
    return " | ".join(parts)


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
    speed, left = progress.tasks[0].speed, progress.tasks[0].time_remaining
    amount = f"{done:,}/{total:,}" + (f"  {speed:,.0f}/s" if speed else "")
    progress.update(task, amount=amount + (f"  {timedelta(seconds=round(left))} left" if left else ""))
