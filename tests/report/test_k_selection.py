"""What the report says of the number of clusters."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.report.build import render
from pipeline.report.methods import methods_paragraph, protocol_lines
from tests.report.fake_run import FakeRun, record


def selected(**projection: Any) -> dict[str, Any]:
    made = record()
    made["stages"].insert(5, {"name": "k_selection", "status": "done"})
    made["config"]["k_selection"] = {"k_min": 2, "k_max": 20, "space": "projection", "n_init": 10, "seed": 0}
    made["config"]["projection"] |= projection
    return made


def suggestions(ks: tuple[int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "criterion": ["silhouette", "calinski_harabasz", "knee"],
            "space": "projection",
            "rule": ["highest", "highest", "knee"],
            "k": ks,
            "value": [0.71, 1234.5, 0.35],
            "at_end": [False, True, False],
            "agrees_with": "",
        }
    )


def test_the_section_says_who_agrees_and_never_which_k_is_right() -> None:
    frames = {
        "k_suggestions": suggestions((9, 20, 8)),
        "k_scores": pd.DataFrame(
            {"k": [1, 2], "inertia_projection": [10.0, 5.0], "silhouette_projection": [None, 0.5]}
        ),
    }
    page = render(FakeRun(record_=selected(), frames=frames))
    assert "How many clusters" in page
    assert "Knee of the inertia (8) and silhouette in the projection (9) agree within 1." in page
    assert "Calinski-Harabasz (20) stands alone." in page
    assert "an end of the range" in page
    assert "Schubert 2022" in page and "optimistic" in page
    assert "best k" not in page and "optimal" not in page


def test_no_section_without_the_stage() -> None:
    assert "How many clusters" not in render(FakeRun())
    assert "How many clusters" not in render(FakeRun(frames={"k_suggestions": suggestions((1, 2, 3)).iloc[:0]}))


def test_in_words_with_sources() -> None:
    text, references = methods_paragraph(selected(), 10)
    assert "Numbers of clusters from 2 to 20 were compared on one k-means fit" in text
    assert {"Satopaa", "Schubert"} <= {reference.split(",")[0] for reference in references}
    assert any("every k from 2 to 20" in line for line in protocol_lines(selected(), 10))
    assert "k-means fit [3, 4] of the embeddings" not in text
    assert "of the embeddings for each" in methods_paragraph(selected(name="none"), 10)[0]
