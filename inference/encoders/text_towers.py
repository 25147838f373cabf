"""open_clip's text towers, computed only as far as a text reaches.

Where attention looks back only and the vector is taken at the mark of the end, what stands behind the mark cannot
change it; where padding is masked, neither can the padding. There the context is cut to the longest text of a batch,
which a short text pays for with a tenth of the time. All other towers (SigLIP, CoCa, CLIPA, MobileCLIP-S: their
padding is seen, or the place of the class token depends on it) see the whole context.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

MASKED = ("MeanPooler", "ClsPooler", "ClsLastHiddenStatePooler")  # of open_clip: they leave padding out
Lengths = Callable[["torch.Tensor"], np.ndarray]


def lengths_for(network: Any) -> Lengths:
    """For a model of open_clip: (n, context) tokens -> (n,) int64, how many of each row decide its vector."""
    tower = getattr(network, "text", network)
    if type(tower).__name__ == "HFTextEncoder":
        padding = tower.config.pad_token_id
        masked = padding is not None and type(tower.pooler).__name__ in MASKED
        return (lambda tokens: _last(tokens != padding)) if masked else _all
    pooling = getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", None)
    if not _looks_back_only(tower) or pooling not in ("argmax", "eos"):
        return _all
    if pooling == "argmax":
        return _at
    end = tower.eos_id if hasattr(tower, "eos_id") else tower.text_eos_id
    return lambda tokens: _at((tokens == end).int())


def encode(network: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's own `encode_text`, not scaled to length 1, for tokens of any length up to the context."""
    from torch.func import functional_call
    from torch.nn import Module

    class Texts(Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.network.encode_text(tokens, normalize=False)
            return found

    texts = Texts()
    tower, name = (network.text, "network.text.") if hasattr(network, "text") else (network, "network.")
    if not _looks_back_only(tower):
        return texts

    def shorter(tokens: torch.Tensor) -> torch.Tensor:
        n = tokens.shape[1]
        parts = {"attn_mask": tower.attn_mask[:n, :n], "positional_embedding": tower.positional_embedding[:n]}
        found: torch.Tensor = functional_call(
            texts, {name + part: tensor for part, tensor in parts.items()}, (tokens,), tie_weights=False
        )
        return found

    return shorter


def _looks_back_only(tower: Any) -> bool:
    import torch

    mask = getattr(tower, "attn_mask", None)
    if mask is None or getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False):
        return False
    return torch.equal(mask, torch.full_like(mask, -torch.inf).triu(1))


def _all(tokens: torch.Tensor) -> np.ndarray:
    return np.full(len(tokens), tokens.shape[1], np.int64)


def _at(tokens: torch.Tensor) -> np.ndarray:
    """Up to the first largest."""
    return tokens.argmax(dim=1).numpy() + 1


def _last(kept: torch.Tensor) -> np.ndarray:
    """Up to the last that is kept, one at least."""
    width = kept.shape[1]
    return np.maximum(width - kept.int().flip(1).argmax(dim=1).numpy() * kept.any(dim=1).numpy(), 1)
