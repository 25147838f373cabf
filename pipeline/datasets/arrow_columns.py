"""Images in columns of Arrow and Parquet files: which column holds what, and its cells as text."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.places import inside
from pipeline.datasets.candidates import PART, text_frame, texts
from pipeline.errors import CallError, one_of
from pipeline.schema import ColumnSettings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FIELDS = ("id", "label", "caption", "group", "split")
DIGITS = 7  # of a row's number in an id: ids keep the order of the rows
GONE = "missing: its cell has no bytes, and the file that it names is not there"


@dataclass(frozen=True)
class Names:
    """Which column holds the image's bytes, and which each of FIELDS; None: no column does."""

    image: str
    fields: dict[str, str | None]

    @property
    def wanted(self) -> list[str]:
        """The columns of text."""
        return list(dict.fromkeys(name for name in self.fields.values() if name is not None))


@dataclass(frozen=True)
class Part:
    """One file. scheme: of its places; name: stands before the row's number in an id; cells: its columns of text;
    outside: for each row the file that it names instead of holding bytes, None where it holds them; split: where the
    file's own name or folder says it; first: number of its first row."""

    scheme: str
    file: Path
    name: str
    names: Names
    cells: pa.Table
    outside: Sequence[str | None]
    split: str | None = None
    first: int = 0


def names_of(schema: pa.Schema, wanted: ColumnSettings, file: str) -> Names:
    """Columns as the settings say, else by their own names, else the only ones that can be meant. Raises CallError."""
    fields = {name: _column(schema, name, getattr(wanted, name), file) for name in FIELDS}
    if fields["label"] is None:
        named = list(class_names(schema, file))
        fields["label"] = named[0] if len(named) == 1 else None
    return Names(_image_column(schema, wanted.image, file), fields)


def _column(schema: pa.Schema, field: str, wanted: str | None, file: str) -> str | None:
    if wanted is None:
        return field if field in schema.names else None
    if wanted not in schema.names:
        raise CallError(f"dataset.columns.{field} = {wanted}: {file} has no such column{one_of(wanted, schema.names)}")
    return wanted


def _image_column(schema: pa.Schema, wanted: str | None, file: str) -> str:
    usable = [field.name for field in schema if _holds_bytes(field.type) and not _is_other(schema, field.name, file)]
    if wanted is not None:
        _column(schema, "image", wanted, file)
    chosen = wanted or ("image" if "image" in usable else usable[0] if len(usable) == 1 else None)
    if chosen in usable:
        return str(chosen)
    if chosen is not None:
        raise CallError(f"dataset.columns.image = {chosen}: holds {schema.field(chosen).type}, not bytes of images")
    if usable:
        raise CallError(f"dataset.columns.image: {file} has several columns of bytes, name one: {', '.join(usable)}")
    raise CallError(
        f"dataset.columns.image: {file} has no column of bytes, only {', '.join(schema.names)}; "
        "for a table of paths use dataset=table"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow.types as t

    if t.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind) or t.is_binary_view(kind)


def _is_other(schema: pa.Schema, column: str, file: str) -> bool:
    """Sound is kept in structs with bytes, too."""
    return type(_features(schema, file).get(column)).__name__ in ("Audio", "Video", "Pdf")


def class_names(schema: pa.Schema, file: str) -> dict[str, list[str]]:
    """Column -> the names that its numbers stand for, where Hugging Face's features say so."""
    features = _features(schema, file)
    return {name: list(f.names) for name, f in features.items() if type(f).__name__ == "ClassLabel"}


def _features(schema: pa.Schema, file: str) -> dict[str, Any]:
    try:
        return _features_of(schema) if b"huggingface" in (schema.metadata or {}) else {}
    except Exception as error:  # of a later version of the library, or written by hand
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CallError(f"dataset.path: the features of {file} cannot be read: {first}") from error


@functools.lru_cache(maxsize=8)
def _features_of(schema: pa.Schema) -> dict[str, Any]:
    from datasets import Features

    return dict(Features.from_arrow_schema(schema))


def cells_of(part: Part, field: str) -> pd.Series:
    """The cells of one of FIELDS as text: numbers of classes by their names, empty ones missing. Raises CallError."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = part.names.fields[field]
    if column is None:
        return _series(pa.nulls(part.cells.num_rows, pa.large_string()))
    cells = part.cells.column(column)
    if names := class_names(part.cells.schema, part.file.name).get(column):
        return texts(_class_name(number, names) for number in _python(cells))
    try:
        text = cells.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CallError(f"dataset.columns.{field} = {column}: holds {cells.type}, which is no text") from error
    return _series(pc.if_else(pc.equal(text, ""), None, text))


def _series(cells: pa.Array | pa.ChunkedArray) -> pd.Series:
    import pyarrow as pa

    return pa.table({"text": cells}).to_pandas()["text"]


def _python(cells: pa.ChunkedArray) -> Iterator[Any]:
    for start in range(0, len(cells), PART):
        yield from cells.slice(start, PART).to_pylist()


def _class_name(number: int | None, names: Sequence[str]) -> str | None:
    """-1 is Hugging Face's 'not labelled'."""
    if number is None or number < 0:
        return None
    return names[number] if number < len(names) else str(number)


def frame_of(parts: Sequence[Part]) -> pd.DataFrame:
    """The candidates of all rows, in their order. Raises CallError."""
    import pandas as pd

    return pd.concat([_frame(part) for part in parts], ignore_index=True).assign(
        position=range(sum(part.cells.num_rows for part in parts))
    )


def _frame(part: Part) -> pd.DataFrame:
    frame = text_frame(_places(part), ("path", "problem")).assign(id=_ids(part))
    for field in ("label", "caption", "group", "split"):
        frame[field] = cells_of(part, field)
    return frame if part.split is None else frame.assign(split=part.split)


def _ids(part: Part) -> pd.Series:
    if part.names.fields["id"] is None:
        return texts(f"{part.name}{part.first + row:0{DIGITS}d}" for row in range(part.cells.num_rows))
    ids = cells_of(part, "id")
    if ids.isna().any():
        row = int(ids.isna().to_numpy().argmax())
        raise CallError(f"dataset.columns.id = {part.names.fields['id']}: row {row:,} of {part.file.name} has none")
    return ids


def _places(part: Part) -> Iterator[tuple[str, str]]:
    """(place, problem) of each row."""
    try:
        for row, outside in enumerate(part.outside):
            if outside is None:
                yield inside(part.scheme, f"{row}/{part.names.image}", part.file), ""
            else:
                path = os.path.normpath(part.file.parent / outside)
                yield path, "" if Path(path).is_file() else GONE
    except ValueError as error:
        raise CallError(f"dataset.path: {part.file}: {error}") from error


def named_outside(image: pa.ChunkedArray) -> list[str | None]:
    """Of a column of images: for each row the path that stands there where no bytes do."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_struct(image.type) or image.type.get_field_index("path") < 0:
        return [None] * len(image)
    empty = pc.is_null(pc.struct_field(image, "bytes"))
    paths = pc.if_else(empty, pc.struct_field(image, "path"), None)
    return [path or None for path in paths.to_pylist()]
