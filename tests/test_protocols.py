"""What a call is compared with, and how it differs: read from the shipped experiments, nothing is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.errors import CallError
from pipeline.schema import Comparison, Config
from tests.making import ROOT

Read = Callable[..., Config]
PUBLISHING = sorted(
    file.stem for file in (ROOT / "conf" / "experiment").glob("[!_]*.yaml") if "published:" in file.read_text()
)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """The checked config of a call."""
    from hydra import compose, initialize_config_dir

    config.register()
    monkeypatch.setenv("CLIPSCOPE_HOME", str(ROOT))
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield lambda *words: config.read(compose("config", overrides=list(words)))


def told(found: Config) -> list[tuple[Any, ...]]:
    """(key, value, protocol) of what differs from the only row."""
    (only,) = found.experiment.compared
    return [(one.key, one.value, one.protocol) for one in only.differs]


def rows(found: Config) -> list[str]:
    return [f"{one.experiment}: {one.row.row}" for one in found.experiment.compared]


def test_there_are_the_experiments() -> None:
    assert PUBLISHING == ["mieb_clustering", "open_images_tsne", "pixels_kmeans", "rocov2_finetuned", "rocov2_none",
                          "rocov2_openai", "tac_kmeans", "zero_shot_table"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHING)
def test_an_experiment_differs_in_nothing_from_itself(name: str, read: Read) -> None:
    found = read(f"experiment={name}")
    assert told(found) == []
    assert found.experiment.compared[0].experiment == name and found.experiment.compared[0].source
    assert found.experiment.repeats > 1 or name == "zero_shot_table"  # in which nothing is random


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHING)
def test_any_choice_and_setting_can_be_overridden(name: str, read: Read) -> None:
    groups = ("dataset=digits", "encoder=none", "projection=pca", "clustering=hdbscan", "analysis=full")
    found = read(f"experiment={name}", *groups, "experiment.repeats=3")
    assert (found.dataset.source, found.encoder.name, found.experiment.repeats) == ("digits", "none", 3)
    assert told(found)
    assert not read(f"experiment={name}", *groups, "stages=[class_distances]").experiment.compared


def test_the_protocol_of_rocov2() -> None:
    """As published, number by number (seeds of the projection aside, of which there were none)."""
    from omegaconf import OmegaConf

    values = OmegaConf.load(ROOT / "conf" / "experiment" / "rocov2_openai.yaml").experiment.published[0]
    assert values["images"] == 9827
    assert dict(values.scores) == {
        "cluster_metrics/projection/silhouette": 0.5876759886741638,
        "cluster_metrics/projection/calinski_harabasz": 51398.360705656865,
        "cluster_metrics/projection/davies_bouldin": 0.5666104711243192,
    }


@pytest.mark.parametrize(("name", "k"), [("rocov2_none", 6), ("rocov2_openai", 8), ("rocov2_finetuned", 10)])
def test_the_steps_of_rocov2(name: str, k: int, read: Read) -> None:
    found = read(f"experiment={name}")
    assert (found.clustering.k, found.clustering.n_init, found.clustering.seed) == (k, 1, 42)
    projection = found.projection
    assert (projection.n_components, projection.n_neighbors, projection.min_dist) == (5, 15, 0.1)
    assert found.encoder.normalize is False
    if name == "rocov2_none":
        assert (found.encoder.size, found.encoder.color.value, found.encoder.antialias) == (224, "gray", False)


def test_overridden_out_of_its_protocol(read: Read) -> None:
    found = read("experiment=rocov2_none", "clustering.k=5", "projection.n_neighbors=30", "seed=4", "dataset.limit=50")
    assert told(found) == [
        ("dataset.limit", 50, None), ("projection.n_neighbors", 30, 15), ("clustering.k", 5, 6),
    ]  # fmt: skip
    assert told(read("experiment=rocov2_none", "clustering=gmm")) == [("clustering", "gmm", "kmeans")]
    assert told(read("experiment=rocov2_none", "encoder=openai")) == [("encoder.kind", "openai", "pixels")]


def test_no_experiment_named(read: Read) -> None:
    found = read("encoder=openai", "dataset=rocov2")
    assert rows(found) == ["rocov2_openai: ROCOv2 with OpenAI's CLIP"]
    assert told(found) == [
        ("encoder.normalize", True, False), ("encoder.preprocessing", "openai", "transformers"),
        ("clustering.k", None, 8), ("clustering.n_init", 10, 1),
    ]  # fmt: skip
    assert rows(read("dataset=rocov2", "encoder=none")) == ["rocov2_none: ROCOv2 without CLIP (raw pixels)"]
    assert rows(read("dataset=rocov2", "encoder=openai", "encoder.model=ViT-L/14")) == []
    assert rows(read("dataset=rocov2", "encoder=precomputed", "encoder.path=/x.npy")) == []
    assert rows(read()) == []


def test_several_rows_of_one_data_set_the_nearest_first(read: Read) -> None:
    found = read("encoder=openai", "dataset=cifar10_test", "projection=none", "clustering=tac", "prompts=cifar")
    assert rows(found) == [
        "tac_kmeans: CIFAR-10 test, ViT-B/32",
        "zero_shot_table: CIFAR-10 test, ViT-B/32",
        "mieb_clustering: CIFAR-10 test, ViT-B/32",
    ]
    differs = {one.experiment: [d.key for d in one.differs] for one in found.experiment.compared}
    assert differs["tac_kmeans"] == differs["zero_shot_table"] == []
    assert differs["mieb_clustering"] == ["encoder.normalize", "encoder.preprocessing", "clustering"]


def test_the_same_model_from_another_library(read: Read) -> None:
    words = ("encoder=huggingface", "encoder.model=openai/clip-vit-base-patch32", "encoder.normalize=false")
    assert told(read("experiment=rocov2_openai", *words)) == []
    assert told(read("experiment=rocov2_openai", *words, "encoder.size=256")) == [
        ("encoder.kind", "huggingface", "openai"),
        ("encoder.model", "openai/clip-vit-base-patch32", "ViT-B/32"),
    ]


def test_vectors_at_hand(read: Read) -> None:
    found = read("experiment=rocov2_openai", "encoder=precomputed", "encoder.path=/x.npy")
    assert told(found) == []
    assert found.experiment.compared[0].notes == ["the vectors were made elsewhere, so what made them is not compared"]
    assert told(read("experiment=rocov2_openai", "encoder=precomputed", "encoder.path=/x.npy",
                     "encoder.normalize=true")) == [("encoder.normalize", True, False)]  # fmt: skip


def row_of(found: Config) -> Comparison:
    return found.experiment.compared[0]


def test_the_row_is_that_of_data_set_and_model(read: Read) -> None:
    words = ("experiment=mieb_clustering", "encoder.model=ViT-L/14")
    assert row_of(read(*words)).row.scores["cluster_metrics/labels/nmi"] == 0.809
    found = read(*words, "dataset=folders", "dataset.root=/x", "dataset.name=cifar100_test")
    assert row_of(found).row.row == "CIFAR-100 test, ViT-L/14" and told(found) == []
    assert told(read(*words, "dataset=digits")) == [("dataset.name", "digits", "cifar10_test")]
    vectors = ("encoder=precomputed", "encoder.path=/x.npy")
    named = read("experiment=mieb_clustering", *vectors, "experiment.row='CIFAR-10 test, ViT-B/16'")
    assert row_of(named).row.row == "CIFAR-10 test, ViT-B/16"


def test_weights_that_say_themselves_which_model_they_are(read: Read) -> None:
    """Every row that may be theirs is kept until they are read."""
    weights = ("encoder=openai", "encoder.weights=mine.pt")
    found = read("dataset=rocov2", *weights)
    assert rows(found) == ["rocov2_openai: ROCOv2 with OpenAI's CLIP"]
    assert told(found)[0] == ("encoder.model", None, "ViT-B/32")
    several = rows(read("experiment=mieb_clustering", weights[1], "encoder.model=null"))
    assert [row.rsplit(", ", 1)[1] for row in several] == ["ViT-B/32", "ViT-B/16", "ViT-L/14"]
    assert len(rows(read("experiment=mieb_clustering", weights[1], "encoder.model=ViT-B/16"))) == 1


def test_a_row_that_is_not_there(read: Read) -> None:
    with pytest.raises(CallError, match=r"experiment\.row = CIFAR-10: no such row.*ViT-B/32"):
        read("experiment=mieb_clustering", "experiment.row=CIFAR-10")


def test_prompts_belong_to_zero_shot_only(read: Read) -> None:
    assert told(read("experiment=tac_kmeans", "prompts=openai7")) == []
    assert told(read("experiment=zero_shot_table", "prompts=openai7")) == [("prompts.name", "openai7", "cifar")]
    assert told(read("experiment=zero_shot_table", 'prompts.templates=["a {}"]')) == [
        ("prompts.templates", 1, "the 18 of its own")
    ]
    assert told(read("experiment=zero_shot_table", "projection=pca", "zero_shot.none_prompt=nothing")) == [
        ("zero_shot.none_prompt", "nothing", None)
    ]


def test_repeats_of_ones_own_settings(read: Read) -> None:
    assert rows(read("experiment.repeats=4")) == ["none: this run's own settings"]


def test_an_experiment_of_the_users_own(read: Read, tmp_path: Path) -> None:
    from pipeline.config.protocols import comparisons

    (tmp_path / "experiment").mkdir()
    row = "{row: mine, where: {dataset.source: digits, encoder.kind: pixels}, scores: {}}"
    text = f"experiment:\n  published:\n    - {row}\n"
    (tmp_path / "experiment" / "rocov2_none.yaml").write_text(text)
    found = comparisons(read("encoder=none"), (tmp_path,))
    assert [(one.experiment, one.row.row) for one in found] == [("rocov2_none", "mine")]
