"""The tables of Open Images, V1 to V7, read in a stream: only the columns and the rows that are wanted are held.

Headers are `ImageID,Source,LabelName,Confidence` in most versions; capitals, spaces and a missing `Source` (the
challenges' tables) do not matter, nor do further columns (the tables of boxes have some).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CallError

if TYPE_CHECKING:
    import pandas as pd

BLOCKS = (2**20, 2**24)  # least and most bytes of a table that are read at a time; some 30 of them are held
PER_ID = 32  # bytes of a block for each image that is looked for: each block makes a look-up table of all
TURNS = (0, 90, 180, 270)
NAMES = {  # what we call a column -> what its header may be, in small letters, without spaces and underscores
    "id": ("imageid",),
    "source": ("source",),
    "label": ("labelname", "label", "mid"),
    "confidence": ("confidence",),
    "subset": ("subset", "split"),
    "rotation": ("rotation",),
}


@dataclass(frozen=True)
class Judged:
    """frame: id, label (its machine id, as in /m/01yrx) and present (bool), each pair once. contradictory: pairs that
    people found both present and absent, which are left out. odd: rows that could not be understood."""

    frame: pd.DataFrame
    contradictory: int
    odd: int


def image_labels(
    paths: Sequence[Path], threshold: float | None, ids: Sequence[str] | None = None, labels: Sequence[str] = ()
) -> Judged:
    """What the tables say of images `ids` (None: of all) and `labels` (empty: all).

    People's judgements have confidence 1 (present) or 0 (absent). With a `threshold` labels that a machine gave with
    at least that confidence are present, too, where people did not judge. Raises CallError.
    """
    import pandas as pd

    parts: list[pd.DataFrame] = []
    odd = 0
    for path in paths:
        of_machine = "machine" in path.name.lower()
        for batch, skipped in _batches(path, "dataset.labels", ("id", "label", "confidence"), ("source",), ids):
            part, strange = _understood(_chosen(batch, ids, labels), of_machine, threshold)
            parts.append(part)
            odd += strange + skipped
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["id", "label", "present", "human"])
    human = rows[rows["human"].astype(bool)].drop_duplicates(["id", "label", "present"])
    both = human.duplicated(["id", "label"], keep=False)
    machine = rows[~rows["human"].astype(bool)].drop_duplicates(["id", "label"])
    known = pd.MultiIndex.from_frame(human[["id", "label"]])
    machine = machine[~pd.MultiIndex.from_frame(machine[["id", "label"]]).isin(known)]
    frame = pd.concat([human[~both], machine], ignore_index=True)[["id", "label", "present"]]
    frame = frame.sort_values(["id", "label"], ignore_index=True).astype({"present": bool})
    return Judged(frame, int(both.sum()) // 2, odd)


def _chosen(batch: Any, ids: Sequence[str] | None, labels: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, wanted in (("id", ids), ("label", labels or None)):
        if wanted is not None:
            batch = batch.filter(pc.is_in(batch[name], value_set=pa.array(wanted, pa.string())))
    return batch


def _understood(batch: Any, of_machine: bool, threshold: float | None) -> tuple[pd.DataFrame, int]:
    """id, label, present, human of the rows that count; how many made no sense."""
    import pandas as pd

    frame = batch.to_pandas(types_mapper=None)
    confidence = pd.to_numeric(frame["confidence"].str.strip(), errors="coerce")
    if "source" in frame:
        machine = frame["source"].str.strip().str.lower() == "machine"
    else:
        machine = pd.Series(of_machine, index=frame.index)
    by_people = ~machine & confidence.isin([0, 1])
    by_machine = machine & (confidence >= (2.0 if threshold is None else threshold))
    odd = int((confidence.isna() | (~machine & ~by_people)).sum())
    kept = by_people | by_machine
    present = (confidence == 1) | by_machine
    made = frame[["id", "label"]].assign(present=present, human=~machine)
    return made[kept], odd


def image_facts(paths: Sequence[Path], ids: Sequence[str]) -> pd.DataFrame:
    """subset (text, None: not known) and rotation (degrees counter-clockwise that make it upright, 0: none or not
    known) by id, of those `ids` that the tables have. Raises CallError."""
    import pandas as pd

    parts = []
    for path in paths:
        for batch, _ in _batches(path, "dataset.image_ids", ("id",), ("subset", "rotation"), ids):
            parts.append(_chosen(batch, ids, ()).to_pandas())
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"id": []})
    frame = frame.drop_duplicates("id").set_index("id")
    nothing = pd.Series("", index=frame.index, dtype=object)
    turns = pd.to_numeric(frame.get("rotation", nothing), errors="coerce").fillna(0).astype(int)
    subset = frame.get("subset", nothing).str.strip().str.lower()
    return pd.DataFrame({"subset": subset.where(subset != "", None), "rotation": turns.where(turns.isin(TURNS), 0)})


def class_names(paths: Sequence[Path]) -> dict[str, str]:
    """Machine id -> name for people, of tables of two columns with any header or none. Raises CallError."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file) if len(row) >= 2]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CallError(f"dataset.classes_table: {path.name} cannot be read: {error}") from error
        if not rows:
            raise CallError(f"dataset.classes_table: {path.name} has no rows of two columns")
        has_header = not rows[0][0].strip().startswith("/") and any(row[0].startswith("/") for row in rows[1:])
        for key, name, *_ in rows[1:] if has_header else rows:
            found.setdefault(key.strip(), name.strip())
    return found


def _batches(
    path: Path, setting: str, needed: Sequence[str], wanted: Sequence[str], ids: Sequence[str] | None
) -> Iterator[tuple[Any, int]]:
    """Batches of the columns under our names, as text, and how many malformed lines were passed over."""
    import pyarrow as pa
    import pyarrow.csv as pc

    skipped = 0

    def skip(row: Any) -> str:
        nonlocal skipped
        skipped += 1
        return "skip"

    how: dict[str, Any] = {
        "read_options": pc.ReadOptions(block_size=min(BLOCKS[1], max(BLOCKS[0], PER_ID * len(ids or ())))),
        "parse_options": pc.ParseOptions(newlines_in_values=setting == "dataset.image_ids", invalid_row_handler=skip),
    }
    try:
        columns = _columns(path, setting, needed, wanted, _header(path))
        types = dict.fromkeys(columns.values(), pa.string())
        convert = pc.ConvertOptions(
            include_columns=list(columns.values()), column_types=types, strings_can_be_null=False
        )
        with pc.open_csv(path, convert_options=convert, **how) as reader:
            told = 0
            for batch in reader:
                yield batch.rename_columns(list(columns)), skipped - told
                told = skipped
    except FileNotFoundError as error:
        raise CallError(f"{setting}: no such file: {path}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CallError(f"{setting}: {path.name} cannot be read: {str(error).splitlines()[0]}") from error


def _header(path: Path) -> list[str]:
    """Names of the columns; a packed table is unpacked for that, too."""
    import pyarrow.csv as pc

    with pc.open_csv(path, parse_options=pc.ParseOptions(invalid_row_handler=lambda row: "skip")) as reader:
        return list(reader.schema.names)


def _columns(
    path: Path, setting: str, needed: Sequence[str], wanted: Sequence[str], header: Sequence[str]
) -> dict[str, str]:
    """Our name -> the table's."""
    plain = {re.sub(r"[\s_]", "", name).lower(): name for name in reversed(header)}
    found = {}
    for name in (*needed, *wanted):
        known = [plain[spelled] for spelled in NAMES[name] if spelled in plain]
        if known:
            found[name] = known[0]
        elif name in needed:
            raise CallError(f"{setting}: {path.name} has no column '{_usual(name)}'; it has {', '.join(header[:12])}")
    return found


_usual: Callable[[str], str] = {"id": "ImageID", "label": "LabelName", "confidence": "Confidence"}.__getitem__
