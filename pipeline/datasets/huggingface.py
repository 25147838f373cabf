"""Data sets of the `datasets` library: a folder that it saved, a folder of Parquet files, or one of the hub.

One of the hub is downloaded once, into `paths.data`/huggingface/<id>/<revision>/<split>/*.parquet, and read from there
ever after. No image is decoded here, and no code of its repository is run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.hub import SECONDS, offline, reachable, why_not
from inference.places import read_arrow
from pipeline.datasets.arrow_columns import Part, frame_of, named_outside, names_of
from pipeline.datasets.candidates import Found, candidates
from pipeline.datasets.parquet_images import frame_of_files
from pipeline.datasets.patterns import files_of
from pipeline.errors import CallError, nearest, one_of
from pipeline.schema import ColumnSettings, HuggingfaceDataset

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "source.json"  # in the folder of one of the hub: where it is from
SHARD = "500MB"  # of the Parquet files that one of the hub is kept in
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILE_OF_SPLIT = re.compile(r"(.+?)-\d{5}-of-\d{5}.*")  # as the library names files: train-00000-of-00002.parquet


def fetch(settings: HuggingfaceDataset, data: Path, progress: Callable[[int, int], None]) -> tuple[str, ...]:
    """Download a data set of the hub, if it is one and not there yet. Raises CallError."""
    home = _home(settings, data)
    if Path(settings.path).exists() or home.is_dir() or not _ID.fullmatch(settings.path):
        return ()
    if offline():
        raise CallError(_absent(settings, home, "the hub is not asked, HF_HUB_OFFLINE is set"))
    if not reachable():
        raise CallError(_absent(settings, home, "the hub cannot be reached"))
    try:
        _download(settings, home)
    except OSError as error:
        raise CallError(_absent(settings, home, f"{error.strerror or why_not(error, settings.revision)}")) from error
    except Exception as error:  # the hub's own kinds, and whatever a data set's files do to the library
        raise CallError(_absent(settings, home, f"the hub: {why_not(error, settings.revision)}")) from error
    return (f"{settings.path} was downloaded to {home}",)


def find(settings: HuggingfaceDataset, data: Path) -> Found:
    """Candidates of all rows of the split, or of all splits. An id is that of the id column, else split and row;
    `position` is the row's number, counted through what was chosen. Raises CallError."""
    folder = Path(settings.path)
    if not folder.is_dir():
        folder = _home(settings, data)
        if not folder.is_dir():
            raise CallError(_absent(settings, folder, "a run that is not dry asks the hub for it"))
    saved = dict(_saved(folder))
    if saved:
        frame, notes = _of_saved(_chosen(saved, settings.split), settings.columns)
    else:
        frame, notes = _of_files(folder, settings)
    facts = {**_source(folder), "split": settings.split, "rows": len(frame)}
    return Found(candidates(frame), notes=notes, rows=len(frame), facts=facts)


def _of_files(folder: Path, settings: HuggingfaceDataset) -> tuple[pd.DataFrame, tuple[str, ...]]:
    files = files_of(str(folder), ".parquet", "dataset.path")
    splits = {file: split for file in files if (split := _split_of(file, folder)) is not None}
    if settings.split is not None:
        known = {split: [file for file in splits if splits[file] == split] for split in splits.values()}
        files = _chosen(known, settings.split)[settings.split]
    return frame_of_files(files, settings.columns, splits)


def _split_of(file: Path, root: Path) -> str | None:
    """By the file's name, else by its folder in `root`."""
    if match := _FILE_OF_SPLIT.fullmatch(file.stem):
        return match[1]
    return file.parent.name if file.parent != root else None


def _chosen(splits: Mapping[str, Any], split: str | None) -> dict[str, Any]:
    if split is None:
        return dict(splits)
    if split not in splits:
        known = one_of(split, splits) if any(splits) else "; it has none"
        raise CallError(f"dataset.split = {split}: no such split{known}")
    return {split: splits[split]}


def _saved(folder: Path) -> Iterator[tuple[str, Path]]:
    """(split, folder) of what `save_to_disk` wrote there; the split is '' where that is one data set without."""
    if (folder / "state.json").is_file():
        yield _json(folder / "state.json").get("_split") or "", folder
    for below in sorted(folder.iterdir()):
        if (below / "state.json").is_file():
            yield below.name, below


def _of_saved(splits: Mapping[str, Path], columns: ColumnSettings) -> tuple[pd.DataFrame, tuple[str, ...]]:
    parts = [part for split, folder in splits.items() for part in _parts(split, folder, columns)]
    frame = frame_of(parts) if parts else None
    if frame is None or not len(frame):
        raise CallError(f"dataset.path: no row in {', '.join(map(str, splits.values()))}")
    return frame, ()


def _parts(split: str, folder: Path, columns: ColumnSettings) -> Iterator[Part]:
    """The Arrow files of a split, in their order."""
    import pyarrow as pa
    from datasets import load_from_disk

    first = 0
    try:
        for place in load_from_disk(str(folder), keep_in_memory=False).cache_files:
            file = Path(place["filename"]).absolute()
            table = read_arrow(file)
            names = names_of(table.schema, columns, file.name)
            outside = named_outside(table.column(names.image))
            prefix = f"{split}/" if split else ""
            yield Part("arrow", file, prefix, names, table.select(names.wanted), outside, split or None, first)
            first += table.num_rows
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CallError(f"dataset.path: {folder} cannot be read: {first_line}") from error


def _home(settings: HuggingfaceDataset, data: Path) -> Path:
    """The folder of a data set of the hub."""
    name = "--".join(filter(None, [*settings.path.split("/"), settings.subset]))
    return data / "huggingface" / name / (settings.revision or "main").replace("/", "--")


def _download(settings: HuggingfaceDataset, home: Path) -> None:
    """Everything under another name first: a folder with this name is complete."""
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    commit = HfApi().dataset_info(settings.path, revision=settings.revision, timeout=SECONDS).sha
    scratch = home.with_name(f"{home.name}.{os.getpid()}.tmp")
    try:
        builder = load_dataset_builder(
            settings.path, settings.subset, revision=commit, cache_dir=str(scratch / "cache")
        )
        builder.download_and_prepare(str(scratch / "made"), file_format="parquet", max_shard_size=SHARD)
        for split in builder.info.splits:
            (scratch / "done" / split).mkdir(parents=True)
            for file in sorted((scratch / "made").glob(f"{builder.dataset_name}-{split}*.parquet")):
                os.rename(file, scratch / "done" / split / file.name.removeprefix(f"{builder.dataset_name}-"))
        source = {"repository": settings.path, "subset": settings.subset, "revision": settings.revision}
        (scratch / "done" / SOURCE).write_text(json.dumps({**source, "commit": commit}, indent=1), encoding="utf-8")
        if not home.is_dir():  # else another process was faster
            os.rename(scratch / "done", home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _source(folder: Path) -> dict[str, Any]:
    """Where a data set of the hub is from; {} for a folder of the user's own."""
    return _json(folder / SOURCE) if (folder / SOURCE).is_file() else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CallError(f"dataset.path: {file} cannot be read: {error}") from error


def _absent(settings: HuggingfaceDataset, home: Path, reason: str) -> str:
    """What was looked for, and what to do."""
    path = Path(settings.path)
    siblings = [place.name for place in path.absolute().parent.iterdir()] if path.absolute().parent.is_dir() else []
    if not _ID.fullmatch(settings.path):
        return f"dataset.path: no such folder: {path}{nearest(path.name, siblings)}"
    return (
        f"dataset.path = {settings.path}: no such folder{nearest(path.name, siblings)}, and not in {home}; {reason}. "
        f"On a machine with a network: load_dataset('{settings.path}').save_to_disk('<folder>'); then give that folder"
    )
