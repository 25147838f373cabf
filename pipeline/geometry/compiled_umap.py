"""umap-learn, made ready as fast as it can be: only what is used is compiled, and what was compiled stays on disk."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

_LOG = logging.getLogger(__name__)


@cache
def import_umap() -> Any:
    """The module umap. Its layout and its functions for the graph are kept on disk for the next process.

    Its own search for neighbours is not compiled where this is the first to import it: neighbours are always given to
    it here, and compiling the search takes longer than all the rest. Without them, umap would be very slow afterwards
    in the same process.
    """
    try:
        umap, umap_, layouts = _umap_modules()
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # umap-learn itself wants a folder for compiled functions, and no usual one can be written to.
        _compile_into_temporary_folder()
        umap, umap_, layouts = _umap_modules()
    layouts._nb_optimize_layout_euclidean_single_epoch = _epoch(layouts, parallel=False)
    layouts._nb_optimize_layout_euclidean_single_epoch_parallel = _epoch(layouts, parallel=True)
    for function in (umap_.smooth_knn_dist, umap_.compute_membership_strengths):
        _keep_on_disk(function)
    return umap


def _umap_modules() -> tuple[Any, Any, Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ImportWarning)  # its optional parts
        if "umap" not in sys.modules:
            with _nothing_compiled():
                import pynndescent  # noqa: F401  compiles all its functions when it is imported
        import umap
        from umap import layouts, umap_
    return umap, umap_, layouts


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """What numba is asked to compile meanwhile stays plain Python."""
    import numba

    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = 1
    try:
        yield
    finally:
        numba.config.DISABLE_JIT = before


def _epoch(layouts: Any, parallel: bool) -> Any:
    """umap-learn's own function for an epoch of the layout, compiled without tests for divisions by zero, which cannot
    happen in it: the same bits, about a tenth faster.

    Under a name of its own: numba finds functions on disk by their names, whether they are parallel or not.
    """
    import numba

    plain = layouts._optimize_layout_euclidean_single_epoch
    named = FunctionType(plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__)
    named.__qualname__ = f"{plain.__name__}_{'on_all_cores' if parallel else 'on_one_core'}"
    named.__module__ = plain.__module__
    compiled = numba.njit(fastmath=True, parallel=parallel, error_model="numpy")(named)
    _keep_on_disk(compiled)
    return compiled


def _compile_into_temporary_folder() -> None:
    import atexit
    import shutil
    import tempfile

    import numba

    folder = tempfile.mkdtemp(prefix="clipscope-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = folder
    _LOG.warning("UMAP: no folder for compiled functions can be written (set NUMBA_CACHE_DIR): a slow start each time")


def _keep_on_disk(function: Any) -> None:
    from numba.core.caching import NullCache

    if isinstance(getattr(function, "_cache", None), NullCache):
        try:
            function.enable_caching()
        except (RuntimeError, OSError):  # no folder to write to: compile in every process, as umap-learn does
            _LOG.debug("numba cannot keep %s on disk", function)
