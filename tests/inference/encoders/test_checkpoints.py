"""Files of weights: what is read equals what torch reads, and nothing that stands in a file is ever run."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inference.encoders import EncoderError
from inference.encoders.checkpoints import Checkpoint, inspect_checkpoint, read_checkpoint


def tensors() -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    wide = torch.randn(6, 5, generator=made)
    return {
        "a.weight": wide,
        "a.bias": torch.randn(5, generator=made).half(),
        "transposed": wide.t(),
        "part": wide[2:4, 1:3],
        "brain": torch.randn(3, generator=made).bfloat16(),
        "counter": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "none": torch.empty(0, 3),
        "bytes": torch.arange(3, dtype=torch.uint8),
    }


def assert_same(found: Checkpoint, expected: dict[str, torch.Tensor]) -> None:
    assert list(found.tensors) == list(expected)
    for name, tensor in expected.items():
        assert found.tensors[name].dtype == tensor.dtype, name
        assert torch.equal(found.tensors[name], tensor), name


def assert_inspected(path: Path, expected: dict[str, torch.Tensor]) -> None:
    infos = inspect_checkpoint(path).tensors
    assert {name: (info.shape, f"torch.{info.dtype}") for name, info in infos.items()} == {
        name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in expected.items()
    }


def refusal(path: Path) -> str:
    """The one line that both ways of reading refuse a file with."""
    with pytest.raises(EncoderError) as inspected:
        inspect_checkpoint(path)
    with pytest.raises(EncoderError) as read:
        read_checkpoint(path)
    assert read.value.message == inspected.value.message and read.value.key == "encoder.path"
    assert "\n" not in read.value.message and len(read.value.message) < 500
    return read.value.message


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_is_read_as_torch_reads_it(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert_same(found, torch.load(path, weights_only=True))
    assert_inspected(path, tensors())
    assert found.format == ("torch archive" if zipped else "torch file of the old format")


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    expected = {name: tensor.clone().contiguous() for name, tensor in sorted(tensors().items())}
    save_file(expected, path, metadata={"format": "pt"})
    found = read_checkpoint(path)
    assert {name: found.tensors[name].tolist() for name in expected} == {k: v.tolist() for k, v in expected.items()}
    assert_inspected(path, expected)
    assert inspect_checkpoint(path).metadata == {"format": "pt"}


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).half()
        self.scale = torch.nn.Parameter(torch.tensor(2.5))
        self.sizes = [1, 2]
        self.title = "small"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.scale


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda model: torch.jit.trace(model.eval(), torch.ones(2, 3).half())]
)
def test_a_torchscript_archive_gives_its_tensors(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "scripted.pt"
    make(Small()).save(str(path))
    expected = torch.jit.load(str(path)).state_dict()
    found = read_checkpoint(path)
    assert {name: found.tensors[name].tolist() for name in expected} == {k: v.tolist() for k, v in expected.items()}
    assert set(found.tensors) == set(expected)
    assert inspect_checkpoint(path).scripted


def test_tensors_are_not_tied_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(4)}, path)
    before = path.read_bytes()
    read_checkpoint(path).tensors["a"].add_(1)
    assert path.read_bytes() == before


def test_numbers_in_the_other_byte_order(tmp_path: Path) -> None:
    plain, turned = tmp_path / "little.pt", tmp_path / "big.pt"
    expected = {"a": torch.arange(5.0), "b": torch.arange(4)}
    torch.save(expected, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(turned, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, "<f4" if name.endswith("/0") else "<i8").byteswap().tobytes()
            target.writestr(name, data)
    assert_same(read_checkpoint(turned), expected)


@pytest.mark.parametrize(
    ("wrapped", "words"),
    [
        (
            lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
            ["state_dict"],
        ),
        (lambda w: {"model_state_dict": w, "epoch": torch.tensor(3)}, ["model_state_dict"]),
        (lambda w: {"model": w, "ema": w, "optimizer_state_dict": {"a": torch.ones(2)}}, ["model"]),
        (lambda w: {"whatever": w, "lr": 0.1}, ["whatever"]),
        (lambda w: {"model": {"state_dict": w}}, ["model", "state_dict"]),
        (lambda w: {f"module.{name}": tensor for name, tensor in w.items()}, ["module."]),
        (lambda w: {f"module._orig_mod.model.{k}": v for k, v in w.items()}, ["_orig_mod.", "module.", "model."]),
        (lambda w: {"a": {"weight": w["a.weight"], "bias": w["a.bias"]}, **dict(list(w.items())[2:])}, []),
    ],
)
def test_what_training_programs_wrap_around_is_taken_off(tmp_path: Path, wrapped: Any, words: list[str]) -> None:
    path = tmp_path / "training.ckpt"
    torch.save(wrapped(tensors()), path)
    found = read_checkpoint(path)
    assert_same(found, tensors())
    assert [text.split("'")[1] for text in found.unwrapped] == words


def test_plain_values_beside_the_weights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "lightning.ckpt"
    beside = {"epoch": 3, "hyper_parameters": {"lr": 1e-3, "layers": [1, 2], "name": "x"}}
    numbers = {"best": np.float64(0.25), "steps": np.int64(12), "small": np.float32(1.5), "yes": np.bool_(True)}
    torch.save({"state_dict": tensors(), **beside, **numbers}, path)
    assert read_checkpoint(path).settings == beside | {"best": 0.25, "steps": 12, "small": 1.5, "yes": True}


class Bomb:
    """Unpickled without care, it makes its marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def with_data_pkl(path: Path, data: bytes) -> None:
    """The torch archive at `path` with another data.pkl."""
    with zipfile.ZipFile(path) as source:
        records = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, old in records.items():
            target.writestr(name, data if name.endswith("/data.pkl") else old)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    bomb = Bomb(tmp_path / "it\\ ran")
    made: list[Path] = []
    for name in ("a.bin", "a.ckpt", "a.pth", "a.pt", "a.safetensors"):
        for protocol in (2, 4):
            made.append(tmp_path / f"{protocol}{name}")
            made[-1].write_bytes(pickle.dumps({"state_dict": tensors(), "x": bomb}, protocol=protocol))
        for zipped in (True, False):
            made.append(tmp_path / f"{zipped}{name}")
            torch.save({"x": bomb, "state_dict": {}}, made[-1], _use_new_zipfile_serialization=zipped)
    made.append(tmp_path / "hyper.ckpt")
    torch.save({"state_dict": tensors(), "hyper_parameters": {"x": {"y": bomb}}}, made[-1])
    made.append(tmp_path / "scripted.pt")
    torch.jit.script(Small()).save(str(made[-1]))
    with_data_pkl(made[-1], pickle.dumps(bomb, protocol=2))
    for path in made:
        message = refusal(path)
        assert "Nothing was run" in message and "torch.save(weights" in message, message
    assert not marker.exists()
    pickle.loads(made[0].read_bytes())  # the bomb is a real one  # noqa: S301
    assert marker.exists()


@pytest.mark.parametrize(
    "calls",
    [
        (b"cbuiltins\neval\n", "builtins.eval"),
        (b"cbuiltins\ngetattr\n", "builtins.getattr"),
        (b"ctorch.hub\nload\n", "torch.hub.load"),
        (b"ctorch\nload\n", "torch.load"),
        (b"ctorch.jit._pickle\nrestore_type_tag.__globals__\n", "torch.jit._pickle.restore_type_tag.__globals__"),
        (b"c__torch__\nM\n", "__torch__.M"),
        (b"cnumpy\nload\n", "numpy.load"),
    ],
)
def test_no_name_but_those_of_tensors_is_known(tmp_path: Path, calls: tuple[bytes, str]) -> None:
    path = tmp_path / "named.pt"
    torch.save({"a": torch.ones(2)}, path)
    with_data_pkl(path, b"\x80\x02" + calls[0] + b"(X\x01\x00\x00\x001tR.")
    assert f"({calls[1]})" in refusal(path)


def test_objects_that_are_no_plain_values_are_refused_with_the_way_out(tmp_path: Path) -> None:
    namespace, whole = tmp_path / "namespace.ckpt", tmp_path / "whole.pt"
    torch.save({"state_dict": tensors(), "hyper_parameters": argparse.Namespace(lr=0.1)}, namespace)
    assert "(argparse.Namespace)" in refusal(namespace)
    torch.save(torch.nn.Linear(2, 2), whole)
    message = refusal(whole)
    assert "torch.nn.modules.linear.Linear" in message and 'torch.load("whole.pt", weights_only=False)' in message


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zip_of(records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + data


WEIGHT = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
BAD = {
    "empty": (b"", "is empty"),
    "page": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "npz": (npz(), "numpy archive"),
    "npy": (b"\x93NUMPY\x01\x00", "a numpy array"),
    "h5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
    "gzip": (b"\x1f\x8b\x08", "gzip"),
    "tar": (b"a".ljust(257, b"\0") + b"ustar\0", "tar archive"),
    "json": (b'{"a": 1}', "a JSON file"),
    "text": (b"hello\n", "a text file"),
    "noise": (bytes(range(128, 255)), "no known format"),
    "other zip": (zip_of({"word/document.xml": b"x"}), "not of torch: it holds word/document.xml"),
    "half a zip": (saved(tensors())[:-600], "truncated"),
    "a few bytes of a zip": (b"PK\x03\x04", "truncated"),
    "pickle only": (pickle.dumps({"a": 1}), "a Python pickle that torch did not write"),
    "half an old file": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "damaged or truncated"),
    "safetensors without data": (safetensors_bytes(WEIGHT), "its header says 16"),
    "half a header": (safetensors_bytes(WEIGHT)[:20], "header cannot be read"),
    "another header": (safetensors_bytes({"a": 1}), "header cannot be read"),
    "no tensors": (saved({"a": 1}), "holds no tensors"),
    "a list": (saved([1, 2]), "holds no weights by name, but a list"),
    "a tensor": (saved(torch.ones(2)), "one tensor without a name"),
    "sparse": (saved({"a": torch.ones(2).to_sparse()}), "a kind that is not read"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_is_one_line_that_says_what_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(BAD[name][0])
    message = refusal(path)
    assert BAD[name][1] in message and "weights.pt" in message


def test_a_folder_or_nothing_at_all(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing.pt")


def test_declared_sizes_are_not_believed(tmp_path: Path) -> None:
    """A tensor beyond its record, one larger than the file, one of a missing record, a compressed record."""
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(4)}, path)
    with zipfile.ZipFile(path) as source:
        records = {name: source.read(name) for name in source.namelist()}
    (name,) = [name for name in records if name.endswith("data.pkl")]
    four, many = b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"  # the shape (4,), and (2147483647,)
    assert records[name].count(four) == 1

    path.write_bytes(zip_of(records | {name: records[name].replace(four, many)}))
    assert "more than the file holds" in refusal(path)

    path.write_bytes(zip_of(records | {name: records[name].replace(four, b"K\x40\x85")}))
    with pytest.raises(EncoderError, match="shorter than its tensor"):
        read_checkpoint(path)

    path.write_bytes(zip_of({key: data for key, data in records.items() if not key.endswith("data/0")}))
    with pytest.raises(EncoderError, match=r"data/0 is missing"):
        read_checkpoint(path)

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for key, data in records.items():
            target.writestr(key, data)
    with pytest.raises(EncoderError, match="compressed"):
        read_checkpoint(path)


def test_attributes_of_a_dictionary_do_not_get_in_its_way(tmp_path: Path) -> None:
    path = tmp_path / "attributes.pt"
    state = torch.nn.Linear(2, 2).state_dict()
    assert state._metadata  # as every state dict has
    state.items_ = "x"
    torch.save(state, path)
    with zipfile.ZipFile(path) as source:
        (name,) = [name for name in source.namelist() if name.endswith("data.pkl")]
        data = source.read(name)
    assert data.count(b"items_") == 1
    with_data_pkl(path, data.replace(b"\x06\x00\x00\x00items_", b"\x05\x00\x00\x00items"))
    assert list(read_checkpoint(path).tensors) == ["weight", "bias"]


def test_dictionaries_that_hold_each_other_many_times_end(tmp_path: Path) -> None:
    path = tmp_path / "laughs.pt"
    value: Any = {"a": 1}
    for _ in range(40):
        value = {"x": value, "y": value}
    torch.save(value, path)
    assert "values in it" in refusal(path)
