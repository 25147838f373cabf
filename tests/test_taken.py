"""What is taken from finished runs, and what is not, on runs that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import schema
from pipeline.errors import CallError
from pipeline.run_dir import ARTIFACTS, write_json
from pipeline.schema import Config, plain
from pipeline.stages import known_stages
from pipeline.taken import Taken, same_encoder, takings
from tests.making import config as base
from tests.stages.words import section, table_of

KNOWN = known_stages()
IMAGES = table_of(["a", "b", "a", "b"], **dict.fromkeys(["content_hash"], "x"), path=[f"/i/{i}.png" for i in range(4)])
VECTORS = np.eye(4, 3, dtype=np.float32)


def config(**changes: Any) -> Config:
    """As the call would be, with all sections of words."""
    words = schema.WordsText("words", "words", ["up", "down"], "")
    prompts = schema.PromptSettings("photo", ["a photo of {}"])
    sections = {name: section(name) for name in ("index", "tagging", "naming", "zero_shot", "retrieval", "search")}
    sections |= {"k_selection": section("k_selection"), "data_quality": section("data_quality")}
    made: Config = base(**{"text": words, "prompts": prompts, "from_run": None, **sections, **changes})
    return made


MADE: dict[str, Any] = {
    "image_embeddings": VECTORS,
    "reading": pd.DataFrame({"id": IMAGES["id"], "read": True}),
    "images": IMAGES,
    "skipped": pd.DataFrame(columns=["id", "path", "reason", "detail"]),
    "map": VECTORS[:, :2],
    "projection": VECTORS[:, :2],
    "clusters": np.array([0, 1, 0, 1]),
    "centroids": VECTORS[:2],
    "neighbour_rows": np.zeros((4, 1), np.int32),
    "texts_summary": pd.DataFrame({"entries": [2]}),
    "text_embeddings": VECTORS[:2],
    "text_encoding": pd.DataFrame({"texts": [2]}),
    "text_index_quality": pd.DataFrame({"recall": [1.0]}),
    "group_names": pd.DataFrame({"kind": ["cluster"], "group": ["cluster 0"], "rank": [1], "text": ["up"]}),
    "tags": pd.DataFrame({"id": ["image 0"], "rank": [1], "text": ["up"]}),
}  # fmt: skip
STAGES = ("embedding", "images", "neighbours", "projection", "clustering", "texts", "text_embedding", "text_index",
          "tagging", "naming")  # fmt: skip


def a_run(folder: Path, finished: tuple[str, ...] = STAGES, status: str = "complete", **changes: Any) -> Path:
    """A run folder whose stages are done, with `key-<stage>` as their keys; `changes` are of its record."""
    folder.mkdir(parents=True)
    for name in finished:
        for artifact in KNOWN[name].makes:
            if artifact in MADE:
                ARTIFACTS[artifact].save(MADE[artifact], folder)
    for name in {"texts", "text_index"}.intersection(finished):
        for file in ARTIFACTS[name].files():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
    done = [{"name": name, "status": "done", "key": f"key-{name}"} for name in finished]
    encoder = {"name": "openai", "model": "RN50", "fingerprints": {"images": "i", "texts": "t"}}
    record = {"status": status, "config": plain(config()), "stages": done, "encoder": encoder}
    write_json(folder / "run.json", {**record, "dataset": {"facts": {"of": "these"}}, **changes})
    return folder


def taken(folder: Path, stages: tuple[str, ...] = ("search",), **changes: Any) -> Taken:
    (found,) = takings(config(from_run=str(folder), stages=list(stages), **changes), KNOWN)
    return found


def test_what_is_done_is_taken_with_its_key(tmp_path: Path) -> None:
    found = taken(a_run(tmp_path / "run"))
    assert set(found.makers) == set(STAGES)
    assert found.keys["image_embeddings"] == "image_embeddings:key-embedding"
    assert found.keys["reading"] == "reading:key-embedding"
    assert found.keys["clusters"] == "clusters:key-clustering"
    assert "encoder" not in found.keys, "what looks at the world is not taken"
    assert found.found().facts == {"of": "these"}
    assert found.found().table["label"].tolist() == ["a", "b", "a", "b"]


def test_what_a_maker_made_is_taken_whole(tmp_path: Path) -> None:
    """So that what is taken can be taken again."""
    files = taken(a_run(tmp_path / "run")).files({"clusters", "image_embeddings"})
    assert set(files) == {
        "clustering/clusters.npy", "clustering/centroids.npy", "embeddings/img_emb/img_emb_0000.npy",
        "embedding/reading.parquet", "embedding/reading.csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({}, set()),
        ({"clustering": schema.KmeansClustering("kmeans", schema.Space.projection, 4, 10, 0)}, {"clustering"}),
        ({"projection": schema.PcaProjection("pca", 2)}, {"neighbours", "projection", "clustering"}),
        ({"text": schema.WordsText("words", "words", ["up"], "")}, {"texts", "text_embedding", "text_index"}),
        ({"text": schema.WordsText("words", "words", ["up", "down"], "a ")}, {"text_embedding", "text_index"}),
        ({"text": schema.LabelsText("labels", "labels", "")}, {"texts", "text_embedding", "text_index"}),
        ({"index": section("index", recall=0.5)}, {"text_index"}),
        ({"plots": schema.PlotSettings([schema.PictureFormat.svg], 300, 85.0, schema.Palette.tab10)}, set()),
    ],
)
def test_what_is_asked_for_otherwise_is_done_anew(tmp_path: Path, changes: dict[str, Any], anew: set[str]) -> None:
    """With all that follows from it."""
    found = taken(a_run(tmp_path / "run"), **changes)
    follows = {"tagging"} if anew & {"text_index", "clustering"} else set()
    follows |= {"naming"} if anew & {"text_embedding", "clustering"} else set()
    assert set(found.makers) == set(STAGES) - anew - follows


@pytest.mark.parametrize("changes", [{"min_score": 0.2}, {"k": 7}])
def test_a_setting_that_was_null_is_another_when_it_is_given(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "tagging" not in taken(a_run(tmp_path / "run"), tagging=section("tagging", **changes)).makers


def test_settings_that_the_run_did_not_know_are_no_difference(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    del record["config"]["tagging"]["hub_correction"], record["config"]["data_quality"]
    del record["config"]["clustering"]["n_init"]
    write_json(folder / "run.json", record)
    assert set(taken(folder).makers) == set(STAGES)


def test_what_is_to_be_written_elsewhere_is_not_taken_but_done(tmp_path: Path) -> None:
    """tagging.sidecars=true on a run that has tags."""
    folder = a_run(tmp_path / "run")
    sidecars = section("tagging", sidecars=True)
    assert "tagging" not in taken(folder, ("tagging",), tagging=sidecars).makers
    assert "tagging" in taken(folder, ("search",), tagging=sidecars).makers


def test_what_may_be_used_counts_where_it_comes_anew(tmp_path: Path) -> None:
    """Names without clusters are not the names of a run with clusters."""
    folder = a_run(tmp_path / "run", ("embedding", "images", "texts", "text_embedding", "naming"))
    assert "naming" in taken(folder, ("search",)).makers
    assert "naming" not in taken(folder, ("clustering", "naming")).makers


def test_a_stage_that_was_not_done_is_not_taken(tmp_path: Path) -> None:
    stages = [{"name": "embedding", "status": "done", "key": "k"}, {"name": "images", "status": "failed"}]
    folder = a_run(tmp_path / "run", ("embedding", "images"), status="failed", stages=stages)
    assert set(taken(folder).makers) == {"embedding"}
    missing = a_run(tmp_path / "missing")
    for file in (missing / "clustering").iterdir():
        file.unlink()
    assert set(taken(missing).makers) == set(STAGES) - {"clustering", "tagging", "naming"}


def test_what_was_never_cached_has_no_key(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", ("embedding",), stages=[{"name": "embedding", "status": "done", "key": None}])
    assert taken(folder).keys["image_embeddings"] is None


def test_a_run_that_has_itself_taken(tmp_path: Path) -> None:
    before = {"runs": {}, "stages": {"embedding": "older", "images": "old"}}
    folder = a_run(tmp_path / "run", ("embedding", "images"), stages=[], taken=before)
    assert taken(folder).makers == {"embedding": "older", "images": "old"}


@pytest.mark.parametrize(
    ("stages", "changes", "said"),
    [
        ((), {}, "nothing can be taken: no stage of it came to its end"),
        (("texts",), {"text": schema.WordsText("words", "words", ["x"], "")},
         "nothing can be taken: all that it has was made with other settings"),
    ],
)  # fmt: skip
def test_nothing_to_take(tmp_path: Path, stages: tuple[str, ...], changes: dict[str, Any], said: str) -> None:
    folder = a_run(tmp_path / "run", stages)
    with pytest.raises(CallError) as caught:
        taken(folder, **changes)
    assert str(caught.value.problems[0]) == f"from_run: {folder}: {said}"


def test_a_run_that_still_runs(tmp_path: Path) -> None:
    import os
    import socket

    process = {"pid": os.getpid(), "host": socket.gethostname(), "started": None}
    folder = a_run(tmp_path / "run", status="running", process=process)
    with pytest.raises(CallError) as caught:
        taken(folder)
    assert list(caught.value.problems) == [f"from_run: {folder}: still running"]
    killed = a_run(tmp_path / "killed", status="running", process=process | {"started": "1"})
    assert "images" in taken(killed).keys


def of_index(folder: Path, stages: tuple[str, ...] = ("tagging",)) -> tuple[Taken, ...]:
    return takings(config(tagging=section("tagging", index=str(folder)), stages=list(stages)), KNOWN)


def test_an_index_of_another_run(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    for named in (folder / "text_index", folder):
        (found,) = of_index(named)
        assert found.key == "tagging.index"
        assert set(found.makers) == {"texts", "text_embedding", "text_index"}
        assert "image_embeddings" not in found.keys
    assert of_index(folder, ("search",)) == ()
    both = takings(
        config(tagging=section("tagging", index=str(folder)), stages=["tagging"], from_run=str(folder)), KNOWN
    )
    assert [some.key for some in both] == ["from_run", "tagging.index"]


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(
        CallError, match=r"^tagging.index: .*/nowhere: must be the text_index folder of a finished run$"
    ):
        of_index(tmp_path / "nowhere")
    folder = a_run(tmp_path / "run", ("embedding", "images", "texts", "text_embedding"))
    with pytest.raises(CallError, match="the run has no finished 'text_index'"):
        of_index(folder / "text_index")


def test_vectors_of_another_encoder(tmp_path: Path) -> None:
    found = taken(a_run(tmp_path / "run"))
    facts = {"name": "openai", "model": "RN50", "fingerprints": {"images": "i", "texts": "t"}}
    same_encoder(found, facts, "images")
    same_encoder(found, facts, "texts")
    with pytest.raises(
        CallError, match=r"^from_run: its images were encoded with openai RN50, not with openai RN101: "
    ):
        same_encoder(found, facts | {"model": "RN101", "fingerprints": {"images": "j", "texts": "t"}}, "images")
    with pytest.raises(CallError, match="its texts were encoded with openai RN50, with other weights or settings: "):
        same_encoder(found, facts | {"fingerprints": {"images": "i", "texts": "u"}}, "texts")


def test_a_run_without_images(tmp_path: Path) -> None:
    found = taken(a_run(tmp_path / "run", ("texts", "text_embedding", "text_index"))).found()
    assert len(found.table) == 0
    assert found.classes == ()
