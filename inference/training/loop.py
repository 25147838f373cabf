"""The loop: epochs of batches, evaluated and put down after each, so that what was killed goes on where it stood.

Every random choice of an epoch starts from (seed, epoch), and the number of threads is part of what is put down: a
training that was resumed gives the same numbers, on a CPU bit for bit.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from inference.training import losses, states
from inference.training.augmentation import AUGMENTATIONS
from inference.training.trainee import Parameter, Part, Trainee

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Schedule = Literal["cosine", "plateau", "constant"]
Loss = Literal["contrastive", "tutorial", "sigmoid"]
EVALUATED = 256  # images and texts that are encoded at a time where nothing is learned


class TrainingFailed(Exception):
    """Why there is nothing to show, in words for the user."""


@dataclass(frozen=True)
class Recipe:
    """How is learned.

    loss: of `inference.training.losses`. shared: all pairs of a batch whose texts mean the same are right. accumulate:
    batches whose gradients are summed before a step; each is compared within itself only. warmup: share of the steps in
    which the rate rises. schedule: 'cosine' falls to 0, 'plateau' times 0.8 where the validation loss has not fallen
    for 2 epochs, 'constant'. patience: epochs without a better `best_by` after which it ends; None: never. best_by:
    'loss' (of validation, lower is better) or a measure that is evaluated (higher is better). train: what learns.
    layer_decay: each block learns so many times as fast as the one above it. betas, epsilon: of AdamW. threads: of the
    CPU. precision: 'fp32', or 'bf16' and 'fp16' for the network's inside on a GPU.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    loss: Loss = "contrastive"
    shared: bool = False
    accumulate: int = 1
    warmup: float = 0.0
    schedule: Schedule = "cosine"
    patience: int | None = None
    best_by: str = "loss"
    train: Part = "all"
    layer_decay: float = 1.0
    augment: str = "none"
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    seed: int = 0
    threads: int = 1
    precision: str = "fp32"


@dataclass(frozen=True)
class Examples:
    """pixels: (n, c, h, w) uint8. texts: those that occur, once each. text_of: (n, t) int64, the texts that an image
    may have, of which one is drawn each time it is seen. meaning: (n,) int64, equal where texts mean the same. train,
    valid: (a,), (b,) int64 rows. asked: (u,) int64, the texts whose vectors `evaluate` wants."""

    pixels: np.ndarray
    texts: list[str]
    text_of: np.ndarray
    meaning: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    asked: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


# image vectors (b, d), vectors of the asked texts (u, d), the scale (NaN: none) -> measures, higher is better
Evaluate = Callable[[np.ndarray, np.ndarray, float], Mapping[str, float]]


@dataclass(frozen=True)
class Trained:
    """history: a row an epoch, 0 before the first: epoch, train_loss, valid_loss, lr, scale and the measures; best: the
    epoch whose weights the trainee has now; last: weights after the last epoch, by name; stopped: why before all epochs
    were done, '' where not; threads: of the CPU, as used."""

    history: list[dict[str, float]]
    best: int
    last: dict[str, torch.Tensor]
    stopped: str
    threads: int


def train(
    trainee: Trainee,
    examples: Examples,
    recipe: Recipe,
    folder: Path,
    evaluate: Evaluate,
    identity: Mapping[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train, from the last epoch that `folder` knows of, and leave the best weights in the trainee.

    identity: what the result depends on, plain values by name; a folder that knows another is refused. Raises
    states.Changed for that, TrainingFailed where no epoch comes to its end.
    """
    return _Training(trainee, examples, recipe, folder, evaluate, identity, progress).run()


class _Training:
    """One call of `train`."""

    def __init__(
        self, trainee: Trainee, examples: Examples, recipe: Recipe, folder: Path, evaluate: Evaluate,
        identity: Mapping[str, Any], progress: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        import torch

        self.trainee, self.examples, self.recipe, self.folder = trainee, examples, recipe, folder
        self.evaluate, self.identity, self.progress = evaluate, dict(identity), progress
        self.tokens = trainee.tokens(examples.texts)
        learning = trainee.train_only(recipe.train)
        self.optimizer = torch.optim.AdamW(
            _groups(learning, recipe), lr=recipe.lr, betas=recipe.betas, eps=recipe.epsilon
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=0.8, patience=1)
        self.scaler = torch.amp.GradScaler(trainee.device, enabled=recipe.precision == "fp16")
        self.history: list[dict[str, float]] = []
        self.best, self.stopped, self.threads = 0, "", recipe.threads
        size = min(recipe.batch_size, len(examples.train))
        self.batches = len(examples.train) // size
        self.size, self.steps = size, recipe.epochs * math.ceil(self.batches / recipe.accumulate)
        self.mixed = np.random.default_rng((recipe.seed, 0)).permutation(len(examples.valid))

    def run(self) -> Trained:
        """Every epoch that is left."""
        import torch

        self._resume()
        try:
            with _threads(self.threads):
                if not self.history:
                    self._close_epoch(0, math.nan)
                while len(self.history) <= self.recipe.epochs and not self.stopped:
                    self._epoch(len(self.history))
        except torch.cuda.OutOfMemoryError as error:
            raise TrainingFailed(
                f"out of GPU memory with batches of {self.size}: take a smaller batch_size; "
                "accumulate sums the gradients of several batches"
            ) from error
        if self.best == 0 and len(self.history) == 1:
            raise TrainingFailed(f"{self.stopped}: nothing was learned before")
        last = {name: tensor.detach().cpu().clone() for name, tensor in self.trainee.network.state_dict().items()}
        self.trainee.network.load_state_dict(states.best(self.folder))
        self.trainee.network.eval()
        return Trained(self.history, self.best, last, self.stopped, self.threads)

    def _epoch(self, epoch: int) -> None:
        import torch

        recipe, random = self.recipe, np.random.default_rng((self.recipe.seed, epoch))
        order = random.permutation(self.examples.train)[: self.batches * self.size]
        choice = random.integers(self.examples.text_of.shape[1], size=len(order))
        drawn = torch.Generator().manual_seed(int(random.integers(2**62)))
        self.trainee.training()
        losses_seen = []
        with _dropout_from(int(random.integers(2**62)), self.trainee.device):
            for batch in range(self.batches):
                rows = slice(batch * self.size, (batch + 1) * self.size)
                loss = self._loss(order[rows], choice[rows], drawn)
                if not math.isfinite(value := float(loss.detach())):
                    self._give_up(epoch, batch)
                    return
                self.scaler.scale(loss / recipe.accumulate).backward()
                losses_seen.append(value)
                if (batch + 1) % recipe.accumulate == 0 or batch + 1 == self.batches:
                    self._step(epoch, batch // recipe.accumulate)
                self.progress((epoch - 1) * self.batches + batch + 1, recipe.epochs * self.batches)
        self._close_epoch(epoch, float(np.mean(losses_seen)))

    def _give_up(self, epoch: int, batch: int) -> None:
        """Back to the weights of the last whole epoch."""
        self.stopped = f"the loss was not a number at epoch {epoch}, batch {batch + 1} of {self.batches}"
        self.trainee.network.load_state_dict(states.load(self.folder)["network"])

    def _step(self, epoch: int, step: int) -> None:
        recipe = self.recipe
        if recipe.schedule != "plateau":
            done = (epoch - 1) * math.ceil(self.batches / recipe.accumulate) + step
            factor = rate(done, self.steps, recipe.warmup, recipe.schedule)
            for group, full in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = full * factor
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if recipe.loss == "contrastive":
            self.trainee.clamp_scale(losses.MOST_SCALE)

    def _loss(self, rows: np.ndarray, choice: np.ndarray, random: torch.Generator) -> torch.Tensor:
        """Of one batch, which is compared within itself."""
        import torch

        examples, trainee = self.examples, self.trainee
        pixels = self._pixels(rows)
        if (changed := AUGMENTATIONS[self.recipe.augment]) is not None:
            pixels = changed(pixels, random)
        texts = examples.text_of[rows, choice]
        with self._autocast():
            images = trainee.image_vectors(pixels)
            if self.recipe.shared:  # many are equal, and are encoded once
                once, places = np.unique(texts, return_inverse=True)
                vectors = trainee.text_vectors(self.tokens, once)[torch.from_numpy(places).to(trainee.device)]
            else:
                vectors = trainee.text_vectors(self.tokens, texts)
        return self._compared(images.float(), vectors.float(), rows)

    def _compared(self, images: torch.Tensor, texts: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        import torch

        if self.recipe.loss == "tutorial":
            return losses.tutorial(images, texts)
        meaning = None
        if self.recipe.shared:
            meaning = torch.from_numpy(self.examples.meaning[rows]).to(self.trainee.device)
        scale = self.trainee.scale()
        if self.recipe.loss == "sigmoid":
            return losses.sigmoid(images, texts, scale, self.trainee.bias(), meaning)
        return losses.contrastive(images, texts, scale, meaning)

    def _pixels(self, rows: np.ndarray) -> torch.Tensor:
        import torch

        pixels = torch.from_numpy(self.examples.pixels[rows]).to(self.trainee.device, non_blocking=True)
        return self.trainee.preprocessing.normalized(pixels, torch.float32)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        if self.recipe.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.trainee.device.split(":")[0], kinds[self.recipe.precision])

    def _close_epoch(self, epoch: int, train_loss: float) -> None:
        """Evaluate, remember the best, put everything down."""
        row = {"epoch": float(epoch), "train_loss": train_loss, "lr": self._rate(epoch)} | self._evaluated()
        self.history.append(row)
        better = epoch == 0 or self._worth(row) > self._worth(self.history[self.best])
        if better or not math.isfinite(self._worth(self.history[self.best])):
            self.best = epoch
            states.save_best(self.folder, self.trainee.network.state_dict())
        if epoch and self.recipe.schedule == "plateau":
            self.plateau.step(row["valid_loss"])
        patience = self.recipe.patience
        if patience is not None and epoch - self.best >= patience and epoch < self.recipe.epochs:
            self.stopped = f"no better {self.recipe.best_by} for {patience} epochs"
        states.save(self.folder, self._state())

    def _rate(self, epoch: int) -> float:
        """The largest rate of a group at the epoch's end."""
        return max(group["lr"] for group in self.optimizer.param_groups) if epoch else 0.0

    def _worth(self, row: Mapping[str, float]) -> float:
        return -row["valid_loss"] if self.recipe.best_by == "loss" else row[self.recipe.best_by]

    def _evaluated(self) -> dict[str, float]:
        """Of the validation images: the loss in batches as large as in training, the scale, and the measures."""
        import torch

        rows, examples = self.examples.valid, self.examples
        images, scale = self.vectors(rows), self.trainee.scale()
        told = float("nan") if scale is None else float(scale.detach())
        texts = self.text_vectors(np.unique(np.concatenate([examples.text_of[rows, 0], examples.asked])))
        own = np.stack([texts[text] for text in examples.text_of[rows, 0]])
        summed = 0.0
        with torch.no_grad():
            for start in range(0, len(rows), self.size):
                part = self.mixed[start : start + self.size]
                left, right = (torch.from_numpy(v[part]).to(self.trainee.device) for v in (images, own))
                summed += float(self._compared(left, right, rows[part])) * len(part)
        asked = [texts[text] for text in examples.asked]
        wanted = np.stack(asked) if asked else np.empty((0, images.shape[1]), np.float32)
        measures = {name: float(value) for name, value in self.evaluate(images, wanted, told).items()}
        return {"valid_loss": summed / len(rows), "scale": told} | measures

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """(b, d) float32 of images, as they are."""
        return image_vectors(self.trainee, self.examples, rows)

    def text_vectors(self, texts: np.ndarray) -> dict[int, np.ndarray]:
        """Text -> (d,) float32."""
        return text_vectors(self.trainee, self.tokens, texts)

    def _state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "network": self.trainee.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self.plateau.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
            "best": self.best,
            "stopped": self.stopped,
            "threads": self.threads,
        }

    def _resume(self) -> None:
        state = states.load(self.folder)
        if not state:
            return
        states.must_be_same(state["identity"], self.identity)
        self.trainee.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plateau.load_state_dict(state["plateau"])
        self.scaler.load_state_dict(state["scaler"])
        self.history, self.best, self.stopped = state["history"], state["best"], state["stopped"]
        self.threads = state["threads"]
        log.info("training goes on after epoch %d", len(self.history) - 1)


def evaluated(
    trainee: Trainee, examples: Examples, rows: np.ndarray, asked: np.ndarray, evaluate: Evaluate
) -> dict[str, float]:
    """The measures of these images, by the weights that the trainee has."""
    found = text_vectors(trainee, trainee.tokens(examples.texts), np.unique(asked))
    texts = [found[text] for text in asked.tolist()]
    scale = trainee.scale()
    wanted = np.stack(texts) if texts else np.empty((0, trainee.dimension), np.float32)
    told = float("nan") if scale is None else float(scale.detach())
    return {
        name: float(value) for name, value in evaluate(image_vectors(trainee, examples, rows), wanted, told).items()
    }


def image_vectors(trainee: Trainee, examples: Examples, rows: np.ndarray) -> np.ndarray:
    """(b, d) float32 of images of the examples, in fp32, nothing learned."""
    import torch

    trainee.network.eval()
    found = [np.empty((0, trainee.dimension), np.float32)]
    with torch.no_grad():
        for start in range(0, len(rows), EVALUATED):
            part = examples.pixels[rows[start : start + EVALUATED]]
            pixels = torch.from_numpy(part).to(trainee.device)
            vectors = trainee.image_vectors(trainee.preprocessing.normalized(pixels, torch.float32))
            found.append(vectors.float().cpu().numpy())
    return np.concatenate(found)


def text_vectors(trainee: Trainee, tokens: Any, texts: np.ndarray) -> dict[int, np.ndarray]:
    """Text -> (d,) float32, in fp32, nothing learned."""
    import torch

    trainee.network.eval()
    found: dict[int, np.ndarray] = {}
    with torch.no_grad():
        for start in range(0, len(texts), EVALUATED):
            part = texts[start : start + EVALUATED]
            vectors = trainee.text_vectors(tokens, part).float().cpu().numpy()
            found |= dict(zip(part.tolist(), vectors, strict=True))
    return found


def rate(step: int, steps: int, warmup: float, schedule: Schedule) -> float:
    """What the learning rate is multiplied with at a step from 0: rises evenly over the first `warmup` of them, then
    stays or falls along half a cosine to 0.

    >>> [round(rate(step, 10, 0.2, "cosine"), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule != "cosine":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _groups(learning: list[Parameter], recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's groups: no decay for gains, biases and the scale; a rate for each depth."""
    deepest = {tower: max((p.depth for p in learning if p.tower == tower), default=-1) for tower in ("image", "text")}
    groups: dict[tuple[float, float], list[Any]] = {}
    for p in learning:
        above = 0 if p.tower == "" or p.head else deepest[p.tower] + 1 - p.depth
        flat = p.values.ndim < 2 and recipe.loss != "tutorial"
        key = (recipe.lr * recipe.layer_decay**above, 0.0 if flat else recipe.weight_decay)
        groups.setdefault(key, []).append(p.values)
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _dropout_from(seed: int, device: str) -> Iterator[None]:
    """What the network draws by itself starts from here; nobody else notices."""
    import torch

    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
