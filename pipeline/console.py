"""What a run says while it works and at its end. Quiet in pipes and CI: only the summary and what went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDE = 128  # columns in a pipe or a log file, where nothing says how wide it is
WIDEST = 24  # what a column keeps, beside one that gives way
SPACES = ("projection", "embedding", "labels")
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
        classes = (_each_class(run), _class_scores(run.metrics), _label_scores(run))
        for table in (_cluster_scores(run.metrics), *classes, _compared_scores(run)):
            if table is not None:
                self.out.print(table)
        if line := _suggested_k(run):
            self.out.print(Text(line))
        if line := _labels(run):
            self.out.print(Text(line))
        from pipeline import console_published, console_words
        from pipeline.report import training

        if found := training.cells(run):
            self.table("training: the epoch with the smallest validation loss", training.HEADS, found)
        for part in (*console_words.parts(run), *console_published.parts(run)):
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


def number(value: float | None) -> str:
    """A score in a cell; '-' where there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


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


def new_table(title: str) -> Table:
    """An empty table in the look of all of them."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _cluster_scores(metrics: dict[str, float]) -> Table | None:
    """A row per score, a column per space. The projection's silhouette is Euclidean, and stands in that row."""
    from pipeline.metrics.catalog import METRICS

    found = {}
    for key, value in metrics.items():
        stage, _, rest = key.partition("/")
        if stage == "cluster_metrics":
            space, _, name = rest.partition("/")
            found[space, "silhouette_euclidean" if name == "silhouette" else name] = value
    if not found:
        return None
    table = new_table("clusters: each score in the space named (scores of different spaces do not compare)")
    table.add_column("score")
    for space in SPACES:
        table.add_column(space, justify="right")
    table.add_column("better")
    for name, info in METRICS.items():
        if any((space, name) in found for space in SPACES):
            cells = [number(found.get((space, name))) for space in SPACES]
            table.add_row(info.label, *cells, info.better or "")
    return table


def _label_scores(run: Any) -> Table | None:
    """Each of several labels, those best told apart first; their mean where they are many."""
    if not run.has("label_scores"):
        return None
    frame = run.table("label_scores")
    table = new_table("each label for itself: images that show it against others, cosines in the embedding space")
    table.add_column("label")
    for name in ("images", "others", "AUC", "gap", "95 % interval", "of the 5 nearest", "by chance"):
        table.add_column(name, justify="right")
    for row in frame.head(_CLASSES_UP_TO).to_dict("records"):
        span = f"{number(row['gap_low'])} to {number(row['gap_high'])}"
        scores = [number(row[name]) for name in ("auc", "gap", "precision_at_5", "chance_at_5")]
        cells = [*scores[:2], span, *scores[2:]]
        table.add_row(escape(str(row["label"])), f"{row['present']:,}", f"{row['negatives']:,}", *cells)
    if len(frame) > 1:
        mean = {name: number(frame[name].mean()) for name in ("auc", "gap", "precision_at_5", "chance_at_5")}
        cells = ["", "", mean["auc"], mean["gap"], "", mean["precision_at_5"], mean["chance_at_5"]]
        table.add_row(f"mean of {len(frame):,} labels", *cells)
    return table if len(frame) else None


def _compared_scores(run: Any) -> Table | None:
    """A row per score: the images against clouds without clusters, in both spaces."""
    from pipeline.report.trust import rows, sampled

    found = rows(run)
    if not found:
        return None
    table = new_table("against clouds without clusters: what the same steps make of them")
    table.add_column("score")
    for name in ("images ± sd", "clouds ± sd", "excess", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    where = ""
    for row in found:
        if row.where != where:
            table.add_row(Text(row.where, "dim"))
            where = row.where
        table.add_row(f"  {row.label}", row.observed, row.clouds, row.excess, row.p)
    notes = [
        "±: over half-samples, over clouds. ln: logarithm of the ratio to the clouds. Higher excess: more structure.",
        *(["*: half of the images score otherwise than all."] if any("*" in row.observed for row in found) else []),
        *([sampled(run)] if sampled(run) else []),
    ]
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def _suggested_k(run: Any) -> str:
    """What is supported, and which criteria agree on the number of clusters; '' where none was asked."""
    from pipeline.metrics.k_selection import CRITERIA, in_words
    from pipeline.report.trust import supported_k

    keys = {criterion.label: f"k_selection/{criterion.space}/{criterion.name}/k" for criterion in CRITERIA}
    ks = {label: int(run.metrics[key]) for label, key in keys.items() if key in run.metrics}
    found = supported_k(run)
    parts = [found, "" if found.startswith("No") or not ks else in_words(ks)]
    said = " ".join(filter(None, parts))
    return f"how many clusters? {said}" if said else ""


def _labels(run: Any) -> str:
    """How far clusters and embedding know the labels; '' where there are none."""
    from pipeline.report.trust import labels_in_words

    said = labels_in_words(run)
    return f"labels? {said}" if said else ""


def _class_scores(metrics: dict[str, float]) -> Table | None:
    """Pairs within against pairs between, before and after centring, each with what tells them apart."""
    places = {"": "", "centered/": ", centred"}
    if not any(f"class_distances/{key}/all/mean" in metrics for key in ("within", "between")):
        return None
    table = new_table("class distances: cosines in the embedding space (centred: seen from the mean of all images)")
    table.add_column("pairs of images")
    for name in ("mean", "95 % interval", "sd", "min", "max", "AUC", "d′", "overlap"):
        table.add_column(name, justify="right")
    for place, words in places.items():
        for label, key in (("within classes", "within"), ("between classes", "between")):
            found = {name: metrics.get(f"class_distances/{place}{key}/all/{name}") for name in _OF_PAIRS}
            if found["mean"] is None:
                continue
            span = f"{number(found['mean_low'])} to {number(found['mean_high'])}"
            cells = [number(found["mean"]), span, *(number(found[name]) for name in ("sd", "min", "max"))]
            if key == "within":
                of_all = f"class_distances/{place}separation/all/"
                cells += [number(metrics.get(of_all + name)) for name in ("auc", "d_prime", "overlap")]
            table.add_row(label + words, *cells)
    return table


_OF_PAIRS = ("mean", "mean_low", "mean_high", "sd", "min", "max")
_CLASSES_UP_TO = 12


def _each_class(run: Any) -> Table | None:
    """Centre, radius and cosines inside each class, where the classes are few."""
    if not run.has("class_summary"):
        return None
    rows = run.table("class_summary").to_dict("records")
    if len(rows) > _CLASSES_UP_TO:
        return None
    table = new_table("each class: length of its centre, radius (farthest image), cosines of its pairs, nearest class")
    table.add_column("class")
    for name in ("images", "centre", "radius", "mean", "sd", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("nearest")
    for row in rows:
        spread = [number(row[f"within_{name}"]) for name in ("mean", "sd", "min", "max")]
        near = row["nearest_class"]
        cells = [f"{row['count']:,}", number(row["center_norm"]), number(row["radius_max"]), *spread]
        table.add_row(escape(str(row["class"])), *cells, escape(near) if isinstance(near, str) else "-")
    return table
