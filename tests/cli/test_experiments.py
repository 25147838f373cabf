"""Experiments by the command line, on small data in the layouts of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.metrics.published import repeated
from pipeline.run_dir import load_run
from tests.cli.command import Clipscope, Result
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors
from tests.releases import images_in_folder, images_with_several_labels, rocov2_merged

TEST_IMAGES = 60


def cifar(data: Path, train: int = 0, test: int = TEST_IMAGES) -> Path:
    """Digits as CIFAR-10's class folders."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i in range(train + test):
        split = "test" if i < test else "train"
        folder = data / "cifar10" / split / f"digit {digits.target[i]}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((digits.images[i] * 15.9).astype(np.uint8)).resize((32, 32)).convert("RGB")
        pixels.save(folder / f"{i:05d}.png")
    return data


def rocov2(data: Path, count: int) -> list[str]:
    names = rocov2_merged(data / "ROCOv2" / "merged_dataset_test.csv", count)
    images_in_folder(data / "ROCOv2" / "test_images" / "test", names)
    return names


def vectors_of(names: list[str], file: Path) -> np.ndarray:
    """Vectors that somebody else has made, by the images' names."""
    vectors = np.random.default_rng(0).normal(size=(len(names), 6)).astype(np.float32)
    pd.DataFrame({"id": names, "embedding": list(vectors)}).to_parquet(file)
    return vectors


def scores(result: Result) -> pd.DataFrame:
    return load_run(result.folder)["experiment_scores"].set_index("score")


def test_pixels_are_scikit_learns_own_numbers(cli: Clipscope) -> None:
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score

    cifar(cli.place / "data", train=140)
    result = cli("experiment=pixels_kmeans", "experiment.repeats=3", "clustering.n_init=2", "seed=5")
    run = load_run(result.folder)
    files = [Path(path) for path in run["images"]["path"]]
    pixels = np.stack([np.asarray(Image.open(file)).reshape(-1) for file in files])
    np.testing.assert_array_equal(run["image_embeddings"], pixels)  # 3,072 values of 200 images, nothing done to them
    truth = np.array([int(file.parent.name.split()[1]) for file in files])
    expected: dict[str, list[float]] = {"nmi": [], "ari": [], "accuracy": []}
    for seed in (5, 6, 7):
        found = KMeans(10, n_init=2, random_state=seed).fit_predict(pixels.astype(np.float64))
        table = confusion_matrix(truth, found)
        expected["nmi"].append(normalized_mutual_info_score(truth, found))
        expected["ari"].append(adjusted_rand_score(truth, found))
        expected["accuracy"].append(table[linear_sum_assignment(table, maximize=True)].sum() / len(truth))
    for name, values in expected.items():
        over = repeated(values)
        row = scores(result).loc[f"labels/{name}"]
        assert [row[x] for x in ("mean", "sd", "low", "high")] == pytest.approx(
            [over.mean, over.sd, over.low, over.high]
        )
        assert result.metrics[f"experiment/labels/{name}/mean"] == pytest.approx(over.mean)
    assert result.metrics["experiment/labels/nmi/published"] == 0.087
    row = scores(result).loc["labels/nmi"]
    assert row["verdict"] == "protocol differs"
    assert row["differs"] == "clustering.n_init = 2, not 10; 200 images, not 60,000"
    assert "published values: pixels_kmeans: CIFAR-10, raw pixels" in result.out and row["differs"] in result.out
    assert "Published values" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_a_repeat_is_the_run_that_those_seeds_make(cli: Clipscope) -> None:
    rocov2(cli.place / "data", 40)
    words = ("experiment=rocov2_none", "encoder.size=8", "stages=[cluster_metrics,repeats,experiment]")
    result = cli(*words, "experiment.repeats=3", "clustering.k=3")
    again = load_run(result.folder)["repeat_scores"].query("repeat == 2").set_index("name")["value"]
    other = cli(*words, "experiment.repeats=1", "clustering.k=3", "projection.seed=2", "clustering.seed=44",
                "stages=[cluster_metrics,experiment]")  # fmt: skip
    for name in ("silhouette", "calinski_harabasz", "davies_bouldin"):
        assert other.metrics[f"cluster_metrics/projection/{name}"] == pytest.approx(again[name], rel=1e-6)
    assert scores(result).loc["projection/silhouette", "runs"] == 3
    assert scores(other)["runs"].tolist() == [1] * 3
    third = cli(*words, "experiment.repeats=3", "clustering.k=3", "experiment.row=ROCOv2 without CLIP (raw pixels)"
                .replace("row=", "row='") + "'")  # fmt: skip
    assert third.hits["repeats"] == "hit"


def test_unseeded_as_published(cli: Clipscope) -> None:
    rocov2(cli.place / "data", 30)
    words = ("experiment=rocov2_none", "encoder.size=8", "projection.seed=null", "experiment.repeats=2")
    result = cli(*words, "stages=[cluster_metrics,repeats,experiment]")
    assert result.hits["projection"] == "off" and result.hits["repeats"] == "miss"
    assert load_run(result.folder)["repeat_scores"]["projection_seed"].unique().tolist() == [1]
    assert scores(result)["differs"].unique().tolist() == ["encoder.size = 8, not 224; 30 images, not 9,827"]


@pytest.mark.parametrize("name", ["rocov2_openai", "rocov2_finetuned", "open_images_tsne"])
def test_with_vectors_at_hand(cli: Clipscope, name: str) -> None:
    data, file = cli.place / "data", cli.place / "vectors.parquet"
    if name == "open_images_tsne":
        names = sorted(path.stem for path in images_with_several_labels(data / "open_images", 40).rglob("*.jpg"))
    else:
        names = rocov2(data, 40)
    vectors = vectors_of(names, file)
    result = cli(f"experiment={name}", "encoder=precomputed", f"encoder.path={file}",
                 "experiment.repeats=2")  # fmt: skip
    table = scores(result)
    assert result.record["stages"][-1]["status"] == "done"
    np.testing.assert_array_equal(load_run(result.folder)["image_embeddings"], vectors)  # not scaled
    assert table["notes"].str.startswith("the vectors were made elsewhere").all()
    if name == "open_images_tsne":
        assert table["verdict"].tolist() == ["nothing published"] and table["runs"].tolist() == [2]
        assert load_run(result.folder)["projection"].shape == (40, 2)
    else:
        assert table["differs"].unique().tolist() == ["40 images, not 9,827"]
        assert table["published"].notna().all() and table["sd"].notna().all()


@pytest.mark.parametrize("name", ["mieb_clustering", "tac_kmeans", "zero_shot_table"])
def test_a_clip_on_class_folders(cli: Clipscope, name: str) -> None:
    cifar(cli.place / "data")
    weights = save_safetensors(cli.place / "tiny.safetensors", random_state(TINY_VIT))
    result = cli(f"experiment={name}", f"encoder.weights={weights}", "encoder.model=null")
    table = scores(result)
    (differs,) = table["differs"].unique()
    assert differs.startswith("encoder.model = CLIP of OpenAI's form (") and differs.endswith(
        "), not ViT-B/32; 60 images, not 10,000"
    )
    if name == "zero_shot_table":
        assert table.index.tolist() == ["zero_shot/top1"]
        assert (table["over"].tolist(), table["published"].tolist()) == (["images"], [0.8983])
        assert table["low"].iloc[0] < table["mean"].iloc[0] < table["high"].iloc[0]
    else:
        assert sorted(table.index) == ["labels/accuracy", "labels/ari", "labels/nmi"]
        assert set(table["runs"]) == {10 if name == "mieb_clustering" else 5}
        lengths = np.linalg.norm(load_run(result.folder)["image_embeddings"], axis=1)
        assert np.allclose(lengths, 1) == (name == "tac_kmeans")  # MIEB takes them as they are


def test_no_experiment_named_but_the_row_is_shown(cli: Clipscope) -> None:
    rocov2(cli.place / "data", 30)
    result = cli("dataset=rocov2", "encoder.size=8", "k_selection.k_max=4")
    assert scores(result)["experiment"].unique().tolist() == ["rocov2_none"]
    assert "encoder.size = 8, not 224; clustering.k = 5, not 6; clustering.n_init = 10, not 1" in result.out
    assert "One run says nothing of chance" in result.out
    assert "repeats" not in result.err and "repeats" not in result.hits


def test_a_sweep_over_experiments(cli: Clipscope) -> None:
    vectors = cli.place / "vectors.parquet"
    vectors_of(rocov2(cli.place / "data", 30), vectors)
    result = cli("-m", "experiment=glob(rocov2_*)", "encoder=precomputed", f"encoder.path={vectors}",
                 "experiment.repeats=2", "stages=[cluster_metrics,repeats,experiment]")  # fmt: skip
    runs = [load_run(cli.sweeps()[0] / str(number)) for number in range(3)]
    assert [run.config["experiment"]["name"] for run in runs] == ["rocov2_finetuned", "rocov2_none", "rocov2_openai"]
    published = [run.metrics["experiment/projection/silhouette/published"] for run in runs]
    assert published == [0.6304148435592651, 0.37952467799186707, 0.5876759886741638]
    told = result.out.split("published values\n")[1]  # the README's table, next to ours
    for row, value in (("rocov2_none", "0.380"), ("rocov2_openai", "0.588"), ("rocov2_finetuned", "0.630")):
        line = next(line for line in told.splitlines() if row in line and "Silhouette" in line)
        assert value in line and "±" in line and "protocol differs" in line
    page = (cli.sweeps()[0] / "comparison.html").read_text(encoding="utf-8")
    assert "Published values" in page and "the vectors were made elsewhere" in page.lower()
    tex = (cli.sweeps()[0] / "comparison.tex").read_text(encoding="utf-8")
    assert r"rocov2\_none: ROCOv2 without CLIP (raw pixels) & Silhouette, in the projection & 0.380 &" in tex


def test_what_is_missing_and_where_to_put_it(cli: Clipscope) -> None:
    error = cli("experiment=pixels_kmeans", status=2).err
    assert "dataset.root: no such folder" in error
    assert "experiment=pixels_kmeans needs CIFAR-10 as class folders, data/cifar10/{train,test}/<class>/" in error
    assert not cli.folders()
    rocov2(cli.place / "data", 10)
    error = cli("experiment=rocov2_finetuned", f"paths.checkpoints={cli.place}", status=None).err
    assert "rocov2_finetuned.pt" in error and "tutorial CLIP's state dict" in error
    assert "experiment=rocov: no such choice" in cli("experiment=rocov", status=2).err


def test_wrong_calls(cli: Clipscope) -> None:
    assert "experiment.repeats = 0: must be from 1 to 1000" in cli("experiment.repeats=0", status=2).err
    assert "experiment.repeat: no such setting" in cli("experiment.repeat=3", status=2).err
    words = ("experiment=mieb_clustering", "dataset=digits", "experiment.row=CIFAR")
    assert "experiment.row = CIFAR: no such row" in cli(*words, status=2).err
    error = cli("experiment=tac_kmeans", "dataset=digits", "encoder=none", "projection=pca", "clustering=agglomerative",
                "stages=[repeats]", status=2).err  # fmt: skip
    assert "nothing is random with projection=pca and clustering=agglomerative" in error


def test_a_finished_run_is_repeated_without_its_weights(cli: Clipscope) -> None:
    """Its vectors are there, and only which file they came from cannot be looked at again."""
    cifar(cli.place / "data")
    weights = save_safetensors(cli.place / "tiny.safetensors", random_state(TINY_VIT))
    quick = ("projection=pca", "significance=none")
    words = ("dataset=cifar10_test", "encoder=openai", f"encoder.weights={weights}", "stages=[cluster_metrics]")
    first = cli(*words, *quick)
    weights.unlink()
    repeated = ("clustering.k=3", "experiment.repeats=2", "stages=[cluster_metrics,repeats,experiment]")
    again = scores(cli(f"from_run={first.folder}", *repeated, *quick))
    assert again["runs"].unique().tolist() == [2]
