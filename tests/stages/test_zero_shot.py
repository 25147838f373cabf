"""Zero-shot on vectors whose right answers are known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from inference.encoders import EncoderHandle, describe
from pipeline.datasets.vectors import Precomputed
from pipeline.errors import RunError
from pipeline.stage import Facts
from pipeline.stages.zero_shot import NONE, STAGE
from tests.inference.encoders.clips import TINY_VIT, random_state, save_safetensors
from tests.making import settings
from tests.model_files import look_at
from tests.stages.words import cloud, encoder_of, prompts, run, section, table_of, unit

TEXTS = {"cat": (1, 0, 0), "dog": (0, 2, 0), "tree": (0, 0, 0.5), "thing": (-1, -1, -1)}
IMAGES = np.array([(3, 1, 0), (1, 3, 0), (4, 3, 0), (0, 0, 2), (-1, -1, -2)], np.float32)
LABELS = ["cat", "dog", "dog", "tree", None]


def classified(
    folder: Path, vectors: np.ndarray = IMAGES, labels: Sequence[str | None] = LABELS, encoder: Any = None,
    called: dict[str, str] | None = None, templates: Sequence[str] = (), groups: Sequence[str] | None = None,
    **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    table = table_of(labels, **({"group": pd.Series(groups, dtype="str")} if groups else {}))
    given = {"zero_shot": section("zero_shot", resamples=200, **changes), "prompts": prompts(*templates)}
    encoder = encoder or encoder_of(TEXTS, folder)
    needs = {"images": table, "image_embeddings": vectors, "text_encoder": encoder, "prompt_names": called or {}}
    return run(STAGE, folder / "work", given, **needs)


def scores(made: dict[str, Any]) -> dict[str, float]:
    return dict(zip(made["zero_shot_scores"]["name"], made["zero_shot_scores"]["value"], strict=True))


def test_by_hand(tmp_path: Path) -> None:
    made = classified(tmp_path)
    found = made["predictions"]
    assert found["predicted"].tolist() == ["cat", "dog", "cat", "tree", "cat"]  # the last is as near to cat as to dog
    assert found["right"].tolist() == [True, True, False, True, pd.NA]
    assert found["true_rank"].tolist() == [1, 1, 2, 1, pd.NA]
    assert found["class_2"].tolist() == ["dog", "cat", "dog", "cat", "dog"]
    np.testing.assert_allclose(found["cosine"][2], 0.8)
    np.testing.assert_allclose(found["cosine_2"][2], 0.6)
    parts = np.exp([8, 6, 0])
    np.testing.assert_allclose(found.loc[2, ["probability", "probability_2", "probability_3"]].astype(float),
                               parts / parts.sum(), rtol=1e-6)  # fmt: skip
    np.testing.assert_allclose(found["true_probability"][2], parts[1] / parts.sum(), rtol=1e-6)
    told = scores(made)
    assert (told["images"], told["classes"], told["top1"], told["majority"]) == (4, 3, 0.75, 0.5)
    assert told["macro"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert told["chance1"] == pytest.approx(1 / 3)
    each = made["zero_shot_classes"].set_index("class")
    assert each["recall"].to_dict() == {"cat": 1, "dog": 0.5, "tree": 1}
    assert each["precision"].to_dict() == {"cat": 0.5, "dog": 1, "tree": 1}  # the image without a label is not counted
    assert made["zero_shot_confusion"].set_index(["label", "predicted"])["images"].to_dict() == {
        ("cat", "cat"): 1, ("dog", "dog"): 1, ("dog", "cat"): 1, ("tree", "tree"): 1,
    }  # fmt: skip
    similar = made["class_text_similarities"].pivot(index="label", columns="class", values="cosine")
    assert similar.loc["dog", "cat"] == pytest.approx((1 / 10**0.5 + 0.8) / 2)
    assert STAGE.metrics is not None
    assert STAGE.metrics(made)["recall/dog"] == 0.5


def test_lengths_do_not_matter(tmp_path: Path) -> None:
    texts = {name: 7 * np.array(vector) for name, vector in TEXTS.items()}
    plain = classified(tmp_path / "a")["predictions"]
    scaled = classified(tmp_path / "b", IMAGES * np.array([[9], [0.1], [1], [30], [2]], np.float32),
                        encoder=encoder_of(texts, tmp_path / "c"))["predictions"]  # fmt: skip
    pd.testing.assert_frame_equal(plain, scaled, rtol=1e-6)


@pytest.fixture
def many(tmp_path: Path) -> tuple[np.ndarray, list[str], Precomputed]:
    """Forty images near the four texts, so that some are told wrong."""
    directions = np.array(list(TEXTS.values()), np.float32)
    labels = [list(TEXTS)[i % 4] for i in range(40)]
    vectors = directions[np.arange(40) % 4] + 0.2 * cloud(40, 3)
    return vectors, labels, encoder_of(TEXTS, tmp_path / "many")


def test_images_in_another_order(tmp_path: Path, many: Any) -> None:
    vectors, labels, encoder = many
    first = classified(tmp_path / "a", vectors, labels, encoder)
    order = np.random.default_rng(1).permutation(40)
    second = classified(tmp_path / "b", vectors[order], [labels[i] for i in order], encoder)
    columns = ["label", "predicted", "probability", "right", "true_rank"]
    expected = first["predictions"][columns].iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(second["predictions"][columns], expected)
    assert 0.3 < scores(first)["top1"] < 1
    for name in ("top1", "macro", "ece", "adaptive_ece", "majority"):
        assert scores(second)[name] == pytest.approx(scores(first)[name])


def test_the_order_of_classes_does_not_matter(tmp_path: Path, many: Any) -> None:
    vectors, labels, encoder = many
    first = classified(tmp_path / "a", vectors, labels, encoder, classes=["cat", "dog", "tree", "thing"])
    second = classified(tmp_path / "b", vectors, labels, encoder, classes=["thing", "tree", "cat", "dog"])
    pd.testing.assert_frame_equal(first["predictions"], second["predictions"])
    assert scores(first) == pytest.approx(scores(second), nan_ok=True)


def test_templates_are_ensembled(tmp_path: Path) -> None:
    """The mean of unit vectors, however long each was; of one template that template."""
    texts = {"a cat": (2, 0), "cat!": (0, 4), "a dog": (-1, 0), "dog!": (0, -1)}
    encoder = encoder_of(texts, tmp_path / "e")
    image = np.array([(1, 0)], np.float32)

    def cosine(name: str, *templates: str) -> float:
        made = classified(tmp_path / name, image, [None], encoder, templates=templates, classes=["cat", "dog"])
        return float(made["predictions"]["cosine"][0])

    assert cosine("one", "a {}") == 1
    assert cosine("two", "a {}", "{}!") == pytest.approx(2**-0.5)
    assert cosine("other", "{}!", "a {}") == pytest.approx(2**-0.5)


def test_intervals_are_of_groups(tmp_path: Path, many: Any) -> None:
    """Ten copies of each image, of one patient, say as much as one does: the same score, the same interval."""
    vectors, labels, encoder = many
    copies, ten = np.repeat(vectors, 10, axis=0), [label for label in labels for _ in range(10)]
    patients = [f"patient {i // 10}" for i in range(400)]

    def top1(name: str, *given: Any) -> tuple[float, float]:
        made = classified(tmp_path / name, *given[:2], encoder, groups=given[2])
        row = made["zero_shot_scores"].set_index("name").loc["top1"]
        return row["value"], row["high"] - row["low"]

    once = top1("once", vectors, labels, None)
    grouped, alone = (top1(name, copies, ten, groups) for name, groups in (("grouped", patients), ("alone", None)))
    assert once[0] == grouped[0] == alone[0]
    assert grouped[1] == pytest.approx(once[1], rel=0.2)
    assert alone[1] < once[1] / 2


def test_labels_by_a_table_of_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["n01", "n02", "n02", "n03", None]
    called = {"n01": "cat", "n02": "dog", "n03": "tree"}
    made = classified(tmp_path / "a", labels=labels, called=called)
    assert made["predictions"]["predicted"].tolist() == ["n01", "n02", "n01", "n03", "n01"]
    assert made["zero_shot_classes"]["prompt"].tolist() == ["cat", "dog", "tree"]
    assert scores(made)["top1"] == 0.75
    with caplog.at_level(logging.WARNING):
        named = classified(tmp_path / "b", labels=labels, called=called, classes=["cat", "dog", "tree"])
    assert scores(named)["top1"] == 0.75
    assert "zero_shot.names" not in caplog.text
    with caplog.at_level(logging.WARNING):
        classified(tmp_path / "c", labels=LABELS, called={"n07": "bird"})
    assert "labels that are none of the classes: 1, as 'n07'" in caplog.text
    with pytest.raises(RunError, match=r"^zero_shot.names: the classes 'n01' and 'n02' are both called 'cat'$"):
        classified(tmp_path / "d", labels=labels, called={"n01": "cat", "n02": "cat"})


def test_labels_that_are_no_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = classified(tmp_path / "a", classes=["cat", "dog"], threshold=0.9)
    assert "2 of 5 images have no label among the classes and are not scored" in caplog.text
    told = scores(made)
    assert told["images"] == 3
    assert told["named_outside"] == 0, "the tree is as near to cat as to dog; the image without a label is no outsider"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        none = classified(tmp_path / "b", classes=["thing", "tree"], labels=["x", "y", "x", "y", None])
    assert "no label of the data set is one of the classes, so nothing is scored: thing, tree" in caplog.text
    assert none["zero_shot_scores"] is None
    assert len(none["predictions"]) == 5
    assert "right" not in none["predictions"]


def test_none_of_these(tmp_path: Path) -> None:
    """What is called none is wrong for an image of a class, right for another, and never counts as named."""
    labels = ["cat", "dog", "dog", "tree", "thing"]
    given = {"classes": ["cat", "dog", "tree"], "none_prompt": "thing", "threshold": 0.0}
    made = classified(tmp_path, IMAGES, labels, **given)
    assert made["predictions"]["predicted"].tolist()[-1] == NONE
    assert made["predictions"]["named"].tolist() == [True, True, True, True, False]
    told = scores(made)
    assert (told["classes"], told["called_none"], told["named_outside"], told["coverage"]) == (3, 0.2, 0, 1)
    assert made["zero_shot_classes"]["class"].tolist() == ["cat", "dog", "tree", NONE]
    flipped = classified(tmp_path / "b", -IMAGES, labels, **given)
    told = scores(flipped)
    assert (told["called_none"], told["named_outside"], told["coverage"], told["top1"]) == (0.8, 1, 0, 0)
    assert flipped["zero_shot_coverage"].empty
    with pytest.raises(RunError, match="a class is called 'none of these' already"):
        classified(tmp_path / "c", labels=[NONE, "cat", "cat", "cat", "cat"], none_prompt="thing")


def test_a_threshold(tmp_path: Path) -> None:
    made = classified(tmp_path, threshold=0.95)
    found = made["predictions"]
    assert found["named"].tolist() == (found["probability"] >= 0.95).tolist()
    assert scores(made)["coverage"] == found["named"][:4].mean()


def test_vectors_of_zeros_are_near_to_nothing(tmp_path: Path) -> None:
    made = classified(tmp_path, np.zeros((2, 3), np.float32), ["cat", "dog"], classes=["cat", "dog"])
    assert made["predictions"]["cosine"].tolist() == [0, 0]
    assert made["predictions"]["probability"].tolist() == [0.5, 0.5]
    assert scores(made)["top1"] == 0.5, "of equal ones the earlier class"


def test_one_image(tmp_path: Path) -> None:
    made = classified(tmp_path, IMAGES[:1], ["cat"], classes=["cat", "dog"])
    assert scores(made)["top1"] == 1
    assert made["zero_shot_scores"].set_index("name").loc["top1", ["low", "high"]].isna().all()


def test_probabilities_that_do_not_sum_to_one(tmp_path: Path) -> None:
    """SigLIP's: each pair by itself."""
    encoder = encoder_of(TEXTS, tmp_path / "e")
    encoder.similarity_to_probability = lambda cosines: 1 / (1 + np.exp(-10 * cosines + 5))  # type: ignore[method-assign]
    found = classified(tmp_path, encoder=encoder)["predictions"]
    np.testing.assert_allclose(found["probability"][2], 1 / (1 + np.exp(-3)), rtol=1e-6)
    np.testing.assert_allclose(found["probability_2"][2], 1 / (1 + np.exp(-1)), rtol=1e-6)


def test_a_network_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the prompts' vectors; its rule for probabilities comes with them."""
    path = save_safetensors(tmp_path / "tiny.safetensors", random_state(TINY_VIT))
    given = {"model": None, "weights": str(path), "preprocessing": "openai"}
    handle = describe("openai", given, True, look_at(tmp_path))
    network = handle.load()
    loads: list[EncoderHandle] = []
    monkeypatch.setattr(EncoderHandle, "load", lambda self: loads.append(self) or network)
    images, names = cloud(8, TINY_VIT.dimension), ["cat", "dog", "tree"]
    found = classified(tmp_path, images, [None] * 8, handle, classes=names, top_k=3)["predictions"]
    assert len(loads) == 1
    cosines = unit(images) @ unit(network.encode_texts(names)).T
    expected = np.sort(network.similarity_to_probability(cosines))[:, ::-1]
    np.testing.assert_allclose(found[["probability", "probability_2", "probability_3"]], expected, rtol=1e-3)


def test_a_text_without_a_vector(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"texts.npz has no vector for the text 'cta'; did you mean cat\?"):
        classified(tmp_path, classes=["cta", "dog"])


def test_refusals() -> None:
    given = {"a photo of a", "a photo of b"}

    def why(text_side: bool = True, labels: tuple[str, ...] = ("a", "b"), **changes: Any) -> str | None:
        facts = Facts(
            3, labels, encoder="timm", text_side=text_side, no_vector=lambda texts: ", ".join(sorted({*texts} - given))
        )
        assert STAGE.refuse is not None
        prompts = SimpleNamespace(templates=["a photo of {}"])
        return STAGE.refuse(facts, settings(zero_shot=section("zero_shot", **changes), prompts=prompts)) or None

    assert why() is None
    assert "encoder=timm sees images only; encoders that see texts too: openai, open_clip" in str(why(text_side=False))
    assert "'zero_shot.classes=[a cat,a dog]'" in str(why(labels=()))
    assert "one class, 'a'" in str(why(labels=("a",)))
    assert why(labels=(), classes=["b", "a"]) is None
    assert why(labels=(), classes=["a", "c"]) == "a photo of c", "texts whose vectors are given are looked for at once"
    assert why(none_prompt="dust") == "dust"
