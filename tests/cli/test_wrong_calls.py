"""A wrong call: exit status 2, a line per mistake: where, what is allowed, what is nearest; nothing is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import HOME, Clipscope
from tests.cli.data import class_folders, picture

WRONG = [
    (["encoder=nonne"], ["encoder=nonne: no such choice; did you mean none?"]),
    (["projection=umpa"], ["projection=umpa", "did you mean umap?", "pca"]),
    (["encodr=none"], ["encodr: no such setting; did you mean encoder?"]),
    (["clustering.kk=3"], ["clustering.kk: no such setting", "n_init"]),
    (["paths.output=x"], ["paths.output: no such setting; did you mean outputs?"]),
    (["+clustering.kk=3"], ["clustering.kk: no such setting"]),
    (["projection=pca", "projection.n_neighbors=5"], ["projection.n_neighbors", "projection=umap has it"]),
    (["clustering.k=1"], ["clustering.k = 1: must be at least 2"]),
    (["clustering.k=ten"], ["clustering.k = ten: must be a whole number"]),
    (["clustering.k=2.5"], ["clustering.k = 2.5: must be a whole number"]),
    (["clustering.k=5000"], ["clustering.k = 5000: more clusters than images (901)"]),
    (["seed=-1"], ["seed = -1: must be from 0 to"]),
    (["seed=null"], ["seed: cannot be null"]),
    (["encoder.color=grey"], ["encoder.color = grey: not allowed; did you mean gray?"]),
    (["projection.min_dist=2"], ["projection.min_dist = 2.0: must be from 0 to 1"]),
    (
        ["clustering.k=1", "encoder.size=0", "dataset.max_unreadable=3"],
        ["clustering.k", "encoder.size", "max_unreadable"],
    ),
    (["dataset.limit=0"], ["dataset.limit = 0: must be at least 1"]),
    (["runs=[a,b]"], ["runs = ...: only analysis=compare takes it"]),
    (["analysis=compare"], ["analysis=compare needs 'runs=[<folder of a finished run>,<another>]'"]),
    (["analysis=compare", "runs=[a,b]", "clustering.k=2"], ["clustering.k: has no effect with analysis=compare"]),
    (["stages=[clusterin]"], ["no stage 'clusterin'; did you mean clustering?"]),
    (["stages=[]"], ["stages = []: name at least one stage"]),
    (["stages=clustering"], ["stages: must be a list"]),
    (["dataset=folders"], ["needs either dataset.root=<folder> or dataset.pairs"]),
    (["dataset=folders", "dataset.pairs=[a,/x,b]"], ["dataset.pairs has 3 entries", "even number"]),
    (["dataset=folders", "dataset.root=/nowhere/at/all"], ["dataset.root: no such folder: /nowhere/at/all"]),
    (["dataset=folders", "dataset.root=/x", "dataset.group='(a'"], ["dataset.group = (a: not a regular expression"]),
    (["dataset.pairs=[a,b (2)]"], ["cannot be read as key=value", "quotes inside quotes"]),
    (["clustering.k=4,8"], ["clustering.k=4,8", "add -m to sweep"]),
    (["plots.formats=[gif]"], ["plots.formats", "gif", "png, svg, pdf"]),
    (["report.hide=[paths]"], ["report.hide", "paths", "path, caption, id, images"]),
    (["report.hide=[path,path]"], ["report.hide", "twice"]),
    (["analysis=class_distance"], ["did you mean class_distances?"]),
    (["prompts=openai8"], ["prompts=openai8: no such choice; did you mean openai80?", "photo"]),
    (["prompts.templates=[a photo]"], ["prompts.templates: 'a photo' must hold {}", "exactly once"]),
    (["prompts.templates=['{} or {}']"], ["'{} or {}' must hold {}", "exactly once"]),
    (["prompts.templates=[]"], ["prompts.templates = []: name at least one"]),
    (["prompts.templates=['a {}','a {}']"], ["prompts.templates", "twice"]),
    (["seed=${nothing}"], ["nothing"]),
    (["~encoder"], ["encoder: not one of the choices: checkpoint, "]),
    (["clustering=null"], ["a group takes the name of one of its choices", "clustering=<choice>"]),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_one_line_status_two_nothing_done(cli: Clipscope, words: list[str], said: list[str]) -> None:
    result = cli(*words, status=2)
    lines = result.err.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines), result.err
    assert len(lines) <= len(words)
    for fragment in said:
        assert fragment in result.err
    assert not result.out
    assert not list(cli.place.glob("outputs/**/run.json"))


def test_a_wrong_call_imports_nothing_heavy(cli: Clipscope) -> None:
    words = cli.arguments("clustering.k=1")
    done = subprocess.run([words[0], "-X", "importtime", *words[1:]], capture_output=True, text=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"numpy", "pandas", "torch", "matplotlib", "sklearn", "umap", "pyarrow", "cv2"}


def test_help_teaches_and_imports_no_library() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(HOME / "run.py"), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for choice in (
        "dataset=digits",
        "dataset=folders",
        "encoder=none",
        "projection=umap",
        "clustering=kmeans",
        "analysis=full",
    ):
        assert choice in done.stdout
    calls = done.stdout.split("Calls worth copying\n")[1].split("\n\n")[0]
    assert calls.count("python run.py") >= 10
    assert "_schema" not in done.stdout
    assert "_common" not in done.stdout
    assert "hydra" not in done.stderr


def test_every_choice_and_setting_is_in_the_help() -> None:
    shown = subprocess.run([sys.executable, str(HOME / "run.py"), "--help"], capture_output=True, text=True).stdout
    for file in HOME.glob("conf/*/*.yaml"):
        if not file.stem.startswith("_") and file.parent.name != "user":
            assert f"{file.parent.name}={file.stem}" in shown
    for key in (
        "seed=",
        "cache=",
        "dry_run=",
        "paths.outputs=",
        "plots.formats=",
        "report.hide=",
        "embedding.workers=",
    ):
        assert f"  {key}" in shown


class TestFolders:
    def test_missing_folder_of_a_pair_names_class_and_nearest(self, cli: Clipscope, three_classes: Path) -> None:
        result = cli("dataset=folders", f"dataset.pairs=[dogs,{three_classes}/dgs]", status=2)
        assert "dataset.pairs, class 'dogs': no such folder" in result.err
        assert "did you mean dogs?" in result.err

    def test_same_name_and_same_folder_twice(self, cli: Clipscope, three_classes: Path) -> None:
        dogs = three_classes / "dogs"
        assert "given 2 times" in cli("dataset=folders", f"dataset.pairs=[a,{dogs},a,{dogs}]", status=2).err
        assert "are the same folder" in cli("dataset=folders", f"dataset.pairs=[a,{dogs},b,{dogs}/.]", status=2).err

    def test_an_empty_class_folder(self, cli: Clipscope, three_classes: Path) -> None:
        (three_classes / "empty").mkdir()
        result = cli("dataset=folders", f"dataset.root={three_classes}", status=2)
        assert "class folder 'empty' of dataset.root: no images" in result.err
        assert "dataset.recursive=true" in result.err

    def test_no_images_at_all(self, cli: Clipscope, tmp_path: Path) -> None:
        (tmp_path / "nothing").mkdir()
        assert "no images in" in cli("dataset=folders", f"dataset.root={tmp_path / 'nothing'}", status=2).err

    def test_class_distances_without_labels_are_refused_when_named(self, cli: Clipscope, tmp_path: Path) -> None:
        flat = class_folders(tmp_path / "flat", {"": 6})
        for words in (["analysis=class_distances"], ["stages=[class_distances]"]):
            result = cli("dataset=folders", f"dataset.root={flat}", *words, status=2)
            assert "class distances need classes" in result.err

    def test_fewer_images_than_a_projection_needs(self, cli: Clipscope, tmp_path: Path) -> None:
        few = class_folders(tmp_path / "few", {"a": 2, "b": 2})
        result = cli("dataset=folders", f"dataset.root={few}", "analysis=clustering", status=2)
        assert "projection=umap in 5 dimensions needs at least 7 images, and there are 4" in result.err


class TestPlaces:
    def test_outputs_that_cannot_be_written(self, cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
        (tmp_path / "a file").write_text("in the way")
        result = cli("dataset=folders", f"dataset.root={three_classes}", f'paths.outputs="{tmp_path}/a file"', status=2)
        assert result.err.startswith("error: paths.outputs: cannot write")

    def test_cache_that_cannot_be_written(self, cli: Clipscope, three_classes: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        result = cli("dataset=folders", f"dataset.root={three_classes}", f"paths.cache={tmp_path}/file", status=2)
        assert result.err.startswith("error: paths.cache: cannot write")

    def test_relative_inputs_start_where_the_command_is_typed(self, cli: Clipscope, three_classes: Path) -> None:
        picture(three_classes.parent / "x.png", 0)
        result = cli("dataset=folders", "dataset.root=images", "analysis=class_distances", cwd=three_classes.parent)
        assert result.record["config"]["dataset"]["root"] == str(three_classes)
