"""The replicates stage: what is projected, that it repeats however it is computed, and what cannot be halved."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import schema as s
from pipeline.metrics import blocks
from pipeline.metrics.nulls import draw_null
from pipeline.stage import Facts
from pipeline.stages import replicates as stage
from pipeline.stages import side_by_side
from tests.stages.comparing import NONE, PCA, TSNE, UMAP, blobs, chosen, images, replicated

ARRAYS = stage.STAGE.makes


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_every_array_is_what_it_says(tmp_path: Path) -> None:
    vectors = blobs()
    made = replicated(tmp_path, vectors, chosen(replicates=4, half_samples=2))
    assert made["replicate_rows"].tolist() == list(range(90))
    assert made["half_rows"].shape == (2, 90) and made["null_half_rows"].shape == (2, 90)
    np.testing.assert_array_equal(made["sample_projection"], made["projection"])
    assert made["null_projections"].shape == (4, 90, 2)
    for r in range(4):
        cloud = draw_null(vectors, "gaussian", (0, r)).astype(np.float32)
        np.testing.assert_array_equal(made["null_projections"][r], stage.projected(PCA, cloud))
    for s_, half in enumerate(made["half_rows"]):
        np.testing.assert_array_equal(made["half_projections"][s_, half], stage.projected(PCA, vectors[half]))
        assert np.isnan(made["half_projections"][s_, ~half]).all()
    cloud = draw_null(vectors, "gaussian", (0, 1)).astype(np.float32)
    half = made["null_half_rows"][1]
    np.testing.assert_array_equal(made["null_half_projections"][1, half], stage.projected(PCA, cloud[half]))


def test_more_replicates_change_none(tmp_path: Path) -> None:
    few = replicated(tmp_path / "few", blobs(), chosen(replicates=2))
    many = replicated(tmp_path / "many", blobs(), chosen(replicates=4, half_samples=4))
    np.testing.assert_array_equal(few["null_projections"], many["null_projections"][:2])
    np.testing.assert_array_equal(few["half_projections"], many["half_projections"][:3])


def test_seeds_and_nulls_matter(tmp_path: Path) -> None:
    one = replicated(tmp_path / "0", blobs(), chosen())
    for i, changes in enumerate(({"seed": 1}, {"null_model": s.NullModel.box})):
        other = replicated(tmp_path / str(i + 1), blobs(), chosen(**changes))
        assert np.abs(one["null_projections"] - other["null_projections"]).max() > 0.1
    assert (replicated(tmp_path / "3", blobs(), chosen(seed=1))["half_rows"] != one["half_rows"]).any()


def test_a_sample_above_max_images(tmp_path: Path) -> None:
    vectors = blobs(200)
    made = replicated(tmp_path, vectors, chosen(max_images=60))
    rows = made["replicate_rows"]
    assert len(rows) == len(np.unique(rows)) == 60 and (np.diff(rows) > 0).all()
    assert made["null_projections"].shape == (3, 60, 2)
    np.testing.assert_array_equal(made["sample_projection"], stage.projected(PCA, vectors[rows]))


@pytest.mark.parametrize("projection", [PCA, pytest.param(UMAP, marks=pytest.mark.slow)])
def test_the_same_with_one_process_and_with_two(
    projection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = chosen(projection, replicates=2, half_samples=1)
    alone = replicated(tmp_path / "alone", blobs(60), given)
    monkeypatch.setattr(side_by_side, "ALONE_UP_TO", 0)
    monkeypatch.setattr(blocks, "workers", lambda: 2)
    same(alone, replicated(tmp_path / "two", blobs(60), given))


def test_what_was_projected_before_a_kill_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = replicated(tmp_path / "undisturbed", blobs(), chosen())
    made: list[str] = []
    projected = stage.projected

    def counted(projection: Any, vectors: np.ndarray) -> np.ndarray:
        made.append("")
        if len(made) == 6:  # the first is the run's own
            raise KeyboardInterrupt
        return projected(projection, vectors)

    monkeypatch.setattr(stage, "projected", counted)
    with pytest.raises(KeyboardInterrupt):
        replicated(tmp_path / "killed", blobs(), chosen())
    kept = sorted(tmp_path.glob("killed/null-*.npy"))
    assert kept
    before = {file: file.stat().st_mtime_ns for file in kept if "rows" not in file.name}
    (tmp_path / "killed" / "null-9.123.tmp").write_bytes(b"half a file")
    made[:] = [""] * 10
    same(undisturbed, replicated(tmp_path / "killed", blobs(), chosen()))
    assert len(made) - 10 == 1 + 9 - len(before)
    assert all(file.stat().st_mtime_ns == at for file, at in before.items())


def test_an_error_in_a_process_ends_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "ALONE_UP_TO", 0)
    monkeypatch.setattr(blocks, "workers", lambda: 2)
    vectors = blobs(60)
    vectors[3, 0] = np.inf
    given = chosen()
    with pytest.raises(np.linalg.LinAlgError):
        stage.run(given, stage.Workspace(tmp_path), images(60), vectors, blobs(60)[:, :2])
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_without_a_projection_nothing_is_projected(tmp_path: Path) -> None:
    made = replicated(tmp_path, blobs(), chosen(NONE, embedding_replicates=7))
    assert made["half_rows"].shape == (3, 90) and made["null_half_rows"].shape == (3, 90)
    for name in ("null_projections", "half_projections", "null_half_projections"):
        assert made[name].shape == (0, 90, 0)
    assert made["sample_projection"].shape == (90, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("projection", [TSNE, pytest.param(UMAP, marks=pytest.mark.slow)])
def test_other_projections_say_nothing_of_clouds(
    projection: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Halves have fewer neighbours than are asked for: nothing that a user should read."""
    made = replicated(tmp_path, blobs(16), chosen(projection, replicates=1, half_samples=1))
    assert made["half_projections"].shape == (1, 16, 2)
    assert np.isfinite(made["half_projections"][0, made["half_rows"][0]]).all()
    own = [record for record in caplog.records if "as there are 16" in record.message]
    assert len(caplog.records) == len(own)
    assert logging.root.manager.disable == 0


@pytest.mark.parametrize(
    ("projection", "n", "why"),
    [
        (s.PcaProjection("pca", 5), 8, "projection=pca in 5 dimensions needs at least 5 images, and there are 4"),
        (TSNE, 6, "projection=tsne needs at least 4 images, and there are 3"),
    ],
)
def test_halves_that_cannot_be_projected_are_left_out(
    projection: Any, n: int, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = replicated(tmp_path, blobs(n), chosen(projection, replicates=1))
    assert why in caplog.text
    assert made["half_rows"].shape == (0, n) and made["null_projections"].shape[:2] == (1, n)


@pytest.mark.parametrize(("groups", "counted"), [(["p"] * 90, 1), (["p"] * 85 + ["q"] * 5, 2)])
def test_groups_too_few_to_be_halved(
    groups: list[str], counted: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = replicated(tmp_path, blobs(), chosen(), groups)
    assert f"no half-samples, so no intervals and no stability: {counted} groups cannot be halved" in caplog.text
    assert made["half_rows"].shape == made["null_half_rows"].shape == (0, 90)
    assert made["null_projections"].shape == (3, 90, 2)


def test_halves_are_of_whole_groups(tmp_path: Path) -> None:
    made = replicated(tmp_path, blobs(), chosen(), [f"p{i // 9}" for i in range(90)])
    assert (made["half_rows"].reshape(3, 10, 9).sum(axis=2) % 9 == 0).all()


def test_no_half_samples(tmp_path: Path) -> None:
    made = replicated(tmp_path, blobs(), chosen(half_samples=0))
    for name in ("half_rows", "null_half_rows"):
        assert made[name].shape == (0, 90)
    assert made["half_projections"].shape == made["null_half_projections"].shape == (0, 90, 2)


@pytest.mark.parametrize("vectors", [np.full((60, 4), 0.3, np.float32), np.zeros((30, 90), np.uint8)])
def test_equal_vectors(vectors: np.ndarray, tmp_path: Path) -> None:
    made = replicated(tmp_path, vectors, chosen())
    assert np.isfinite(made["null_projections"]).all()


def test_more_dimensions_than_images(tmp_path: Path) -> None:
    few = np.repeat(np.random.default_rng(0).integers(0, 256, (4, 200)), 8, axis=0).astype(np.uint8)
    made = replicated(tmp_path, few, chosen(s.PcaProjection("pca", 5)))
    assert made["null_projections"].shape == (3, 32, 5)


def test_refused() -> None:
    facts = Facts(100, ())
    assert stage.refuse(facts, chosen(name="none", replicates=0)) == "significance=none"
    assert stage.refuse(facts, chosen(replicates=0)) == "significance.replicates = 0"
    assert stage.refuse(facts, chosen(NONE, embedding_replicates=0)) == "significance.embedding_replicates = 0"
    assert stage.refuse(facts, chosen(NONE, replicates=0)) is None
    assert "needs at least 70 images, and there are 60" in str(
        stage.refuse(facts, chosen(s.PcaProjection("pca", 70), max_images=60))
    )
    assert stage.refuse(facts, chosen()) is None


def test_keys_do_not_depend_on_k() -> None:
    assert "clustering" not in stage.STAGE.settings
    assert "clusters" not in stage.STAGE.needs and "k_scores" not in stage.STAGE.needs


def test_a_scratch_file_of_another_process_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / f"null-0.{os.getpid() + 1}.tmp").write_bytes(b"")
    made = replicated(tmp_path, blobs(), chosen())
    assert np.isfinite(made["null_projections"]).all()
