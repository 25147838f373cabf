"""Which images belong together, as numbers: what several stages take for one draw."""

from __future__ import annotations

import numpy as np
import pandas as pd


def group_numbers(groups: pd.Series) -> np.ndarray | None:
    """(n,) integers for the column `group`, equal where images belong together; an image without one is a group of its
    own. None where there are none."""
    if groups.isna().all():
        return None
    codes, names = pd.factorize(groups)
    return np.where(codes < 0, len(names) + np.arange(len(codes)), codes)
