"""The network that is trained: what an encoder is made of, with its parameters by tower and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from inference.encoders import EncoderHandle, NoTextSide, Runtime
from inference.encoders.tokens import Tokens, well_formed
from inference.encoders.torch_model import TextSide, TorchEncoder
from inference.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

Part = Literal["all", "heads", "image", "text"]
SCALES = ("logit_scale", "logit_bias")
HEADS = re.compile(
    r"(visual\.(proj|head\.|attnpool\.)|text_projection|text\.text_projection|text\.proj|(image|text)_projection\.)"
)
IMAGE = re.compile(r"(visual\.|image_)")
DEPTH = re.compile(
    r"\.(?:resblocks|blocks|layers?|h)\.?(\d+)\."
)  # of a block in its tower; layer1 .. layer4 of ResNets


@dataclass(frozen=True)
class Parameter:
    """name; values; tower: 'image', 'text', or '' for the scale; head: behind the tower; depth: of the block, -1 for
    what stands before the first."""

    name: str
    values: torch.nn.Parameter
    tower: str
    head: bool
    depth: int


class Trainee:
    """A network that can be trained, and its way from pixels and texts to vectors.

    Raises NoTextSide where the encoder sees images only.
    """

    def __init__(self, handle: EncoderHandle, device: str) -> None:
        encoder = handle.at(Runtime(device, "fp32", exact=True)).load()
        if not isinstance(encoder, TorchEncoder) or encoder.text is None:
            raise NoTextSide(handle.description.model)
        self.handle, self.device = handle, device
        self.network: torch.nn.Module = encoder.network
        self.preprocessing: Preprocessing = encoder.preprocessing
        self.dimension = encoder.dimension
        self.images, self.side = encoder.encode_image, encoder.text
        self.parameters = list(_parameters(self.network))

    def train_only(self, part: Part) -> list[Parameter]:
        """From now on these learn, and the rest does not: 'heads' are the projections behind both towers, 'image' and
        'text' one tower with its head, the other locked (Zhai et al. 2022 lock the image tower). The scale learns
        always. Returns those that learn."""
        chosen = [
            p
            for p in self.parameters
            if p.tower == "" or part == "all" or p.tower == part or (part == "heads" and p.head)
        ]
        self.network.requires_grad_(False)
        for parameter in chosen:
            parameter.values.requires_grad_(True)
        return chosen

    def training(self) -> None:
        """Dropout and batch statistics as in training, in towers of which something learns; elsewhere as they are."""
        from torch.nn.modules.batchnorm import _BatchNorm

        self.network.train()
        for module in self.network.modules():
            if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
                module.eval()

    def scale(self) -> Any:
        """What cosines are multiplied with; None where dot products are taken as they are."""
        found = getattr(self.network, "logit_scale", None)
        return None if found is None else found.exp()

    def bias(self) -> Any:
        """What is added to them; None but for SigLIP."""
        return getattr(self.network, "logit_bias", None)

    def clamp_scale(self, most: float) -> None:
        """Keep the scale between 1 and `most`."""
        import torch

        if (found := getattr(self.network, "logit_scale", None)) is not None:
            with torch.no_grad():
                found.clamp_(0.0, float(np.log(most)))

    def tokens(self, texts: list[str]) -> Tokens:
        """Of all texts, once."""
        return self.side.tokenize([well_formed(text) for text in texts])

    def image_vectors(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) normalised float -> (n, d)."""
        return self.images(pixels)

    def text_vectors(self, tokens: Tokens, rows: np.ndarray) -> torch.Tensor:
        """(n, d) of the texts of these rows."""
        length = int(tokens.lengths[rows].max())
        made = self.side.batch([tokens.rows[row] for row in rows], length)
        return self.side.encode(made.to(self.device))


def _parameters(network: torch.nn.Module) -> Iterator[Parameter]:
    for name, values in network.named_parameters():
        tower = "" if name in SCALES else "image" if IMAGE.match(name) else "text"
        found = DEPTH.search(name)
        head = tower != "" and HEADS.match(name) is not None
        yield Parameter(name, values, tower, head, int(found[1]) if found else -1)


__all__ = ["Parameter", "Part", "TextSide", "Trainee"]
