"""What a run says at its end of published values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.console.tables import new_table
from pipeline.report.experiment import HEADS, blocks

_COLOURS = {"inside": "green", "outside": "red", "protocol differs": "yellow"}


def parts(run: Any) -> Iterator[Table]:
    """A table for each published row, what is to be known of it below."""
    for block in blocks(run):
        table = new_table(f"published values: {block.title}" if block.source else f"scores {block.title}")
        for place, name in enumerate(HEADS):
            table.add_column(name, justify="right" if 0 < place < len(HEADS) - 1 else "left", no_wrap=True)
        for *cells, verdict in block.rows:
            colour = _COLOURS.get(verdict)
            table.add_row(*map(escape, cells), f"[{colour}]{verdict}[/]" if colour else verdict)
        source = f"Source: {block.source}." if block.source else ""
        table.caption, table.caption_justify = escape("\n".join(filter(None, [*block.told, source]))), "left"
        yield table
