"""umap-learn made ready: what is compiled, where it is kept, and that nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry import compiled_umap as module

FIT = """
import sys
import numpy as np
from pipeline.geometry.projection import umap_projection
vectors = np.random.default_rng(0).normal(size=(60, 5))
for seed in sys.argv[1:]:
    found = umap_projection(vectors, 2, seed=None if seed == "none" else int(seed))
    print(found.tobytes().hex())
from pynndescent.distances import euclidean
print(hasattr(euclidean, "py_func"))
"""


def _printed(code: str, *arguments: str, compiled: Path | None = None) -> list[str]:
    """What a process of its own prints, with its compiled functions in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    if compiled:
        environment["NUMBA_CACHE_DIR"] = str(compiled)
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_functions_on_disk_are_found_again_and_give_umap_learns_own_layout(tmp_path: Path) -> None:
    """numba itself would find the function for all cores under the name of the one for one core."""
    _, first, compiled = _printed(FIT, "none", "3", compiled=tmp_path)
    kept = {file.name.split("-")[0] for file in tmp_path.rglob("*single_epoch*.nbi")}
    assert {name.partition("single_epoch_")[2] for name in kept} == {"on_one_core", "on_all_cores"}
    assert compiled == "False"
    again, _ = _printed(FIT, "3", compiled=tmp_path)
    own = (
        "from pipeline.geometry import compiled_umap\n"
        "compiled_umap._epoch = lambda layouts, parallel: layouts._nb_optimize_layout_euclidean_single_epoch\n"
    )
    theirs, _ = _printed(own + FIT, "3", compiled=tmp_path)
    assert first == again == theirs


@pytest.mark.slow
def test_where_umap_was_imported_before_its_search_stays_compiled() -> None:
    code = (
        "import umap\nfrom pipeline.geometry.compiled_umap import import_umap\nimport_umap()\n"
        "from pynndescent.distances import euclidean\nprint(hasattr(euclidean, 'py_func'))"
    )
    assert _printed(code) == ["True"]


def test_numba_compiles_again_afterwards() -> None:
    import numba

    module.import_umap()
    assert numba.njit(lambda x: x + 1)(np.int64(1)) == 2
    assert not numba.config.DISABLE_JIT


def test_a_cache_that_cannot_be_written_is_no_error() -> None:
    from numba.core.caching import NullCache

    class Unwritable:
        _cache = NullCache()

        def enable_caching(self) -> None:
            raise RuntimeError("cannot cache function: no locator available")

    module._keep_on_disk(Unwritable())
