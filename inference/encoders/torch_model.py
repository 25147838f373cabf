"""What all encoders that are torch networks share: device, precision, batches, texts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.encoders import Description, EncoderError, NoTextSide, Runtime, TextVectors
from inference.encoders.tokens import CHARACTERS, Tokens, well_formed
from inference.images import ImageFile
from inference.preprocessing import Preprocessing
from inference.probability import Rule

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TEXTS = 1024  # sorted by length together
BATCH = {"cpu": 32, "gpu": 1024}  # of these, encoded at a time


@dataclass(frozen=True)
class TextSide:
    """tokenize: texts -> tokens; batch: rows of these and their length (None: the whole context) -> tensors; encode:
    tensors -> (n, d) tensor; rule: how the model makes probabilities of cosines."""

    tokenize: Callable[[list[str]], Tokens]
    batch: Callable[[list[Any], int | None], Any]
    encode: Callable[[Any], torch.Tensor]
    rule: Rule


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
        self.largest_batch: dict[str, int] = {}  # of images and texts, where the device's memory was too small

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
        with torch.inference_mode(), one_thread(self.runtime):
            return self._in_parts("images", pixels, self._vectors)

    def _in_parts(self, what: str, items: Any, encode: Callable[[Any], np.ndarray]) -> np.ndarray:
        """All of a batch, halved until it fits into the device's memory."""
        import torch

        found = [np.empty((0, self.dimension), np.float32)]
        while len(items):
            part = items[: self.largest_batch.get(what, len(items))]
            try:
                found.append(encode(part))
            except torch.cuda.OutOfMemoryError:
                if len(part) == 1:
                    raise
                torch.cuda.empty_cache()
                self.largest_batch[what] = len(part) // 2
                log.warning("out of GPU memory: batches of %d %s instead of %d", len(part) // 2, what, len(part))
                continue
            items = items[len(part) :]
        return np.concatenate(found)

    def _vectors(self, pixels: torch.Tensor) -> np.ndarray:
        moved = pixels.to(self.runtime.device, non_blocking=True)
        vectors = self.encode_image(self.preprocessing.normalized(moved, network_dtype(self.runtime)))
        return vectors.float().cpu().numpy()

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """n texts -> (n, dimension) float32, not scaled; a warning counts those that were cut. Raises NoTextSide."""
        self._text_side()
        made = [self.text_vectors(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)]
        cut = sum(part.truncated for part in made)
        if cut:
            log.warning("%d of %d texts are longer than the model takes and were cut", cut, len(texts))
        return np.concatenate([np.empty((0, self.dimension), np.float32), *(part.vectors for part in made)])

    def text_vectors(
        self,
        texts: list[str],
        batch_size: int | None = None,
        whole: bool = False,
        progress: Callable[[int], None] = lambda count: None,
    ) -> TextVectors:
        """Vectors of texts, sorted by length together and encoded only as far as they reach; `whole`: with the whole
        context, which gives the same but for the last digits. Raises NoTextSide."""
        import torch

        side = self._text_side()
        tokens = side.tokenize([well_formed(text) for text in texts])
        order = np.argsort(-tokens.lengths, kind="stable")
        size = batch_size or BATCH["cpu" if self.runtime.device == "cpu" else "gpu"]
        vectors = np.empty((len(texts), self.dimension), np.float32)

        def encode(rows: np.ndarray) -> np.ndarray:
            length = None if whole else int(tokens.lengths[rows].max())
            moved = side.batch([tokens.rows[row] for row in rows], length).to(self.runtime.device)
            return side.encode(moved).float().cpu().numpy()

        with torch.inference_mode(), one_thread(self.runtime):
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                vectors[rows] = self._in_parts("texts", rows, encode)
                progress(start + len(rows))
        cut = int(np.logical_or(tokens.cut, np.array([len(text) > CHARACTERS for text in texts], bool)).sum())
        self.truncated_texts += cut
        return TextVectors(vectors, cut, int(tokens.unknown.sum()), side.rule)

    def similarity_to_probability(self, similarities: np.ndarray) -> np.ndarray:
        """(n, m) cosines -> (n, m) probabilities by the model's own rule. Raises NoTextSide."""
        return self._text_side().rule(similarities)

    def _text_side(self) -> TextSide:
        if self.text is None:
            raise NoTextSide(self.description.model)
        return self.text
