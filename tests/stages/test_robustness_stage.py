"""The stage robustness: severity 0 changes nothing, the same on any number of workers, and what cannot be done."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from blake3 import blake3
from PIL import Image

from inference.encoders import EncoderHandle
from pipeline import schema as s
from pipeline.geometry.neighbours import nearest_neighbours
from pipeline.metrics.resampling import units
from pipeline.plots.style import look
from pipeline.stage import Drawing, Facts, Workspace
from pipeline.stages import clustering, embedding, robustness
from tests.making import image_settings, pixels_handle, precomputed, settings, smooth
from tests.plots.drawing import inside_the_picture
from tests.stages.comparing import NONE, PCA, TSNE, UMAP

N = 36
NOISE, LIGHT, HIDDEN = s.Perturbation.gaussian_noise, s.Perturbation.brightness, s.Perturbation.occlusion


def asked(**changes: Any) -> s.RobustnessSettings:
    given = {"perturbations": [NOISE, HIDDEN], "severities": [1, 5], "images": 20, "resamples": 100, "seed": 0}
    return s.RobustnessSettings(**{**given, "definitions": s.Definition.auto, **changes})


def kmeans(space: s.Space = s.Space.projection) -> s.KmeansClustering:
    return s.KmeansClustering("kmeans", space, 3, 2, 0)


class World:
    """Pictures of three kinds, some grey, as a run has read, projected and clustered them."""

    def __init__(self, place: Path, projection: Any = NONE, clusterer: Any = None, labelled: bool = True) -> None:
        self.place, self.files = place, place / "images"
        self.files.mkdir(parents=True)
        for i in range(N):
            kind = smooth(12, 10, seed=i % 3).astype(int) + np.random.default_rng(i).integers(-30, 30, (12, 10, 3))
            pixels = kind.clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels if i % 4 else pixels[..., 0]).save(self.files / f"{i:02d}.png")
        paths = sorted(self.files.iterdir())
        self.images = pd.DataFrame({
            "id": [path.name for path in paths], "path": [str(path) for path in paths], "problem": "",
            "content_hash": [blake3(path.read_bytes()).hexdigest() for path in paths], "width": 10, "height": 12,
            "label": pd.Series([f"kind {i % 3}" if labelled else None for i in range(N)], dtype="str"),
            "group": pd.Series([None] * N, dtype="str"), "caption": pd.Series([None] * N, dtype="str"),
        })  # fmt: skip
        self.handle = pixels_handle(8, color="rgb")
        self.settings = settings(
            robustness=asked(), clustering=clusterer or kmeans(), projection=projection, images=image_settings(),
            encoder=None, seed=0,
        )  # fmt: skip
        made = embedding.run(self.settings, Workspace(place / "embedding", workers=0), self.images, self.handle)
        self.vectors, self.encoding = np.array(made["image_embeddings"]), made["encoding"]
        self.near = nearest_neighbours(self.vectors, N)
        self.projection = self.projected(projection)
        found = clustering.run(self.settings, Workspace(place), self.images, self.vectors, self.projection)
        self.clusters, self.centroids = found["clusters"], found["centroids"]

    def projected(self, chosen: Any) -> np.ndarray:
        from pipeline.stages.projection import PROJECT

        return PROJECT[type(chosen)](chosen, self.vectors, self.near, Workspace(self.place))

    def run(self, name: str = "work", workers: int | None = 0, **changes: Any) -> dict[str, Any]:
        self.settings.robustness = asked(**changes)
        workspace = Workspace(self.place / name, workers=workers)
        inputs = (self.vectors, self.handle, self.encoding, self.projection, *self.near, self.clusters, self.centroids)
        return robustness.run(self.settings, workspace, self.images, *inputs)

    def needs(self) -> dict[str, Any]:
        return {"images": self.images}


def row(made: dict[str, Any], name: str, severity: int) -> pd.Series:
    return made["robustness_scores"].set_index(["perturbation", "severity"]).loc[(name, severity)]


@pytest.mark.parametrize("projection", [NONE, PCA, UMAP, TSNE], ids=lambda chosen: chosen.name)
def test_severity_0_changes_nothing(tmp_path: Path, projection: Any) -> None:
    world = World(tmp_path, projection)
    made = world.run()
    clean = row(made, "none", 0)
    assert (clean["images"], clean["unreadable"], clean["flip_rate"]) == (20, 0, 0)
    assert (clean["cosine"], clean["cosine_min"], clean["ari"]) == (1, 1, 1)  # to the bit: else not exactly 1
    told = made["robustness_protocol"].iloc[0]
    assert told.to_dict() | {"agrees": 1} == {
        "images": 20, "definitions": "cifar10_c", "space": "embedding" if projection is NONE else "projection",
        "rule": "centre", "agrees": 1, "why": "",
    }  # fmt: skip
    assert told["agrees"] > 0.9


def test_numbers_follow_from_the_images(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = world.run(images=None)
    table, scores = made["robustness_images"], made["robustness_scores"]
    assert list(zip(scores["perturbation"], scores["severity"], strict=True)) == [
        ("none", 0), ("gaussian_noise", 1), ("gaussian_noise", 5), ("occlusion", 1), ("occlusion", 5)
    ]  # fmt: skip
    assert len(table) == 5 * N and scores["images"].tolist() == [N] * 5
    of_step = table.groupby(["perturbation", "severity"])
    for key, found in of_step:
        told = row(made, *key)
        assert told["flip_rate"] == pytest.approx(found["flipped"].mean())
        assert told["cosine"] == pytest.approx(found["cosine"].mean())
        assert told["accuracy"] == pytest.approx((found["nearest_class"].to_numpy() == world.images["label"]).mean())
        assert (found["flipped"] == (found["cluster"] != found["clean_cluster"])).all()
        assert told["flip_low"] <= told["flip_rate"] <= told["flip_high"]
    assert row(made, "occlusion", 5)["cosine"] < row(made, "occlusion", 1)["cosine"] < 1
    numbers = robustness.metrics(made)
    assert numbers["occlusion/5/flip_rate"] == row(made, "occlusion", 5)["flip_rate"]
    assert numbers["mean/5/cosine"] == pytest.approx(scores.loc[scores["severity"] == 5, "cosine"].mean())


def test_the_same_bits_in_this_process_and_in_one_or_two_workers(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = [world.run(f"with {workers}", workers=workers, perturbations=[NOISE]) for workers in (0, 1, 2)]
    for other in made[1:]:
        for name, table in made[0].items():
            pd.testing.assert_frame_equal(table, other[name])
    assert (
        row(world.run("another seed", perturbations=[NOISE], seed=1), "gaussian_noise", 5)["cosine"]
        != row(made[0], "gaussian_noise", 5)["cosine"]
    )


def test_images_that_are_gone_or_others_by_now_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    (world.files / "03.png").unlink()
    shutil.copyfile(world.files / "05.png", world.files / "04.png")
    with caplog.at_level(logging.WARNING):
        made = world.run(images=None)
    assert (made["robustness_scores"]["unreadable"] == 2).all()
    assert set(made["robustness_skipped"]["id"]) == {"03.png", "04.png"} and len(made["robustness_skipped"]) == 10
    assert "up to 2 of 36 images could no longer be read" in caplog.text
    assert not robustness.STAGE.settled(made)  # nothing is kept of it
    assert robustness.STAGE.settled(world.run("others", images=2, perturbations=[NOISE], seed=3))


def test_all_images_gone(tmp_path: Path) -> None:
    world = World(tmp_path)
    shutil.rmtree(world.files)
    made = world.run()
    assert (made["robustness_scores"]["images"] == 0).all() and made["robustness_scores"]["flip_rate"].isna().all()
    figures = draw(world, made, [])
    assert "changed_sheet" not in figures


def draw(world: World, made: dict[str, Any], seen: list[str]) -> dict[str, Any]:
    def thumbnail(path: str) -> np.ndarray:
        seen.append(path)
        return np.zeros((8, 8, 3), np.uint8)

    return robustness.draw(world.settings, made, world.needs(), Drawing(thumbnail, True, 0))


@pytest.mark.parametrize("width", [85, 180])
@pytest.mark.parametrize("labelled", [True, False])
def test_pictures(tmp_path: Path, width: int, labelled: bool) -> None:
    world = World(tmp_path, labelled=labelled)
    made = world.run(images=None)
    made["robustness_images"].loc[made["robustness_images"]["severity"] == 5, "flipped"] = True
    seen: list[str] = []
    with look(width):
        figures = draw(world, made, seen)
        for figure in figures.values():
            inside_the_picture(figure)
    assert set(figures) == {"rates", "curves", "changed_sheet"}
    assert len(seen) == 2 * 2 * robustness.SHOWN  # clean and perturbed, of two perturbations
    assert all(other.endswith(f"::{clean}") for clean, other in zip(seen[::2], seen[1::2], strict=True))
    assert ("accuracy" in made["robustness_scores"].dropna(axis=1)) == labelled
    assert "curves" not in draw(world, world.run("one", severities=[3]), [])


def test_where_clusters_have_no_centres_the_nearest_other_image_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, PCA, s.AgglomerativeClustering("agglomerative", s.Space.projection, 3, s.Linkage.ward, 100))
    with caplog.at_level(logging.WARNING):
        made = world.run(images=None)
    told = made["robustness_protocol"].iloc[0]
    assert (told["rule"], told["space"]) == ("neighbour", "projection") and "agglomerative" in caplog.text
    distances = np.linalg.norm(world.projection[:, None].astype(float) - world.projection, axis=2)
    np.fill_diagonal(distances, np.inf)
    clean = made["robustness_images"].query("severity == 0")
    assert clean["clean_cluster"].tolist() == world.clusters[distances.argmin(axis=1)].tolist()
    assert row(made, "none", 0)["flip_rate"] == 0


def test_a_projection_that_cannot_be_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, PCA)
    world.settings.projection = s.UmapProjection("umap", 2, 10, 0.1, None, 200_000)
    with caplog.at_level(logging.WARNING):
        told = world.run()["robustness_protocol"].iloc[0]
    assert (told["rule"], told["space"]) == ("neighbour", "embedding")
    assert "nothing further can be placed in this projection" in caplog.text


def test_no_clusters_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, NONE, s.HdbscanClustering("hdbscan", s.Space.embedding, 30, None))
    assert not len(world.centroids)
    made = world.run()
    assert made["robustness_scores"][["flip_rate", "ari"]].isna().all(axis=None)
    assert row(made, "none", 0)["cosine"] == 1


def test_groups_are_drawn_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    alone = world.run(images=None)
    world.images["group"] = [f"patient {i // 18}" for i in range(N)]
    grouped = world.run("grouped", images=None)
    assert len(np.unique(units(N, pd.factorize(world.images["group"])[0]))) == 2
    np.testing.assert_array_equal(alone["robustness_scores"]["flip_rate"], grouped["robustness_scores"]["flip_rate"])
    assert not alone["robustness_scores"]["flip_high"].equals(grouped["robustness_scores"]["flip_high"])


def test_another_encoder_by_now_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    world.vectors = world.vectors[::-1].copy()
    with caplog.at_level(logging.WARNING):
        world.run()
    assert "give other vectors than before" in caplog.text


def test_refused_without_an_encoder_that_can_be_asked(tmp_path: Path) -> None:
    facts = Facts(N, ())
    reason = robustness.refuse(facts, SimpleNamespace(encoder=precomputed(tmp_path)))
    assert reason is not None and "name the encoder that made them" in reason
    assert robustness.refuse(facts, SimpleNamespace(encoder=None)) is None
    assert robustness.refuse(Facts(1, ()), SimpleNamespace(encoder=None)) is not None


def test_the_guard_is_not_asked_again(tmp_path: Path) -> None:
    handle: EncoderHandle = pixels_handle(8)
    encoding = pd.DataFrame([{"fell_back": False}])
    assert robustness._as_used(handle, encoding).min_fidelity == 0
