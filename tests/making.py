"""Data for tests: pictures, files good and bad, settings, and encoders that misbehave on purpose."""

from __future__ import annotations

import io
import os
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from inference.encoders import Encoder, EncoderHandle, Look, Runtime, describe
from inference.encoders.pixels import Pixels
from inference.images import ImageFile, ReadingRules
from pipeline.schema import FoldersDataset, ImageSettings, PrecomputedEncoder, SixteenBit

ROOT = Path(__file__).resolve().parents[1]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def smooth(height: int = 37, width: int = 53, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(h, w, c) uint8, coloured and smooth like a photograph, so that a resize or a lossy format changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def picture(height: int = 37, width: int = 53, seed: int = 0) -> Image.Image:
    """`smooth` as an RGB picture."""
    return Image.fromarray(smooth(height, width, 3, seed))


def encoded(image: Image.Image, form: str, **settings: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def png_file(path: Path, value: int = 0, side: int = 8, tail: bytes = b"") -> Path:
    """A small grey PNG whose pixels depend on `value`; `tail` is put behind its end, where no decoder looks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (side, side), dtype=np.uint8)
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG") + tail)
    return path


def png_files(folder: Path, count: int, tails: dict[int, bytes] | None = None) -> list[str]:
    """`count` different PNG files in row order."""
    tails = tails or {}
    return [str(png_file(folder / f"{i:04d}.png", i, tail=tails.get(i, b""))) for i in range(count)]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """The start of an 8-bit grey PNG that claims to be of that size."""
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def interlaced_png() -> bytes:
    """5x3 grey, Adam7. Pillow and OpenCV read these but do not write them."""
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5) * 16
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b""
    for top, left, down, across in passes:
        part = pixels[top::down, left::across]
        lines += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1))
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")


def wrong_checksum(data: bytes) -> bytes:
    """The same PNG with a bit of its first IDAT checksum turned."""
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    broken = bytearray(data)
    broken[at + 4 + length] ^= 1
    return bytes(broken)


def oriented(orientation: int) -> bytes:
    """An EXIF block with nothing but the orientation. Bytes: Pillow takes the orientation out of an object that it is
    given to save."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def folders(
    root: Path | str | None = None,
    pairs: Iterable[Any] = (),
    recursive: bool = False,
    group: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    splits: Iterable[str] = (),
) -> FoldersDataset:
    """Settings of dataset=folders."""
    return FoldersDataset(
        name="folders", source="folders", limit=limit, limit_per_class=None, sample_seed=seed, max_unreadable=0.5,
        pixel_size=8,
        root=None if root is None else str(root), pairs=[str(part) for part in pairs], recursive=recursive, group=group,
        splits=list(splits),
    )  # fmt: skip


def dataset(name: str, **given: Any) -> Any:
    """Settings of a data set as its YAML file has them, but for what is given; `columns` are those that differ."""
    import yaml

    from pipeline.schema import restored

    conf = ROOT / "conf" / "dataset"
    files = [yaml.safe_load((conf / f"{file}.yaml").read_text(encoding="utf-8")) for file in ("_common", name)]
    values = {**files[0], **files[1], "sample_seed": 0}
    columns = {**values.get("columns", {}), **given.pop("columns", {})}
    del values["defaults"]
    return restored({"dataset": {**values, **given, **({"columns": columns} if columns else {})}}).dataset


def pixels_handle(size: int = 8, normalize: bool = False, **changes: Any) -> EncoderHandle:
    """A handle on encoder=none."""
    arguments = {"antialias": False, "color": "gray", "scaling": "none", "size": size} | changes
    return describe("pixels", arguments, normalize, Look(Path(), lambda path: ""))


class Trapped(Pixels):
    """Encoder=none, 8x8, that does what stands behind the end of a file: crash, exit, hang, raise, or dawdle."""

    def __init__(self, pause: float) -> None:
        super().__init__(8, "gray", False, "none")
        self.pause = pause

    def preprocess(self, image: ImageFile) -> np.ndarray:
        """Spring the trap of this image, if it has one."""
        for trap, spring in TRAPS.items():
            if image.data.endswith(trap):
                spring()
        time.sleep(self.pause)
        return super().preprocess(image)

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """Dies where a batch holds an all-black image: a crash that is no single image's."""
        if self.pause == 0 and not batch.reshape(len(batch), -1).any(axis=1).all():
            os._exit(3)
        return super().encode_images(batch)


def _raise() -> None:
    raise RuntimeError("no such kernel")


TRAPS: dict[bytes, Callable[[], Any]] = {
    b"trap:segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"trap:exit": lambda: os._exit(139),
    b"trap:hang": lambda: time.sleep(600),
    b"trap:raise": _raise,
}


@dataclass(frozen=True)
class TrappedHandle(EncoderHandle):
    """Loads `Trapped`; worker processes find this class by its name. arguments: pause, seconds for each image."""

    def load(self) -> Encoder:
        """The encoder."""
        return Trapped(**dict(self.arguments))


def trapped(pause: float = 0.0) -> TrappedHandle:
    """A handle on `Trapped`."""
    return TrappedHandle("trapped", (("pause", pause),), False, pixels_handle().description)


@dataclass(frozen=True)
class UnloadableHandle(EncoderHandle):
    """An encoder whose weights are missing."""

    def load(self) -> Encoder:
        """Always fails."""
        raise OSError("no weights here")


def embed_slowly(images: str, folder: str, workers: str, pause: str) -> None:
    """For a process that is going to be killed: embeds all of `images` in shards of 8."""
    from inference import embed

    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
    embed.SHARD = 8
    paths = sorted(str(path) for path in Path(images).iterdir())
    embed.embed(paths, trapped(float(pause)), Path(folder), workers=int(workers))


def embed_texts_slowly(weights: str, folder: str, workers: str) -> None:
    """For a process that is going to be killed: 800 texts in shards of 16."""
    from inference import texts
    from tests.inference import test_texts
    from tests.model_files import look_at

    texts.SHARD = 16
    arguments = test_texts.ARGUMENTS | {"weights": weights}
    handle = describe("openai", arguments, False, look_at(Path(weights).parent))
    texts.embed_texts(test_texts.some(800), handle, Path(folder), workers=int(workers))


def python_call(function: str, *arguments: object) -> list[str]:
    """A command that calls a function of this module in a new process (run it in ROOT)."""
    code = f"import sys; from tests import making; making.{function}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *(str(argument) for argument in arguments)]


def settings(**sections: Any) -> SimpleNamespace:
    """What a stage is given."""
    return SimpleNamespace(**sections)


def waited_for(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def precomputed(path: Path | str, **changes: Any) -> PrecomputedEncoder:
    """Settings of encoder=precomputed."""
    given = {"column": "embedding", "text_path": None, "text_names": None, "logit_scale": None, "normalize": False}
    texts = {key: str(value) for key, value in changes.items() if isinstance(value, Path)}
    return PrecomputedEncoder(name="precomputed", kind="precomputed", path=str(path), **{**given, **changes, **texts})


def image_settings(**changes: Any) -> ImageSettings:
    """The config's section `images` as shipped."""
    return ImageSettings(**{**vars(ReadingRules()), "sixteen_bit": SixteenBit.range, **changes})


def config(**changes: Any) -> Any:
    """A whole checked config as the runner gets it; `changes` replace sections or values of the top."""
    from pipeline import schema as s

    made = s.Config(
        dataset=folders("/images"),
        encoder=s.PixelsEncoder("none", "pixels", False, 8, s.Color.gray, False, s.Scaling.none),
        projection=s.UmapProjection("umap", 5, 15, 0.1, 0, 200_000),
        clustering=s.KmeansClustering("kmeans", s.Space.projection, 3, 10, 0),
        significance=s.SignificanceSettings(
            "none", s.NullModel.gaussian, 0, 0, 0, permutations=0, seed=0, max_images=2000
        ),
        analysis=s.AnalysisSettings("full", ["cluster_metrics"], False),
        stages=["class_distances", "projection", "clustering", "cluster_metrics"],
        seed=0,
        cache=s.CacheUse.use,
        dry_run=False,
        paths=s.PathSettings("/d", "/m", "/o", "/c"),
        device="cpu",
        precision=s.PrecisionSettings(s.PrecisionMode.auto, False, 0.999),
        embedding=s.EmbeddingSettings(None, None, 60.0),
        images=image_settings(),
        run=None,
        from_run=None,
        text=s.TextSettings("none", "none"),
        prompts=s.PromptSettings("photo", ["a photo of {}"]),
        tracking=s.TrackingSettings("none"),
        experiment=s.ExperimentSettings("none", None, None, 3, 1, None, []),
        class_distances=s.ClassDistanceSettings(True, False),
        plots=s.PlotSettings([s.PictureFormat.png], 150, 180.0, s.Palette.petroff10),
        report=s.ReportSettings([]),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def make_entry(root: str, log: str, pause: str) -> None:
    """For processes that race: the stage `slow` with the key `k`, as the runner makes one; a line a making."""
    from pipeline.cache import Store

    store = Store(Path(root))
    entry = store.find("slow", "k")
    if entry is None:
        with store.making("slow", "k") as partial:
            entry = store.find("slow", "k")
            if entry is None:
                with Path(log).open("a") as file:
                    file.write(f"{os.getpid()}\n")
                time.sleep(float(pause))
                (partial / "files/x.txt").write_text("made")
                entry = store.complete(partial, "slow", "k", {"stage": "slow"}, {"seconds": 1.0})
    sys.stdout.write((entry.files / "x.txt").read_text())


class TwoWays(Pixels):
    """A stand-in for a network: the exact way is encoder=none 8x8, the fast one the same with an error."""

    def __init__(self, error: float) -> None:
        super().__init__(8, "gray", False, "unit")
        self.error = error

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        """Every second number is off by `error`."""
        vectors = super().encode_images(batch)
        vectors[:, ::2] += np.float32(self.error)
        return vectors


@dataclass(frozen=True)
class TwoWaysHandle(EncoderHandle):
    """Loads `TwoWays`. arguments: error, of the fast way."""

    def load(self) -> Encoder:
        """The encoder as the runtime says."""
        return TwoWays(0.0 if self.runtime.precision == "fp32" else dict(self.arguments)["error"])


def two_ways(error: float, device: str = "cpu", min_fidelity: float = 0.999) -> TwoWaysHandle:
    """A handle on `TwoWays`, to be used the fast way."""
    told = replace(pixels_handle(scaling="unit").description, exact_only=False)
    return TwoWaysHandle("two_ways", (("error", error),), False, told, Runtime(device, "bf16", False), min_fidelity)


def cells_of(table: Any) -> list[Any]:
    """The cells of a pandas column, or row by row of a table; None where one is missing."""
    return table.astype(object).where(table.notna(), None).to_numpy().tolist()
