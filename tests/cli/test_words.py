"""Everything that is done with words, on the command line: right answers on given vectors, every call with a CLIP."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.run_dir import Run, load_run
from tests.cli.command import Clipscope, Result
from tests.cli.data import class_folders
from tests.cli.spoken import CAPTIONS, CLASSES, WORDS, cosines, spoken
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors

STAGES = "stages=[clustering,zero_shot,retrieval,tagging,naming,image_index,search]"
CHOSEN = ("projection=pca", "clustering.k=3", "text=words", f"text.words=[{','.join(WORDS)}]", "tagging.k=2",
          "search.queries=[dark,bright]", "search.k=5")  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of all stages of words on vectors whose answers are known."""
    place = tmp_path_factory.mktemp("known")
    return Clipscope(place)(*spoken(place / "given"), STAGES, *CHOSEN)


def test_all_stages_on_known_vectors(known: Result) -> None:
    assert all(stage["status"] == "done" for stage in known.record["stages"])
    assert "Traceback" not in (known.folder / "run.log").read_text(encoding="utf-8")
    run = load_run(known.folder)
    _zero_shot(run)
    _tags(run)
    _names(run)
    _hits(run)
    assert run.metrics["retrieval/image_to_text/recall_at_1"] == _recall(cosines(CAPTIONS))
    assert run.metrics["retrieval/text_to_image/recall_at_1"] == _recall(cosines(CAPTIONS).T)
    assert run.metrics["image_index/recall"] == run.metrics["text_index/recall"] == 1
    drawn = {(stage, name) for stage, name, _ in run.pictures}
    assert drawn >= {
        ("zero_shot", "confusion"), ("zero_shot", "calibration"), ("zero_shot", "similarities"),
        ("retrieval", "recall"),
        ("naming", "map"), ("search", "query_00"), ("search", "query_01"),
    }  # fmt: skip


def _zero_shot(run: Run) -> None:
    likeness = cosines([f"a photo of {name}" for name in sorted(CLASSES)])
    best = likeness.argmax(axis=1)
    found = run["predictions"]
    assert found["predicted"].tolist() == [sorted(CLASSES)[i] for i in best]
    raised = np.exp(10 * likeness)
    np.testing.assert_allclose(
        found["probability"], (raised / raised.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-5
    )
    right = found["predicted"] == found["label"]
    assert 0.7 < right.mean() < 1, "else there is nothing to see"
    assert run.metrics["zero_shot/top1"] == pytest.approx(right.mean())
    assert run.metrics["zero_shot/recall/low"] == pytest.approx(right[found["label"] == "low"].mean())


def _tags(run: Run) -> None:
    best = np.argsort(-cosines(WORDS), axis=1)[:, :2]
    tags = run["tags"].pivot(index="id", columns="rank", values="text")
    assert tags.to_numpy().tolist() == [[WORDS[i] for i in row] for row in best]


def _names(run: Run) -> None:
    names = run["group_names"]
    first = names[(names["rank"] == 1) & (names["kind"] == "class")].set_index("group")
    assert first["text"].to_dict() == {"low": "dark", "middle": "grey", "high": "bright"}
    assert (first["p"] < 0.05).all()


def _hits(run: Run) -> None:
    hits = run["hits"]
    for number, text in enumerate(["dark", "bright"]):
        likeness = cosines([text])[:, 0]
        order = np.argsort(-likeness)[:5]
        of_query = hits[hits["query"] == number]
        assert of_query["id"].tolist() == [f"{i:04d}" for i in order]
        np.testing.assert_allclose(of_query["score"], likeness[order], rtol=1e-5)


def _recall(likeness: np.ndarray) -> float:
    return float((likeness.argmax(axis=1) == np.arange(30)).mean())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clipscope, tuple[str, ...]]:
    """A command line with twelve images in two classes, a small random CLIP and a corpus; and the encoder's words."""
    place = tmp_path_factory.mktemp("clip")
    class_folders(place / "images", {"cats": 6, "dogs": 6})
    save_safetensors(place / "tiny.safetensors", random_state(TINY_VIT))
    corpus = place / "corpus"
    (corpus / "more").mkdir(parents=True)
    (corpus / "animals.txt").write_text("a brown cat\na dog in the grass\n\na brown cat\n", encoding="utf-8")
    (corpus / "more" / "places.txt").write_text(
        "".join(f"the old house near the green tree, number {i}\n" for i in range(5)), encoding="utf-8"
    )
    encoder = ("encoder=openai", f"encoder.weights={place}/tiny.safetensors", "device=cpu", "precision.mode=fp32")
    return Clipscope(place), encoder


def vectors(clip: tuple[Clipscope, tuple[str, ...]], texts: list[str]) -> np.ndarray:
    """Of texts, length 1, by the library's own network."""
    import open_clip

    from tests.inference.encoders.clips import texts_by_hand

    tokens = open_clip.tokenize(texts, TINY_VIT.context)
    made = texts_by_hand(random_state(TINY_VIT), TINY_VIT, tokens).astype(np.float64)
    unit: np.ndarray = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def test_a_folder_of_images_told_by_classes(clip: tuple[Clipscope, tuple[str, ...]]) -> None:
    cli, encoder = clip
    words = ("analysis=zero_shot", "dataset=folders", f"dataset.root={cli.place}/images", *encoder)
    made = cli(*words, "zero_shot.classes=[a cat,a dog,a car,a tree]")
    assert "no label of the data set is one of the classes" in made.err
    run = load_run(made.folder)
    likeness = (
        np.asarray(run["image_embeddings"], np.float64)
        @ vectors(clip, [f"a photo of {name}" for name in ("a cat", "a dog", "a car", "a tree")]).T
    )
    found = run["predictions"]
    names = np.array(["a cat", "a dog", "a car", "a tree"])
    assert found["predicted"].tolist() == names[likeness.argmax(axis=1)].tolist()
    np.testing.assert_allclose(found["cosine"], likeness.max(axis=1), atol=1e-5)
    (cli.place / "names.csv").write_text("label,name\ncats,a cat\ndogs,a dog\n", encoding="utf-8")
    scored = cli(*words, f"zero_shot.names={cli.place}/names.csv", "prompts=openai7", "zero_shot.none_prompt=a photo")
    assert scored.hits["embedding"] == "hit"
    run = load_run(scored.folder)
    assert run["zero_shot_classes"]["prompt"].tolist() == ["a cat", "a dog", "a photo"]
    assert set(run["predictions"]["predicted"]) <= {"cats", "dogs", "none of these"}


def test_a_single_photo(clip: tuple[Clipscope, tuple[str, ...]]) -> None:
    cli, encoder = clip
    photo = f'dataset.files=["{cli.place}/images/dogs/image 000.png"]'
    run = load_run(
        cli("analysis=zero_shot", photo, "dataset=files", *encoder, "zero_shot.classes=[a cat,a dog]").folder
    )
    assert len(run["predictions"]) == 1
    assert ("zero_shot", "answers") in {(stage, name) for stage, name, _ in run.pictures}


def test_a_corpus_becomes_an_index_and_another_and_tags(clip: tuple[Clipscope, tuple[str, ...]]) -> None:
    """The three calls that belong together: text_index, from_run with another index, tagging with sidecars."""
    cli, encoder = clip
    corpus = ("text=folder", f"text.path={cli.place}/corpus", "text.kinds=[lines,unigrams,bigrams,trigrams]")
    made = cli("analysis=text_index", *encoder, *corpus, 'text.prefix="a photo of "')
    run = load_run(made.folder)
    texts = run["texts"]["text"].to_pylist()
    assert {"a brown cat", "old house", "green tree ,"} <= set(texts)
    np.testing.assert_allclose(
        run["text_embeddings"], vectors(clip, [f"a photo of {text}" for text in texts]), atol=1e-5
    )
    assert run["text_index_metadata"]["caption"].tolist() == texts
    assert "images" not in run

    other = cli("analysis=text_index", f"from_run={made.folder}", "index.memory=5GB", "index.k=3")
    assert [stage["name"] for stage in other.record["stages"]] == ["text_index"]
    assert load_run(other.folder)["text_index_quality"]["k"][0] == 3
    assert load_run(other.folder)["texts"]["text"].to_pylist() == texts

    images = cli.place / "tagged"
    shutil.copytree(cli.place / "images", images)
    words = ("analysis=tagging", "dataset=folders", f"dataset.root={images}", *encoder, "tagging.k=5")
    for index in (made.folder, other.folder):
        tagged = cli(*words, f"tagging.index={index}/text_index", "tagging.sidecars=true", "tagging.overwrite=true")
        run = load_run(tagged.folder)
        likeness = np.asarray(run["image_embeddings"], np.float64) @ vectors(clip, [f"a photo of {t}" for t in texts]).T
        best = np.sort(likeness, axis=1)[:, ::-1][:, :5]
        np.testing.assert_allclose(run["tags"]["score"].to_numpy().reshape(-1, 5), best, atol=1e-5)
        _sidecars(run)
    assert tagged.hits["tagging"] == "miss", "another index, other keys"

    for file in images.rglob("*.knn"):
        file.unlink()
    again = cli(*words, f"tagging.index={other.folder}/text_index", "tagging.sidecars=true")
    assert again.hits["tagging"] == "hit"
    _sidecars(load_run(again.folder))
    taken = cli("analysis=tagging", f"from_run={again.folder}", "tagging.sidecars=true")
    assert taken.hits == {"tagging": "hit"}
    first = next(images.rglob("*.knn"))
    first.write_text("mine\n")
    kept = cli(*words, f"tagging.index={other.folder}/text_index", "tagging.sidecars=true")
    assert "1 that were there stay as they are" in kept.err
    assert first.read_text() == "mine\n"


def _sidecars(run: Run) -> None:
    tags = run["tags"].groupby("id")["text"].agg(list)
    for name, path in zip(run["images"]["id"], run["images"]["path"], strict=True):
        expected = "".join(f"{text}\n" for text in tags[name]).encode()
        assert Path(path).with_suffix(".knn").read_bytes() == expected


def test_an_index_of_another_encoder_or_damaged(clip: tuple[Clipscope, tuple[str, ...]], tmp_path: Path) -> None:
    cli, encoder = clip
    made = cli("analysis=text_index", *encoder, "text=words", "text.words=[a cat,a dog]")
    words = ("analysis=tagging", "dataset=folders", f"dataset.root={cli.place}/images", "device=cpu")
    save_safetensors(tmp_path / "other.safetensors", random_state(TINY_VIT, seed=1))
    runs = len(cli.folders())
    other = cli(
        *words,
        "encoder=openai",
        f"encoder.weights={tmp_path}/other.safetensors",
        f"tagging.index={made.folder}",
        status=2,
    )
    assert "tagging.index: its texts were encoded with openai CLIP" in other.err
    assert "vectors of different encoders do not compare" in other.err
    none = cli(*words, "tagging.index=/nowhere", status=2)
    assert none.err == "error: tagging.index: /nowhere: must be the text_index folder of a finished run\n"
    both = cli(*words, *encoder, f"tagging.index={made.folder}", "text=words", "text.words=[a]", status=2)
    assert "has no effect with tagging.index, whose texts are taken" in both.err
    assert len(cli.folders()) == runs, "found before a run folder is made"
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    for name, cut in (("text.index", 0.5), ("text_emb/text_emb_0000.npy", 0.1)):
        file = copy / "text_index" / name
        whole = file.read_bytes()
        file.unlink()
        file.write_bytes(whole[: int(cut * len(whole))])
        damaged = cli(*words, *encoder, f"tagging.index={copy}/text_index", status=None)
        assert damaged.status in (1, 2)
        assert damaged.err.count("error:") == 1 and f"{Path(name).name}: damaged" in damaged.err
        assert "Traceback" not in damaged.err
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analysis=zero_shot", "encoder=none"], "encoder=none sees images only; encoders that see texts too: openai"),
        (["analysis=search", "encoder=none", "search.queries=[x]"], "encoder=none sees images only"),
        (["analysis=tagging", "encoder=none"], "it needs texts (text=folder"),
        (["analysis=text_index", "encoder=none", "text=words", "text.words=[a]"], "encoder=none sees images only"),
        (["analysis=search"], "search: nothing to look for"),
        (["analysis=search", 'search.queries=["  "]'], "search.queries: a text is blank"),
        (["analysis=search", "search.queries=[a,a]"], "search.queries = [a, a]: names something twice"),
        (["analysis=search", "search.queries=[a]", "search.minus=[b]"], "no effect without search.combine=true"),
        (["analysis=search", "encoder=none", "search.images=[gone.jpg]"], "search.images: no such file"),
        (["analysis=zero_shot", "prompts.templates=[a photo]"], "'a photo' must hold {}, the place of the class"),
        (["analysis=zero_shot", "prompts.templates=[]"], "prompts.templates = []: name at least one"),
        (["analysis=zero_shot", "zero_shot.classes=[a]"], "one class leaves nothing to choose"),
        (["analysis=zero_shot", "zero_shot.classes=[a,a]"], "names something twice"),
        (["analysis=zero_shot", "zero_shot.classes=[a,' ']"], "zero_shot.classes: a class name is blank"),
        (["analysis=zero_shot", "zero_shot.none_prompt=' '"], "zero_shot.none_prompt: the text is blank"),
        (["analysis=zero_shot", "zero_shot.threshold=2"], "zero_shot.threshold = 2.0: must be from 0 to 1"),
        (["analysis=text_index", "index.memory=lots"], "index.memory = lots: must be a size, as in 500MB or 4GB"),
        (["analysis=text_index", "index.device=gpu"], "index.device = gpu: no such device; did you mean cpu?"),
        (["analysis=text_index", "text=words", "text.words=[]"], "text.words = []: name at least one text"),
    ],
)
def test_wrong_calls(cli: Clipscope, three_classes: Path, words: list[str], said: str) -> None:
    result = cli("dataset=folders", f"dataset.root={three_classes}", *words, status=2)
    assert said in result.err
    assert result.err.count("error:") == len(result.err.splitlines()) == 1
    assert not cli.folders()


def test_tables_of_names_that_cannot_be_used(cli: Clipscope, tmp_path: Path) -> None:
    given = (*spoken(tmp_path / "given"), "analysis=zero_shot", f"zero_shot.names={tmp_path}/names.csv")
    for content, said in (
        (b"label,nam\nlow,dark\n", "names.csv has no column 'name'; did you mean nam?"),
        (b"label,name\nlow,dark\nlow,grey\n", "the label 'low' has two names, 'dark' and 'grey'"),
        (b"label,name\nlow,\n", "names.csv, line 2: label or name is blank"),
        (b"label,name\n\xff,x\n", "names.csv is not UTF-8"),
        (b"", "names.csv has no column 'label'"),
    ):
        (tmp_path / "names.csv").write_bytes(content)
        assert said in cli(*given, status=2).err
    (tmp_path / "names.csv").unlink()
    assert "No such file or directory" in cli(*given, status=2).err
    assert not cli.folders()
    (tmp_path / "names.csv").write_bytes("\ufefflabel,name\r\nlow,middle\r\nmiddle,low\r\n".encode())
    run = load_run(cli(*given).folder)
    assert run["zero_shot_classes"]["prompt"].tolist() == ["high", "middle", "low"]
    assert run.metrics["zero_shot/recall/low"] < 0.3 < run.metrics["zero_shot/recall/high"], "names were exchanged"


def test_given_vectors_say_what_they_lack(cli: Clipscope, tmp_path: Path) -> None:
    given = spoken(tmp_path / "given")
    scaleless = [word for word in given if "logit_scale" not in word]
    assert "encoder.logit_scale: needed for probabilities" in cli(*scaleless, "analysis=zero_shot", status=2).err
    unknown = cli(*given, "analysis=search", "search.queries=[drak]", status=1)
    assert "texts.npz has no vector for the text 'drak'; did you mean dark?" in unknown.err
    empty = tmp_path / "corpus"
    empty.mkdir()
    assert "text.path" in cli(*given, "analysis=text_index", "text=folder", f"text.path={empty}", status=2).err
    (empty / "a.txt").write_text(" \n\n")
    blank = cli(*given, "analysis=text_index", "text=folder", f"text.path={empty}", status=1)
    assert "there is nothing in 1 file to make an entry of" in blank.err
    assert blank.err.count("error:") == 1


def test_more_hits_than_images_and_more_tags_than_entries(cli: Clipscope, tmp_path: Path) -> None:
    words = (*spoken(tmp_path / "given"), "stages=[search,tagging]", "search.queries=[dark]", "search.k=99",
             "text=words", "text.words=[dark,grey]", "tagging.k=9")  # fmt: skip
    made = cli(*words)
    assert "search.k = 99: there are only 30 images" in made.err
    assert "tagging.k = 9: the index has only 2 entries" in made.err
    run = load_run(made.folder)
    assert (len(run["hits"]), len(run["tags"])) == (30, 60)
    assert pd.read_csv(made.folder / "search" / "hits.csv")["rank"].tolist() == list(range(1, 31))
