"""Files of weights, read without running anything that stands in them.

safetensors by safetensors; torch's zip archives, TorchScript included, by torch_files; torch's old format by
`torch.load(weights_only=True)`. A file that holds more than tensors and plain values is refused.
"""

from __future__ import annotations

import json
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.encoders import EncoderError
from inference.encoders.torch_files import CodeRefused, Damaged, Module, StoredTensor, TorchArchive
from inference.encoders.weights import check_file

if TYPE_CHECKING:
    import torch

VALUES = 1_000_000  # that are looked at in one file: a few shared dictionaries can be nested without end
WRAPPED = 8  # times that weights may be wrapped
# where training programs keep the weights, in the order of preference
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
AVERAGES = ("ema_state_dict", "state_dict_ema", "model_ema", "ema")  # of the weights; used where there is nothing else
# what they keep beside them
TRAINING = ("optim", "sched", "scaler", "callbacks", "loops", "amp", "loss", "ema_optimizer")
# what wrappers put before every name
PREFIXES = ("module.", "model.", "net.", "network.")
# first bytes -> what the file is
SIGNATURES = (
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow)"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"GGUF", "a GGUF file, for language models"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet table"),
    (b"\x08", "an ONNX or TensorFlow graph"),
)
OLD_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch's format before 1.6 begins with
OLD_START = 32  # bytes in which it stands
SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor by its shape and type ('float32')."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Inspection:
    """What a file holds, without its numbers.

    format: in words. tensors: by name, wrapping taken off. settings: plain values found beside them. unwrapped: what
    was taken off, in words. metadata: of a safetensors file. scripted: a TorchScript archive.
    """

    format: str
    tensors: dict[str, TensorInfo]
    settings: dict[str, Any]
    unwrapped: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    scripted: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: as Inspection, with the tensors themselves. Those of a zip archive or safetensors are mapped
    from the file."""

    format: str
    tensors: dict[str, torch.Tensor]
    settings: dict[str, Any]
    unwrapped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Leaf:
    """A tensor that can be had."""

    info: TensorInfo
    tensor: Callable[[], torch.Tensor]


@dataclass(frozen=True)
class _Opened:
    format: str
    tree: Any
    metadata: Mapping[str, str] | None = None
    scripted: bool = False


def inspect_checkpoint(path: str | Path, key: str = "encoder.path") -> Inspection:
    """Names, shapes and types of the tensors in a file, in milliseconds (but for torch's old format, which has to be
    read whole). key: the setting that an error is about. Raises EncoderError."""
    opened = _open(Path(path), key)
    found, settings, unwrapped = _unwrapped(opened.tree, Path(path).name, key)
    infos = {name: leaf.info for name, leaf in found.items()}
    return Inspection(opened.format, infos, settings, unwrapped, opened.metadata, opened.scripted)


def read_checkpoint(path: str | Path, key: str = "encoder.path") -> Checkpoint:
    """The tensors in a file by name, with what training programs wrap around them taken off. Raises EncoderError."""
    opened = _open(Path(path), key)
    found, settings, unwrapped = _unwrapped(opened.tree, Path(path).name, key)
    try:
        tensors = {name: leaf.tensor() for name, leaf in found.items()}
    except Damaged as error:
        raise EncoderError(f"{Path(path).name} is damaged or truncated: {error}", key) from error
    return Checkpoint(opened.format, tensors, settings, unwrapped)


def _open(path: Path, key: str) -> _Opened:
    check_file(path, key)
    with path.open("rb") as file:
        start = file.read(512)
    try:
        if start.startswith(b"PK"):
            return _open_zip(path, key)
        if _is_safetensors(path, start):
            return _open_safetensors(path)
        if OLD_MAGIC in start[:OLD_START]:
            return _open_old(path)
        if re.match(rb"\x80[\x02-\x05]", start):
            raise CodeRefused("a Python pickle that torch did not write")
    except CodeRefused as refusal:
        raise EncoderError(_refusal(path.name, refusal.name), key) from None
    except Damaged as error:
        raise EncoderError(f"{path.name} is damaged or truncated: {error}", key) from error
    raise EncoderError(f"{path.name} is {_looks_like(start)}; weights are read from safetensors or torch files", key)


def _refusal(file: str, name: str) -> str:
    if "_rebuild" in name and name.startswith("torch."):
        return f"{file} holds tensors of a kind that is not read ({name}): save it with plain dense tensors"
    return (
        f"{file} holds more than tensors and plain values: to load it would run code ({name}). Nothing was run. If you "
        "trust it, save its weights alone, where its own program runs: "
        f'`weights = torch.load("{file}", weights_only=False)["state_dict"]`, '
        '`torch.save(weights, "weights.pt")`'
    )


def _looks_like(start: bytes) -> str:
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    for signature, words in SIGNATURES:
        if start.startswith(signature):
            return words
    try:
        text = start.decode("utf-8", "strict" if len(start) < 512 else "ignore")
    except UnicodeDecodeError:
        return "of no known format"
    if text.lstrip().startswith(("{", "[")):
        return "a JSON file"
    return "a text file" if text.isprintable() or "\n" in text else "of no known format"


def _open_zip(path: Path, key: str) -> _Opened:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise Damaged("a zip archive without its end" if "not a zip" in str(error) else str(error)) from error
    if names and all(name.endswith(".npy") for name in names):
        raise EncoderError(f"{path.name} is a numpy archive (.npz); weights are read from safetensors or torch", key)
    if not any(name.endswith("data.pkl") for name in names):
        listed = ", ".join(sorted(names)[:3]) or "nothing"
        raise EncoderError(f"{path.name} is a zip archive, but not of torch: it holds {listed}", key)
    saved = TorchArchive(path)
    if saved.scripted:
        return _Opened("TorchScript archive", _tensors(saved.tree), scripted=True)
    return _Opened("torch archive", saved.tree)


def _is_safetensors(path: Path, start: bytes) -> bool:
    if len(start) < 9:
        return path.suffix == ".safetensors"
    (length,) = struct.unpack("<Q", start[:8])
    return start[8:9] == b"{" and length < 2**32


def _open_safetensors(path: Path) -> _Opened:
    try:
        header, size = _safetensors_header(path)
        metadata = header.pop("__metadata__", {})
        infos = {
            name: TensorInfo(tuple(entry["shape"]), SAFETENSORS_DTYPES.get(entry["dtype"], entry["dtype"]))
            for name, entry in header.items()
        }
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise Damaged(f"its header cannot be read ({type(error).__name__}: {error})") from error
    if end != size:
        raise Damaged(f"its tensors take {size:,} bytes, its header says {end:,}")
    file = _SafetensorsFile(path)
    return _Opened(
        "safetensors", {name: _Leaf(info, partial(file.tensor, name)) for name, info in infos.items()}, metadata
    )


class _SafetensorsFile:
    """Opened by the library when the first tensor is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: Any = None

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor. Raises Damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            self.opened = self.opened or safe_open(self.path, framework="pt")
            found: torch.Tensor = self.opened.get_tensor(name)
        except SafetensorError as error:
            raise Damaged(str(error)) from error
        return found


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The table of tensors, and how many bytes follow it."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if length > path.stat().st_size - 8:
            raise ValueError("it ends before its header does")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("no table of tensors")
    return header, path.stat().st_size - 8 - length


def _open_old(path: Path) -> _Opened:
    """torch's format before 1.6, by torch's own reader, which knows tensors and plain values only."""
    import torch

    try:
        with path.open("rb") as file, warnings.catch_warnings():  # given a name, torch would go by its suffix
            warnings.simplefilter("ignore")  # about other protocols of pickle, which end in an error
            tree = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # KeyError, EOFError, UnpicklingError, RuntimeError ... by the kind of damage
        text = str(error)
        refused = re.search(r"GLOBAL ([\w.]+)", text)
        if refused or "nsupported" in text or "Trying to" in text:  # its words for what is no plain value
            raise CodeRefused(refused.group(1) if refused else "an object of its own") from None
        raise Damaged(f"{type(error).__name__}: {(text.splitlines() or [''])[0]}") from error
    return _Opened("torch file of the old format", tree)


def _unwrapped(tree: Any, file: str, key: str) -> tuple[dict[str, _Leaf], dict[str, Any], tuple[str, ...]]:
    """The weights in a tree by name, plain values beside them, and what was taken off."""
    settings: dict[str, Any] = {}
    taken: list[str] = []
    try:
        for _ in range(WRAPPED):
            if not isinstance(tree, Mapping):
                raise EncoderError(f"{file} holds no weights by name, but {_named(tree)}", key)
            settings |= {str(name): value for name, value in tree.items() if _is_plain(value)}
            inside = _wrapper(tree)
            if inside is None:
                break
            taken.append(f"'{inside}'")
            tree = tree[inside]
        found = _tensors({name: value for name, value in tree.items() if not _of_training(name, value)})
    except Damaged as error:
        raise EncoderError(f"{file} is damaged: {error}", key) from error
    if not found:
        raise EncoderError(f"{file} holds no tensors", key)
    found, prefixes = _without_prefixes(found)
    return found, settings, tuple(taken + [f"'{prefix}' in every name" for prefix in prefixes])


def _wrapper(tree: Mapping[Any, Any]) -> str | None:
    """The name under which the weights stand, or None where they stand here."""
    inside = {
        name: len(_tensors(value))
        for name, value in tree.items()
        if isinstance(name, str) and isinstance(value, Mapping) and not _of_training(name, value)
    }
    here = sum(_is_tensor(value) for value in tree.values())  # a step or an epoch may be a tensor, too
    holding = [name for name, count in inside.items() if count > here]
    for name in (*WRAPPERS, *AVERAGES):
        if name in holding:
            return name
    return holding[0] if len(holding) == 1 else None  # several: parts of one model, such as 'visual' and 'text'


def _of_training(name: Any, value: Any) -> bool:
    return isinstance(value, Mapping) and str(name).lower().startswith(TRAINING)


def _walk(tree: Any, lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Names (joined by dots) and values below nested dictionaries and TorchScript objects; `lists`: below lists, too.
    Raises Damaged."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    for _ in range(VALUES):
        if not waiting:
            return
        prefix, value = waiting.pop()
        if isinstance(value, Module):
            value = value.attributes
        if isinstance(value, Mapping):
            names = [(f"{prefix}.{name}" if prefix else str(name), inner) for name, inner in value.items()]
            waiting += reversed(names)
        elif lists and isinstance(value, (list, tuple)):
            waiting += [(prefix, inner) for inner in value]
        else:
            yield prefix, value
    raise Damaged(f"more than {VALUES:,} values in it")


def _tensors(tree: Any) -> dict[str, _Leaf]:
    return {name: _leaf(value) for name, value in _walk(tree) if _is_tensor(value)}


def _is_plain(tree: Any) -> bool:
    return all(value is None or isinstance(value, (bool, int, float, str)) for _, value in _walk(tree, lists=True))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (StoredTensor, _Leaf)) or hasattr(value, "untyped_storage")


def _leaf(value: Any) -> _Leaf:
    if isinstance(value, _Leaf):
        return value
    if isinstance(value, StoredTensor):
        return _Leaf(TensorInfo(value.shape, value.dtype), value.tensor)
    return _Leaf(TensorInfo(tuple(value.shape), str(value.dtype).removeprefix("torch.")), value.detach)


def _without_prefixes(found: dict[str, _Leaf]) -> tuple[dict[str, _Leaf], list[str]]:
    taken: list[str] = []
    if any("_orig_mod." in name for name in found):  # torch.compile, at any depth
        taken.append("_orig_mod.")
        found = {name.replace("_orig_mod.", ""): leaf for name, leaf in found.items()}
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) and len(name) > len(prefix) for name in found):
            taken.append(prefix)
            found = {name.removeprefix(prefix): leaf for name, leaf in found.items()}
    return found, taken


def _named(value: Any) -> str:
    if _is_tensor(value):
        return "one tensor without a name"
    words = {"list": "a list", "tuple": "a list", "str": "a text"}
    return words.get(type(value).__name__, f"a value of type {type(value).__name__}")
