"""Training: it learns, it repeats, and what was killed goes on bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.training import loop, states
from inference.training.loop import TrainingFailed
from inference.training.states import Changed
from tests.inference.training.models import CAPTIONS, SMALL, examples, trained, trainee


class Killed(Exception):
    pass


def weights(found: loop.Trained) -> np.ndarray:
    return np.concatenate([tensor.double().numpy().ravel() for tensor in found.last.values()])


def test_it_learns(tmp_path: Path) -> None:
    found = trained(tmp_path, given=examples(40), epochs=12, lr=3e-3, warmup=0.1, batch_size=16)
    assert found.history[0]["top1"] < 0.4  # 8 captions
    assert found.history[found.best]["top1"] > 0.9
    assert found.history[found.best]["valid_loss"] < found.history[0]["valid_loss"] / 1.5


@pytest.mark.parametrize(
    "changes", [{}, {"schedule": "plateau"}, {"augment": "affine", "accumulate": 2, "train": "text"}]
)
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", **changes)

    def killed_in(epoch: int) -> None:
        step = loop._Training._loss
        seen = []

        def loss(self: loop._Training, *given: object) -> torch.Tensor:
            seen.append(1)
            if len(self.history) == epoch and len(seen) > 2:
                raise Killed
            return step(self, *given)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(loop._Training, "_loss", loss)
            with pytest.raises(Killed):
                trained(tmp_path / "killed", **changes)

    killed_in(1)
    killed_in(3)
    torch.rand(7)  # whatever else draws in between
    again = trained(tmp_path / "killed", **changes)
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert str(again.history) == str(whole.history)
    assert again.best == whole.best


def test_a_resume_takes_the_number_of_threads_along(tmp_path: Path) -> None:
    """Other threads, other sums."""
    trained(tmp_path / "a", epochs=2, threads=2)
    again = trained(tmp_path / "a", epochs=2, threads=1)
    assert again.threads == 2


def test_threads_and_randomness_of_others_stay(tmp_path: Path) -> None:
    before, model = torch.get_num_threads(), trainee(tmp_path / "model")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(tmp_path, model=model, epochs=1, threads=before + 1)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.rand(3), expected)


def test_a_changed_recipe_is_refused_by_name(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(Changed, match=r"differs in batch_size \(32 then, 16 now\), lr \(0.002 then, 0.001 now\)"):
        trained(tmp_path, lr=1e-3, batch_size=16)


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = trained(tmp_path / "good", epochs=2)
    before = loop._Training._loss

    def broken(self: loop._Training, *given: object) -> torch.Tensor:
        loss = before(self, *given)  # type: ignore[arg-type]
        return loss * float("nan") if len(self.history) == 3 else loss

    monkeypatch.setattr(loop._Training, "_loss", broken)
    model = trainee(tmp_path / "bad" / "model")
    found = trained(tmp_path / "bad", model=model, epochs=5, schedule="constant")
    assert found.stopped == "the loss was not a number at epoch 3, batch 1 of 4"
    assert len(found.history) == 3
    assert found.best == 2
    assert all(torch.isfinite(tensor).all() for tensor in found.last.values() if tensor.is_floating_point())
    assert all(torch.isfinite(value).all() for value in model.network.state_dict().values())
    assert len(good.history) == 3


def test_a_loss_that_is_no_number_at_once_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="not a number at epoch 1, batch 2 of 4: nothing was learned before"):
        trained(tmp_path, lr=float("inf"))


def test_too_large_for_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: loop._Training, *given: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(loop._Training, "_loss", full)
    with pytest.raises(TrainingFailed, match=r"out of GPU memory with batches of 32: take a smaller batch_size"):
        trained(tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    found = trained(tmp_path, lr=0.0, epochs=10, patience=2)
    assert found.stopped == "no better loss for 2 epochs"
    assert len(found.history) == 3
    assert found.best == 0


def test_the_best_is_left_in_the_network(tmp_path: Path) -> None:
    model = trainee(tmp_path / "model")
    found = trained(tmp_path, model=model, epochs=4, lr=0.02, schedule="constant")
    kept = states.best(tmp_path / "work")
    assert all(torch.equal(kept[name], value) for name, value in model.network.state_dict().items())
    losses = [row["valid_loss"] for row in found.history]
    assert found.best == int(np.argmin(losses))


@pytest.mark.parametrize(
    ("part", "moved", "still"),
    [
        (
            "text",
            ["transformer.resblocks.0.mlp.c_fc.weight", "text_projection"],
            ["visual.proj", "visual.conv1.weight"],
        ),
        ("image", ["visual.conv1.weight", "visual.proj"], ["text_projection", "token_embedding.weight"]),
        ("heads", ["visual.proj", "text_projection", "logit_scale"], ["visual.conv1.weight", "token_embedding.weight"]),
        ("all", ["visual.conv1.weight", "token_embedding.weight"], []),
    ],
)
def test_what_is_locked_stays(tmp_path: Path, part: str, moved: list[str], still: list[str]) -> None:
    model = trainee(tmp_path / "model")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    last = trained(tmp_path, model=model, epochs=1, train=part).last
    assert [name for name in moved if torch.equal(before[name], last[name])] == []
    assert [name for name in still if not torch.equal(before[name], last[name])] == []


def test_a_rate_for_each_layer(tmp_path: Path) -> None:
    model = trainee(tmp_path / "model", architecture=replace(SMALL, layers=3))
    recipe = loop.Recipe(1, 8, 0.1, 0.5, layer_decay=0.5)
    rates = {}
    for group in loop._groups(model.train_only("all"), recipe):
        for values in group["params"]:
            rates |= {p.name: (group["lr"], group["weight_decay"]) for p in model.parameters if p.values is values}
    assert rates["visual.proj"] == (0.1, 0.5)
    assert rates["logit_scale"] == (0.1, 0.0)
    blocks = [rates[f"visual.transformer.resblocks.{i}.mlp.c_fc.weight"][0] for i in range(3)]
    assert blocks == pytest.approx([0.0125, 0.025, 0.05])
    assert rates["visual.conv1.weight"][0] == pytest.approx(0.00625)
    assert rates["visual.transformer.resblocks.2.ln_1.weight"] == (pytest.approx(0.05), 0.0)
    assert len(rates) == len(model.parameters)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    """Two batches before a step, and what is left of an epoch makes one of its own."""
    given = examples(copies=4)
    steps = []
    model = trainee(tmp_path / "model")
    model.clamp_scale = lambda most: steps.append(  # type: ignore[method-assign]
        model.network.visual.proj.grad is None  # it is called after each step
    )
    trained(tmp_path, given=replace(given, train=given.train[:20]), model=model, epochs=3, batch_size=4, accumulate=2)
    assert len(steps) == 3 * 3  # 5 batches: 2, 2 and the last alone
    assert all(steps)


def test_the_scale_is_held(tmp_path: Path) -> None:
    found = trained(tmp_path, epochs=3, lr=3.0, schedule="constant", patience=None)
    assert all(1 <= row["scale"] <= 100.001 for row in found.history)


def test_a_batch_larger_than_the_set_is_the_set(tmp_path: Path) -> None:
    given = examples(copies=2)
    found = trained(tmp_path, given=given, epochs=1, batch_size=1000)
    assert len(found.history) == 2


def test_texts_are_drawn_anew(tmp_path: Path) -> None:
    """Of the texts that an image may have; equal ones are encoded once."""
    given = examples(copies=4)
    texts = [*CAPTIONS, *(f"the {caption}" for caption in CAPTIONS)]
    both = np.concatenate([given.text_of, given.text_of + len(CAPTIONS)], axis=1)
    seen: set[int] = set()
    model = trainee(tmp_path / "model", texts)
    encode = model.text_vectors

    def spied(tokens: object, rows: np.ndarray) -> torch.Tensor:
        assert len(np.unique(rows)) == len(rows)
        seen.update(rows.tolist())
        return encode(tokens, rows)  # type: ignore[arg-type]

    model.text_vectors = spied  # type: ignore[method-assign]
    trained(tmp_path, given=replace(given, texts=texts, text_of=both), model=model, epochs=10, batch_size=8)
    assert seen == set(range(2 * len(CAPTIONS)))
