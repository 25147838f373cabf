from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.report.methods import methods_paragraph, protocol_lines
from tests.report.fake_run import record


def without(*stages: str, **changes: Any) -> dict[str, Any]:
    made = record(**changes)
    for stage in made["stages"]:
        if stage["name"] in stages:
            stage["status"] = "failed"
    return made


def test_the_default_run_in_words() -> None:
    text, references = methods_paragraph(record(), 10)
    assert "UMAP [2] (n_neighbors = 15, min_dist = 0.1, Euclidean metric, seed 0)" in text
    assert "k = 10, best of 10 initialisations, seed 0" in text
    assert references[0].startswith("Alpaydin")
    assert any(reference.startswith("Rousseeuw") for reference in references)
    assert any(reference.startswith("Hubert") for reference in references)


def test_every_reference_is_cited_in_order_and_none_is_missing() -> None:
    text, references = methods_paragraph(record(), 10)
    cited = [int(number) for group in re.findall(r"\[([\d, ]+)\]", text) for number in group.split(",")]
    assert list(dict.fromkeys(cited)) == list(range(1, len(references) + 1))
    assert len(set(references)) == len(references)


def test_only_what_was_done_is_described_and_cited() -> None:
    text, references = methods_paragraph(without("projection", "clustering", "cluster_metrics"))
    assert "UMAP" not in text and "k-means" not in text and "silhouette" not in text
    assert not any("McInnes" in reference for reference in references)
    assert methods_paragraph({}) == ("", [])
    assert protocol_lines({}) == []


@pytest.mark.parametrize(
    ("projection", "said", "not_said"),
    [
        ({"name": "pca", "n_components": 7}, "first 7 principal components", "UMAP"),
        ({"name": "none"}, "The embeddings were clustered", "in the projection"),
        ({"name": "umap", "n_components": 2, "seed": None}, "unseeded", "seed None"),
        ({"name": "phate"}, "projected with phate", "UMAP"),
    ],
)
def test_choices(projection: dict[str, Any], said: str, not_said: str) -> None:
    made = record()
    made["config"]["projection"] = projection
    text, _ = methods_paragraph(made, 10)
    assert said in text and not_said not in text
    assert protocol_lines(made, 10)


def test_where_k_comes_from() -> None:
    made = record()
    made["config"]["clustering"]["k"] = None
    assert "k = 10, the number of classes" in methods_paragraph(made, 10)[0]
    assert "k = 8, by default" in methods_paragraph(made, 8)[0]


def test_labels_and_samples_are_mentioned_only_where_there_are_some() -> None:
    made = record(images={"listed": 50, "read": 49, "skipped": 1, "classes": None, "labelled": False})
    made["config"]["dataset"] |= {"limit": 50, "sample_seed": 3, "name": "folders"}
    text, _ = methods_paragraph(made, 4)
    assert "Rand" not in text and "1 unreadable image" in text and "Alpaydin" not in text
    assert any("at most 50 images, stratified by label, seed 3" in line for line in protocol_lines(made))


@pytest.mark.parametrize(
    ("clustering", "line", "sentence", "author"),
    [
        ({"name": "spherical_kmeans", "k": 4, "n_iter": 100, "n_init": 3, "seed": 1, "space": "embedding"},
         "spherical k-means of the embeddings", "The embeddings were clustered by spherical k-means", "Dhillon"),
        ({"name": "gmm", "k": 4, "covariance_type": "tied", "n_init": 1, "seed": 0, "space": "projection"},
         "mixture of Gaussians of the projection, k = 4, tied covariances", "Gaussian mixture model", "Dempster"),
        ({"name": "agglomerative", "k": 4, "linkage": "ward", "space": "projection"}, "ward linkage", "ward", "Ward"),
        ({"name": "agglomerative", "k": 4, "linkage": "single"}, "single linkage", "single linkage", "Murtagh"),
        ({"name": "hdbscan", "min_cluster_size": 9, "min_samples": None, "space": "projection"},
         "min_cluster_size 9, min_samples 9; it found 4 clusters", "which found 4 clusters", "Campello"),
    ],
)  # fmt: skip
def test_clusterers(clustering: dict[str, Any], line: str, sentence: str, author: str) -> None:
    made = record()
    made["config"]["clustering"] = clustering
    text, references = methods_paragraph(made, 4)
    assert any(line in said for said in protocol_lines(made, 4))
    assert sentence in text
    assert any(reference.startswith(author) for reference in references)
    assert ("Lloyd" in " ".join(references)) is False


def test_tsne_and_a_sample() -> None:
    made = record()
    made["config"]["projection"] = {"name": "tsne", "perplexity": 30.0, "n_iter": 500, "seed": None, "max_fit": 1000}
    text, references = methods_paragraph(made, 10)
    assert "perplexity 30, 500 iterations" in text
    assert "unseeded" in text
    assert "fitted to a random sample of 1,000 images, and the others placed by its transform" in text
    assert [r.split(",")[0] for r in references[1:3]] == ["van der Maaten", "Policar"]
    lines = protocol_lines(made, 10)
    assert any("t-SNE of the embeddings to 2 dimensions (perplexity 30," in line for line in lines)
    assert "The map is this projection." in lines
    made["config"]["projection"]["max_fit"] = 200_000
    assert "sample" not in methods_paragraph(made, 10)[0]


@pytest.mark.parametrize(
    ("rule", "count", "said"),
    [
        ("range", 3, "3 images of 16 bits a channel were scaled to 8 with the smallest and largest value of each as"),
        ("full", 1, "1 image of 16 bits a channel was scaled to 8 with 0 and 65,535 as black and white."),
        ("percentile", 0, ""),
    ],
)
def test_images_of_sixteen_bits_are_mentioned_where_there_are_some(rule: str, count: int, said: str) -> None:
    made = record()
    made["images"]["sixteen_bit"] = count
    made["config"]["images"] = {"sixteen_bit": rule}
    for text in (methods_paragraph(made, 10)[0], " ".join(protocol_lines(made, 10))):
        assert said in text
        assert ("16 bits" in text) is bool(count)
