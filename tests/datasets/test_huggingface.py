"""Data sets of the `datasets` library: saved on disk, as Parquet files, and of a hub that is not there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
import pytest

from inference.places import read_arrow, read_bytes
from pipeline.datasets import find
from pipeline.datasets.candidates import Found
from pipeline.errors import CallError
from tests.making import cells_of, dataset, encoded, picture


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def made(rows: int = 4, first: int = 0, **columns: Any) -> datasets.Dataset:
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    cells = [{"bytes": f"image {first + i}".encode(), "path": None} for i in range(rows)]
    given = {"image": cells, "label": [i % 2 for i in range(rows)]}
    for name, values in columns.items():
        features[name], given[name] = datasets.Value("string"), values
    return datasets.Dataset.from_dict(given, features=datasets.Features(features))


def listed(path: Path | str, data: Path = Path("unused"), **settings: Any) -> Found:
    return find(dataset("huggingface", path=str(path), **settings), data)


def refusal(path: Path | str, data: Path = Path("unused"), **settings: Any) -> str:
    with pytest.raises(CallError) as caught:
        listed(path, data, **settings)
    assert caught.value.status == 2
    return caught.value.problems[0]


def column(found: Found, name: str) -> list[str | None]:
    return cells_of(found.table[name])


def contents(found: Found) -> list[bytes]:
    return [read_bytes(path) for path in found.table["path"]]


def test_a_saved_data_set_in_two_files(tmp_path: Path) -> None:
    made(5, who=["a", "a", "b", "b", None]).save_to_disk(tmp_path / "saved", num_shards=2)
    found = listed(tmp_path / "saved", columns={"group": "who"})
    assert column(found, "id") == [f"000000{i}" for i in range(5)]
    assert contents(found) == [f"image {i}".encode() for i in range(5)]
    assert column(found, "label") == ["cat", "dog", "cat", "dog", "cat"]
    assert column(found, "group") == ["a", "a", "b", "b", None]
    assert found.table["position"].tolist() == list(range(5)) and found.rows == 5


def test_rows_that_were_shuffled_before_they_were_saved(tmp_path: Path) -> None:
    shuffled = made(8).shuffle(seed=1)
    shuffled.save_to_disk(tmp_path / "saved")
    expected = [cell["bytes"] for cell in shuffled.cast_column("image", datasets.Image(decode=False))["image"]]
    assert contents(listed(tmp_path / "saved")) == expected


def test_splits_of_a_saved_dictionary(tmp_path: Path) -> None:
    parts = {"train": made(3), "test": made(2, first=3)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found = listed(tmp_path / "saved")
    assert column(found, "id") == ["test/0000000", "test/0000001", *(f"train/000000{i}" for i in range(3))]
    assert column(found, "split") == ["test"] * 2 + ["train"] * 3
    found = listed(tmp_path / "saved", split="test")
    assert contents(found) == [b"image 3", b"image 4"]
    assert found.facts == {"split": "test", "rows": 2}
    assert refusal(tmp_path / "saved", split="tset") == (
        "dataset.split = tset: no such split; did you mean test? Known: test, train"
    )


def test_a_folder_of_parquet_files_with_names_of_classes(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        made(count).to_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet")
    found = listed(tmp_path)
    assert column(found, "label") == ["cat", "dog", "cat", "dog", "cat"]
    assert column(found, "split") == ["test"] * 2 + ["train"] * 3
    assert column(listed(tmp_path, split="train"), "id") == [f"train-00000-of-00001/000000{i}" for i in range(3)]
    assert refusal(tmp_path, split="val").endswith("known: test, train")


def test_images_that_are_only_paths(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(encoded(picture(), "PNG"))
    made(2).save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    table = read_arrow(arrow)
    cells = [{"bytes": None, "path": str(file)}, {"bytes": None, "path": str(tmp_path / "gone.png")}]
    table = table.set_column(0, table.schema.field("image"), pa.array(cells, table.schema.field("image").type))
    with pa.ipc.new_stream(str(arrow), table.schema) as writer:
        writer.write_table(table)
    found = listed(tmp_path / "saved")
    assert column(found, "path")[0] == str(file)
    assert column(found, "problem") == ["", "missing: its cell has no bytes, and the file that it names is not there"]


def test_labels_that_are_not_known(tmp_path: Path) -> None:
    unlabelled = made(3).map(lambda row: {"label": -1}, load_from_cache_file=False)
    unlabelled.save_to_disk(tmp_path / "saved")
    assert listed(tmp_path / "saved").classes == ()


def test_the_only_column_of_images_and_of_class_names_is_meant(tmp_path: Path) -> None:
    made(2).rename_columns({"image": "img", "label": "fine"}).save_to_disk(tmp_path / "saved")
    found = listed(tmp_path / "saved")
    assert column(found, "label") == ["cat", "dog"]
    assert contents(found) == [b"image 0", b"image 1"]


def test_sound_is_no_image(tmp_path: Path) -> None:
    cells = {"sound": [{"bytes": b"s", "path": None}], "picture": [{"bytes": b"p", "path": None}]}
    both = datasets.Dataset.from_dict(cells).cast_column("sound", datasets.Audio(decode=False))
    both.save_to_disk(tmp_path / "saved")
    assert contents(listed(tmp_path / "saved")) == [b"p"]


def test_damaged_folders(tmp_path: Path) -> None:
    made(4).save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert refusal(tmp_path / "saved").startswith(f"dataset.path: {tmp_path}/saved cannot be read: ")
    (tmp_path / "saved/state.json").write_text("{")
    assert "state.json cannot be read" in refusal(tmp_path / "saved")
    (tmp_path / "void").mkdir()
    assert refusal(tmp_path / "void").endswith("ends in .parquet")


def test_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    assert refusal(tmp_path / "svaed") == f"dataset.path: no such folder: {tmp_path}/svaed; did you mean saved?"


def test_a_hub_that_is_not_there_is_said_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.monotonic()
    said = refusal("some/where", tmp_path)
    assert time.monotonic() - start < 10
    assert said.startswith("dataset.path = some/where: no such folder, and not in ")
    assert "the hub cannot be reached" in said and "save_to_disk" in said
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refusal("some/where", tmp_path)
    with pytest.raises(CallError, match="a run that is not dry asks the hub for it"):
        find(dataset("huggingface", path="some/where"), tmp_path, fetch=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub whose every data set is a folder of Parquet files; what it was asked for."""
    for split, count in (("train", 3), ("test", 2)):
        made(count).to_parquet(tmp_path / f"of the hub/{split}-00000-of-00001.parquet")
    asked = []
    builder = datasets.load_dataset_builder

    def local(path: str, subset: str | None, *, revision: str, cache_dir: str) -> Any:
        asked.append({"path": path, "subset": subset, "revision": revision})
        return builder(str(tmp_path / "of the hub"), subset, cache_dir=cache_dir)

    monkeypatch.setattr(datasets, "load_dataset_builder", local)
    monkeypatch.setattr("pipeline.datasets.huggingface.reachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: SimpleNamespace(sha="c0ffee"))
    return asked


def test_one_of_the_hub_is_downloaded_once(tmp_path: Path, hub: list[dict[str, Any]]) -> None:
    first = listed("some/where", tmp_path, subset="default", split="train")
    assert hub == [{"path": "some/where", "subset": "default", "revision": "c0ffee"}]
    assert contents(first) == [f"image {i}".encode() for i in range(3)]
    assert column(first, "label") == ["cat", "dog", "cat"]
    home = tmp_path / "huggingface/some--where--default/main"
    assert first.notes == (f"some/where was downloaded to {home}",)
    assert first.facts["commit"] == json.loads((home / "source.json").read_text())["commit"] == "c0ffee"
    assert sorted(place.name for place in home.parent.iterdir()) == ["main"]
    again = listed("some/where", tmp_path, subset="default")
    assert len(hub) == 1 and again.notes == ()
    assert column(again, "split") == ["test"] * 2 + ["train"] * 3


def test_a_download_that_fails_leaves_nothing(
    tmp_path: Path, hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal("some/where", tmp_path, subset="none such")
    assert "the hub: ValueError" in said
    assert not list((tmp_path / "huggingface").rglob("*.parquet"))
