"""The same images from a folder, an archive, shards, tables and a list: the same vectors, pictures and reports."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.command import Clipscope

RUN = ("encoder.size=8", "analysis=class_distances")


def files(images: Path) -> list[Path]:
    return sorted(file for file in images.rglob("*") if file.is_file())


def zipped(images: Path, folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        for file in files(images):
            archive.write(file, f"all/{file.relative_to(images)}")
    return ["dataset=folders", f"dataset.root={folder}/some.zip"]


def shards(images: Path, folder: Path) -> list[str]:
    for number in range(3):
        with tarfile.open(folder / f"{number:06d}.tar", "w") as archive:
            for row, file in list(enumerate(files(images)))[number::3]:
                for ending, data in (("png", file.read_bytes()), ("cls", file.parent.name.encode())):
                    member = tarfile.TarInfo(f"{row:09d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return ["dataset=webdataset", f'dataset.shards="{folder}/{{000000..000002}}.tar"']


def parquet(images: Path, folder: Path) -> list[str]:
    rows = {"image": [f.read_bytes() for f in files(images)], "label": [f.parent.name for f in files(images)]}
    pq.write_table(pa.table(rows), folder / "some.parquet", row_group_size=5)
    return ["dataset=parquet", f"dataset.path={folder}/some.parquet"]


def saved(images: Path, folder: Path) -> list[str]:
    names = sorted({file.parent.name for file in files(images)})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    cells = [{"bytes": file.read_bytes(), "path": None} for file in files(images)]
    labels = [names.index(file.parent.name) for file in files(images)]
    datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features).save_to_disk(folder / "saved")
    return ["dataset=huggingface", f"dataset.path={folder}/saved"]


@pytest.mark.parametrize("pack", [zipped, shards, parquet, saved])
def test_a_container_gives_what_the_folder_gives(
    pack: Callable[[Path, Path], list[str]], cli: Clipscope, three_classes: Path, tmp_path: Path
) -> None:
    call = pack(three_classes, tmp_path)
    from_folder = cli("dataset=folders", f"dataset.root={three_classes}", *RUN)
    from_pack = cli(*call, *RUN)
    # the same contents in the order of the ids: vectors are found in the cache where the ids are the same, too
    images = [pd.read_parquet(run.folder / "images.parquet") for run in (from_folder, from_pack)]
    assert images[0]["label"].tolist() == images[1]["label"].tolist()
    assert images[0]["content_hash"].tolist() == images[1]["content_hash"].tolist()
    vectors = [np.load(run.folder / "embeddings/img_emb/img_emb_0000.npy") for run in (from_folder, from_pack)]
    assert np.array_equal(*vectors)
    assert from_pack.metrics == from_folder.metrics
    sheets = [(run.folder / "images/sheet.png").read_bytes() for run in (from_folder, from_pack)]
    assert sheets[0] == sheets[1]
    metadata = pd.read_parquet(from_pack.folder / "embeddings/metadata/metadata_0000.parquet")
    assert metadata["image_path"].tolist() == images[1]["path"].tolist()
    assert images[1]["path"].str.contains("://").all()
    assert (from_pack.folder / "report.html").is_file()
    again = cli(*call, *RUN, "report.hide=[path]")
    assert again.hits["embedding"] == "hit"
    html = (again.folder / "report.html").read_text(encoding="utf-8")
    assert not [name for name in (str(tmp_path), "some.", "000001.tar", "data-0000") if name in html]


def test_vectors_of_a_webdataset_are_found_by_its_keys(cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
    """As clip-retrieval leaves them: a folder whose metadata names keys."""
    call = shards(three_classes, tmp_path)
    count = len(files(three_classes))
    for name in ("img_emb", "metadata"):
        (tmp_path / "vectors" / name).mkdir(parents=True)
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    np.save(tmp_path / "vectors/img_emb/img_emb_0.npy", vectors[::-1])
    keys = pd.DataFrame({"image_path": [f"{row:09d}" for row in reversed(range(count))]})
    keys.to_parquet(tmp_path / "vectors/metadata/metadata_0.parquet")
    run = cli(*call, "encoder=precomputed", f"encoder.path={tmp_path}/vectors", "analysis=class_distances")
    assert np.array_equal(np.load(run.folder / "embeddings/img_emb/img_emb_0000.npy"), vectors)


def test_single_images(cli: Clipscope, three_classes: Path) -> None:
    two = files(three_classes)[:2]
    run = cli("dataset=files", f'dataset.files=["{two[0]}","{two[1]}"]', "encoder.size=8", "stages=[images]")
    assert pd.read_parquet(run.folder / "images.parquet")["id"].tolist() == [file.name for file in two]


def test_wrong_calls(cli: Clipscope, tmp_path: Path) -> None:
    assert "needs either dataset.files" in cli("dataset=files", status=2).err
    assert "dataset.shards = 5: must be a path" in cli("dataset=webdataset", "dataset.shards=5", status=2).err
    twice = cli("dataset=webdataset", "dataset.shards=/a.tar", "dataset.shards=/b.tar", status=2)
    assert "dataset.shards: given 2 times; a pattern with {...} needs quotes" in twice.err
    said = cli("dataset=folders", "dataset.pairs=[a,/x]", "dataset.splits=[test]", status=2).err
    assert "dataset.splits: has no effect with dataset.pairs" in said
    assert not cli.folders()
