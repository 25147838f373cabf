"""The losses against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from inference.training import losses

ONE = torch.eye(2)


def test_contrastive_by_hand() -> None:
    """Cosines [[.6, .8], [1, 0]], scale ln 2: powers of two, so that softmax is fractions."""
    images, texts = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    rows = [[2**0.6, 2**0.8], [2.0, 1.0]]
    by_image = (math.log(sum(rows[0]) / rows[0][0]) + math.log(3 / 1)) / 2
    by_text = (math.log((rows[0][0] + 2) / rows[0][0]) + math.log((rows[0][1] + 1) / 1)) / 2
    found = losses.contrastive(images, texts, math.log(2))
    assert float(found) == pytest.approx((by_image + by_text) / 2, rel=1e-6)


def test_equal_texts_are_all_right() -> None:
    """Three images, the first two of one class, vectors that are right: what is left is the choice between two."""
    images = texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    meaning = torch.tensor([7, 7, 9])
    shared = float(losses.contrastive(images, texts, 100.0, meaning))
    assert shared == pytest.approx(2 / 3 * math.log(2), abs=1e-5)


def test_equal_texts_with_other_words() -> None:
    """Texts of one class that differ in words: exchanging them changes nothing where they are shared, else it does."""
    torch.manual_seed(0)
    images, texts, meaning = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([7, 7, 9])
    swapped = texts[[1, 0, 2]]
    both = [float(losses.contrastive(images, t, 5.0, meaning)) for t in (texts, swapped)]
    own = [float(losses.contrastive(images, t, 5.0)) for t in (texts, swapped)]
    assert both[0] == pytest.approx(both[1], rel=1e-6)
    assert own[0] != pytest.approx(own[1], rel=1e-3)


def test_sigmoid_by_hand() -> None:
    found = losses.sigmoid(ONE, ONE, 2.0, -1.0)
    expected = 2 * (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-1))) / 2  # +1 for the pair, -(-1) for the other
    assert float(found) == pytest.approx(expected, rel=1e-6)
    shared = losses.sigmoid(ONE, ONE, 2.0, -1.0, torch.zeros(2, dtype=torch.long))
    assert float(shared) == pytest.approx(math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1)), rel=1e-6)


def test_tutorial_by_hand() -> None:
    """I = diag(1, 2), T = [[1, 0], [1, 1]]: logits T I^T = [[1, 0], [1, 2]]; I I^T = diag(1, 4), T T^T =
    [[1, 1], [1, 2]], half their sum [[1, .5], [.5, 3]]."""
    images, texts = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    e = math.exp
    targets = [[e(1) / (e(1) + e(0.5)), e(0.5) / (e(1) + e(0.5))], [e(0.5) / (e(0.5) + e(3)), e(3) / (e(0.5) + e(3))]]
    logits = [[1.0, 0.0], [1.0, 2.0]]

    def cross(scores: list[list[float]], wanted: list[list[float]]) -> float:
        rows = [
            -sum(w * (s - math.log(sum(map(e, row)))) for s, w in zip(row, want, strict=True))
            for row, want in zip(scores, wanted, strict=True)
        ]
        return sum(rows) / 2

    transposed = [list(row) for row in zip(*logits, strict=True)], [list(row) for row in zip(*targets, strict=True)]
    expected = (cross(logits, targets) + cross(*transposed)) / 2
    assert float(losses.tutorial(images, texts)) == pytest.approx(expected, rel=1e-6)


def test_tutorial_targets_have_a_gradient() -> None:
    """As in the original: they are not taken out of the graph."""
    torch.manual_seed(0)
    images, texts = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    with_targets = torch.autograd.grad(losses.tutorial(images, texts), images)[0]
    logits = texts @ images.T
    fixed = ((images @ images.T + texts @ texts.T) / 2).softmax(dim=1).detach()
    cross = torch.nn.functional.cross_entropy
    without = torch.autograd.grad((cross(logits, fixed) + cross(logits.T, fixed.T)) / 2, images)[0]
    assert not torch.allclose(with_targets, without, atol=1e-3)
