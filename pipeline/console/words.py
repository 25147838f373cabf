"""What a run says at its end of words: zero-shot classes, retrieval, names, tags, searches, indexes; and of images
that were perturbed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.console.tables import new_table, number
from pipeline.metrics.catalog import METRICS
from pipeline.report import indexes, naming, retrieval, robustness, zero_shot
from pipeline.report.privacy import privacy_of
from pipeline.report.words import counted

CONFUSIONS = 3  # the most frequent
QUERIES = 10
HITS = 5  # of a query
TAGS = 8  # the most frequent
GROUPS = 12  # with names
SINGLE = 5  # images that are told of one by one
LIKELY = 5  # classes of each
CLASSES = 20  # of all images


def parts(run: Any) -> Iterator[Table | Text]:
    """Tables and lines, in the order of the report."""
    yield from _names(run)
    yield from _zero_shot(run)
    yield from _retrieval(run)
    yield from _tags(run)
    yield from _search(run)
    yield from _robustness(run)
    for what, *cells in indexes.rows(run):
        kind, count, size, recall, query, batch = cells
        vectors = f"{count} {'vector' if count == '1' else 'vectors'}"
        times = f"{query} ms a query, {batch} in a batch"
        yield Text(f"index of {what}: {kind}, {vectors}, {size}, recall {recall}, {times}")


def _columns(table: Table, *names: str) -> Table:
    """The first column is text, the others numbers."""
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left")
    return table


def _zero_shot(run: Any) -> Iterator[Table | Text]:
    rows = zero_shot.rows(run)
    if not rows:
        yield from _predictions(run)
        return
    table = _columns(new_table("zero-shot: each image to the class whose text is nearest"),
                     "score", "value", "95 % interval")  # fmt: skip
    table.add_column("without looking")
    for row in rows:
        table.add_row(METRICS[row.name].label, row.value, row.interval or "-", row.floor or "-")
    yield table
    for line in filter(None, (zero_shot.calibration(run), *zero_shot.withheld(run))):
        yield Text(line)
    wrong = zero_shot.confusions(run)
    if wrong is not None and len(wrong):
        pairs = [f"{row['label']} called {row['predicted']} ({row['images']:,}, {100 * row['share']:.0f} % of them)"
                 for row in wrong.head(CONFUSIONS).to_dict("records")]  # fmt: skip
        yield Text(f"most frequent errors: {_line('; '.join(pairs))}")


def _predictions(run: Any) -> Iterator[Table | Text]:
    """What is known without labels: each image where they are few, else how many each class has."""
    if not run.has("predictions"):
        return
    found = run.table("predictions")
    if len(found) > SINGLE:
        table = new_table("zero-shot: what images are taken for, by the nearest class text")
        table.add_column("class")
        _columns_right(table, "images", "share", "probability, mean")
        each = found.groupby("predicted")["probability"].agg(["size", "mean"]).sort_values("size", ascending=False)
        for name, size, mean in each.head(CLASSES).itertuples():
            table.add_row(escape(_line(name)), f"{size:,}", f"{100 * size / len(found):.0f} %", number(mean))
        yield table
        if (more := len(each) - CLASSES) > 0:
            yield Text(f"and {counted(more, 'more class', 'more classes')}; see the report")
        return
    table = new_table("zero-shot: what each image is taken for, by the nearest class text")
    table.add_column("image, class")
    _columns_right(table, "probability", "cosine")
    for row in found.to_dict("records"):
        table.add_row(Text(_line(row["id"]), "dim"))
        for end in ("", *(f"_{place}" for place in range(2, LIKELY + 1) if f"class_{place}" in row)):
            name = row[f"class{end}" if end else "predicted"]
            table.add_row(f"  {escape(_line(name))}", number(row[f"probability{end}"]), number(row[f"cosine{end}"]))
    yield table


def _retrieval(run: Any) -> Iterator[Table]:
    rows = retrieval.found(run)
    if not rows:
        return
    title = "captions and images: each looks for the other, by cosine (equal captions of other images: right or wrong)"
    heads = ("given", "equal captions", "recall at 1 (95 %)", "by chance", "at 5", "at 10", "median rank")
    table = _columns(new_table(title), *heads)
    for row in rows:
        shares = (number(row[name]) for name in ("chance_at_1", "recall_at_5", "recall_at_10"))
        rank = f"{row['median_rank']:,.1f} of {row['candidates']:,}"
        table.add_row(row["given"], row["judged"], retrieval.recall(row, 1), *shares, rank)
    yield table


def _names(run: Any) -> Iterator[Table | Text]:
    if not run.has("group_names"):
        return
    entry = privacy_of(run).entry
    for kind in ("cluster", "class"):
        first = naming.firsts(run, kind)
        if first.empty:
            continue
        names = naming.short_lists(run, kind, entry)
        table = new_table("names: the entries that set each apart most (numbers are of the first)")
        table.add_column(kind)
        table.add_column("names", overflow="fold", max_width=50)
        _columns_right(table, "nearer by", "95 % interval", "ahead of the next by")
        table.add_column("")
        for row in first.head(GROUPS).to_dict("records"):
            cells = (row["group"].removeprefix("cluster "), _line(names[row["group"]]))
            numbers = (number(row["difference"]), zero_shot.ends(row) or "-", number(row["margin"]))
            table.add_row(*map(escape, cells), *numbers, escape(_line(naming.in_words(row))))
        yield table
        if (more := len(first) - GROUPS) > 0:
            yield Text(f"and {counted(more, 'more group')}; see the report")
        yield Text(naming.answer(run, kind))


def _columns_right(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right")


def _tags(run: Any) -> Iterator[Text]:
    if not run.has("tag_counts"):
        return
    counts = run.table("tag_counts")
    if not len(counts):
        yield Text("no image got a tag: no cosine reaches tagging.min_score")
        return
    entry = privacy_of(run).entry
    most = [f"{entry(row['text'])} ({100 * row['share']:.0f} %)" for row in counts.head(TAGS).to_dict("records")]
    best = number(run.metrics.get("tagging/best_score"))
    yield Text(f"most frequent tags (share of images): {_line('; '.join(most))}; mean cosine of the best: {best}")
    if exactness := indexes.of_tags(run):
        yield Text(exactness)


def _search(run: Any) -> Iterator[Table | Text]:
    if not run.has("hits"):
        return
    privacy = privacy_of(run)
    hits = run.table("hits")
    table = new_table("search: the nearest images by cosine")
    table.add_column("image")
    table.add_column("cosine", justify="right")
    captioned = "caption" not in privacy.hide and hits["caption"].notna().any()
    told = "caption" if captioned and not hits["label"].notna().any() else "label"
    table.add_column(told, overflow="ellipsis", no_wrap=True)
    for _, of_query in hits[hits["query"] < QUERIES].groupby("query"):
        table.add_row(Text(_line(privacy.text(of_query["query_text"].iloc[0])), "dim"))
        for row in of_query.head(HITS).to_dict("records"):
            known = row[told] if isinstance(row[told], str) else "-"
            table.add_row(f"  {escape(_line(row['id']))}", number(row["score"]), escape(_line(known)))
    yield table
    if (more := hits["query"].nunique() - QUERIES) > 0:
        yield Text(f"and {counted(more, 'more query', 'more queries')}; see the report")


def _robustness(run: Any) -> Iterator[Table | Text]:
    rows = robustness.cells(run)
    if not rows:
        return
    heads = ("perturbation", "severity", "changed", "95 % interval", "ARI", "cosine", "own class", "silhouette anew")
    table = _columns(new_table("perturbed pixels: who changes cluster; last, what clustering anew would say"), *heads)
    for name, severity, _, *told in rows:
        table.add_row(name, severity, *told[:-1])
    yield table
    yield from (Text(line) for line in (robustness.answer(run), robustness.caution(run)) if line)


def _line(text: object) -> str:
    """Other people's text on one line."""
    return " ".join(str(text).split())
