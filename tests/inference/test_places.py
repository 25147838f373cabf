"""Bytes of images inside archives and tables, and on disk."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference import places
from inference.places import UnreadableImage, container_of, inside, member_of, read_bytes

CONTENT = {"a.jpg": b"first", "sub/b c.jpg": b"second", "ünï::x.jpg": b"third"}


def in_zip(folder: Path) -> dict[str, str]:
    with zipfile.ZipFile(folder / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return {name: inside("zip", name, folder / "some.zip") for name in CONTENT}


def in_tar(folder: Path) -> dict[str, str]:
    with tarfile.open(folder / "some.tar", "w") as archive:
        for name, data in CONTENT.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with tarfile.open(folder / "some.tar") as archive:
        return {m.name: inside("tar", f"{m.offset_data}+{m.size}/{m.name}", folder / "some.tar") for m in archive}


def in_parquet(folder: Path) -> dict[str, str]:
    cells = list(CONTENT.values())
    table = pa.table({"image": cells, "image/2": [{"bytes": data, "path": None} for data in cells]})
    pq.write_table(table, folder / "some.parquet", row_group_size=2)
    columns = ["image", "image/2", "image"]
    return {n: inside("parquet", f"{i}/{columns[i]}", folder / "some.parquet") for i, n in enumerate(CONTENT)}


def in_arrow(folder: Path) -> dict[str, str]:
    cells = [{"bytes": data, "path": None} for data in CONTENT.values()]
    table = pa.table({"image/2": pa.chunked_array([cells[:1], cells[1:]])})
    for name, kind in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        with kind(str(folder / f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table)
    files = ["stream", "file", "stream"]
    return {n: inside("arrow", f"{i}/image/2", folder / f"{files[i]}.arrow") for i, n in enumerate(CONTENT)}


@pytest.mark.parametrize("pack", [in_zip, in_tar, in_parquet, in_arrow])
def test_every_member_gives_its_bytes(pack: object, tmp_path: Path) -> None:
    places = pack(tmp_path)  # type: ignore[operator]
    for name, place in [*places.items(), *reversed(places.items())]:
        assert read_bytes(place) == CONTENT[name]
        assert Path(container_of(place)).parent == tmp_path


def test_a_path_is_its_own_place(tmp_path: Path) -> None:
    file = tmp_path / "zip:" / "a::b.jpg"
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert container_of(str(file)) == str(file)
    assert member_of(str(file)) == ""
    assert read_bytes(str(file)) == b"x"


def test_names_of_members_are_for_people() -> None:
    assert member_of("tar://512+9/sub/a.jpg::/x.tar") == "sub/a.jpg"
    assert member_of("zip://sub/a::b.jpg::/x.zip") == "sub/a::b.jpg"


def test_a_container_with_the_separator_in_its_path_is_refused() -> None:
    with pytest.raises(ValueError, match="must not have"):
        inside("zip", "a.jpg", "/a::b.zip")


@pytest.mark.parametrize("pack", [in_zip, in_tar, in_parquet, in_arrow])
def test_the_limit_holds_inside_archives(pack: object, tmp_path: Path) -> None:
    place = pack(tmp_path)["sub/b c.jpg"]  # type: ignore[operator]
    with pytest.raises(UnreadableImage) as caught:
        read_bytes(place, limit=5)
    assert caught.value.reason == "too large"


def test_a_container_that_is_gone_or_changed_is_said(tmp_path: Path) -> None:
    places = in_zip(tmp_path) | {"t": in_tar(tmp_path)["a.jpg"], "p": in_parquet(tmp_path)["a.jpg"]}
    assert reason(inside("zip", "none.jpg", tmp_path / "some.zip")) == "missing"
    os.truncate(tmp_path / "some.tar", 10)
    assert reason(places["t"]) == "truncated"
    (tmp_path / "some.zip").unlink()
    assert reason(places["a.jpg"]) == "missing"
    (tmp_path / "some.parquet").write_bytes(b"PAR1 nothing of the kind")
    assert reason(places["p"]) == "damaged"


def test_a_row_or_column_that_is_gone_is_said(tmp_path: Path) -> None:
    in_parquet(tmp_path), in_arrow(tmp_path)
    for kind, file in (("parquet", "some.parquet"), ("arrow", "stream.arrow")):
        assert reason(inside(kind, "3/image", tmp_path / file)) == "missing"
        assert reason(inside(kind, "0/none", tmp_path / file)) == "missing"
    (tmp_path / "stream.arrow").write_bytes(b"nothing of the kind")
    assert reason(inside("arrow", "0/image", tmp_path / "stream.arrow")) == "damaged"
    assert reason(inside("arrow", "0/image", tmp_path)) == "not a file"


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_row_groups_larger_than_what_is_kept(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, back and forth, and by several threads."""
    monkeypatch.setattr(places, "HELD", 500)
    monkeypatch.setattr(places, "READ", 200)
    cells = [str(i).encode() * (i % 7 + 1) for i in range(1000)]
    pq.write_table(pa.table({"image": cells, "label": range(1000)}), tmp_path / "a.parquet", row_group_size=rows)
    order = [*range(1000), *range(999, 0, -29), *np.random.default_rng(0).permutation(1000)[:50].tolist()]
    at = [inside("parquet", f"{i}/image", tmp_path / "a.parquet") for i in order]
    assert [read_bytes(place) for place in at] == [cells[i] for i in order]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_bytes, at)) == [cells[i] for i in order]
    held = list(places._PARQUET.held.values())
    assert len(held) <= places.OPEN
    assert all(len(some.kept) <= 2 or sum(part.nbytes for _, part in some.kept) <= 500 for some in held)


def test_damage_inside_an_archive_costs_that_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.jpg", b"first" * 50)
        archive.writestr("b.jpg", b"second")
    data = (tmp_path / "some.zip").read_bytes()
    (tmp_path / "some.zip").write_bytes(data.replace(b"firstfirst", b"firstfirsT", 1))
    assert reason(inside("zip", "a.jpg", tmp_path / "some.zip")) == "damaged"
    assert read_bytes(inside("zip", "b.jpg", tmp_path / "some.zip")) == b"second"


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "some.zip")
    assert reason(inside("zip", "a.jpg", tmp_path / "some.zip")) == "not a file"
    assert reason(str(tmp_path / "some.zip")) == "not a file"


def reason(place: str) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_bytes(place)
    return caught.value.reason


def test_a_turned_place_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    plain = str(tmp_path / "a.jpg")
    for place in (plain, "zip://x/a.jpg::/data/x.zip"):
        quarter = places.turned(place, 90)
        assert quarter == f"turned://90::{place}"
        assert (places.turn_of(quarter), places.turn_of(place)) == (90, 0)
        assert places.unturned(quarter) == places.unturned(place) == places.turned(place, 0) == place
        assert places.container_of(quarter) == places.container_of(place)
        assert places.member_of(quarter) == places.member_of(place)
    assert places.read_bytes(places.turned(plain, 270)) == b"bytes"
    with pytest.raises(ValueError, match="not by 45"):
        places.turned(plain, 45)
