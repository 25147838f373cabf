"""Cache keys: what changes a number changes the key of all that follows from it, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import keys as keys_module
from pipeline import schema as s
from pipeline.cache import digest
from pipeline.datasets.candidates import Found, candidates
from pipeline.keys import Keys, settings_of
from pipeline.plan import order
from pipeline.stage import Workspace
from pipeline.stages import embedding, encoder, known_stages, listing
from tests.making import config, folders, settings

COMPUTED = ("embedding", "images", "class_distances", "neighbours", "projection", "clustering", "cluster_metrics")
ROWS = [
    {"id": "a/1.png", "path": "/x/a/1.png", "label": "a", "content_hash": "1" * 64},
    {"id": "b/1.png", "path": "/x/b/1.png", "label": "b", "content_hash": "2" * 64},
]


def found_in(*changes: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of a listing of ROWS with these changes, one a row."""
    rows = [row | change for row, change in zip(ROWS, changes or ({}, {}), strict=True)]
    hashes = {row["path"]: row.pop("content_hash") for row in rows}
    workspace = Workspace(Path("unused"), each_content_hash=lambda paths: [hashes[path] for path in paths])
    return listing.fingerprints(listing.run(settings(encoder=config().encoder), workspace, Found(candidates(rows))))


def keys_of(listed: dict[str, str] | None = None, pictures: bool = False, **changes: Any) -> dict[str, str | None]:
    """The key of every stage in a run with these changes."""
    checked = config(**changes)
    known = known_stages()
    made = Keys(checked)
    made.found(listed or found_in())
    handle = encoder.run(settings_of(encoder.STAGE, checked), Workspace(Path("unused")))
    made.found(encoder.fingerprints(handle))
    stages = [stage for stage in order(checked.stages, known, given=("found",)) if not stage.fingerprints]
    computed = {stage.name: made.of(stage) for stage in stages}
    return {stage.name: made.of_pictures(stage) for stage in stages if stage.draw} if pictures else computed


def changed(**changes: Any) -> set[str]:
    before, after = keys_of(), keys_of(**changes)
    assert before.keys() == after.keys() == set(COMPUTED)
    return {name for name in before if before[name] != after[name]}


def pixels(size: int = 8, color: s.Color = s.Color.gray, normalize: bool = False) -> s.PixelsEncoder:
    return s.PixelsEncoder("none", "pixels", normalize, size, color, False, s.Scaling.none)


def kmeans(k: int, n_init: int, seed: int) -> s.KmeansClustering:
    return s.KmeansClustering("kmeans", s.Space.projection, k, n_init, seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding": s.EmbeddingSettings(7, 60.0)},
        {"embedding": s.EmbeddingSettings(None, 1.0)},
        {"paths": s.PathSettings("/other", "/other", "/other", "/other")},
        {"plots": s.PlotSettings([s.PictureFormat.svg], 300)},
        {"report": s.ReportSettings([s.Hidden.caption])},
        {"dataset": folders("/elsewhere", recursive=True, group="x", limit=2, seed=3)},  # what was found counts
        {"stages": ["cluster_metrics", "clustering", "projection", "class_distances"]},
        {"analysis": s.AnalysisSettings("x", [], True)},
        {"encoder": s.PixelsEncoder("mine", "pixels", False, 8, s.Color.gray, False, s.Scaling.none)},
    ],
)
def test_what_changes_no_number_changes_no_key(changes: dict[str, Any]) -> None:
    assert changed(**changes) == set()


def test_all_keys_differ_and_stay_the_same() -> None:
    assert keys_of() == keys_of()
    assert len(set(keys_of().values())) == len(COMPUTED)
    assert all(key is not None and len(key) == 64 for key in keys_of().values())


@pytest.mark.parametrize("other", [pixels(16), pixels(color=s.Color.rgb), pixels(normalize=True)])
def test_another_encoder_changes_all_that_looks_at_vectors(other: s.PixelsEncoder) -> None:
    assert changed(encoder=other) == set(COMPUTED)


def test_projection_and_clustering_change_what_follows_from_them() -> None:
    after_projection = {"projection", "clustering", "cluster_metrics"}
    assert changed(projection=s.UmapProjection("umap", 5, 15, 0.2, 0, 200_000)) == after_projection
    assert changed(projection=s.PcaProjection("pca", 5)) == {"neighbours"} | after_projection  # it needs none
    assert changed(projection=s.NoProjection("none", 200_000)) == after_projection
    assert changed(clustering=kmeans(4, 10, 0)) == {"clustering", "cluster_metrics"}
    assert changed(clustering=kmeans(3, 10, 1)) == {"clustering", "cluster_metrics"}


def test_no_seed_is_never_cached_nor_is_anything_after_it() -> None:
    keys = keys_of(projection=s.UmapProjection("umap", 5, 15, 0.1, None, 200_000))
    assert {name for name, key in keys.items() if key is None} == {"projection", "clustering", "cluster_metrics"}
    assert keys["class_distances"] == keys_of()["class_distances"]
    drawn = keys_of(pictures=True, projection=s.UmapProjection("umap", 5, 15, 0.1, None, 200_000))
    assert {name for name, key in drawn.items() if key is None} == {"clustering", "cluster_metrics"}


def test_content_changes_everything() -> None:
    assert changed(listed=found_in({"content_hash": "3" * 64}, {})) == set(COMPUTED)
    swapped = found_in({"content_hash": "2" * 64}, {"content_hash": "1" * 64})
    assert changed(listed=swapped) == set(COMPUTED)
    assert changed(listed=found_in({"problem": "odd name"}, {})) == set(COMPUTED)


def test_images_that_moved_or_were_relabelled_keep_their_vectors() -> None:
    relabelled = changed(listed=found_in({"label": "c"}, {}))
    assert "embedding" not in relabelled
    assert "projection" not in relabelled
    assert {"images", "class_distances", "cluster_metrics"} <= relabelled
    moved = changed(listed=found_in({"path": "/y/1.png"}, {"path": "/y/2.png"}))
    assert not {"embedding", "projection"} & moved
    assert not {"embedding", "projection"} & changed(listed=found_in({"caption": "a dog", "group": "7"}, {}))


def test_a_missing_label_is_not_a_class_of_that_name() -> None:
    fingerprints = {found_in({"label": label}, {})["candidates"] for label in (None, "None", "", "nan", "null")}
    assert len(fingerprints) == 5


def test_values_do_not_run_into_each_other() -> None:
    a = found_in({"content_hash": "1"}, {"content_hash": "23"})
    b = found_in({"content_hash": "12"}, {"content_hash": "3"})
    assert a["files"] != b["files"]


def test_versions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys_of()
    monkeypatch.setattr(keys_module, "version", lambda name: "0" if name == "scikit-learn" else "1")
    after = keys_of()
    monkeypatch.setattr(keys_module, "version", lambda name: "1")
    assert before["embedding"] != after["embedding"]
    once = {name for name, key in keys_of().items() if key != after[name]}
    assert once == {"projection", "clustering", "cluster_metrics"}


def test_neighbours_are_shared_by_projections_that_need_about_as_many() -> None:
    of = lambda chosen: keys_of(projection=chosen)["neighbours"]  # noqa: E731
    same = [s.UmapProjection("umap", 2, 30, 0.5, 7, 200_000), s.UmapProjection("umap", 5, 15, 0.1, None, 200_000)]
    assert {of(chosen) for chosen in [*same, s.NoProjection("none", 200_000)]} == {keys_of()["neighbours"]}
    tsne = [s.TsneProjection("tsne", perplexity, 500, 0, 200_000) for perplexity in (30.0, 40.0, 50.0)]
    others = [s.UmapProjection("umap", 5, 33, 0.1, 0, 200_000), s.UmapProjection("umap", 5, 15, 0.1, 0, 1000), tsne[0]]
    assert len({of(chosen) for chosen in others} | {keys_of()["neighbours"]}) == 4
    assert of(tsne[0]) == of(tsne[1]) != of(tsne[2])


def test_a_stage_may_say_what_of_its_settings_counts() -> None:
    from pipeline.stage import Stage

    made = Stage("x", (), ("x",), lambda *_: {}, settings=("seed", "clustering"), keyed=lambda given: given.seed % 2)
    key = lambda **changes: Keys(config(**changes)).of(made)  # noqa: E731
    assert key() == key(seed=2) == key(clustering=kmeans(9, 1, 1)) != key(seed=1)
    assert Keys(config()).explain(made)["settings"] == 0


def test_pictures_follow_numbers_and_plot_settings() -> None:
    before = keys_of(pictures=True)
    assert len(set(before.values())) == len(before)
    finer = keys_of(pictures=True, plots=s.PlotSettings([s.PictureFormat.png], 300))
    assert all(before[name] != finer[name] for name in before)
    hidden = keys_of(pictures=True, report=s.ReportSettings([s.Hidden.caption]))
    assert all(before[name] != hidden[name] for name in before)
    shown = keys_of(pictures=True, report=s.ReportSettings([s.Hidden.path]))
    assert shown == before
    clustered = keys_of(pictures=True, clustering=kmeans(4, 10, 0))
    assert clustered["class_distances"] == before["class_distances"]
    assert clustered["clustering"] != before["clustering"]


def test_every_settings_section_that_a_stage_names_exists() -> None:
    for stage in known_stages().values():
        for section in stage.settings:
            assert hasattr(config(), section), f"{stage.name}: {section}"


def test_digest_is_canonical() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({"a": None}) != digest({})
    assert digest("ü") != digest("u")
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


def test_reading_has_a_row_for_every_file(tmp_path: Path) -> None:
    from blake3 import blake3

    from tests.making import image_settings, pixels_handle, png_file

    png = png_file(tmp_path / "1.png", 1)
    paths = [str(tmp_path / name) for name in ("0.png", "1.png", "2.png")]
    files = pd.DataFrame({"id": list("abc"), "path": paths, "problem": ["", "", "file name: odd"]}, index=[5, 6, 7])
    files = files.reset_index(drop=True)
    files["content_hash"] = ["unreadable: missing", blake3(png.read_bytes()).hexdigest(), ""]
    made = embedding.run(settings(images=image_settings()), Workspace(tmp_path / "w"), files, pixels_handle())
    reading = made["reading"]
    assert reading["id"].tolist() == list("abc")
    assert reading["read"].tolist() == [False, True, False]
    assert reading["reason"].tolist() == ["missing", "", "file name"]
    assert reading["detail"].tolist()[2] == "odd"
    assert reading[["width", "height"]].to_numpy().tolist() == [[0, 0], [8, 8], [0, 0]]
    assert made["image_embeddings"].shape == (1, 64)
