"""Labels against structure in the report and in the words of the protocol."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from pipeline.report.build import render
from pipeline.report.methods import methods_paragraph, protocol_lines
from pipeline.report.trust import labels_in_words
from tests.report.fake_run import STAGES, FakeRun, record

ROWS = [
    ("ari", 0.8123, 0.0004, 0.001, 1 / 21, 1790),
    ("purity", 0.8943, 0.1361, 0.005, 1 / 21, 1790),
    ("probe_accuracy", 0.9655, 0.0968, 0.0067, 1 / 21, 500),
    ("majority_share", 0.1018, math.nan, math.nan, math.nan, 1790),
]


def table() -> pd.DataFrame:
    columns = ["name", "value", "permuted_mean", "permuted_sd", "p", "images"]
    return pd.DataFrame(ROWS, columns=columns).assign(meaning="What it is.")


def made(permutations: int = 20, grouped: bool = False) -> dict[str, Any]:
    base = record()
    base["config"]["significance"] = {"permutations": permutations, "max_images": 500, "seed": 4}
    base["images"]["grouped"] = grouped
    base["stages"] = [{"name": name, "status": "done"} for name in (*STAGES, "label_structure")]
    return base


def page(frame: pd.DataFrame, **changes: Any) -> str:
    return render(FakeRun(record_=made(**changes), frames={"label_structure": frame}))


def test_a_score_stands_beside_what_chance_gives() -> None:
    html = page(table())
    for text in ("Adjusted Rand index", "Purity (many to one, grows with k)", "Accuracy of a linear probe", "0.812",
                 "0.136 ± 0.005", "0.097 ± 0.007", "0.048", "1,790", "What it is."):  # fmt: skip
        assert text in html
    assert html.index("Adjusted Rand index") < html.index("Purity (many to one")
    assert "Labels were permuted 20 times." in html
    assert "a random sample where more than 500 images have a label" in html


def test_groups_and_no_permutations_are_said() -> None:
    assert "20 times, between groups as wholes where every group has one label" in page(table(), grouped=True)
    bare = table().assign(permuted_mean=math.nan, permuted_sd=math.nan, p=math.nan)
    html = page(bare, permutations=0)
    assert "No labels were permuted." in html and ">nan" not in html


@pytest.mark.parametrize("frames", [{}, {"label_structure": table().iloc[:0]}])
def test_without_it_there_is_no_section(frames: dict[str, pd.DataFrame]) -> None:
    assert "labels are dealt out at random" not in render(FakeRun(frames=frames))


def test_it_is_told_in_a_sentence() -> None:
    said = "The clusters agree with the labels by an adjusted Rand index of 0.81 (permuted labels: 0.00)."
    told = "Labels told right: 97% by a linear probe; 10% by always saying the most frequent."
    run = FakeRun(record_=made(), frames={"label_structure": table()})
    assert labels_in_words(run) == f"{said} {told}"
    assert f"<p>{said} {told}</p>" in render(run)
    bare = table().assign(permuted_mean=math.nan, value=[math.nan, 0.9, 0.9, 0.1])
    assert labels_in_words(FakeRun(frames={"label_structure": bare})).startswith("Labels told right: 90% by a linear")
    assert labels_in_words(FakeRun()) == labels_in_words(FakeRun(frames={"label_structure": table().iloc[:0]})) == ""


def test_the_protocol_names_permutations_groups_and_seed() -> None:
    lines = " ".join(protocol_lines(made(grouped=True)))
    assert "five folds, seed 4), neighbours and folds by group." in lines
    assert "permuted labels, 20 times" in lines
    assert "permuted" not in " ".join(protocol_lines(made(permutations=0)))


def test_the_paragraph_cites_what_it_uses() -> None:
    text, references = methods_paragraph(made())
    assert "compared with 20 permutations of the labels" in text
    for author in ("Cover, T. M.", "Alain, G.", "Ojala, M.", "Phipson, B."):
        assert sum(reference.startswith(author) for reference in references) == 1
    text, references = methods_paragraph(made(permutations=0, grouped=True))
    assert "five nearest other images of other groups" in text and "cross-validation by group." in text
    assert not any(reference.startswith("Phipson") for reference in references)
