from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.build import render
from pipeline.report.sections.glance import headline
from tests.report.fake_run import (
    METRICS,
    PNG,
    STAGES,
    FakeRun,
    class_pairs,
    class_summary,
    cluster_table,
    record,
)

NASTY = '<script>alert("1")</script> & {{ 7 * 7 }}'


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what tests ask for."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def pictures(tmp_path: Path) -> list[tuple[str, str, Path]]:
    made = []
    for stage, name in (
        ("embedding", "sheet"),
        ("class_distances", "class_similarity"),
        ("projection", "map"),
        ("clustering", "cluster_0"),
        ("cluster_metrics", "silhouettes_embedding"),
    ):
        path = tmp_path / f"{name}.png"
        path.write_bytes(PNG)
        made.append((stage, name, path))
    return made


def test_a_complete_run_has_all_sections_and_needs_no_network(pictures: list[tuple[str, str, Path]]) -> None:
    names = ["cat", "dog", "owl"]
    frames = {
        "class_summary": class_summary(names),
        "class_pairs": class_pairs(names),
        "cluster_table": cluster_table(3),
        "projection_quality": pd.DataFrame({"name": ["neighbours", "anchors"], "value": [15.0, 500.0]}),
    }
    skipped = pd.DataFrame({"path": ["data/x.png"], "reason": ["truncated"], "detail": ["ends early"]})
    page = Page(render(FakeRun(frames=frames, pictures=pictures, skipped=skipped)))
    sections = [attrs["id"] for attrs in page.all("section")]
    assert sections == [
        "glance",
        "protocol",
        "distances",
        "map",
        "clusters",
        "pictures",
        "skipped",
        "left_out",
        "provenance",
        "methods",
    ]
    assert [attrs["href"] for attrs in page.all("a")[: len(sections)]] == [f"#{key}" for key in sections]
    images = page.all("img")
    assert len(images) == 5
    assert all(str(image["src"]).startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert not page.all("script") and not page.all("link")
    assert all(not str(attrs["href"]).startswith("http") for attrs in page.all("a"))
    assert "Measured with 15 neighbours on 500 images." in page.text
    assert "data/x.png" in page.text and "zero_shot the encoder has no text tower" in page.text


def test_headline_names_the_space_of_every_score() -> None:
    table = headline(METRICS | {"cluster_metrics/projection/new_score": 0.5})
    assert table is not None
    assert table.heads == ["score", "Projection", "Embedding", "Against labels", "range", "better"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Silhouette (Euclidean)"] == ["0.721", "0.181", "–", "[-1,\u00a01]", "higher\u00a0↑"]
    assert rows["Silhouette (cosine)"][:3] == ["–", "0.251", "–"]
    assert rows["Davies-Bouldin"] == ["0.410", "1.920", "–", "[0,\u00a0∞)", "lower\u00a0↓"]
    assert rows["Adjusted Rand index"][:3] == ["–", "–", "0.812"]
    assert rows["new score"] == ["0.500", "–", "–", "–", "–"]  # not in the catalogue: shown all the same
    assert headline({"clustering/k": 3.0}) is None


def test_everything_is_escaped() -> None:
    frames = {
        "class_summary": class_summary([NASTY, "b"]),
        "class_pairs": class_pairs([NASTY, "b"]),
        "cluster_table": cluster_table(2, NASTY),
    }
    made = record(warnings=[NASTY], command=f"python run.py x={NASTY}", reason=NASTY, status="failed")
    made["dataset"]["name"] = NASTY
    made["left_out"] = [{"stage": NASTY, "reason": NASTY}]
    made["skipped_reasons"] = {NASTY: 1}
    made["config"]["dataset"]["root"] = NASTY
    made["encoder"]["preprocessing"] = NASTY
    skipped = pd.DataFrame({"path": [NASTY], "reason": [NASTY], "detail": [NASTY]})
    html = render(FakeRun(record_=made, frames=frames, skipped=skipped))
    assert not Page(html).all("script")
    assert "<script" not in html
    assert "49" not in re.findall(r"& (\d+)", Page(html).text)


@pytest.mark.parametrize("status", ["failed", "interrupted", "killed", "running"])
def test_a_run_that_did_not_complete_says_so_first(status: str) -> None:
    made = record(status=status, reason="projection: too few images")
    for stage in made["stages"][4:]:
        stage["status"] = "not reached"
    page = Page(render(FakeRun(record_=made, metrics={})))
    banner = page.text.index("projection: too few images")
    assert banner < page.text.index("At a glance")
    assert "Finished, and shown below: listing, encoder, embedding, class_distances." in page.text
    assert "UMAP" not in page.text.split("Provenance")[0]  # what was not done is not described
    assert "k-means" not in page.text


def test_a_complete_run_has_no_banner() -> None:
    assert not [attrs for attrs in Page(render(FakeRun())).all("div") if attrs.get("role") == "alert"]


@pytest.mark.parametrize("made", [{"status": "failed", "reason": "no images"}, {}])
def test_an_almost_empty_record_still_gives_a_page(made: dict) -> None:
    assert "At a glance" in Page(render(FakeRun(record_=made, metrics={}))).text


def test_none_values_in_a_record_are_gaps() -> None:
    empty = dict.fromkeys(record())
    assert Page(render(FakeRun(record_=empty, metrics={})))


def test_big_tables_are_cut_and_name_the_whole_file() -> None:
    names = [f"class {number}" for number in range(70)]
    run = FakeRun(frames={"class_summary": class_summary(names), "class_pairs": class_pairs(names)})
    text = Page(render(run)).text
    assert "The first 60 of 70 classes." in text
    assert "The first 200 of 2,415 pairs of classes." in text
    assert "stage/class_pairs.csv" in text
    assert "class 59" in text and "class 69 180" not in text


def test_many_skipped_files_are_counted_and_cut() -> None:
    skipped = pd.DataFrame({"path": [f"{n}.png" for n in range(300)], "reason": "truncated", "detail": None})
    text = Page(render(FakeRun(record_=record(skipped_reasons={"truncated": 300}), skipped=skipped))).text
    assert "truncated 300" in text
    assert "The first 200 of 300 files." in text
    assert "199.png" in text and "200.png" not in text


def test_undefined_numbers_are_dashes() -> None:
    summary = class_summary(["alone"])
    summary["within_mean"] = float("nan")
    table = cluster_table(1)
    table["majority_label"], table["majority_share"] = None, float("nan")
    html = render(FakeRun(frames={"class_summary": summary, "cluster_table": table}))
    assert not re.search(r"\b(nan|none %)\b", Page(html).text, re.IGNORECASE)


def test_stage_warnings_are_shown_once() -> None:
    made = record(warnings=["shared"])
    made["stages"][0]["warnings"] = ["shared", "of the listing"]
    text = Page(render(FakeRun(record_=made))).text
    assert text.count("shared") == 1 and "of the listing" in text


def test_file_names_that_are_no_unicode_can_be_written() -> None:
    skipped = pd.DataFrame({"path": ["bad\udcff.png"], "reason": ["truncated"], "detail": [""]}, dtype=object)
    assert render(FakeRun(skipped=skipped)).encode("utf-8")


def test_a_picture_that_is_gone_is_left_out() -> None:
    assert not Page(render(FakeRun(pictures=[("projection", "map", Path("gone.png"))]))).all("img")


def test_provenance_traces_the_numbers() -> None:
    text = Page(render(FakeRun())).text
    for wanted in (
        "commit " + "a" * 40 + " (with changes that are not committed)",
        "d" * 64,
        "numpy 2.4.6",
        "projection.seed = 0",
        "clustering.k=10",
        "2 cores",
    ):
        assert wanted in text
    for stage in STAGES:
        assert stage in text


def test_what_the_source_knows_of_the_data_is_shown() -> None:
    facts = {"variant": "ROCOv2 test, <9,927> rows", "rows": 9927, "split": None, "label_tables": ["a.csv", "b.csv"]}
    made = record(dataset={"name": "x", "fingerprint": "d", "facts": facts})
    page = Page(render(FakeRun(record_=made)))
    assert "The data variant ROCOv2 test, <9,927> rows rows 9,927 label tables a.csv, b.csv" in page.text
    assert "Nothing was removed" not in page.text  # nobody looked for duplicates
    made["config"]["report"]["hide"] = ["path"]
    text = Page(render(FakeRun(record_=made))).text
    assert "a.csv" not in text and "ROCOv2 test" in text


def test_data_that_nobody_looked_at_have_no_section() -> None:
    made = record()
    made["config"]["data_quality"] = {"near_duplicate": 0.95}
    assert "quality" not in [attrs["id"] for attrs in Page(render(FakeRun(record_=made))).all("section")]
