"""open_clip's own networks without timm, transformers and torchvision: nothing of these is imported, and the numbers
are to the bit those of the whole library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inference.encoders import open_clip_modules
from tests.inference.encoders.clips import TINY_RESNET, TINY_VIT, random_state, save_safetensors
from tests.making import ROOT

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
VIT = {"image_size": 64, "layers": 2, "width": 64, "head_width": 64, "patch_size": 32}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 32}

ALONE = """
import json, sys
from pathlib import Path

import numpy as np
import torch

from inference.encoders import Look, Runtime, describe

place, kind, config = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
given = {"model": None, "weights": f"{place}/open_clip_model.safetensors", "preprocessing": "openai"}
if kind == "open_clip":
    given = {"model": f"local-dir:{place}", "pretrained": None, "revision": None}
handle = describe(kind, given, True, Look(Path("none"), lambda path: ""))
encoder = handle.at(Runtime("cpu", "fp32", True)).load()
encoder.encode_texts(["a photo of a dog"])
loaded = sorted({"open_clip", "timm", "transformers", "torchvision"} & set(sys.modules))
assert not loaded, loaded

import open_clip, timm, torchvision, transformers

assert open_clip.timm_model.timm is timm and open_clip.hf_model.transformers is transformers
assert type(encoder.network) is not open_clip.CLIP
whole = open_clip.CLIP(**config).eval().to(memory_format=torch.channels_last)  # as an encoder lays it out
whole.load_state_dict(encoder.network.state_dict())
tokens = open_clip.SimpleTokenizer(context_length=77)(["a photo of a dog", "x" * 400, ""])
pixels = torch.rand(3, 3, 64, 64)
with torch.inference_mode():
    for call, given in (("encode_text", tokens), ("encode_image", pixels)):
        a, b = (getattr(network, call)(given).numpy() for network in (encoder.network, whole))
        assert a.std() > 0.01
        np.testing.assert_array_equal(a, b)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "open_clip"])
@pytest.mark.parametrize(("form", "vision"), [(TINY_VIT, VIT), (TINY_RESNET, RESNET)])
def test_nothing_else_is_imported_and_nothing_differs(tmp_path: Path, kind: str, form: object, vision: object) -> None:
    state = random_state(form)  # type: ignore[arg-type]
    save_safetensors(tmp_path / "open_clip_model.safetensors", state)
    config = {"embed_dim": len(state["text_projection"].T), "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": True}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
    call = [sys.executable, "-c", ALONE, str(tmp_path), kind, json.dumps(config)]
    ran = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_towers_of_other_libraries_need_the_whole() -> None:
    def package(vision: dict[str, str], text: dict[str, str]) -> str:
        return str(open_clip_modules.module_for({"vision_cfg": vision, "text_cfg": text}, "model").__name__)

    assert package({}, {}) == "_open_clip_alone.model"
    assert package({"timm_model_name": "resnet10t"}, {}) == "open_clip.model"
    assert package({}, {"hf_model_name": "roberta-base"}) == "open_clip.model"
