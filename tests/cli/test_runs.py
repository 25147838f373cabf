"""Whole runs: what they write, what they reuse, how they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.run_dir import load_run
from tests.cli.command import HOME, Clipscope
from tests.cli.data import class_folders, picture

FAST = ("projection=pca", "encoder.size=8")


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Clipscope:
    """The built-in default, run twice."""
    cli = Clipscope(tmp_path_factory.mktemp("default"))
    cli()
    cli()
    return cli


class TestDefault:
    def test_summary_and_report(self, default: Clipscope) -> None:
        result = default()
        assert "digits: 901 images, 10 classes | encoder none, 64-D | projection umap | k = 10" in result.out
        assert "Silhouette (Euclidean)" in result.out
        report = Path(result.out.rsplit("report: ", 1)[1].strip())
        assert report.is_file()
        assert "<html" in report.read_text(encoding="utf-8")
        assert not result.err

    def test_the_record(self, default: Clipscope) -> None:
        run = load_run(default.folders()[0])
        record = run.record
        assert record["status"] == "complete"
        assert record["reason"] is None
        assert record["images"] == {
            "listed": 901, "read": 901, "skipped": 0, "classes": 10,
            "labelled": True, "captioned": False, "grouped": False, "ignored": {}, "sixteen_bit": 0,
        }  # fmt: skip
        assert record["config"]["encoder"]["size"] == 8
        assert record["seeds"]["projection.seed"] == 0
        assert record["encoder"]["dimension"] == 64
        assert {"numpy", "umap-learn", "scikit-learn", "python"} <= set(record["versions"])
        assert all(stage["status"] == "done" for stage in record["stages"])
        assert all(stage["peak_memory_mb"] > 10 for stage in record["stages"])
        assert record["process"]["pid"] > 0
        assert len(record["dataset"]["fingerprint"]) == 64

    def test_the_same_config_twice_recomputes_nothing(self, default: Clipscope) -> None:
        first, second = (load_run(folder) for folder in default.folders()[:2])
        assert {s["cache"] for s in second.record["stages"] if s["name"] not in ("listing", "encoder")} == {"hit"}
        assert first.metrics == second.metrics
        assert list(first) == list(second)
        assert [p[:2] for p in first.pictures] == [p[:2] for p in second.pictures]

    def test_digits_are_files_of_eight_by_eight_pixels_from_0_to_255(self, default: Clipscope) -> None:
        from sklearn.datasets import load_digits

        run = load_run(default.folders()[0])
        assert run["image_embeddings"].shape == (901, 64)
        assert run["image_embeddings"].dtype == np.uint8
        numbers = [int(Path(i).stem.split("_")[1]) for i in run["images"]["id"]]
        expected = np.rint(load_digits().data[numbers] * 255 / 16)
        np.testing.assert_array_equal(run["image_embeddings"], expected)

    def test_scores_are_scikit_learns(self, default: Clipscope) -> None:
        from sklearn import metrics

        run = load_run(default.folders()[0])
        vectors, projection = run["image_embeddings"].astype(float), run["projection"].astype(float)
        clusters, labels = run["clusters"], run["images"]["label"].to_numpy(dtype=str)
        expected = {
            "projection/silhouette": metrics.silhouette_score(projection, clusters),
            "projection/calinski_harabasz": metrics.calinski_harabasz_score(projection, clusters),
            "projection/davies_bouldin": metrics.davies_bouldin_score(projection, clusters),
            "embedding/silhouette_cosine": metrics.silhouette_score(vectors, clusters, metric="cosine"),
            "embedding/silhouette_euclidean": metrics.silhouette_score(vectors, clusters),
            "embedding/calinski_harabasz": metrics.calinski_harabasz_score(vectors, clusters),
            "embedding/davies_bouldin": metrics.davies_bouldin_score(vectors, clusters),
            "labels/ari": metrics.adjusted_rand_score(labels, clusters),
            "labels/ami": metrics.adjusted_mutual_info_score(labels, clusters),
            "labels/nmi": metrics.normalized_mutual_info_score(labels, clusters),
        }
        for key, value in expected.items():
            assert run.metrics[f"cluster_metrics/{key}"] == pytest.approx(value, rel=1e-6), key

    def test_a_run_folder_can_be_copied_away(self, default: Clipscope, tmp_path: Path) -> None:
        shutil.copytree(default.folders()[0], tmp_path / "elsewhere")
        run = load_run(tmp_path / "elsewhere")
        assert len(run.points) == len(run["image_embeddings"]) == 901
        assert list(run.points.columns) == [
            "id", "path", "label", "caption", "group", "cluster",
            "map_x", "map_y", "silhouette_embedding", "silhouette_projection",
        ]  # fmt: skip

    def test_only_what_was_asked_for_and_what_it_needs(self, default: Clipscope) -> None:
        result = default("stages=[class_distances,cluster_metrics]")
        assert set(result.hits.values()) == {"hit", "off"}
        result = default("stages=[class_distances]")
        assert list(result.hits) == ["listing", "encoder", "embedding", "images", "class_distances"]


class TestCalls:
    def test_pairs_as_the_original_takes_them(self, cli: Clipscope, three_classes: Path) -> None:
        pairs = f'dataset.pairs=[dogs,{three_classes}/dogs,"cats (2)","{three_classes}/cats (2)"]'
        result = cli("dataset=folders", pairs, "analysis=class_distances")
        assert {"class_distances/within/dogs/mean", "class_distances/between/cats (2)|dogs/min"} <= set(result.metrics)
        vectors = load_run(result.folder)["image_embeddings"].astype(float)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = unit[:8] @ unit[8:].T
        assert result.metrics["class_distances/between/all/mean"] == pytest.approx(cosines.mean(), abs=1e-6)
        assert result.metrics["class_distances/between/all/min"] == pytest.approx(cosines.min(), abs=1e-6)
        within = (unit[:8] @ unit[:8].T)[np.triu_indices(8, k=1)]
        assert result.metrics["class_distances/within/cats (2)/mean"] == pytest.approx(within.mean(), abs=1e-6)

    def test_root_k_and_umap(self, cli: Clipscope, three_classes: Path) -> None:
        result = cli("dataset=folders", f"dataset.root={three_classes}", "clustering.k=5", "encoder.size=8")
        assert result.metrics["clustering/k"] == 5
        assert load_run(result.folder)["projection"].shape == (24, 5)
        assert set(load_run(result.folder)["images"]["label"]) == {"cats (2)", "dogs", "Bäume"}

    def test_a_flat_folder_leaves_class_distances_out_and_says_so(self, cli: Clipscope, tmp_path: Path) -> None:
        flat = class_folders(tmp_path / "flat", {"": 30})
        result = cli("dataset=folders", f"dataset.root={flat}", *FAST)
        assert "left out class_distances: the images have no labels" in result.err
        assert "class_distances" in [left["stage"] for left in result.record["left_out"]]
        assert result.metrics["clustering/k"] == 8
        assert not any(key.startswith("cluster_metrics/labels") for key in result.metrics)

    def test_one_class_only_says_what_is_not_defined_and_goes_on(self, cli: Clipscope, tmp_path: Path) -> None:
        one = class_folders(tmp_path / "one", {"only": 12})
        result = cli("dataset=folders", f"dataset.root={one}", *FAST)
        assert "distances between classes are not defined" in result.err
        assert "class_distances/within/only/mean" in result.metrics
        assert not any(key.startswith("class_distances/between") for key in result.metrics)
        again = cli("dataset=folders", f"dataset.root={one}", *FAST)
        assert "distances between classes are not defined" in again.err  # a cached result keeps its warnings

    def test_too_few_images_for_the_projection_are_left_out_of_full(self, cli: Clipscope, tmp_path: Path) -> None:
        few = class_folders(tmp_path / "few", {"a": 2, "b": 2})
        result = cli("dataset=folders", f"dataset.root={few}", "encoder.size=8")
        assert "left out projection: projection=umap in 5 dimensions needs at least 7 images" in result.err
        told = [left for left in result.record["left_out"] if not left["reason"].endswith("=none")]
        assert {left["stage"] for left in told} == {
            "projection", "k_selection", "clustering", "cluster_metrics", "label_structure",
        }  # fmt: skip

    def test_every_image_a_cluster(self, cli: Clipscope, tmp_path: Path) -> None:
        few = class_folders(tmp_path / "few", {"a": 4, "b": 4})
        result = cli("dataset=folders", f"dataset.root={few}", *FAST, "clustering.k=8")
        assert "not defined: every image is its own cluster" in result.err
        assert "cluster_metrics/projection/silhouette" not in result.metrics

    def test_a_subset_is_stratified_and_repeatable(self, cli: Clipscope, three_classes: Path) -> None:
        words = (
            "dataset=folders",
            f"dataset.root={three_classes}",
            "stages=[images]",
            "encoder.size=8",
            "dataset.limit=9",
        )
        first, second = load_run(cli(*words).folder), load_run(cli(*words).folder)
        other = load_run(cli(*words, "dataset.sample_seed=1").folder)
        assert first["images"]["label"].value_counts().to_dict() == {"Bäume": 3, "cats (2)": 3, "dogs": 3}
        assert first["images"]["id"].tolist() == second["images"]["id"].tolist() != other["images"]["id"].tolist()

    def test_unseeded_is_never_cached_nor_what_follows(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "projection.seed=null")
        cli(*words)
        hits = cli(*words).hits
        assert hits["embedding"] == hits["class_distances"] == "hit"
        assert hits["projection"] == hits["clustering"] == hits["cluster_metrics"] == "off"

    def test_without_cache(self, cli: Clipscope, three_classes: Path) -> None:
        result = cli("dataset=folders", f"dataset.root={three_classes}", *FAST, "cache=none")
        assert set(result.hits.values()) == {"off"}
        assert not list((cli.place / "cache").glob("embedding/*"))
        assert not (result.folder / ".work").exists()

    def test_dry_run_shows_the_plan_and_writes_no_run(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", *FAST)
        plan = cli(*words, "dry_run=true").out
        assert "24 images, 3 classes" in plan
        assert "miss" in plan
        assert not cli.folders()
        cli(*words)
        assert "miss" not in cli(*words, "dry_run=true").out

    def test_relabelled_images_are_not_embedded_again(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", "stages=[class_distances]", "encoder.size=8")
        cli(*words, f"dataset.root={three_classes}")
        moved = three_classes.parent / "moved"
        three_classes.rename(moved)
        result = cli(*words, f"dataset.root={moved}")
        assert result.hits["embedding"] == "hit"
        assert load_run(result.folder)["images"]["path"].str.startswith(str(moved)).all()

    def test_formats_of_pictures(self, cli: Clipscope, three_classes: Path) -> None:
        result = cli(
            "dataset=folders",
            f"dataset.root={three_classes}",
            "encoder.size=8",
            "stages=[class_distances]",
            "plots.formats=[svg,pdf]",
        )
        stems = {f.suffix for f in (result.folder / "class_distances").glob("class_similarity.*")}
        assert stems == {".png", ".svg", ".pdf"}


class TestHiding:
    def test_what_is_hidden_is_nowhere_in_the_report(self, cli: Clipscope, three_classes: Path) -> None:
        (three_classes / "dogs" / "broken secret.png").write_bytes(b"no picture")
        words = ("dataset=folders", f"dataset.root={three_classes}", *FAST)
        shown = cli(*words)
        assert "broken secret" in (shown.folder / "report.html").read_text(encoding="utf-8")
        hidden = cli(*words, "report.hide=[path,id,images]")
        page = (hidden.folder / "report.html").read_text(encoding="utf-8")
        assert str(three_classes) not in page
        assert "broken secret" not in page
        assert len(page) < len((shown.folder / "report.html").read_text(encoding="utf-8"))


class TestUnreadable:
    def test_skipped_listed_counted(self, cli: Clipscope, three_classes: Path) -> None:
        good = (three_classes / "dogs" / "image 000.png").read_bytes()
        (three_classes / "dogs" / "cut.png").write_bytes(good[: len(good) // 2])
        (three_classes / "dogs" / "empty.jpg").touch()
        (three_classes / "dogs" / "page.jpg").write_text("<!DOCTYPE html><p>not found")
        (three_classes / "dogs" / "notes.txt").write_text("no image by its name")
        os.mkfifo(three_classes / "dogs" / "pipe.png")
        result = cli("dataset=folders", f"dataset.root={three_classes}", *FAST)
        skipped = load_run(result.folder).skipped.set_index("path")
        reasons = {Path(path).name: row["reason"] for path, row in skipped.iterrows()}
        assert reasons == {
            "cut.png": "truncated",
            "empty.jpg": "empty",
            "page.jpg": "not an image",
            "pipe.png": "not a file",
        }
        assert result.metrics["images/listed"] == 28
        assert result.metrics["images/skipped"] == 4
        assert result.record["images"]["ignored"] == {".txt": 1}
        assert "4 images could not be read" in result.err
        assert "page.jpg" in (result.folder / "report.html").read_text(encoding="utf-8")

    def test_beyond_max_unreadable(self, cli: Clipscope, three_classes: Path) -> None:
        (three_classes / "dogs" / "bad.png").write_bytes(b"x")
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "dataset.max_unreadable=0.01")
        result = cli(*words, status=1)
        assert "more than dataset.max_unreadable = 0.01 allows" in result.err
        assert result.record["status"] == "failed"
        assert (result.folder / "skipped.csv").is_file()
        assert (result.folder / "report.html").is_file()

    def test_a_class_without_a_readable_image(self, cli: Clipscope, three_classes: Path) -> None:
        picture(three_classes / "ghosts" / "bad.png", 1).write_bytes(b"x")
        result = cli("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", status=1)
        assert "class 'ghosts': none of its images could be read" in result.err


class TestFailing:
    def test_finished_stages_stay_one_line_of_reason_a_report(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=3", "projection=pca")
        result = cli(*words, "projection.n_components=10", status=1)
        assert result.err.strip().splitlines()[-1].startswith("error: projection.n_components = 10")
        assert "Traceback" not in result.err
        record = result.record
        assert record["status"] == "failed"
        assert record["reason"].startswith("projection.n_components = 10")
        status = {stage["name"]: stage["status"] for stage in record["stages"]}
        assert status["class_distances"] == "done"
        assert status["projection"] == "failed"
        assert status["clustering"] == "not reached"
        assert load_run(result.folder).has("class_summary")
        assert "failed" in (result.folder / "report.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, cli: Clipscope, tmp_path: Path, sent: signal.Signals) -> None:
        many = class_folders(tmp_path / "many", {"a": 150, "b": 150}, side=8)
        process = cli.start("dataset=folders", f"dataset.root={many}", "encoder.size=64", "projection=umap")
        _wait(lambda: any(_stage(folder, "class_distances") == "done" for folder in cli.folders()), process)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        record = load_run(cli.folders()[0]).record
        assert record["status"] == "interrupted"
        assert "interrupted" in err
        assert "Traceback" not in err
        assert load_run(cli.folders()[0]).has("class_summary")
        assert (cli.folders()[0] / "report.html").is_file()

    def test_killed_in_the_middle_resumes_to_equal_bytes(self, cli: Clipscope, tmp_path: Path) -> None:
        many = class_folders(tmp_path / "many", {"a": 500, "b": 500}, side=40)
        words = (
            "dataset=folders",
            f"dataset.root={many}",
            "encoder.size=96",
            "stages=[embedding]",
            "embedding.workers=1",
        )
        process = cli.start(*words)
        _wait(lambda: list((cli.place / "cache").glob("embedding/*/*/shards/*.json")), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = load_run(cli.folders()[0])
        assert killed.record["status"] == "killed"
        made = {
            file.name: file.stat().st_mtime_ns for file in (cli.place / "cache").glob("embedding/*/*/shards/*.json")
        }
        assert 0 < len(made) < 4
        resumed = load_run(cli(*words).folder)
        other = Clipscope(tmp_path / "undisturbed")
        undisturbed = load_run(other(*words).folder)
        np.testing.assert_array_equal(resumed["image_embeddings"], undisturbed["image_embeddings"])

    def test_what_may_pass_is_tried_again(self, cli: Clipscope, three_classes: Path) -> None:
        """An image that took too long today is not missing for ever."""
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (6000, 6000), np.uint8)).save(
            three_classes / "dogs" / "huge.png"
        )
        words = ("dataset=folders", f"dataset.root={three_classes}", "encoder.size=8", "embedding.workers=1")
        hasty = cli(*words, "stages=[class_distances]", "embedding.timeout=0.1")
        assert hasty.metrics["images/skipped"] == 1
        assert "the next run tries them again" in hasty.err
        assert set(hasty.hits.values()) == {"off"}
        patient = cli(*words, "stages=[class_distances]")
        assert patient.metrics["images/skipped"] == 0
        assert cli(*words, "stages=[class_distances]").hits["class_distances"] == "hit"

    def test_two_at_once_have_two_folders_and_equal_results(self, cli: Clipscope, three_classes: Path) -> None:
        words = ("dataset=folders", f"dataset.root={three_classes}", *FAST)
        processes = [cli.start(*words) for _ in range(3)]
        ended = [(p.communicate(timeout=120), p.returncode) for p in processes]
        assert [status for _, status in ended] == [0, 0, 0], ended
        runs = [load_run(folder) for folder in cli.folders()]
        assert len(runs) == 3
        assert runs[0].metrics == runs[1].metrics == runs[2].metrics


class TestOwnChoices:
    def test_user_choices_and_local_paths(self, tmp_path: Path, three_classes: Path) -> None:
        home = tmp_path / "home"
        for name in ("conf", "pipeline", "inference", "hydra_plugins"):
            shutil.copytree(HOME / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (HOME / "run.py", *HOME.glob("requirements*.txt")):
            shutil.copy(file, home / file.name)
        (home / "conf" / "user" / "dataset").mkdir(parents=True)
        (home / "conf" / "user" / "dataset" / "mine.yaml").write_text(
            f"# my own\ndefaults: [folders, _self_]\nname: mine\nroot: {three_classes}\n"
        )
        (home / "conf" / "local.yaml").write_text(f"paths:\n  outputs: {tmp_path / 'from local'}\n")
        cli = Clipscope(tmp_path, home)
        words = ("dataset=mine", "stages=[class_distances]", "encoder.size=8")
        process = cli.start(*words, "paths.outputs=ignored")  # keeps the helper from naming outputs itself
        process.communicate()
        words_without = [w for w in cli.arguments(*words) if not w.startswith("paths.outputs")]
        import subprocess

        done = subprocess.run(words_without, capture_output=True, text=True, env={**os.environ, "CI": "1"})
        assert done.returncode == 0, done.stderr
        assert list((tmp_path / "from local").glob("*/*/report.html"))
        assert (home / "ignored").is_dir()
        assert (
            "dataset=mine"
            in subprocess.run([words_without[0], str(home / "run.py"), "--help"], capture_output=True, text=True).stdout
        )


def _stage(folder: Path, name: str) -> str:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return {stage["name"]: stage["status"] for stage in record["stages"]}.get(name, "")


def _wait(condition: object, process: object, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()  # type: ignore[attr-defined]
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.01)
