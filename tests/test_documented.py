"""docs/outputs.md and what a run writes: everything written is listed, everything listed is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.run_dir import ARTIFACTS, Run, load_run
from tests.cli.command import HOME, Clipscope
from tests.cli.data import class_folders
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors
from tests.releases import images_with_several_labels

MUST_BE_GIVEN = {
    "folders": ["dataset.root=/x"],
    "files": ["dataset.files=[/x.png]"],
    "webdataset": ["dataset.shards=/x"],
    "parquet": ["dataset.path=/x"],
    "dataset=huggingface": ["dataset.path=/x"],
    "redraw": ["run=/x"],
    "compare": ["runs=[/x]"],
    "table": ["dataset.path=/x.csv"],
    "search": ["search.queries=[a cat]"],
    "precomputed": ["encoder.path=/x.npy"],
    "checkpoint": ["encoder.path=mine.pt"],
    "open_clip": ["encoder.model=ViT-B-32"],
    "encoder=huggingface": ["encoder.model=a/b"],
    "timm": ["encoder.model=resnet18"],
    "text=folder": ["text.path=/x"],
    "text=file": ["text.path=/x"],
    "text=table": ["text.path=/x", "text.column=x"],
    "words": ["text.words=[x]"],
}
PAGE = (HOME / "docs" / "outputs.md").read_text(encoding="utf-8")
BESIDES = (  # no columns
    *("...", "load_run", "text_index_metadata", "experiment.repeats", "tagging.hub_correction=csls"),
    "zero_shot.top_k",
)
HOLES = {
    "<spread>": "(mean|sd|min|max)",
    "<extent>": "(mean|min|max)",
    "<radius>": "(max|mean|p95)",
    "<suggestion>": "(k|value)",
    "<end>": "(low|high)",
    "<separation>": "(gap|d_prime|overlap)",
    "<label score>": "(gap|gap_low|gap_high|auc|auc_error|precision_at_5)",
    "<mean score>": "(gap|auc|precision_at_5)",
    "<class score>": "(gap|gap_low|gap_high|d_prime|overlap|auc|auc_error)",
    "<kind>": "(label|group|split)",
    "<agreement>": "(ari|ami|nmi|accuracy|purity)",
    "<score>": "((best_)?silhouette|silhouette_cosine|silhouette_euclidean|calinski_harabasz|davies_bouldin)",
    "<compared>": "(null_mean|null_sd|excess|p|half_mean|half_sd)",
    "<trust>": "(gap|gap_sd|null_gap|k_low|k_high|k_gate)",
    "<vote>": "(silhouette|stability|knee)",
    "<published score>": "(projection|embedding|labels|zero_shot)/[a-z0-9_]+",
    "<of it>": "(published|mean|sd|low|high)",
    "<told>": "(knn_accuracy|probe_accuracy)",
    "<encoded>": "(texts|truncated|unknown)",
    "<index>": "(recall|query_ms|batch_query_ms|bytes)",
    "<hubs>": "(skewness|top_share|unused)",
    "<named>": "(difference|margin|p)",
    "<counted>": "(images|classes)",
    "<scored>": "(top1|top5|macro|ece)",
    "<floor>": "(majority|chance1|chance5)",
    "<threshold>": "(coverage|accuracy|named_outside)",
    "<way>": "(image_to_text|text_to_image)",
    "<asked>": "(queries|candidates)",
    "<part>": "(train|valid|test)",
    "<kept aside>": "(valid|test)",
    "<rank>": "(median_rank|median_low|median_high|mean_rank)",
    "<perturbation>": "(none|gaussian_noise|occlusion)",
    "<perturbed score>": "(flip_rate|ari|cosine|accuracy|reclustered_silhouette)",
    "<class>": r"[^/|]+",
    "<k>": r"\d+",
}


def section(title: str) -> list[list[str]]:
    """Rows of the table under a heading, as cells."""
    body = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> list[str]:
    """`a.{parquet,csv}` is two files."""
    text = cell.strip("`").replace("\\|", "|")
    found = re.match(r"(.*)\{(.*)\}", text)
    return [f"{found[1]}{ending}" for ending in found[2].split(",")] if found else [text]


def pattern(name: str) -> re.Pattern[str]:
    text = re.escape(name)
    for hole, expression in HOLES.items():
        text = text.replace(re.escape(hole), expression)
    return re.compile(text)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Clipscope:
    place = tmp_path_factory.mktemp("documented")
    images = class_folders(place / "images", {"a|b": 12, "c": 12})
    first = min((images / "c").iterdir())
    shutil.copyfile(first, first.with_stem("again"))  # a duplicate, for its picture
    cli = Clipscope(place)
    cli(
        "-m",
        "dataset=folders",
        f"dataset.root={images}",
        "encoder.size=8",
        "projection=pca",
        "clustering.k=2,3",
        "class_distances.save_pairs=true",
        "significance=quick",
        "experiment.repeats=2",
    )
    several = images_with_several_labels(place / "several", 12)
    cli(
        "dataset=open_images",
        f"dataset.root={several}",
        "dataset.several_labels=multi",
        "encoder.size=8",
        "analysis.stages=[label_scores]",
    )
    words(cli, place, images)
    cli(
        "dataset=folders",
        f"dataset.root={images}",
        "encoder.size=8",
        "projection=pca",
        "clustering.k=2",
        "analysis=robustness",
        "robustness.perturbations=[gaussian_noise,occlusion]",
        "robustness.severities=[3,5]",
    )
    training(cli, images)
    return cli


def training(cli: Clipscope, images: Path) -> None:
    """A tiny CLIP, one epoch, with all splits."""
    files = sorted(images.glob("*/*.png"))
    parts = ("train", "train", "valid", "test")
    rows = [
        f'"{file.relative_to(images)}","{file.parent.name}",a picture of {file.stem},{parts[i % 4]}'
        for i, file in enumerate(files)
    ]
    (images / "splits.csv").write_text("\n".join(["image,label,caption,split", *rows]), encoding="utf-8")
    small = ("layers=1", "width=32", "text_layers=1", "text_width=32", "dimension=16", "image_size=16")
    cli(
        *("analysis=training", "dataset=table", f"dataset.path={images / 'splits.csv'}", "training.epochs=1"),
        *(f"training.architecture.{setting}" for setting in small),
    )


def words(cli: Clipscope, place: Path, images: Path) -> None:
    """A run with captions and texts, by a CLIP that has learnt nothing."""
    model = save_safetensors(place / "tiny.safetensors", random_state(TINY_VIT))
    files = sorted(images.glob("*/*.png"))
    rows = [f'"{file.relative_to(images)}","{file.parent.name}",a picture of {file.stem}' for file in files]
    (images / "table.csv").write_text("\n".join(["image,label,caption", *rows]), encoding="utf-8")
    for name in ("animals", "places"):
        (place / "corpus").mkdir(exist_ok=True)
        (place / "corpus" / f"{name}.txt").write_text("\n".join(f"{name} {i}" for i in range(20)), encoding="utf-8")
    stages = "clustering,naming,tagging,zero_shot,retrieval,search,text_index,image_index"
    cli(
        *("dataset=table", f"dataset.path={images / 'table.csv'}", "projection=pca", "clustering.k=2"),
        *("encoder=openai", f"encoder.weights={model}", "encoder.model=null", f"stages=[{stages}]"),
        *("text=folder", f"text.path={place / 'corpus'}", "tagging.hub_correction=csls", "naming.permutations=10"),
        *('zero_shot.classes=["a|b",c,d,e,f,g]', "zero_shot.none_prompt=nothing", "zero_shot.threshold=0.2"),
        *("zero_shot.top_k=2", "search.queries=[animals]", f"search.images=[{files[0]}]"),
    )


def runs(written: Clipscope) -> list[Run]:
    """A run with one label an image, one with several, and one of words: together they write all there is."""
    return [load_run(written.sweeps()[0] / "0"), *map(load_run, written.folders())]


def both_ways(found: set[str], listed: list[str]) -> None:
    patterns = {name: pattern(name) for name in listed}
    unlisted = [name for name in found if not any(p.fullmatch(name) for p in patterns.values())]
    unwritten = [name for name, p in patterns.items() if not any(p.fullmatch(f) for f in found)]
    assert not unlisted, f"written, but not in docs/outputs.md: {sorted(unlisted)}"
    assert not unwritten, f"in docs/outputs.md, but not written: {sorted(unwritten)}"


@pytest.mark.slow
def test_files(written: Clipscope) -> None:
    folders = [run.folder for run in runs(written)]
    found = {str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*") if file.is_file()}
    tables = [name for row in section("Tables and arrays") for name in names(row[1])]
    listed = [name for row in section("Files of the run") + section("Pictures") for name in names(row[0])]
    both_ways(found, list(dict.fromkeys(tables + listed)))


@pytest.mark.slow
def test_files_of_a_sweep(written: Clipscope) -> None:
    found = {file.name for file in written.sweeps()[0].iterdir() if file.is_file()}
    both_ways(found, [name for row in section("Files of a sweep") for name in names(row[0])])


def test_keys_of_metrics(written: Clipscope) -> None:
    keys = {key for run in runs(written) for key in run.metrics}
    both_ways(keys, [name for row in section("Keys of metrics.json") for name in names(row[0])])


def test_names_and_columns_of_tables(written: Clipscope) -> None:
    rows = section("Tables and arrays")
    made = {name: run[name] for run in runs(written) for name in run}
    assert [row[0].strip("`") for row in rows] == list(ARTIFACTS)
    assert set(made) == set(ARTIFACTS)
    for name, _, said in rows:
        value = made[name.strip("`")]
        columns = list(value.columns) if isinstance(value, pd.DataFrame) else getattr(value, "column_names", None)
        if columns is not None:
            listed = " ".join(re.findall(r"`([^`]*)`", said)).split()
            assert [c for c in listed if c not in BESIDES] == columns, name


def test_columns_of_points(written: Clipscope) -> None:
    listed = re.search(r"`points.parquet` has the columns `([^`]*)`", PAGE)
    assert listed is not None
    made = [run.points for run in runs(written) if (run.folder / "points.parquet").is_file()]  # a training makes none
    assert listed[1].split() == list(dict.fromkeys(column for points in made for column in points.columns))


@pytest.mark.slow
def test_every_shipped_choice_composes() -> None:
    """Each file of conf/ is a choice that the schema accepts."""
    from hydra import compose, initialize_config_dir

    from pipeline import config

    config.register()
    for file in sorted((HOME / "conf").glob("*/*.yaml")):
        group, choice = file.parent.name, file.stem
        if choice.startswith("_") or group == "user":
            continue
        with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(HOME / "conf"), version_base="1.3"):
            patch.setenv("CLIPSCOPE_HOME", str(HOME))
            named = f"{group}={choice}"
            words = [named, *MUST_BE_GIVEN.get(named, MUST_BE_GIVEN.get(choice, []))]
            read = config.read(compose("config", overrides=words))
        assert getattr(read, group).name == choice


def test_documents_name_files_that_exist() -> None:
    for page in [*HOME.glob("*.md"), *HOME.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / Path(target)).exists(), f"{page.name} links to {target}"
