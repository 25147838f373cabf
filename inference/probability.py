"""How a model makes probabilities of cosines: two numbers that it was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rule:
    """Without a bias CLIP's: softmax(scale * cosine) over the texts. With one SigLIP's: sigmoid(scale * cosine + bias)
    of each text by itself."""

    scale: float
    bias: float | None = None

    def __call__(self, similarities: np.ndarray) -> np.ndarray:
        """(n, m) cosines of images to texts -> (n, m) probabilities, float64."""
        logits = self.scale * np.asarray(similarities, np.float64)
        if self.bias is not None:
            from scipy.special import expit

            return np.asarray(expit(logits + self.bias))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
