"""Text sources for tests: settings as conf/ has them, and a corpus gathered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.content_hashes import blake3_of
from pipeline.schema import CaptionsText, FilesText, TableText, TextKind
from pipeline.texts.gathering import Gathered, gather
from pipeline.texts.sources import find_sources

COMMON: dict[str, Any] = {"lower": False, "min_count": 3, "top_k": 10_000, "chunk_size": 500_000, "prefix": ""}
PROSE = Path(__file__).parent / "prose.txt"


def kinds_of(*names: str) -> list[TextKind]:
    return [TextKind(name) for name in names or ("lines",)]


def of_folder(path: Path, *kinds: str, across_lines: bool = True, source: str = "folder", **others: Any) -> FilesText:
    given = {**COMMON, **others, "kinds": kinds_of(*kinds)}
    return FilesText(name=source, source=source, path=str(path), across_lines=across_lines, **given)


def of_table(path: Path, column: str, *kinds: str, category_column: str | None = None, **others: Any) -> TableText:
    given = {**COMMON, **others, "kinds": kinds_of(*kinds)}
    return TableText("table", "table", path=str(path), column=column, category_column=category_column, **given)


def of_captions(*kinds: str, **others: Any) -> CaptionsText:
    return CaptionsText(name="captions", source="captions", **{**COMMON, **others, "kinds": kinds_of(*kinds)})


def hashes(paths: Any) -> list[str]:
    return [blake3_of(path) for path in paths]


def gathered(settings: Any, folder: Path, **artifacts: Any) -> tuple[list[dict[str, Any]], Gathered]:
    """Rows of `texts`, and what was told of them. The two files must hold the same."""
    folder.mkdir(exist_ok=True)
    found = gather(find_sources(settings, hashes, **artifacts), settings, folder, lambda done, total: None)
    if not found.entries:
        return [], found
    table = pq.read_table(folder / "texts.parquet")
    mapped = pa.ipc.open_file(pa.memory_map(str(folder / "texts.arrow"))).read_all()
    assert mapped.drop(["score"]).equals(table.drop(["score"]))
    assert mapped["score"].to_numpy().tobytes() == table["score"].to_numpy().tobytes()
    return table.to_pylist(), found


def texts_of(rows: list[dict[str, Any]], kind: str = "line") -> list[str]:
    return [row["text"] for row in rows if row["kind"] == kind]
