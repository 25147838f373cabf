"""analysis=training from the command line: a checkpoint for the next call, resume, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline.run_dir import load_run
from tests.cli.command import Clipscope, Result
from tests.cli.data import class_folders, picture
from tests.inference.training.models import CAPTIONS, bar

SMALL = [
    "analysis=training", "training.architecture.image_size=16", "training.architecture.patch=4",
    "training.architecture.width=32",
    "training.architecture.layers=1", "training.architecture.dimension=16", "training.architecture.text_width=32",
    "training.architecture.text_layers=1", "training.batch_size=16", "training.threads=1",
]  # fmt: skip
QUICK = [*SMALL, "training.epochs=2"]


def captioned(folder: Path, copies: int, split: bool = False) -> Path:
    """A table of pictures of coloured bars, captioned; one more has no caption, one is no picture."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = []
    for i in range(copies * len(CAPTIONS)):
        caption = CAPTIONS[i % len(CAPTIONS)]
        Image.fromarray(np.moveaxis(bar(caption, random), 0, -1)).save(folder / f"{i:04d}.png")
        rows.append([f"{i:04d}.png", caption, ("train", "val", "train", "test", "train")[i % 5] if split else ""])
    (folder / "broken.png").write_bytes(b"no picture")
    picture(folder / "silent.png", 1)
    rows += [["broken.png", CAPTIONS[0], "train" if split else ""], ["silent.png", "  ", "train" if split else ""]]
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption", "split"], *rows])
    return folder / "table.csv"


def refused(cli: Clipscope, *words: str, status: int) -> str:
    result = cli(*words, status=status)
    assert "Traceback" not in result.err
    return result.err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def table(place: Path) -> Path:
    return captioned(place / "bars", 60, split=True)


@pytest.fixture(scope="module")
def bars(place: Path, table: Path) -> Result:
    """Generated captioned pictures, with splits."""
    cli = Clipscope(place / "bars_run")
    learn = ["training.epochs=15", "training.lr=0.003", "training.warmup=0.1", "training.weight_decay=0.1"]
    return cli(*SMALL, *learn, "dataset=table", f"dataset.path={table}")


def test_recall_of_generated_pictures_is_well_over_chance(bars: Result) -> None:
    found = bars.metrics
    for part in ("valid", "test"):
        for way in ("image_to_text", "text_to_image"):
            assert found[f"training/{part}_{way}_recall_at_1"] > 0.8
            assert found[f"training/{part}_chance_{way}_recall_at_1"] < 0.25
    assert (found["training/train_images"], found["training/valid_images"], found["training/test_images"]) == (
        288,
        96,
        96,
    )
    assert found["training/left_out"] == 2


def test_what_was_left_out_is_told(bars: Result) -> None:
    images = load_run(bars.folder)["training_images"]
    gone = images[images["part"] == ""].set_index("id")
    assert gone.loc["silent.png", "reason"] == "no text"
    assert gone.loc["broken.png", "reason"] not in ("", "no text", "another split")
    assert "1 images have no caption" in bars.err
    assert bars.record["images"]["skipped"] == 2


def test_the_console_says_how_to_use_it(bars: Result) -> None:
    place = bars.folder / "training" / "checkpoint"
    assert f"checkpoint: {place}" in bars.out
    assert f"python run.py encoder=checkpoint encoder.path={place}" in bars.out
    open_clip.create_model(f"local-dir:{place}")


def test_the_card(bars: Result) -> None:
    card = json.loads((bars.folder / "training" / "checkpoint" / "card.json").read_text())
    assert card["command"].startswith("python run.py analysis=training")
    assert card["recipe"]["threads"] == 1
    assert card["recipe"]["shared"] is True
    assert card["metrics"]["train_images"] == 288
    assert card["data"]["dataset"] == "table"
    assert card["base"] == {"kind": "scratch"}
    last = json.loads((bars.folder / "training" / "last" / "card.json").read_text())
    assert last["epoch"] == 15
    curves = load_run(bars.folder)["training_curves"]
    assert curves["epoch"].tolist() == list(range(16))
    assert card["epoch"] == int(curves["valid_loss"].argmin())


def test_it_is_used_by_the_next_run(place: Path, table: Path, bars: Result) -> None:
    cli = Clipscope(place / "bars_run")
    checkpoint = bars.folder / "training" / "checkpoint"
    found = cli("analysis=retrieval", "encoder=checkpoint", f"encoder.path={checkpoint}", "precision.mode=fp32",
                "dataset=table", f"dataset.path={table}", "dataset.splits=[test]")  # fmt: skip
    assert (
        found.metrics["retrieval/image_to_text/recall_at_1"] == bars.metrics["training/test_image_to_text_recall_at_1"]
    )
    assert found.metrics["retrieval/text_to_image/recall_at_1"] == pytest.approx(
        bars.metrics["training/test_text_to_image_recall_at_1"]
    )


def test_it_is_a_base_and_is_cached(place: Path, table: Path, bars: Result) -> None:
    cli = Clipscope(place / "bars_run")
    checkpoint = bars.folder / "training" / "checkpoint"
    words = [*QUICK, "training.base=checkpoint", f"training.weights={checkpoint}", "training.train=heads",
             "training.layer_decay=0.8", "training.augment=crop", "dataset=table", f"dataset.path={table}"]  # fmt: skip
    found = cli(*words)
    curves = load_run(found.folder)["training_curves"]
    start = bars.metrics["training/valid_image_to_text_recall_at_1"]
    assert curves["image_to_text_recall_at_1"][0] == start  # before the first epoch it is the base
    assert cli(*words).hits["training"] == "hit"


def test_killed_and_started_again(place: Path, table: Path) -> None:
    """SIGKILL in the middle; the same call gives the same file as one that was left alone."""
    words = [*SMALL, "training.epochs=8", "dataset=table", f"dataset.path={table}"]
    whole = Clipscope(place / "whole")(*words)
    cli = Clipscope(place / "killed")
    process = cli.start(*words)
    state = cli.place / "cache" / "training"
    unfinished = str(Path("*.partial", "work", "training", "last.pt"))
    until = time.monotonic() + 200
    while not list(state.glob(unfinished)) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(state.glob(unfinished))
    again = cli(*words)
    for name in ("checkpoint", "last"):
        files = [run.folder / "training" / name / "open_clip_model.safetensors" for run in (whole, again)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert load_run(again.folder)["training_curves"].equals(load_run(whole.folder)["training_curves"])


def test_class_names(place: Path) -> None:
    cli = Clipscope(place / "classes")
    root = class_folders(place / "cats_and_dogs", {"cat": 12, "dog": 12})
    shutil.copyfile(root / "cat" / "image 000.png", root / "cat" / "image 100.png")
    found = cli(
        *QUICK, "dataset=folders", f"dataset.root={root}", 'training.names=["cat=kitty"]', "training.valid_share=0.3"
    )
    assert "training/valid_zero_shot_top1" in found.metrics
    assert found.metrics["training/valid_copies"] == 0
    words = json.loads((found.folder / "training" / "checkpoint" / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"cat", "dog", "kitty", "photo"} <= set(words)


def test_copies_across_splits_are_reported(place: Path) -> None:
    cli = Clipscope(place / "copies")
    path = captioned(place / "copied", 4, split=True)
    shutil.copyfile(path.parent / "0000.png", path.parent / "0001.png")
    found = cli(*QUICK, "dataset=table", f"dataset.path={path}")
    assert "1 images of the valid split are, to the byte, images that are learned from" in found.err
    assert found.metrics["training/valid_copies"] == 1


@pytest.fixture(scope="module")
def few(place: Path) -> Clipscope:
    return Clipscope(place / "few")


def rows(path: Path, lines: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption", "split"], *lines])
    return path


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        ([["0000.png", "a", ""]], 2, "one image cannot be told from others"),
        ([[f"{i:04d}.png", "the same", ""] for i in range(9)], 1, "training: all captions are equal"),
        ([[f"{i:04d}.png", " ", ""] for i in range(9)], 1, "neither captions nor labels"),
        ([[f"{i:04d}.png", f"a {i}", "train"] for i in range(4)] + [["broken.png", "b", "val"]], 1,
         "the validation split has no usable image"),
        ([[f"{i:04d}.png", f"a {i}", "train"] for i in range(4)] + [["0005.png", "b", "val"]], 1,
         "the validation split has 1 usable image"),
    ],
)  # fmt: skip
def test_too_little_to_learn_from(few: Clipscope, table: Path, lines: list[list[str]], status: int, said: str) -> None:
    path = rows(table.parent / "few.csv", lines)
    assert said in refused(few, *QUICK, "dataset=table", f"dataset.path={path}", status=status)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.architecture.patch=7"], "training.architecture: image_size 16 is no multiple of patch 7"),
        (["training.weights=x.pt"], "training.weights: has no effect with training.base=scratch"),
        (["training.base=checkpoint"], "training.weights: must be given with training.base=checkpoint"),
        (["training.base=checkpoint", "training.weights=/nowhere.pt"], "training.weights: no such file"),
        (["training.base=open_clip", "training.model=ViT-B-3"], "training.model: open_clip has no model 'ViT-B-3'"),
        (["training.recipe=tutorial", "training.base=openai"], "training.base = openai: the tutorial recipe trains"),
        (["training.captions=column"], "the data set has no captions"),
        (["training.lr=-1"], "training.lr = -1.0: must be from 0 to 10"),
    ],
)
def test_settings_that_do_not_go_together(few: Clipscope, words: list[str], said: str) -> None:
    assert said in refused(few, *QUICK, *words, "dataset=digits", status=2)


def test_a_base_without_a_text_side(few: Clipscope, tmp_path: Path) -> None:
    """The tutorial's image half alone."""
    import torch

    from tests.inference.encoders.test_tutorial import TutorialClip

    state = {name: value for name, value in TutorialClip().state_dict().items() if name.startswith("image_")}
    torch.save(state, tmp_path / "half.pt")
    words = ["training.recipe=tutorial", "training.base=checkpoint", f"training.weights={tmp_path / 'half.pt'}"]
    err = refused(few, *QUICK, *words, status=2)
    assert "training.weights: tutorial CLIP (ResNet-50, DistilBERT) sees images only" in err


def test_a_loss_that_is_no_number(few: Clipscope, bars: Result, table: Path, tmp_path: Path) -> None:
    """Weights so large that no loss can be computed from them."""
    shutil.copytree(bars.folder / "training" / "checkpoint", tmp_path / "large")
    file = tmp_path / "large" / "open_clip_model.safetensors"
    weights = load_file(file)
    save_file(weights | {"visual.proj": weights["visual.proj"].sign() * 3e38}, file)
    base = ["training.base=checkpoint", f"training.weights={tmp_path / 'large'}", "training.epochs=2"]
    err = refused(few, "analysis=training", *base, "dataset=table", f"dataset.path={table}", status=1)
    assert "the loss was not a number at epoch 1, batch 1 of" in err
    assert "nothing was learned before" in err
