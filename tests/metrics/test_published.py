from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics.published import repeated, verdict


def test_an_interval_by_hand() -> None:
    found = repeated([1.0, 2.0, 3.0, 4.0])
    sd = math.sqrt(5 / 3)  # deviations 1.5, 0.5, 0.5, 1.5
    assert (found.mean, found.count) == (2.5, 4)
    assert found.sd == pytest.approx(sd)
    assert found.high - found.mean == pytest.approx(3.182446 * sd * math.sqrt(5 / 4), rel=1e-6)  # t(0.975, 3)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_95_of_100_single_runs_lie_inside() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(7, 3, (2000, 6))  # five runs, and the one that was published
    inside = [verdict(row[5], *(lambda r: (r.low, r.high))(repeated(row[:5])), 12) == "inside" for row in draws]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_few_or_equal_or_undefined_values() -> None:
    assert math.isnan(repeated([]).mean)
    one = repeated([0.3, math.nan])
    assert (one.mean, one.count) == (0.3, 1) and math.isnan(one.low)
    same = repeated([0.1, 0.1, 0.1])
    assert (same.mean, same.sd, same.low, same.high) == (0.1, 0.0, 0.1, 0.1)


def test_what_was_rounded_is_inside_up_to_its_last_digit() -> None:
    assert verdict(0.229, 0.2286, 0.2286, 3) == "inside"
    assert verdict(0.229, 0.2284, 0.2284, 3) == "outside"
    assert verdict(0.229, 0.2284, 0.2284, 2) == "inside"


def test_what_cannot_be_told() -> None:
    assert verdict(math.nan, 0, 1, 3) == "nothing published"
    assert verdict(0.5, math.nan, math.nan, 3) == "one run"
