"""Text towers encode no more of the context than decides a vector, and the vectors are those of the whole context."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers

from inference.encoders import Look, Runtime, describe
from inference.encoders.tokens import CHARACTERS, well_formed
from tests.inference.encoders.test_huggingface import OWN, SETTINGS, save_tokenizer, saved
from tests.inference.encoders.test_open_clip import PLAIN, TEXT, bert_model, name_tower, save
from tests.model_files import cosine_gap, into_hub_cache, look_at

TEXTS = ["a cat", "", "a photo of a dog and a cat", "dog " * 90, "of", "猫 <end_of_text> cat", "a, b; c!", "dog"] * 2
SAME = 1e-9  # 1 - cosine
CUSTOM = PLAIN | {"custom_text": True}
SIGLIP = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "tokenizer_kwargs": {"clean": "canonicalize"}}
# how the towers that open_clip lists differ, and whether a short text may be encoded as one
TOWERS: dict[str, tuple[dict[str, Any], bool]] = {
    "CLIP": (PLAIN, True),
    "CLIP with a text tower of its own": (CUSTOM, True),
    "CLIP worldwide": (CUSTOM | {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}}, True),
    "worldwide, not custom": (PLAIN | {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}}, True),
    "SigLIP": (CUSTOM | {"init_logit_bias": -10.0, "text_cfg": TEXT | SIGLIP}, False),
    "CLIPA": (PLAIN | {"text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last"}}, False),
    "MobileCLIP-S": (CUSTOM | {"text_cfg": TEXT | {"no_causal_mask": True}}, False),
    "CoCa": (CUSTOM | {"text_cfg": TEXT | {"embed_cls": True, "output_tokens": False}}, False),
    "reads backwards too, looks at the first": (
        CUSTOM | {"text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "first"}},
        False,
    ),
}


def lengths_seen(encoder: Any, work: Callable[[], Any]) -> tuple[Any, set[int]]:
    """What `work` gives, and the numbers of tokens that the text side was given meanwhile."""
    side, seen = encoder.text, set()

    def encode(tokens: Any) -> torch.Tensor:
        seen.add((tokens["input_ids"] if hasattr(tokens, "keys") else tokens).shape[1])
        return side.encode(tokens)

    encoder.text = type(side)(side.tokenize, side.batch, encode, side.rule)
    return work(), seen


def of_open_clip(where: str, look: Look) -> Any:
    return describe("open_clip", {"model": where, "pretrained": None, "revision": None}, True, look).load()


@pytest.mark.parametrize("name", TOWERS)
def test_open_clips(tmp_path: Path, name: str) -> None:
    config, shortened = TOWERS[name]
    where = f"local-dir:{save(tmp_path / 'model', config)}"
    encoder = of_open_clip(where, look_at(tmp_path))
    model = open_clip.create_model(where).eval()
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer(where)(TEXTS), normalize=False).numpy()
    made, seen = lengths_seen(encoder, lambda: encoder.text_vectors(TEXTS, 3))
    assert cosine_gap(made.vectors, expected) < SAME
    assert (min(seen) < 10) is shortened and max(seen) == 16
    assert cosine_gap(encoder.text_vectors(TEXTS, whole=True).vectors, expected) < SAME
    assert (made.truncated, made.unknown) == (2, 2)


@pytest.mark.parametrize(
    ("pooler", "shortened"),
    [("mean_pooler", True), ("cls_last_hidden_state_pooler", True), ("cls_pooler", True)],
)
def test_towers_of_transformers_in_open_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooler: str, shortened: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    model = bert_model(tmp_path, pooler)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "photo", "of"]
    (tmp_path / "tower" / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "tower" / "vocab.txt")).save_pretrained(tmp_path / "tower")
    reference = open_clip.create_model(f"local-dir:{model}").eval()
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tmp_path / "tower"), context_length=16)
    with torch.no_grad():
        expected = reference.encode_text(tokenizer(TEXTS)).numpy()
    name_tower(model, "org/tower")
    into_hub_cache(tmp_path / "cache", "org/tower", tmp_path / "tower")
    encoder = of_open_clip(f"local-dir:{model}", look_at(tmp_path / "none"))
    made, seen = lengths_seen(encoder, lambda: encoder.text_vectors(TEXTS, 3))
    assert cosine_gap(made.vectors, expected) < SAME
    assert (min(seen) < 10) is shortened
    assert (made.truncated, made.unknown) == (2, 2)  # '' has nothing; in the Chinese text a cat is known


@pytest.mark.parametrize("name", ["clip", "siglip", "align", "altclip", "chinese_clip", "metaclip_2"])
def test_those_of_transformers(tmp_path: Path, name: str) -> None:
    folder = saved(name, tmp_path / "model")
    save_tokenizer(folder, 1000)
    arguments = {**dict.fromkeys(SETTINGS), "model": str(folder), "feature": "auto", **OWN}
    encoder: Any = describe("huggingface", arguments, True, look_at(tmp_path)).load()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    context = model.config.text_config.max_position_embeddings - (name == "altclip")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding="max_length", truncation=True, max_length=context, return_tensors="pt"
    )
    if name == "siglip":
        del tokens["attention_mask"]
    with torch.no_grad():
        expected = model.get_text_features(**tokens).pooler_output.numpy()
    made, seen = lengths_seen(encoder, lambda: encoder.text_vectors(TEXTS, 3))
    assert cosine_gap(made.vectors, expected) < SAME
    assert (min(seen) < 8) is (name != "siglip")
    assert cosine_gap(encoder.text_vectors(TEXTS, whole=True).vectors, expected) < SAME


def test_the_fast_way_is_shortened_too(tmp_path: Path) -> None:
    where = f"local-dir:{save(tmp_path / 'model', PLAIN | {'quick_gelu': True})}"
    arguments = {"model": where, "pretrained": None, "revision": None}
    handle = describe("open_clip", arguments, True, look_at(tmp_path)).at(Runtime("cpu", "bf16", False))
    encoder: Any = handle.load()
    made, seen = lengths_seen(encoder, lambda: encoder.text_vectors(TEXTS, 3).vectors)
    exact = handle.at(Runtime()).load().text_vectors(TEXTS, whole=True).vectors
    assert cosine_gap(made, exact) < 1e-3 and min(seen) < 10


def test_batches_and_order_change_no_more_than_the_last_digits(tmp_path: Path) -> None:
    encoder = of_open_clip(f"local-dir:{save(tmp_path / 'model', PLAIN)}", look_at(tmp_path))
    alone = np.concatenate([encoder.text_vectors([text]).vectors for text in TEXTS])
    assert cosine_gap(encoder.text_vectors(TEXTS, 5).vectors, alone) < SAME
    assert cosine_gap(encoder.text_vectors(TEXTS[::-1], 2).vectors, alone[::-1]) < SAME
    assert encoder.text_vectors([]).vectors.shape == (0, 32)


def test_well_formed() -> None:
    assert well_formed("Bär 🐕\0") == "Bär 🐕\0"
    assert well_formed("\ud83d\udc15 odd\udcff.jpg") == "🐕 odd\ufffd.jpg"
    assert well_formed(" x" * 10**6) == "x " * (CHARACTERS // 2)
    assert well_formed("a" * 10**6) == "a" * CHARACTERS
