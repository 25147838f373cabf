"""Torch's zip archives, read without running anything that stands in them: state dicts and TorchScript alike.

A torch archive is a zip whose `data.pkl` describes objects and whose `data/<key>` records hold the numbers. Pickle can
call any function by name; the reader here knows only the names that rebuild tensors and plain values, and what it
makes of them are inert descriptions. TorchScript's classes become holders of their attributes; its code is not read.
Names and shapes cost a few milliseconds and no torch; numbers are mapped from the file when they are asked for.
"""

from __future__ import annotations

import functools
import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

MAX_PICKLE = 256 * 2**20  # bytes of data.pkl: that of the largest models has a few megabytes
LOCAL_HEADER = 30  # bytes of a zip record's own header before its name

# storage class in the pickle -> type of its numbers, as torch names it
DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1}
BYTES |= {"uint8": 1, "bool": 1, "uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1, "float8_e5m2": 1}


class CodeRefused(Exception):
    """The pickle asks for a name that is neither a tensor nor a plain value; `name` is what it asks for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Damaged(Exception):
    """Not what torch writes; the message says in which way."""


class Module:
    """A TorchScript object: its attributes, without its code."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Damaged("a TorchScript object without named attributes")
        self.attributes = state


class Table(dict[Any, Any]):
    """An OrderedDict without what is set on it besides its items (a state dict has `_metadata`)."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class Marker:
    """A name that only tells a type apart (a storage class, a dtype, Tensor or Parameter)."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A record of numbers in an archive. dtype: None where the tensor says it; size: numbers, as the pickle says."""

    archive: TorchArchive
    key: str
    dtype: str | None
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an archive; strides and offset count numbers."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def tensor(self) -> torch.Tensor:
        """The tensor itself, mapped from the file: copied only when something writes to it. Raises Damaged."""
        return self.storage.archive.tensor(self)


class TorchArchive:
    """An opened archive: `tree` is what was saved, with a StoredTensor for each tensor; `scripted`: TorchScript.

    Raises Damaged, CodeRefused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file_size = path.stat().st_size
        try:
            with zipfile.ZipFile(path) as archive:
                self._records = {record.filename: record for record in archive.infolist()}
                self.folder = self._folder()
                self.scripted = any(name.startswith(f"{self.folder}code/") for name in self._records)
                data = self._read(archive, f"{self.folder}data.pkl")
                order = f"{self.folder}byteorder"
                self.big_endian = order in self._records and self._read(archive, order) == b"big"
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise Damaged(str(error) or type(error).__name__) from error
        self.tree = self._unpickled(data)

    def _folder(self) -> str:
        """All records stand in one folder, named after the file at the time of saving."""
        found = [name.removesuffix("data.pkl") for name in self._records if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
        if len(found) != 1:
            raise Damaged("a zip archive without a data.pkl: torch did not write it")
        return found[0]

    def _read(self, archive: zipfile.ZipFile, name: str) -> bytes:
        record = self._records[name]
        if record.file_size > MAX_PICKLE:
            raise Damaged(f"{name} says that it has {record.file_size:,} bytes")
        return archive.read(name)

    def _unpickled(self, data: bytes) -> Any:
        try:
            return _Reader(io.BytesIO(data), self).load()
        except (CodeRefused, Damaged):
            raise
        except Exception as error:  # pickle raises a dozen kinds by the kind of damage
            raise Damaged(f"data.pkl: {type(error).__name__}: {error}") from error

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """See StoredTensor.tensor."""
        import torch

        dtype = getattr(torch, stored.dtype)
        start, size = self._span(stored)
        if not size:
            return torch.empty(stored.shape, dtype=dtype)
        raw: np.ndarray = self._mapped[start : start + size]
        if self.big_endian:
            raw = raw.reshape(-1, BYTES[stored.dtype])[:, ::-1].reshape(-1).copy()
        elif start % BYTES[stored.dtype]:
            raw = raw.copy()  # torch wants numbers at multiples of their size
        numbers = torch.from_numpy(raw).view(dtype)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset)

    @functools.cached_property
    def _mapped(self) -> np.ndarray:
        return np.memmap(self.path, np.uint8, "c")  # what is written to it stays in memory

    def _span(self, stored: StoredTensor) -> tuple[int, int]:
        """Where the numbers start in the file and how many bytes of them there are, all inside the file."""
        record = self._records.get(f"{self.folder}data/{stored.storage.key}")
        if record is None:
            raise Damaged(f"the record data/{stored.storage.key} is missing")
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise Damaged("its records are compressed, which torch never does")
        with self.path.open("rb") as file:
            file.seek(record.header_offset)
            header = file.read(LOCAL_HEADER)
        if len(header) < LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
            raise Damaged(f"the record data/{stored.storage.key} has no header")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = record.header_offset + LOCAL_HEADER + name_length + extra_length
        width = BYTES[stored.dtype]
        if start + record.file_size > self.file_size:
            raise Damaged(f"the record data/{stored.storage.key} ends after the file does")
        last = stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.stride, strict=True))
        if 0 in stored.shape:
            return start, 0
        if (last + 1) * width > record.file_size:
            raise Damaged(f"the record data/{stored.storage.key} is shorter than its tensor")
        return start, record.file_size // width * width


class _Reader(pickle.Unpickler):
    """Knows the names in `_names` and TorchScript's classes, refuses all others, and never imports anything."""

    def __init__(self, file: Any, archive: TorchArchive) -> None:
        super().__init__(file, encoding="utf-8")
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in MARKERS or (module == "torch" and (name in DTYPES or name in BYTES)):
            return Marker(name)
        if self.archive.scripted and (module == "__torch__" or module.startswith("__torch__.")):
            return Module
        if full not in NAMES:
            raise CodeRefused(full)
        return NAMES[full]

    def persistent_load(self, saved: Any) -> Storage:
        kind, storage_type, key, _, size = saved
        if kind != "storage" or not isinstance(key, str) or not isinstance(storage_type, Marker):
            raise Damaged("a reference to something that is no storage")
        return Storage(self.archive, key, DTYPES.get(storage_type.name), int(size))


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> StoredTensor:
    """torch._utils._rebuild_tensor, _v2 and _v3 (whose type comes after requires_grad and hooks)."""
    named = [value.name for value in rest if isinstance(value, Marker)]
    dtype = named[0] if named else storage.dtype
    shape, stride = tuple(int(n) for n in shape), tuple(int(n) for n in stride)
    if not isinstance(storage, Storage) or dtype not in BYTES or len(shape) != len(stride):
        raise Damaged("a tensor without storage, type or strides")
    if int(offset) < 0 or min((*shape, *stride, 0)) < 0:
        raise Damaged("a tensor with negative sizes")
    count = 1
    for n in shape:
        count *= n
    if count * BYTES[dtype] > storage.archive.file_size:
        raise Damaged(f"a tensor of {count:,} numbers, more than the file holds")
    return StoredTensor(storage, dtype, shape, stride, int(offset))


def _parameter(tensor: Any, *rest: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise Damaged("a parameter that is no tensor")
    return tensor


def _typed(rebuild: Any, tensor_type: Any, arguments: Any, state: Any) -> StoredTensor:
    """torch._tensor._rebuild_from_type_v2: a tensor that carries attributes, which are left aside."""
    if rebuild not in (_tensor, _parameter) or not isinstance(tensor_type, Marker):
        raise Damaged("a tensor of a type of its own")
    made: StoredTensor = rebuild(*arguments)
    return made


def _numpy_scalar(dtype: Any, data: Any) -> float | int | bool:
    """A number that numpy made, such as a best validation loss."""
    if not isinstance(dtype, Marker) or not re.fullmatch(r"[<|=]?[fiub][1248]", dtype.name):
        raise Damaged("a numpy value that is no number")
    raw = data if isinstance(data, bytes) else str(data).encode("latin-1")
    found: float | int | bool = np.frombuffer(raw, np.dtype(dtype.name), count=1)[0].item()
    return found


class _NumpyType(Marker):
    """numpy.dtype('f8', False, True); its state (the byte order) is little endian wherever torch runs."""

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
            raise Damaged("a numpy value in another byte order")


def _numpy_dtype(name: Any, *rest: Any) -> _NumpyType:
    return _NumpyType(str(name))


def _encoded(text: str, coding: str) -> bytes:
    """_codecs.encode: how protocol 2 writes bytes."""
    if coding != "latin1":
        raise Damaged(f"bytes in the coding {coding!r}")
    return text.encode("latin-1")


def _first(value: Any, *rest: Any) -> Any:
    """torch.jit's marks of a list's type; torch.Size and torch.device keep what they are made of."""
    return value


MARKERS = {"torch.Tensor", "torch.nn.parameter.Parameter", "torch.storage.UntypedStorage"}
NAMES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": Table,
    "collections.Counter": dict,
    "builtins.set": set,
    "__builtin__.set": set,
    "_codecs.encode": _encoded,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch.Size": _first,
    "torch.device": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
}
