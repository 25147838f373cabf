"""Zero-shot classes, retrieval, names, tags, searches and indexes in the report."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.report import naming, zero_shot
from pipeline.report.build import render
from pipeline.report.methods import methods_paragraph, protocol_lines
from tests.report.fake_run import PNG, FakeRun, cluster_table
from tests.report.fake_words import (
    LINES,
    NASTY,
    all_frames,
    hits_frames,
    index_frames,
    names_frames,
    retrieval_frames,
    tags_frames,
    words_record,
    zero_shot_frames,
)
from tests.report.test_build import Page

METRICS = {"tagging/tagged": 100.0, "tagging/best_score": 0.31, "texts/entries": 1200.0, "texts/skipped": 2.0}


def run(frames: dict[str, pd.DataFrame], **changes: Any) -> FakeRun:
    return FakeRun(record_=words_record(**changes), metrics=METRICS, frames=frames)


def between(html: str, key: str) -> str:
    """The text of one section."""
    return Page(html[html.index(f'<section id="{key}">') :].split("</section>")[0] + "</section>").text


def test_each_part_has_its_section() -> None:
    page = Page(render(run(all_frames())))
    sections = [attrs["id"] for attrs in page.all("section")]
    assert [key for key in sections if key in {"names", "zero_shot", "retrieval", "tags", "search", "indexes"}] == [
        "names", "zero_shot", "retrieval", "tags", "search", "indexes"
    ]  # fmt: skip
    assert not {"names", "zero_shot", "retrieval", "tags", "search", "indexes"} & {
        str(attrs["id"]) for attrs in Page(render(FakeRun())).all("section")
    }


def test_accuracy_never_stands_alone() -> None:
    html = render(run(zero_shot_frames()))
    said = (
        "90.0 % (95 %: 83.0 % to 95.0 %) of 100 images are called by their own class, of 2; always saying the most "
        "frequent class gives 60.0 %, guessing 50.0 %."
    )
    for section in ("glance", "zero_shot"):
        assert said in between(html, section)
    shown = between(html, "zero_shot")
    assert "Accuracy (top-1) 0.900 0.830 to 0.950 largest class 0.600, guesses 0.500" in shown
    assert "top-5" not in shown  # of two classes it is always 1
    assert "95.0 % of these rightly; of images of other classes 25.0 % are named all the same, always wrongly." in shown
    assert "In prompts a class stands in place of {} : a photo of {} ." in shown
    assert "dog cat 6 15 %" in shown and "cat dog 4 7 %" in shown and "cat cat" not in shown
    assert "in prompts" not in shown.split("Each class")[-1].split("recall")[0]  # prompts are the names


@pytest.mark.parametrize(
    ("ece", "chance", "over", "said"),
    [
        (0.1, 0.04, 0.08, "Its probabilities are overconfident by 0.080: on average so far above the share that is"),
        (0.1, 0.04, -0.1, "Its probabilities are underconfident by 0.100: on average so far below"),
        (0.1, 0.04, 0.01, "too high in places and too low in others: they are off by 0.100 (ECE)"),
        (0.03, 0.04, 0.03, "No evidence of miscalibration: a model that is right exactly as often as it says would "
         "show an error (ECE) of up to 0.040 with so many images, and this one shows 0.030."),
    ],
)  # fmt: skip
def test_calibration_is_a_sentence(ece: float, chance: float, over: float, said: str) -> None:
    made = run(zero_shot_frames(ece, chance, over))
    assert said in zero_shot.calibration(made)
    assert said in between(render(made), "zero_shot")


def test_what_has_no_labels_shows_what_it_was_called() -> None:
    frames = {"predictions": zero_shot_frames()["predictions"].drop(columns="label")}
    shown = between(render(run(frames)), "zero_shot")
    assert "patient-1 dog 0.900 0.300 cat 0.100 0.280" in shown
    assert "calibration" not in shown.lower() and zero_shot.answer(run(frames)) == ""


def test_equal_captions_are_judged_both_ways_only_where_it_matters() -> None:
    shown = between(render(run(retrieval_frames())), "retrieval")
    row = "0.300 (0.200 to 0.400) 0.300 (0.200 to 0.400) 0.300 (0.200 to 0.400) 0.011 / 0.056 / 0.111 4 (3 to 5.5) 7.2"
    assert f"an image, its caption right 100 90 {row}" in shown
    assert "a caption, its image wrong 100 90 0.250" in shown
    same = between(render(run(retrieval_frames(strict=0.3))), "retrieval")
    assert same.count("an image, its caption") == 1 and "right 100" not in same


def test_names_say_whether_they_are_more_than_chance() -> None:
    html = render(run(names_frames() | {"cluster_table": cluster_table(2)}))
    shown = between(html, "names")
    assert "Both clusters have a name that beats chance; 1 of these fits no other as well." in shown
    assert "beats chance (p = 0.005), fits no other as well" in shown
    assert "beats chance (p = 0.005), but fits cluster 0 better" in shown
    assert "no more than chance gives (p = 0.4)" in shown
    assert "cluster 0 zero; nought 0.050 (0.040 to 0.060) 0.020 (cluster 1) 99.9 % beats" in shown
    assert "0 zero; nought 200" in between(html, "clusters") and "1 one 199" in between(html, "clusters")
    assert "Names : “zero” (cluster 0), “one” (cluster 1). Both clusters" in between(html, "glance")


@pytest.mark.parametrize(
    ("groups", "p", "margins", "said"),
    [
        (1, [0.01], [math.nan], "The one cluster has a name that beats chance."),
        (1, [0.5], [math.nan], "The one cluster has no name that beats chance."),
        (2, [0.01, 0.01], [0.1, 0.1],
         "Both clusters have a name that beats chance; none of these fits another as well."),
        (2, [0.01, 0.5], [0.1, 0.1], "1 of 2 clusters has a name that beats chance; it fits no other as well."),
        (2, [0.01, 0.5], [0.0, 0.1], "1 of 2 clusters has a name that beats chance; it fits another as well."),
        (2, [0.5, 0.5], [0.1, 0.1], "None of 2 clusters has a name that beats chance."),
        (3, [0.01], [0.1],
         "1 of 3 clusters has a name that beats chance; it fits no other as well; without any name: 2."),
        (3, [0.9], [0.1], "None of 3 clusters has a name that beats chance; without any name: 2."),
        (3, [0.01] * 3, [-0.1] * 3,
         "All 3 clusters have a name that beats chance; each of these fits another as well."),
        (4, [0.01] * 3, [0.1, 0.1, -0.1],
         "3 of 4 clusters have a name that beats chance; 2 of these fit no other as well; without any name: 1."),
        (1, [math.nan], [math.nan],
         "The one cluster has a name; whether this beats chance was not asked (naming.permutations = 0)."),
        (3, [math.nan] * 2, [0.1] * 2,
         "2 of 3 clusters have a name; whether these beat chance was not asked (naming.permutations = 0)."),
    ],
)  # fmt: skip
def test_how_many_groups_have_names(groups: int, p: list[float], margins: list[float], said: str) -> None:
    rows = [
        {"kind": "cluster", "group": f"cluster {i}", "rank": 1, "p": one, "margin": margin, "groups": groups}
        for i, (one, margin) in enumerate(zip(p, margins, strict=True))
    ]
    assert naming.answer(run({"group_names": pd.DataFrame(rows)}), "cluster") == said


def test_names_that_were_not_tested_claim_nothing() -> None:
    made = run(names_frames(p=float("nan"), margin=float("nan")))
    assert "whether these beat chance was not asked" in naming.answer(made, "cluster")
    assert "beats chance" not in between(render(made), "names").split("All names")[-1]
    assert not naming.holds(made.table("group_names").iloc[0])


def test_tags_hubs_and_categories() -> None:
    shown = between(render(run(tags_frames())), "tags")
    assert "100 images got up to 5 of the nearest entries each; the best of an image has a cosine of 0.310" in shown
    assert (
        "5 nearest entries of 200 images, against exact search: 0.957; it looks into 12 of its parts for them" in shown
    )
    assert "a cat animals/cats.txt 40 40 %" in shown
    assert "cosine 5.200 a cat 20 %" in shown and "CSLS 1.100 a cat 5 %" in shown
    assert "cat animals/cats.txt 30 10.000 2.928" in shown  # 2 ** 1.55
    assert "other.txt" not in shown and "few.txt" not in shown  # less often, and too few to say


def test_each_query_has_its_picture_and_its_table(tmp_path: Path) -> None:
    made = run(hits_frames())
    for name in ("query_00", "query_01"):
        (tmp_path / f"{name}.png").write_bytes(PNG)
        made.pictures.append(("search", name, tmp_path / f"{name}.png"))
    html = render(made)
    shown = between(html, "search")
    assert shown.index("a cat") < shown.index("smith 7.jpg")
    assert html.count("data:image/png") == 2 and "7 nearest" in shown
    assert "1 0.300 patient-1 cat Mrs Smith's chest" in shown


def test_texts_and_their_index() -> None:
    shown = between(render(run(index_frames())), "indexes")
    assert "entries 1,200" in shown and "repeated, taken once 93" in shown and "NUL" not in shown
    assert "text=folder, /ward/notes: lines, bigrams; encoded after “a photo of ”" in shown
    assert "Index of texts, exact: 0.3 MB fits into 4.00 GB and one query takes about 0.2 ms." in shown
    assert "texts exact 1,200 307.2 kB 1.000 at 10 0.21 0.012" in shown
    assert "ward/smith.txt encoding not UTF-8, byte 9" in shown
    assert "longer than the model takes, cut 3" in shown and "0.99999" in shown


def test_a_run_without_images_is_about_texts() -> None:
    made = run(index_frames(), images={"listed": 0, "classes": 0, "labelled": False, "captioned": False})
    made.record["stages"] = [stage for stage in made.record["stages"] if stage["name"].startswith("text")]
    page = Page(render(made))
    assert "texts: folder" in page.text and "digits" not in page.text.split("Provenance")[0]
    assert "Texts folder Entries 1,200 2 files skipped" in page.text
    assert "images listed" not in page.text and "We used" not in page.text


@pytest.mark.parametrize("text", [NASTY, LINES, "{{ 7 * 7 }}"])
def test_other_peoples_text_stays_text(text: str) -> None:
    frames = all_frames(text) | zero_shot_frames(name=text) | {"cluster_table": cluster_table(2)}
    frames["texts_skipped"] = pd.DataFrame({"path": [text], "reason": [text], "detail": [text]})
    made = run(frames)
    made.record["config"]["prompts"]["templates"] = [f"{text} {{}}"]
    made.record["config"]["zero_shot"]["none_prompt"] = text
    html = render(made)
    assert not Page(html).all("script") and "<script" not in html
    for section in ("glance", "names", "clusters", "zero_shot", "tags", "search", "indexes", "methods"):
        assert " ".join(text.split()) in between(html, section), section


def test_paths_are_hidden_in_queries_texts_and_categories() -> None:
    html = render(hidden("path"))
    for secret in ("smith", "/ward", "cats.txt", "notes", "b.txt", "/elsewhere"):
        assert secret not in html, secret
    assert "unterwasser" in between(html, "search") and "unterwasser" in between(html, "names")
    assert "not UTF-8, byte 9" in between(html, "indexes")


def test_captions_are_hidden_in_hits_and_where_they_are_the_texts() -> None:
    html = render(hidden("caption"))
    assert "Mrs Smith" not in html and "unterwasser" in between(html, "names")  # those texts are of a folder
    for index, kind in ((None, "caption"), ("/runs/x/text_index", "caption")):
        made = hidden("caption")
        made.record["config"]["text"]["source"] = "captions" if index is None else "none"
        made.record["config"]["tagging"]["index"] = index
        made._frames["texts"] = pd.DataFrame({"kind": [kind]})
        html = render(made)
        assert "nought" not in html and html.count("unterwasser") == 1, index  # the query
        assert "(hidden)" in between(html, "names") and "0.050" in between(html, "names")
    made._frames["texts"] = pd.DataFrame({"kind": ["line"]})  # of an index of other texts
    assert "unterwasser" in between(render(made), "names")


def test_ids_are_hidden_in_hits_and_predictions() -> None:
    made = hidden("id")
    del made._frames["zero_shot_scores"]
    html = render(made)
    assert "patient-" not in html and "0.900" in between(html, "zero_shot")


def hidden(part: str) -> FakeRun:
    made = run(all_frames("unterwasser"))
    made.record["config"]["report"] = {"hide": [part]}
    made.record["config"]["from_run"] = "/elsewhere/ann"
    made.record["taken"] = {"runs": {"from_run": "/elsewhere/ann"}, "stages": {}}
    made.record["command"] = "python run.py from_run=/elsewhere/ann 'search.images=[/ward/photos/smith 7.jpg]'"
    made.record["warnings"] = ["search.images: smith 7.jpg cannot be read", "smith.txt: not UTF-8"]
    made._frames["images"] = pd.DataFrame({"id": ["patient-1"], "path": ["/ward/photos/1.png"]})
    return made


@pytest.mark.parametrize(
    ("hide", "left"),
    [
        ([], 7),
        (["images"], 3),  # no answers, tags, query_00, sheet
        (["id"], 6),  # answers are titled by ids
        (["path"], 6),  # categories are files
        (["caption"], 7),
    ],
)
def test_pictures_that_may_be_shown(tmp_path: Path, hide: list[str], left: int) -> None:
    made = run(all_frames())
    made.record["config"]["report"] = {"hide": hide}
    for stage, name in (("images", "sheet"), ("zero_shot", "answers"), ("zero_shot", "confusion"), ("naming", "map"),
                        ("tagging", "tags"), ("tagging", "categories_by_class"), ("search", "query_00")):  # fmt: skip
        (tmp_path / f"{name}.png").write_bytes(PNG)
        made.pictures.append((stage, name, tmp_path / f"{name}.png"))
    assert render(made).count("data:image/png") == left
    if hide == ["caption"]:
        made.record["config"]["text"]["source"] = "captions"
        assert render(made).count("data:image/png") == left - 2  # names and tags are captions


def test_methods_name_prompts_intervals_and_sources() -> None:
    text, references = methods_paragraph(words_record())
    assert "each class was put in the prompt “a photo of {}”" in text
    assert "Clopper-Pearson" in text and "1,000 samples" in text
    assert "The texts were the lines and bigrams of the .txt files of a folder" in text and "at least 3 times" in text
    for author in ("Radford", "Guo", "Conneau", "Johnson", "Hodosh", "Church", "Bird", "Ojala"):
        assert any(reference.startswith(author) for reference in references), author
    assert not any(reference.startswith("Zhai") for reference in references)
    cited = [int(number) for group in re.findall(r"\[([\d, ]+)\]", text) for number in group.split(",")]
    assert list(dict.fromkeys(cited)) == list(range(1, len(references) + 1))
    lines = " ".join(protocol_lines(words_record()))
    for said in ("chosen in one half of the images and measured in the other", "200 permutations", "by CSLS",
                 "at most 4GB of memory, 20 ms a query and a recall of 0.950 at 10", "softmax over the classes",
                 "Search: the 20 nearest images by cosine to 1 text and 1 image."):  # fmt: skip
        assert said in lines, said


def test_methods_know_other_choices() -> None:
    made = words_record()
    made["encoder"] |= {"model": "ViT-B-16-SigLIP"}
    made["images"]["grouped"] = True
    made["config"]["prompts"] = {"name": "openai7", "templates": ["a {}", "the {}"]}
    made["config"]["zero_shot"]["none_prompt"] = "something else"
    made["config"]["naming"]["permutations"] = 0
    made["config"]["tagging"] |= {"hub_correction": "none", "min_score": 0.2}
    made["config"]["search"] |= {"combine": True, "minus": ["dog"]}
    text, references = methods_paragraph(made)
    assert any(reference.startswith("Zhai") for reference in references) and "a sigmoid of the scaled cosine" in text
    assert any(reference.startswith("Davison") for reference in references) and "over groups of images" in text
    assert "in 2 prompts (openai7), the mean of their unit vectors" in text and "permutations" not in text
    assert not any(reference.startswith("Conneau") for reference in references)
    lines = " ".join(protocol_lines(made))
    assert "‘None of these’ is one class more, with the text “something else”" in lines
    assert "all as one query: the sum of their unit vectors less those of 1 text" in lines
    assert "with a cosine of at least 0.200" in lines


def test_what_was_taken_of_another_run_is_told_but_not_the_texts_of_an_index() -> None:
    made = words_record(stages=("tagging",))
    made["stages"] = [stage for stage in made["stages"] if stage["name"] == "tagging"]
    made["taken"] = {"runs": {}, "stages": {"images": "k", "embedding": "k", "texts": "k", "text_index": "k"}}
    assert "We used 1,795 images" in methods_paragraph(made)[0]
    assert "bigrams" in methods_paragraph(made)[0]
    made["config"]["tagging"]["index"] = "/runs/x/text_index"
    assert "bigrams" not in methods_paragraph(made)[0] and "tagged" in methods_paragraph(made)[0]
