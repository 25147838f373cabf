"""open_clip's own modules, without the libraries that only some of its models need.

`import open_clip` imports transformers, timm and all of torchvision, which takes half of the time of a search on an
old run. A network of open_clip's own making needs none of them. So its modules are imported from the same files under
another package name (open_clip is not imported, and may be imported beside them), while timm and transformers cannot
be: open_clip copes with that itself. Of torchvision it wants one class, which stands in a file that needs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.encoders import EncoderError

ALONE = "_open_clip_alone"
TORCHVISION = "_torchvision_alone"
OPTIONAL = ("timm", "transformers")


def folder() -> Path:
    """Of the package. Raises EncoderError: it is not installed."""
    return _folder("open_clip", "open_clip_torch")


def own(module: str) -> Any:
    """`open_clip.<module>` ('model', 'tokenizer' ...), for models that are made of open_clip's code alone."""
    if f"{ALONE}.{module}" in sys.modules:
        return sys.modules[f"{ALONE}.{module}"]
    with contextlib.ExitStack() as meanwhile:
        for name in OPTIONAL:
            meanwhile.enter_context(_as(name, None))
        if module not in ("pretrained", "tokenizer") and "torchvision.ops.misc" not in sys.modules:
            meanwhile.enter_context(_as("torchvision.ops.misc", _frozen_batch_norm()))
        return _module(ALONE, folder(), module)


def whole(module: str) -> Any:
    """`open_clip.<module>` as everybody imports it."""
    return importlib.import_module(f"open_clip.{module}")


def module_for(config: Mapping[str, Any], module: str) -> Any:
    """The module with which a model of this `model_cfg` is made and used: its own code alone where that is enough."""
    elsewhere = "timm_model_name" in config["vision_cfg"] or "hf_model_name" in config["text_cfg"]
    return whole(module) if elsewhere else own(module)


def tables() -> dict[str, dict[str, dict[str, Any]]]:
    """The library's table: model -> tag -> where its weights are and how images are prepared; without torch."""
    with _as("safetensors.torch", None):
        found: dict[str, dict[str, dict[str, Any]]] = own("pretrained")._PRETRAINED
    return found


def _frozen_batch_norm() -> Any:
    """torchvision.ops.misc by itself."""
    place = _folder("torchvision", "torchvision")
    _package(TORCHVISION, place)
    return _module(f"{TORCHVISION}.ops", place / "ops", "misc")


def _folder(package: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(f"the package {distribution} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _module(package: str, place: Path, name: str) -> Any:
    _package(package, place)
    return importlib.import_module(f"{package}.{name}")


def _package(name: str, place: Path) -> None:
    """A package of the files in a folder whose `__init__` is not run."""
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package


@contextlib.contextmanager
def _as(name: str, module: Any) -> Iterator[None]:
    """Imports of `name` find `module` meanwhile, and with None nothing."""
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
