"""Downloads from a server that fails on purpose: retried, resumed, checked, or given up with a reason."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import pipeline.datasets
from pipeline.datasets import download as module
from pipeline.datasets.download import Unreachable, download
from pipeline.errors import CallError
from tests.datasets.test_open_images import CAT, DOG, HEADER, settings
from tests.releases import jpeg, write_table


class Server(ThreadingHTTPServer):
    """Serves /<split>/<id>.jpg; `faults` says what goes wrong with a path, for its first so many requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.at_once = self.most_at_once = 0
        self.gone = False
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            server.asked[self.path] += 1
            fault, times = server.faults.get(self.path, ("", 0))
            fault = fault if server.asked[self.path] <= times else ""
        try:
            time.sleep(0.01)
            if server.gone:
                self.close_connection = True
                return
            self.answer(fault)
        finally:
            with server.lock:
                server.at_once -= 1

    def answer(self, fault: str) -> None:
        data = self.server.files.get(self.path)
        if data is None or fault.isdigit():
            self.send_response(int(fault or 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        whole, start = data, 0
        if given := self.headers.get("Range"):
            self.server.ranges.append(f"{self.path} {given}")
            start = int(given.removeprefix("bytes=").removesuffix("-"))
        data = whole[start:]
        if fault == "flipped":
            data = data[:-9] + bytes([data[-9] ^ 255]) + data[-8:]
        if start >= len(whole):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        if "unsigned" not in self.path:
            self.send_header("Content-MD5", base64.b64encode(hashlib.md5(whole).digest()).decode())
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def fetched(server: Server, folder: Path, names: list[str]) -> Any:
    files = [(f"{server.address}/train/{name}.jpg", folder / f"{name}.jpg") for name in names]
    return download(files, lambda file: "", lambda done, total: None, pause=0.01)


def test_all_come_whole_and_several_at_once(server: Server, tmp_path: Path) -> None:
    names = [f"{i:03d}" for i in range(40)]
    server.files = {f"/train/{name}.jpg": jpeg(i) for i, name in enumerate(names)}
    told: list[tuple[int, int]] = []
    files = [(f"{server.address}/train/{name}.jpg", tmp_path / f"{name}.jpg") for name in names]
    found = download(files, lambda file: "", lambda done, total: told.append((done, total)))
    assert found.count == 40 and not found.missing and not found.failed
    assert all((tmp_path / f"{name}.jpg").read_bytes() == jpeg(i) for i, name in enumerate(names))
    assert not list(tmp_path.glob("*.part"))
    assert told == [(i, 40) for i in range(1, 41)]
    assert 2 <= server.most_at_once <= module.AT_ONCE


def test_what_may_pass_is_tried_again(server: Server, tmp_path: Path) -> None:
    names = ["ok", "busy", "cut", "flipped", "gone", "never", "forbidden"]
    server.files = {f"/train/{name}.jpg": jpeg(i, 64) for i, name in enumerate(names) if name != "gone"}
    server.faults = {
        "/train/busy.jpg": ("503", 2), "/train/cut.jpg": ("cut", 1), "/train/flipped.jpg": ("flipped", 1),
        "/train/never.jpg": ("500", 99), "/train/forbidden.jpg": ("403", 99),
    }  # fmt: skip
    found = fetched(server, tmp_path, names)
    assert found.count == 4
    assert found.missing == ["gone"]
    assert sorted(found.failed) == [
        ("forbidden", "the server says 403 Forbidden"),
        ("never", "the server says 500 Internal Server Error"),
    ]
    assert (tmp_path / "cut.jpg").read_bytes() == server.files["/train/cut.jpg"]
    assert (tmp_path / "flipped.jpg").read_bytes() == server.files["/train/flipped.jpg"]
    half = len(server.files["/train/cut.jpg"]) // 2
    assert f"/train/cut.jpg bytes={half}-" in server.ranges  # only the rest was asked for
    assert server.asked["/train/busy.jpg"] == 3
    assert server.asked["/train/never.jpg"] == module.TRIES
    assert server.asked["/train/gone.jpg"] == server.asked["/train/forbidden.jpg"] == 1


def test_a_file_that_was_begun_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.files = {"/train/a.jpg": jpeg(1, 64), "/train/b.jpg": jpeg(2, 64), "/train/c.jpg": jpeg(3)}
    (tmp_path / "a.jpg.part").write_bytes(jpeg(1, 64)[:100])
    (tmp_path / "b.jpg.part").write_bytes(b"of something else" * 10)
    (tmp_path / "c.jpg.part").write_bytes(b"longer than it" * 999)
    assert fetched(server, tmp_path, ["a", "b", "c"]).count == 3
    for name in "abc":
        assert (tmp_path / f"{name}.jpg").read_bytes() == server.files[f"/train/{name}.jpg"]
    assert "/train/a.jpg bytes=100-" in server.ranges
    assert server.asked["/train/a.jpg"] == 1


def test_what_the_check_refuses_never_gets_its_name(server: Server, tmp_path: Path) -> None:
    server.files = {"/train/unsigned.jpg": b"<html>sign in</html>"}
    files = [(f"{server.address}/train/unsigned.jpg", tmp_path / "unsigned.jpg")]
    found = download(files, lambda file: "a web page", lambda done, total: None, pause=0.01)
    assert found.failed == [("unsigned", "a web page")]
    assert not list(tmp_path.iterdir())


def test_no_server_is_said_within_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        download([("http://127.0.0.1:9/train/a.jpg", tmp_path / "a.jpg")] * 100, lambda file: "", lambda d, n: None)
    assert time.monotonic() - start < 5
    assert caught.value.done == 0 and "no connection" in caught.value.reason
    with pytest.raises(Unreachable, match="not an address"):
        download([("nonsense://x/a.jpg", tmp_path / "a.jpg")], lambda file: "", lambda d, n: None)


def test_a_server_that_goes_away_leaves_what_came(server: Server, tmp_path: Path) -> None:
    names = [f"{i:03d}" for i in range(60)]
    server.files = {f"/train/{name}.jpg": jpeg(i) for i, name in enumerate(names)}

    def go_away(done: int, total: int) -> None:
        if done == 10:
            server.gone = True
            server.socket.close()

    files = [(f"{server.address}/train/{name}.jpg", tmp_path / f"{name}.jpg") for name in names]
    with pytest.raises(Unreachable) as caught:
        download(files, lambda file: "", go_away, pause=0.01)
    assert 10 <= caught.value.done < 60
    assert 10 <= len(list(tmp_path.glob("*.jpg"))) < 60


# --- dataset.download ------------------------------------------------------------------------------------------------

IDS = [f"{i:016x}" for i in range(12)]


@pytest.fixture
def root(server: Server, tmp_path: Path) -> Path:
    """Tables of twelve images, six of cats, six of dogs, one image there already; the server has all but one."""
    rows = [(name, "verification", CAT if i % 2 else DOG, 1) for i, name in enumerate(IDS)]
    folder = tmp_path / "images"
    write_table(folder / "human-imagelabels.csv", [HEADER, *rows])
    write_table(folder / "class-descriptions.csv", [(CAT, "Cat"), (DOG, "Dog")])
    facts = [(name, "validation" if i < 6 else "train", 0) for i, name in enumerate(IDS)]
    write_table(folder / "image_ids.csv", [("ImageID", "Subset", "Rotation"), *facts])
    (folder / f"{IDS[1]}.jpg").write_bytes(jpeg(1))
    for i, (name, split, _) in enumerate(facts):
        if i != 3:
            server.files[f"/{split}/{name}.jpg"] = jpeg(i)
    return folder


def run(root: Path, server: Server, fetch: bool = True, **given: Any) -> Any:
    usual = {"download": True, "base_url": server.address + "/", "classes": ["Cat"]}
    return pipeline.datasets.find(settings(root, **{**usual, **given}), Path("/nowhere"), fetch=fetch)


def test_images_of_the_wanted_classes_are_fetched_once(root: Path, server: Server) -> None:
    found = run(root, server)
    cats = [IDS[i] for i in (1, 5, 7, 9, 11)]
    assert found.table["id"].tolist() == cats
    assert found.notes == (f"1 of 5 images are not on the server, as {IDS[3]}",)
    assert found.table["path"][1] == str(root / "validation" / f"{IDS[5]}.jpg")
    assert found.table["split"].tolist() == ["validation", "validation", "train", "train", "train"]
    asked = sum(server.asked.values())
    assert run(root, server).table.equals(found.table)
    assert sum(server.asked.values()) == asked + 1  # only for the one that is missing


def test_up_to_a_limit_and_the_same_ones(root: Path, server: Server) -> None:
    found = run(root, server, classes=["Dog"], limit_per_class=2)
    assert len(found.table) == 2
    assert sum(server.asked.values()) == 2
    assert run(root, server, classes=["Dog"], limit_per_class=2).table.equals(found.table)
    assert sum(server.asked.values()) == 2


def test_a_dry_run_fetches_nothing(root: Path, server: Server) -> None:
    assert len(run(root, server, fetch=False).table) == 1
    assert not server.asked


def test_what_cannot_be_fetched_is_said(root: Path, server: Server) -> None:
    with pytest.raises(CallError, match=r"dataset\.download: needs dataset\.classes"):
        run(root, server, classes=[])
    (root / "image_ids.csv").unlink()
    with pytest.raises(CallError, match=r"dataset\.download_split: of which split is"):
        run(root, server)
    with pytest.raises(CallError, match=r"no split 'validatoin'; did you mean validation\?"):
        run(root, server, download_split="validatoin")
    with pytest.raises(CallError, match=r"dataset\.base_url: http://127\.0\.0\.1:9 cannot be reached: no connection"):
        run(root, server, download_split="train", base_url="http://127.0.0.1:9")
    write_table(root / "human-imagelabels.csv", [HEADER, ("../../etc/x", "verification", CAT, 1)])
    with pytest.raises(CallError, match="is no ImageID: nothing is downloaded"):
        run(root, server, download_split="train")
    assert not server.asked
