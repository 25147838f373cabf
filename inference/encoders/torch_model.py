"""What all encoders that are torch networks share: device, precision, batches, texts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.encoders import Description, EncoderError, NoTextSide, Runtime
from inference.images import ImageFile
from inference.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TEXTS = 256  # encoded at a time


@dataclass(frozen=True)
class TextSide:
    """tokenize: texts -> (what `encode` takes, how many were too long and cut); encode: -> (n, d) tensor;
    probability: (n, m) cosines -> (n, m) probabilities by the model's own rule."""

    tokenize: Callable[[list[str]], tuple[Any, int]]
    encode: Callable[[Any], torch.Tensor]
    probability: Callable[[np.ndarray], np.ndarray]


def network_dtype(runtime: Runtime) -> torch.dtype:
    """Of weights and activations."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[runtime.precision]


@contextlib.contextmanager
def one_thread(runtime: Runtime) -> Iterator[None]:
    """On a CPU one thread, as in a worker process: the same bits, and no waiting of small operations for each other."""
    import torch

    before = torch.get_num_threads()
    if runtime.device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _laid_out(network: torch.nn.Module, device: str) -> torch.nn.Module:
    """With the channels of its convolutions side by side: a bf16 ResNet is twice as fast so, a ViT neither gains nor
    loses."""
    import torch

    if device.startswith("mps") or any(tensor.ndim == 5 for tensor in network.parameters()):
        return network
    return network.to(memory_format=torch.channels_last)


def compiled(encode_image: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same by torch.compile, at its first call. That raises EncoderError where this machine cannot compile."""
    import torch

    faster = torch.compile(encode_image)

    def call(pixels: torch.Tensor) -> torch.Tensor:
        try:
            vectors: torch.Tensor = faster(pixels)
        except torch._dynamo.exc.TorchDynamoException as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise EncoderError(
                f"torch cannot compile it here: {first}; false does without", "precision.compile"
            ) from error
        return vectors

    return call


class TorchEncoder:
    """A network behind the `Encoder` interface.

    network: moved to the runtime's device and type, in evaluation mode; encode_image: (n, c, h, w) normalised pixels
    of that type -> (n, dimension). truncated_texts counts texts that were longer than the context.
    """

    dtype = "float32"

    def __init__(
        self,
        description: Description,
        runtime: Runtime,
        network: torch.nn.Module,
        preprocessing: Preprocessing,
        encode_image: Callable[[torch.Tensor], torch.Tensor],
        dimension: int,
        text: TextSide | None = None,
    ) -> None:
        self.description, self.runtime, self.preprocessing = description, runtime, preprocessing
        network = network.to(runtime.device, network_dtype(runtime)).eval().requires_grad_(False)
        self.network = _laid_out(network, runtime.device)
        self.encode_image = compiled(encode_image) if runtime.compiled else encode_image
        self.dimension, self.text = dimension, text
        self.truncated_texts = 0
        self.largest_batch: int | None = None  # found out when the device's memory was too small

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """(c, h, w) uint8. Raises UnreadableImage."""
        return self.reader()(image)

    def reader(self) -> Callable[[ImageFile], np.ndarray]:
        """`preprocess` alone, without the network."""
        return self.preprocessing.exact if self.runtime.exact else self.preprocessing.fast

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """(n, c, h, w) uint8 -> (n, dimension) float32, not scaled."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(batch))
        if self.runtime.device.startswith("cuda"):
            pixels = pixels.pin_memory()
        found: list[np.ndarray] = []
        with torch.inference_mode(), one_thread(self.runtime):
            while len(pixels):
                part = pixels[: self.largest_batch or len(pixels)]
                try:
                    found.append(self._vectors(part))
                except torch.cuda.OutOfMemoryError:
                    if len(part) == 1:
                        raise
                    torch.cuda.empty_cache()
                    self.largest_batch = len(part) // 2
                    log.warning("out of GPU memory: batches of %d images instead of %d", len(part) // 2, len(part))
                    continue
                pixels = pixels[len(part) :]
        return np.concatenate(found) if found else np.empty((0, self.dimension), np.float32)

    def _vectors(self, pixels: torch.Tensor) -> np.ndarray:
        moved = pixels.to(self.runtime.device, non_blocking=True)
        vectors = self.encode_image(self.preprocessing.normalized(moved, network_dtype(self.runtime)))
        return vectors.float().cpu().numpy()

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """n texts -> (n, dimension) float32, not scaled. Raises NoTextSide."""
        import torch

        side = self._text_side()
        found = [np.empty((0, self.dimension), np.float32)]
        cut = 0
        with torch.inference_mode(), one_thread(self.runtime):
            for start in range(0, len(texts), TEXTS):
                tokens, longer = side.tokenize(texts[start : start + TEXTS])
                moved = tokens.to(self.runtime.device)
                found.append(side.encode(moved).float().cpu().numpy())
                cut += longer
        if cut:
            self.truncated_texts += cut
            log.warning("%d of %d texts are longer than the model takes and were cut", cut, len(texts))
        return np.concatenate(found)

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        """(n, m) cosines -> (n, m) probabilities by the model's own rule. Raises NoTextSide."""
        return self._text_side().probability(similarities)

    def _text_side(self) -> TextSide:
        if self.text is None:
            raise NoTextSide(f"{self.description.model} sees images only: choose an encoder with a text side for texts")
        return self.text


def softmax_probability(scale: float) -> Callable[[np.ndarray], np.ndarray]:
    """CLIP's rule: softmax(scale * cosine) over the texts, computed in float64."""

    def probability(similarities: np.ndarray) -> np.ndarray:
        logits = scale * np.asarray(similarities, np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return probability


def sigmoid_probability(scale: float, bias: float) -> Callable[[np.ndarray], np.ndarray]:
    """SigLIP's rule: sigmoid(scale * cosine + bias) of each text by itself."""

    def probability(similarities: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return np.asarray(expit(scale * np.asarray(similarities, np.float64) + bias))

    return probability
