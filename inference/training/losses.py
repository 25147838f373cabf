"""What training makes smaller: how far a batch's images are from their own texts, and how near to others.

Row i of `images` and row i of `texts`, (n, d) each, belong together. `meaning` (n,) int64 says which texts mean the
same (equal captions, one class): then each such pair of the batch is right, not the own one alone, as in UniCL (Yang
et al. 2022); a batch with few classes would else be taught to tell equal texts apart. None: only the own pair is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MOST_SCALE = 100.0  # that the learned scale may reach, as OpenAI clips it


def contrastive(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor | float, meaning: torch.Tensor | None = None
) -> torch.Tensor:
    """CLIP's loss (Radford et al. 2021): cross-entropy of scale * cosine over the batch's texts and over its images,
    their mean. Vectors of any lengths. At least ln(number of right answers), 0 where there is one each.

    >>> import torch
    >>> one = torch.eye(2)
    >>> round(float(contrastive(one, one, 1.0)), 4)                                      # ln(1 + e^-1)
    0.3133
    """
    from torch.nn.functional import cross_entropy, normalize

    logits = scale * normalize(images, dim=1) @ normalize(texts, dim=1).T
    targets = _targets(len(images), meaning, logits)
    return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2


def sigmoid(
    images: torch.Tensor,
    texts: torch.Tensor,
    scale: torch.Tensor | float,
    bias: torch.Tensor | float,
    meaning: torch.Tensor | None = None,
) -> torch.Tensor:
    """SigLIP's loss (Zhai et al. 2023): each pair by itself is right or wrong; the sum over pairs, per image."""
    from torch.nn.functional import logsigmoid, normalize

    logits = scale * normalize(images, dim=1) @ normalize(texts, dim=1).T + bias
    signs = 2 * (_targets(len(images), meaning, logits) > 0).to(logits.dtype) - 1
    return -logsigmoid(signs * logits).sum() / len(images)


def tutorial(images: torch.Tensor, texts: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """The tutorial CLIP's: dot products as they are, against soft targets softmax((I I^T + T T^T) / 2 * temperature)
    over each row, in both directions. The targets are no constants: their gradient counts, as in the original."""
    from torch.nn.functional import cross_entropy

    logits = texts @ images.T / temperature
    targets = ((images @ images.T + texts @ texts.T) / 2 * temperature).softmax(dim=1)
    return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets.T)) / 2


def _targets(n: int, meaning: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """(n, n) shares of what is right, rows sum to 1."""
    import torch

    if meaning is None:
        return torch.eye(n, dtype=like.dtype, device=like.device)
    same = (meaning[:, None] == meaning[None, :]).to(like.dtype)
    return same / same.sum(dim=1, keepdim=True)
