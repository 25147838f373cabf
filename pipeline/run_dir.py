"""Names and formats of everything that a run writes, and `load_run`, which reads it back."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import CallError, one_of
from pipeline.records import read_record
from pipeline.surroundings import give_memory_back

if TYPE_CHECKING:
    import pandas as pd  # imported where a table is read: a wrong call is answered without it

RECORD = "run.json"
METRICS = "metrics.json"
POINTS = "points.parquet"
REPORT = "report.html"
LOG = "run.log"
ROWS = 10_000  # of a table that are read at a time


@dataclass(frozen=True)
class Table:
    """A pandas DataFrame: `path` without ending, a file for each of `formats`."""

    path: str
    formats: tuple[str, ...] = ("parquet", "csv")

    def files(self) -> tuple[str, ...]:
        """Paths below the run folder."""
        return tuple(f"{self.path}.{ending}" for ending in self.formats)

    def save(self, value: pd.DataFrame, root: Path) -> None:
        """Write under `root`. Text columns are text even where all their values are missing."""
        from pandas.api.types import is_object_dtype

        value = value.astype(dict.fromkeys([c for c in value if is_object_dtype(value[c])], "str"))
        for file in self.files():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            if file.endswith(".parquet"):
                value.to_parquet(root / file, index=False, row_group_size=10 * ROWS)
            else:
                value.to_csv(root / file, index=False)

    def load(self, root: Path) -> pd.DataFrame:
        """Read from `root`. Text stays text: an id 000001 and a class called NA too."""
        import pandas as pd

        file = root / self.files()[0]
        if file.suffix == ".parquet":
            return _read_parquet(file)
        return pd.read_csv(file, dtype=str, keep_default_na=False, lineterminator="\n")  # a name may hold '\r'


def _read_parquet(file: Path) -> pd.DataFrame:
    """Some rows at a time: read at once, a table takes twice its memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**16) as opened:
        parts = opened.iter_batches(ROWS, use_threads=False)
        table = pa.Table.from_batches(parts, opened.schema_arrow).to_pandas()
    give_memory_back()
    return table


@dataclass(frozen=True)
class Array:
    """A numpy array in an npy file, memory-mapped when read."""

    path: str

    def files(self) -> tuple[str, ...]:
        """Paths below the run folder."""
        return (f"{self.path}.npy",)

    def save(self, value: np.ndarray, root: Path) -> None:
        """Write under `root`; an array that already is a file there or in another stage's keeping is linked."""
        target = root / self.files()[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        source = getattr(value, "filename", None)
        if isinstance(value, np.memmap) and source is not None and _is_whole_file(value, Path(source)):
            link(Path(source), target)
        else:
            with target.open("wb") as file:
                np.save(file, np.ascontiguousarray(value))

    def load(self, root: Path) -> np.ndarray:
        """Memory-mapped, read-only. Raises CallError for a damaged file."""
        file = root / self.files()[0]
        try:
            loaded: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        except ValueError:
            try:  # an empty array cannot be mapped
                loaded = np.load(file, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise CallError(f"{file}: damaged: not an npy file") from error
        return loaded


@dataclass(frozen=True)
class FaissIndex:
    """A Faiss index in Faiss' own format, memory-mapped when read."""

    path: str

    def files(self) -> tuple[str, ...]:
        """Paths below the run folder."""
        return (f"{self.path}.index",)

    def save(self, value: Any, root: Path) -> None:
        """Write under `root`."""
        import faiss

        target = root / self.files()[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(value, str(target))

    def load(self, root: Path) -> Any:
        """Memory-mapped, read-only. Raises CallError for a damaged file."""
        import faiss

        file = root / self.files()[0]
        with file.open("rb") as opened:
            whole = opened.read(4) in (b"IxFI", b"IHNf")  # vectors, graphs; a cut file of others, so mapped, can crash
        mapped = faiss.IO_FLAG_MMAP_IFC if whole else faiss.IO_FLAG_MMAP
        try:
            return faiss.read_index(str(file), mapped | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise CallError(f"{file}: damaged: not a Faiss index") from error


@dataclass(frozen=True)
class LargeTable:
    """An Arrow table, as Parquet and as an Arrow file that is memory-mapped when read: a slice costs no more than its
    rows. `path` without ending."""

    path: str

    def files(self) -> tuple[str, ...]:
        """Paths below the run folder."""
        return (f"{self.path}.parquet", f"{self.path}.arrow")

    def save(self, value: Path, root: Path) -> None:
        """Link under `root` two finished files: `value` without their endings."""
        for file in self.files():
            link(value.with_suffix(Path(file).suffix), root / file)

    def load(self, root: Path) -> Any:
        """A pyarrow Table, memory-mapped, read-only. Raises CallError for a damaged file."""
        import pyarrow as pa

        file = root / self.files()[1]
        try:
            return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise CallError(f"{file}: damaged: not an Arrow file") from error


@dataclass(frozen=True)
class Folder:
    """A folder of files that belong together; `last`: the one that is written last."""

    path: str
    last: str

    def files(self) -> tuple[str, ...]:
        """Path below the run folder of the file that says that all are there."""
        return (f"{self.path}/{self.last}",)

    def save(self, value: Path, root: Path) -> None:
        """Link under `root` the finished files of the folder `value`."""
        files = sorted(file for file in value.rglob("*") if file.is_file())
        for file in sorted(files, key=lambda file: file.name == self.last):
            link(file, root / self.path / file.relative_to(value))

    def load(self, root: Path) -> Path:
        """The folder itself."""
        return root / self.path


# artifact -> how it is stored. `embeddings/` has clip-retrieval's layout.
ARTIFACTS: dict[str, Table | Array | FaissIndex | LargeTable | Folder] = {
    "candidates": Table("listing/candidates"),
    "image_labels": Table("listing/image_labels"),
    "reading": Table("embedding/reading"),
    "encoding": Table("embedding/encoding"),
    "image_embeddings": Array("embeddings/img_emb/img_emb_0000"),
    "embedding_metadata": Table("embeddings/metadata/metadata_0000", ("parquet",)),
    "images": Table("images", ("parquet",)),
    "skipped": Table("skipped", ("csv",)),
    "data_quality": Table("data_quality/data_quality"),
    "duplicates": Table("data_quality/duplicates"),
    "quality_extremes": Table("data_quality/quality_extremes"),
    "class_summary": Table("class_distances/class_summary"),
    "class_pairs": Table("class_distances/class_pairs"),
    "class_overall": Table("class_distances/class_overall"),
    "class_separation": Table("class_distances/class_separation"),
    "similarity_histograms": Table("class_distances/similarity_histograms"),
    "centers": Array("class_distances/centers"),
    "pair_blocks": Table("class_distances/pair_blocks"),
    "pairs": Array("class_distances/pairs"),
    "label_scores": Table("label_scores/label_scores"),
    "neighbour_rows": Array("neighbours/neighbour_rows"),
    "neighbour_distances": Array("neighbours/neighbour_distances"),
    "projection": Array("projection/projection"),
    "projection_quality": Table("projection/projection_quality"),
    "map": Array("projection/map"),
    "k_scores": Table("k_selection/k_scores"),
    "k_suggestions": Table("k_selection/k_suggestions"),
    "k_clusters": Array("k_selection/k_clusters"),
    "k_silhouettes": Array("k_selection/k_silhouettes"),
    "clusters": Array("clustering/clusters"),
    "centroids": Array("clustering/centroids"),
    "cluster_examples": Table("clustering/cluster_examples"),
    "clustering_summary": Table("clustering/clustering_summary"),
    "cluster_scores": Table("cluster_metrics/cluster_scores"),
    "cluster_table": Table("cluster_metrics/cluster_table"),
    "label_table": Table("cluster_metrics/label_table"),
    "image_silhouettes": Table("cluster_metrics/image_silhouettes"),
    "label_structure": Table("label_structure/label_structure"),
    "half_label_scores": Table("label_structure/half_label_scores"),
    "repeat_scores": Table("repeats/repeat_scores"),
    "replicate_rows": Array("replicates/replicate_rows"),
    "half_rows": Array("replicates/half_rows"),
    "null_half_rows": Array("replicates/null_half_rows"),
    "sample_projection": Array("replicates/sample_projection"),
    "null_projections": Array("replicates/null_projections"),
    "half_projections": Array("replicates/half_projections"),
    "null_half_projections": Array("replicates/null_half_projections"),
    "k_choice": Table("k_support/k_choice"),
    "k_votes": Table("k_support/k_votes"),
    "k_gate": Table("k_support/k_gate"),
    "null_scores": Table("significance/null_scores"),
    "half_scores": Table("significance/half_scores"),
    "half_clusters": Array("significance/half_clusters"),
    "cluster_support": Table("significance/cluster_support"),
    "verdict": Table("significance/verdict"),
    "texts": LargeTable("texts/texts"),
    "texts_skipped": Table("texts/skipped", ("csv",)),
    "texts_summary": Table("texts/summary"),
    "text_embeddings": Array("text_index/text_emb/text_emb_0000"),
    "text_encoding": Table("text_embedding/text_encoding"),
    "text_index": FaissIndex("text_index/text"),
    "text_index_metadata": Table("text_index/metadata/metadata_0000", ("parquet",)),
    "text_index_quality": Table("text_index/text_index_quality"),
    "image_index": FaissIndex("image_index/image"),
    "image_index_quality": Table("image_index/image_index_quality"),
    "experiment_scores": Table("experiment/experiment_scores"),
    "tags": Table("tagging/tags"),
    "tag_counts": Table("tagging/tag_counts"),
    "tag_categories": Table("tagging/tag_categories"),
    "hubness": Table("tagging/hubness"),
    "tag_recall": Table("tagging/tag_recall"),
    "group_names": Table("naming/group_names"),
    "predictions": Table("zero_shot/predictions"),
    "zero_shot_scores": Table("zero_shot/zero_shot_scores"),
    "zero_shot_classes": Table("zero_shot/zero_shot_classes"),
    "zero_shot_confusion": Table("zero_shot/zero_shot_confusion"),
    "zero_shot_calibration": Table("zero_shot/zero_shot_calibration"),
    "zero_shot_coverage": Table("zero_shot/zero_shot_coverage"),
    "class_text_similarities": Table("zero_shot/class_text_similarities"),
    "retrieval_scores": Table("retrieval/retrieval_scores"),
    "retrieval_ranks": Table("retrieval/retrieval_ranks"),
    "hits": Table("search/hits"),
    "robustness_scores": Table("robustness/robustness_scores"),
    "robustness_images": Table("robustness/robustness_images"),
    "robustness_skipped": Table("robustness/skipped", ("csv",)),
    "robustness_protocol": Table("robustness/robustness_protocol"),
    "checkpoint": Folder("training/checkpoint", "card.json"),
    "checkpoint_last": Folder("training/last", "card.json"),
    "training_curves": Table("training/training_curves"),
    "training_summary": Table("training/training_summary"),
    "training_images": Table("training/training_images"),
}


def link(source: Path, target: Path) -> None:
    """A read-only hard link; a copy where the file system has none or it is another one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # never write through a link into what others share
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_json(file: Path, content: Any) -> None:
    """Whole or not at all."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)


def load_run(path: str | Path) -> Run:
    """A run by its folder, finished or not. Raises CallError where there is none.

    >>> run = load_run("outputs/2026-11-21/10-30-00-000000")   # doctest: +SKIP
    >>> run.metrics["cluster_metrics/projection/silhouette"]    # doctest: +SKIP
    >>> run["class_summary"], run["image_embeddings"].shape     # doctest: +SKIP
    """
    folder = Path(path)
    record = read_record(folder / RECORD, "a run folder")
    if not isinstance(record, dict):
        raise CallError(f"{folder / RECORD}: damaged: not a run record")
    if record.get("status") == "running" and not is_alive(record.get("process") or {}):
        record["status"] = "killed"
        record["reason"] = "the process ended without a word"
    return Run(folder, record)


@dataclass(frozen=True)
class Picture:
    """A PNG file, which a notebook shows."""

    path: Path

    def __repr__(self) -> str:
        return f"Picture({self.path.parent.name}/{self.path.stem})"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


class Run(Mapping[str, Any]):
    """A run folder: `run["clusters"]` and so on for every artifact that is there, `record`, `metrics`, `verdict`,
    `points`, `picture("clustering/map")`. A notebook shows a run at a glance."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder.resolve()
        self.record = record

    @property
    def name(self) -> str:
        """Date and time, as in the folder's path."""
        return "/".join(self.folder.parts[-2:])

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings."""
        return dict(self.record["config"])

    @cached_property
    def metrics(self) -> dict[str, float]:
        """metrics.json; empty where the run did not come so far."""
        file = self.folder / METRICS
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    @cached_property
    def tables(self) -> dict[str, Path]:
        """Artifact -> its first file, for every table that is there."""
        return {
            name: self.folder / artifact.files()[0]
            for name, artifact in ARTIFACTS.items()
            if isinstance(artifact, Table) and (self.folder / artifact.files()[0]).is_file()
        }

    @property
    def points(self) -> pd.DataFrame:
        """A row per image with all that is known of it."""
        import pandas as pd

        return pd.read_parquet(self.folder / POINTS)

    @property
    def skipped(self) -> pd.DataFrame:
        """id, path, reason, detail of every image that could not be read."""
        import pandas as pd

        columns = ["id", "path", "reason", "detail"]
        return self.table("skipped") if self.has("skipped") else pd.DataFrame(columns=columns)

    @cached_property
    def pictures(self) -> list[tuple[str, str, Path]]:
        """(stage, name, PNG file) in the order of the stages."""
        stages = [stage["name"] for stage in self.record.get("stages", [])]
        return [(s, file.stem, file) for s in stages for file in sorted((self.folder / s).glob("*.png"))]

    @property
    def verdict(self) -> str:
        """Whether there are clusters, in a sentence; '' where nothing was compared."""
        return str(self.table("verdict")["sentence"].iloc[0]) if self.has("verdict") else ""

    def picture(self, name: str) -> Picture:
        """A picture by stage and name ("clustering/map"). Raises KeyError that names those that are there."""
        there = {f"{stage}/{picture}": file for stage, picture, file in self.pictures}
        if name not in there:
            raise KeyError(f"{name}: no such picture in this run{one_of(name, there)}")
        return Picture(there[name])

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, headline numbers, map; without what `report.hide` hides."""
        from pipeline.report.card import card

        return card(self)

    def __repr__(self) -> str:
        dataset = self.record.get("dataset") or {}
        return f"Run({dataset.get('name', self.name)}, {self.record.get('status')})"

    def has(self, name: str) -> bool:
        """Whether the artifact is there."""
        return name in ARTIFACTS and (self.folder / ARTIFACTS[name].files()[0]).is_file()

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name."""
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if not self.has(name):
            raise KeyError(f"{name}: not in this run; it has {', '.join(self)}")
        return ARTIFACTS[name].load(self.folder)

    def __iter__(self) -> Iterator[str]:
        return (name for name in ARTIFACTS if self.has(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_alive(process: dict[str, Any]) -> bool:
    """Whether the process that wrote the record still runs; on another machine nobody can tell, so: yes."""
    if process.get("host") != socket.gethostname():
        return True
    try:
        pid = int(process["pid"])
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (KeyError, TypeError, ValueError, OSError):
        return True
    return process.get("started") in (None, process_start(pid))


def process_start(pid: int) -> str | None:
    """When a process started, as the system counts it: tells a process from a later one with the same number.
    None where that is not known, or the process is dead and only waits for its parent to notice."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if state in "ZX" else rest[18]
    except (OSError, IndexError):
        return None


def _is_whole_file(value: np.memmap, file: Path) -> bool:
    """Whether loading the file gives just this array: views keep the name of the file that they are a view of."""
    if value.mode != "r":  # what was written into it may not be there yet, or never
        return False
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    place = ("shape", "dtype", "strides", "offset")
    return all(getattr(stored, name) == getattr(value, name) for name in place) and not value.flags.writeable


class Values(Mapping[str, Any]):
    """Artifacts of the run: in memory, or read from its folder when asked for, so that all see what was saved."""

    def __init__(self, folder: Path, in_memory: dict[str, Any]) -> None:
        self.folder, self.in_memory = folder, in_memory

    def __getitem__(self, name: str) -> Any:
        if name not in self.in_memory:
            if name not in self:
                raise KeyError(name)
            self.in_memory[name] = ARTIFACTS[name].load(self.folder)
        return self.in_memory[name]

    def __contains__(self, name: object) -> bool:
        if name in self.in_memory:
            return True
        return name in ARTIFACTS and (self.folder / ARTIFACTS[str(name)].files()[0]).is_file()

    def __iter__(self) -> Iterator[str]:
        return (name for name in ARTIFACTS if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def new_folder(outputs: Path) -> Path:
    """A folder that no other run has: made exclusively, by microseconds."""
    while True:
        folder = outputs / datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not folder.is_dir():
                raise CallError(f"paths.outputs: a file is in the way: {folder}") from None
        except OSError as error:
            raise CallError(f"paths.outputs: cannot write in {outputs}: {error.strerror}") from error


def claim_folder(folder: Path) -> Path:
    """A job's folder in a sweep: claimed by making its record. Raises CallError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).open("x").close()
    except FileExistsError as error:
        raise CallError(f"{folder}: holds a run already") from error
    except OSError as error:
        raise CallError(f"paths.outputs: cannot write in {folder}: {error.strerror}") from error
    return folder


def must_be_writable(folder: Path, key: str, advice: str = "") -> None:
    """Raises CallError that names the config key, with advice behind it, where nothing can be written in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CallError(f"{key}: cannot write in {folder}: {error.strerror}{advice}") from error
