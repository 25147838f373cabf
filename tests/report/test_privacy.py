from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.build import render
from pipeline.report.privacy import HIDDEN, Privacy, made_of_images
from tests.report.fake_run import PNG, FakeRun, record

SECRETS = ("/home/ann", "clinic", "smith", "/store", "C:\\scans", "weights")


def secret_run(hide: list[str], folder: Path) -> FakeRun:
    made = record(
        status="failed",
        reason="cannot write /home/ann/out: disk full",
        command="python run.py 'dataset.pairs=[ill,/home/ann/clinic a]' paths.cache=/store/c clustering.k=3",
        warnings=["skipped /home/ann/clinic a/smith 1.png: truncated", "see C:\\scans\\smith.png"],
        left_out=[{"stage": "zero_shot", "reason": "no file in ../weights/x.pt"}],
        skipped_reasons={"truncated": 1},
        sweep={"job": 1, "overrides": ["dataset.root=clinic", "clustering.k=3"]},
    )
    made["config"]["report"]["hide"] = hide
    made["config"]["dataset"] |= {"root": "/home/ann/clinic a", "pairs": ["ill", "/home/ann/clinic a"]}
    made["config"]["paths"] = {"cache": "/store/c", "outputs": "/home/ann/out"}
    made["stages"][1]["reason"] = "could not open '/home/ann/clinic a/smith 1.png'"
    skipped = pd.DataFrame(
        {
            "path": ["/home/ann/clinic a/smith 1.png"],
            "reason": ["truncated"],
            "detail": ["in smith 1.png, byte 9"],
        }
    )
    images = pd.DataFrame({"id": ["patient-0007"], "path": ["/home/ann/clinic a/smith 2.png"]})
    pictures = []
    for name in ("sheet", "cluster_0", "map"):
        (folder / f"{name}.png").write_bytes(PNG)
        pictures.append(("embedding", name, folder / f"{name}.png"))
    return FakeRun(folder=folder, record_=made, frames={"images": images}, skipped=skipped, pictures=pictures)


def test_hidden_paths_never_reach_the_page(tmp_path: Path) -> None:
    html = render(secret_run(["path"], tmp_path))
    for secret in (*SECRETS, str(tmp_path)):
        assert secret not in html, secret
    assert HIDDEN in html
    assert "truncated" in html and "clustering.k=3" in html  # what is no path stays
    assert "Hidden in this report: path." in html


def test_places_inside_archives_are_hidden_whole(tmp_path: Path) -> None:
    made = record(
        warnings=[
            "ward 3/jones a.jpg is odd", "jones a.jpg too", "secret scans.tar is damaged", "brown b.jpg, in other.zip",
        ]
    )  # fmt: skip
    made["config"]["report"]["hide"] = ["path"]
    made["config"]["dataset"] |= {"shards": ["/vault/{0..9}.tar"], "files": ["loose file"], "list": "my list"}
    images = pd.DataFrame({"id": ["1"], "path": ["tar://512+9/ward 3/jones a.jpg::/vault/secret scans.tar"]})
    skipped = pd.DataFrame(
        {"path": ["zip://ward 4/brown b.jpg::/vault/other.zip"], "reason": ["empty"], "detail": ["0 bytes"]}
    )
    run = FakeRun(folder=tmp_path, record_=made, frames={"images": images}, skipped=skipped)
    html = render(run)
    for secret in ("vault", "ward", "jones", "brown", "secret scans", "other.zip", "loose file", "my list"):
        assert secret not in html, secret


def test_paths_are_shown_where_they_are_not_hidden(tmp_path: Path) -> None:
    html = render(secret_run([], tmp_path))
    assert all(secret in html for secret in SECRETS)


def test_hidden_images_leave_only_pictures_of_numbers(tmp_path: Path) -> None:
    assert render(secret_run([], tmp_path)).count("<img") == 3
    assert render(secret_run(["images"], tmp_path)).count("<img") == 1


def test_hidden_ids_are_taken_out_of_texts(tmp_path: Path) -> None:
    run = secret_run(["id"], tmp_path)
    run.record["warnings"] = ["patient-0007 is a duplicate"]
    html = render(run)
    assert "patient-0007" not in html and "is a duplicate" in html


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot read /data/a b/x", f"cannot read {HIDDEN} b/x"),  # a blank ends a path that is not known
        ("in '/data/x.png': truncated", f"in '{HIDDEN}': truncated"),
        ("~/x, C:\\y\\z and \\\\server\\share", f"{HIDDEN}, {HIDDEN} and {HIDDEN}"),
        ("data/digits/0/1.png is damaged", f"{HIDDEN} is damaged"),
        ("IMG_0001.JPG is damaged", f"{HIDDEN} is damaged"),
        ("root=/data/x", f"root={HIDDEN}"),
        ("ViT-B/32 and RGB/grey at 0.5 images/s", "ViT-B/32 and RGB/grey at 0.5 images/s"),
        ("", ""),
    ],
)
def test_paths_are_known_by_their_form(text: str, clean: str) -> None:
    assert Privacy(["path"]).text(text) == clean
    assert Privacy([]).text(text) == text


def test_known_paths_may_hold_blanks() -> None:
    assert Privacy(["path"], ["/data/a b"]).text("cannot read /data/a b") == f"cannot read {HIDDEN}"


def test_commands_keep_what_is_no_path() -> None:
    privacy = Privacy(["path"])
    assert privacy.command("python run.py clustering.k=3 dataset.root=photos") == (
        f"python run.py clustering.k=3 dataset.root={HIDDEN}"
    )
    assert privacy.command("python /opt/run.py +dataset.pairs=[a,b]") == f"python {HIDDEN} +dataset.pairs={HIDDEN}"
    assert privacy.command("python run.py 'unclosed /a b") == HIDDEN


def test_hidden_columns_are_dropped() -> None:
    table = pd.DataFrame({"path": ["/a"], "caption": ["c"], "id": ["1"], "reason": ["bad /a/b"], "n": [1]})
    assert list(Privacy(["path", "caption", "id"]).table(table)) == ["reason", "n"]
    assert Privacy(["path"]).table(table)["reason"].tolist() == [f"bad {HIDDEN}"]
    assert Privacy([]).table(table)["reason"].tolist() == ["bad /a/b"]


def test_which_pictures_show_images() -> None:
    assert made_of_images("sheet") and made_of_images("cluster_12")
    assert not made_of_images("map") and not made_of_images("class_similarity")


def test_a_folder_that_was_copied_away_may_have_a_telling_name() -> None:
    assert Privacy(["path"]).run_name("2026-11-21/02-15-01-123456") == "2026-11-21/02-15-01-123456"
    assert Privacy(["path"]).run_name("clinic/smith") == HIDDEN
    assert Privacy([]).run_name("clinic/smith") == "clinic/smith"
