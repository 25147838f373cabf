"""`from_run`: what a finished run has is taken as it is, and only what is new is done."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope, Result
from tests.cli.data import class_folders
from tests.cli.spoken import WORDS, cosines, spoken
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors

NAMED = ("projection=pca", "clustering.k=3", "text=words", f"text.words=[{','.join(WORDS)}]", "naming.permutations=20")


def stages(result: Result) -> list[str]:
    return [stage["name"] for stage in result.record["stages"]]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clipscope, Result]:
    """A run with named clusters."""
    cli = Clipscope(tmp_path_factory.mktemp("from run"))
    return cli, cli(*spoken(cli.place / "given"), "analysis=naming", *NAMED)


def test_only_what_is_asked_for_otherwise_is_done(first: tuple[Clipscope, Result]) -> None:
    """And it gives what a run from the start gives, under the same keys."""
    cli, run = first
    made = cli(f"from_run={run.folder}", "analysis=naming", "clustering.k=4")
    assert stages(made) == ["clustering", "naming"]
    assert made.record["taken"]["runs"] == {"from_run": str(run.folder)}
    assert made.record["images"] == run.record["images"]
    whole = cli(*spoken(cli.place / "given"), "analysis=naming", *NAMED[:1], "clustering.k=4", *NAMED[2:])
    assert whole.hits["naming"] == whole.hits["clustering"] == "hit"
    mine, theirs = load_run(made.folder), load_run(whole.folder)
    pd.testing.assert_frame_equal(mine["group_names"], theirs["group_names"])
    pd.testing.assert_frame_equal(mine["images"], theirs["images"])
    np.testing.assert_array_equal(mine["image_embeddings"], theirs["image_embeddings"])
    assert set(load_run(made.folder)["clusters"]) == {0, 1, 2, 3}
    redrawn = cli("analysis=redraw", f"run={made.folder}", "plots.width_mm=85")
    assert redrawn.status == 0
    assert "redrawn" in json.loads((made.folder / "run.json").read_text())


def test_a_run_from_a_run_from_a_run(first: tuple[Clipscope, Result]) -> None:
    cli, run = first
    searched = cli(f"from_run={run.folder}", "analysis=search", "search.queries=[dark]", "search.k=3")
    assert stages(searched) == ["encoder", "query_images", "search"]
    told = cli(f"from_run={searched.folder}", "analysis=zero_shot", "zero_shot.resamples=100")
    best = cosines([f"a photo of {name}" for name in ("high", "low", "middle")]).argmax(axis=1)
    found = load_run(told.folder)["predictions"]["predicted"]
    assert found.tolist() == [("high", "low", "middle")[i] for i in best]
    third = cli(f"from_run={told.folder}", "stages=[clustering]", "clustering.k=3")
    assert stages(third) == ["neighbours", "projection", "clustering"]
    assert third.hits["clustering"] == "hit", "the same vectors, the same keys"
    np.testing.assert_array_equal(load_run(third.folder)["clusters"], load_run(run.folder)["clusters"])


def test_what_the_run_has_already_is_shown_again(first: tuple[Clipscope, Result]) -> None:
    cli, run = first
    again = cli(f"from_run={run.folder}", "analysis=naming")
    assert stages(again) == ["clustering", "naming"]
    assert set(again.hits.values()) == {"hit"}
    assert load_run(again.folder)["group_names"].equals(load_run(run.folder)["group_names"])


def test_a_run_that_was_moved(first: tuple[Clipscope, Result], tmp_path: Path) -> None:
    cli, run = first
    shutil.copytree(run.folder, tmp_path / "moved run")
    made = cli("from_run=moved run", "analysis=search", "search.queries=[grey]", "search.k=2", cwd=tmp_path)
    hits = load_run(made.folder)["hits"]
    assert hits["id"].tolist() == [f"{i:04d}" for i in np.argsort(-cosines(["grey"])[:, 0])[:2]]
    assert made.record["config"]["from_run"] == str(tmp_path / "moved run")


def test_what_the_call_may_not_name(first: tuple[Clipscope, Result], tmp_path: Path) -> None:
    cli, run = first
    words = ("analysis=search", "search.queries=[dark]")
    for given, said in (
        ((f"from_run={run.folder}", "dataset=digits"), "dataset: has no effect with from_run"),
        ((f"from_run={run.folder}", "images.max_pixels=9"), "images.max_pixels: has no effect with from_run"),
        ((f"from_run={run.folder}", "encoder=none"), "not with none raw pixels: vectors of different encoders do not"),
        ((f"from_run={run.folder}", f"run={run.folder}"), "run = ...: only analysis=redraw takes it"),
        ((f"from_run={tmp_path}",), f"from_run: {tmp_path}: not a run folder: it has no run.json"),
        ((f"from_run={tmp_path}/no/where",), "not a run folder"),
    ):
        result = cli(*words, *given, status=2)
        assert said in result.err
        assert result.err.count("error:") == len(result.err.splitlines()) == 1
    (tmp_path / "run.json").write_text("{")
    assert "damaged" in cli(*words, f"from_run={tmp_path}", status=2).err
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    assert "its record holds no config" in cli(*words, f"from_run={tmp_path}", status=2).err


def test_a_run_that_failed(first: tuple[Clipscope, Result]) -> None:
    """What it had before is taken."""
    cli, _ = first
    failed = cli(*spoken(cli.place / "given"), "analysis=search", "search.queries=[drak]", status=1)
    made = cli(f"from_run={failed.folder}", "analysis=search", "search.queries=[dark]")
    assert stages(made) == ["encoder", "query_images", "search"]
    nothing = cli(f"from_run={failed.folder}", "analysis=tagging", status=2)
    assert "it needs texts" in nothing.err


def test_a_run_without_images(first: tuple[Clipscope, Result]) -> None:
    cli, _ = first
    texts = cli(*spoken(cli.place / "given")[2:], "analysis=text_index", "text=words", "text.words=[dark,grey]")
    none = cli(f"from_run={texts.folder}", "analysis=tagging", status=2)
    assert none.err == f"error: from_run: {texts.folder}: the run has no images, which 'tagging' needs\n"
    other = cli(f"from_run={texts.folder}", "analysis=text_index", "text=words", "text.words=[dark]", status=2)
    assert "nothing can be taken: all that it has was made with other settings" in other.err


def test_sweeps(first: tuple[Clipscope, Result]) -> None:
    """Over queries; a job's folder can be taken, the sweep's cannot."""
    cli, run = first
    swept = cli("-m", f"from_run={run.folder}", "analysis=search", "search.queries=[dark],[bright]", "search.k=2")
    assert swept.status == 0
    (sweep,) = cli.sweeps()
    for number, word in enumerate(("dark", "bright")):
        hits = load_run(sweep / str(number))["hits"]
        assert hits["query_text"].unique().tolist() == [word]
        assert hits["id"].tolist() == [f"{i:04d}" for i in np.argsort(-cosines([word])[:, 0])[:2]]
    words = ("analysis=search", "search.queries=[grey]")
    assert "not a run folder" in cli(*words, f"from_run={sweep}", status=2).err
    assert stages(cli(*words, f"from_run={sweep}/1")) == ["encoder", "query_images", "search"]


def test_a_run_that_still_runs(first: tuple[Clipscope, Result], tmp_path: Path) -> None:
    """And one that was killed."""
    cli, run = first
    going = tmp_path / "going"
    shutil.copytree(run.folder, going)
    waiting = cli.start("dataset=digits", "encoder.size=8", "projection=umap", "clustering.k=3")
    try:
        record = json.loads((going / "run.json").read_text())
        process = {"pid": waiting.pid, "host": record["process"]["host"], "started": None}
        (going / "run.json").write_text(json.dumps({**record, "status": "running", "process": process}))
        words = ("analysis=search", "search.queries=[dark]", f"from_run={going}")
        assert cli(*words, status=2).err == f"error: from_run: {going}: still running\n"
    finally:
        waiting.send_signal(signal.SIGKILL)
        waiting.communicate()
    assert stages(cli(*words)) == ["encoder", "query_images", "search"]


NO_TORCH = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "open_clip", "torchvision", "transformers"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refused())
"""


def test_a_cached_query_loads_no_model(tmp_path: Path) -> None:
    """Not even the library that would. Images that are gone are no matter; weights may lie elsewhere."""
    cli = Clipscope(tmp_path)
    class_folders(tmp_path / "images", {"cats": 5, "dogs": 5})
    save_safetensors(tmp_path / "tiny.safetensors", random_state(TINY_VIT))
    encoder = ("encoder=openai", f"encoder.weights={tmp_path}/tiny.safetensors")
    asked = f'search.images=["{tmp_path}/query.png"]'
    shutil.copyfile(tmp_path / "images/dogs/image 003.png", tmp_path / "query.png")
    run = cli("dataset=folders", f"dataset.root={tmp_path}/images", *encoder, "analysis=search", "device=cpu",
              "search.queries=[a dog]")  # fmt: skip
    words = (f"from_run={run.folder}", "analysis=search", "search.queries=[a cat]", asked)
    (tmp_path / "images").rename(tmp_path / "moved")
    found = cli(*words)
    assert "images for the pictures can no longer be read" in found.err
    hits = load_run(found.folder)["hits"]
    assert hits.loc[hits["query"] == 1, "id"].iloc[0] == "dogs/image 003.png"
    assert set(hits["query_text"]) == {"a cat", "query.png"}, "what the run itself was asked is not asked again"

    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(NO_TORCH)
    guarded = Clipscope(tmp_path, environment={"PYTHONPATH": str(tmp_path / "guard")})
    again = guarded(*words)
    assert again.hits["search"] == "hit"
    pd.testing.assert_frame_equal(load_run(again.folder)["hits"], hits)
    new = guarded(*words[:2], "search.queries=[a tree]", status=1)
    assert "was imported" in new.err, "else the guard guards nothing"

    (tmp_path / "tiny.safetensors").rename(tmp_path / "elsewhere.safetensors")
    assert "encoder.weights: no such file" in cli(*words, status=2).err
    elsewhere = guarded(*words, "encoder=openai", f"encoder.weights={tmp_path}/elsewhere.safetensors")
    assert elsewhere.hits["search"] == "hit"
    save_safetensors(tmp_path / "other.safetensors", random_state(TINY_VIT, seed=1))
    other = cli(*words, "encoder=openai", f"encoder.weights={tmp_path}/other.safetensors", status=2)
    assert "with other weights or settings: vectors of different encoders do not compare" in other.err
