"""Given vectors of images and texts, small enough to know what is nearest to what, and what stages of words are given.

Stages see them as an encoder sees its own: through `encoder=precomputed` with `encoder.text_path`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from pipeline.datasets.vectors import Precomputed, open_vectors
from pipeline.schema import Config, restored
from pipeline.stage import Workspace
from tests.making import ROOT, precomputed, settings


def section(name: str, **changes: Any) -> Any:
    """A section of the config as shipped, but for the changes."""
    shipped = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))[name]
    plain = {key: 0 if value == "${seed}" else value for key, value in shipped.items()}
    made: Config = restored({name: {**plain, **changes}})
    return getattr(made, name)


def prompts(*templates: str) -> Any:
    """The section `prompts`, with one template that is the class itself unless others are given."""
    return restored({"prompts": {"name": "mine", "templates": list(templates or ("{}",))}}).prompts


def encoder_of(
    texts: Mapping[str, Sequence[float]], folder: Path, logit_scale: float | None = 10.0, **changes: Any
) -> Precomputed:
    """An encoder that knows these texts."""
    vectors = np.array(list(texts.values()), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.ones((1, vectors.shape[1]), np.float32))
    np.savez(folder / "texts.npz", embedding=vectors, texts=np.array(list(texts)))
    given = precomputed(folder / "images.npy", text_path=folder / "texts.npz", logit_scale=logit_scale, **changes)
    return open_vectors(given, lambda paths: ["" for _ in paths])


def table_of(labels: Sequence[str | None], **columns: Any) -> pd.DataFrame:
    """As much of the table of images as stages of words look at."""
    nothing = pd.Series([None] * len(labels), dtype="str")
    ids = [f"image {i}" for i in range(len(labels))]
    given = {"id": ids, "path": [f"/images/{name}.png" for name in ids], "label": pd.Series(labels, dtype="str")}
    return pd.DataFrame({**given, "caption": nothing, "group": nothing, **columns})


def entries(texts: Sequence[str], categories: Sequence[str] | None = None) -> pa.Table:
    """The artifact `texts`."""
    columns = {"text": list(texts), "category": list(categories or [""] * len(texts)), "kind": ["line"] * len(texts)}
    return pa.table({**columns, "count": [1] * len(texts), "score": [float("nan")] * len(texts)})


def unit(rows: Any) -> np.ndarray:
    """Rows of length 1, float32."""
    wide = np.asarray(rows, np.float64)
    return (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(np.float32)


def cloud(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    """(n, d) float32 vectors of many lengths."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, d)) * random.uniform(0.1, 9, (n, 1))).astype(np.float32)


def run(stage: Any, folder: Path, given: Mapping[str, Any], **needs: Any) -> dict[str, Any]:
    """What a stage makes; `given` are the sections of its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    uses = {name: needs.pop(name, None) for name in stage.uses}
    made: dict[str, Any] = stage.run(settings(**given), Workspace(folder, workers=0), **needs, **uses)
    return made
