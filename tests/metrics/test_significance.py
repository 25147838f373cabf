"""Excess and p by hand, half-samples, and what is not defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from pipeline.metrics.significance import Halves, excess, halves


def test_excess_and_p_by_hand() -> None:
    # Nulls 1, 2, 3, 4: mean 2.5, sd 1.2909944; t = (6 - 2.5) / (1.2909944 sqrt(5/4)) = 2.4249 on 3 degrees of freedom.
    found = excess("silhouette", 6.0, [1.0, 2.0, 3.0, 4.0])
    assert (found.excess, found.null_mean, found.replicates) == (3.5, 2.5, 4)
    assert found.null_sd == pytest.approx(1.2909944487)
    # P(T > t) on 3 degrees of freedom: 1/2 - (atan(u) + u / (1 + u^2)) / pi with u = t / sqrt(3).
    u = 2.4248711306 / math.sqrt(3)
    assert found.p == pytest.approx(0.5 - (math.atan(u) + u / (1 + u * u)) / math.pi, rel=1e-6)


def test_one_sided() -> None:
    assert excess("silhouette", 2.5, [1.0, 2.0, 3.0, 4.0]).p == pytest.approx(0.5)
    below, above = (excess("silhouette", 2.5 + by, [1.0, 2.0, 3.0, 4.0]) for by in (-2, 2))
    assert below.p == pytest.approx(1 - above.p)
    assert below.excess == -above.excess == -2


def test_calinski_harabasz_is_a_log_ratio() -> None:
    found = excess("calinski_harabasz", 800.0, [100.0, 400.0])
    assert found.null_mean == pytest.approx(200)  # geometric
    assert found.excess == pytest.approx(math.log(4))
    assert found.null_sd == pytest.approx(math.log(2) * math.sqrt(2))
    # t = log 4 / (sqrt(2) log 2 sqrt(3/2)) = 2 / sqrt(3) on 1 degree of freedom.
    assert found.p == pytest.approx(0.5 - math.atan(2 / math.sqrt(3)) / math.pi)


def test_davies_bouldin_is_turned() -> None:
    better, worse = (excess("davies_bouldin", value, [1.0, 2.0, 4.0]) for value in (0.5, 8.0))
    assert better.excess == pytest.approx(math.log(4)) == -worse.excess
    assert better.p < 0.15 < 0.85 < worse.p
    assert better.p == pytest.approx(excess("calinski_harabasz", 8.0, [1.0, 2.0, 4.0]).p)


@pytest.mark.parametrize("score", ["silhouette", "calinski_harabasz", "davies_bouldin"])
def test_no_clusters_in_the_data_make_p_uniform(score: str) -> None:
    """The data are one more null: p below 0.05 in one of twenty."""
    draws = np.exp(np.random.default_rng(0).normal(0.3, 0.2, size=(3000, 6)))
    draws = np.log(draws) if score == "silhouette" else draws
    found = [excess(score, row[0], row[1:]).p for row in draws]
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.012)


def test_scale_and_origin_change_no_p() -> None:
    nulls = [0.1, 0.25, 0.3]
    p = excess("silhouette", 0.4, nulls).p
    assert excess("silhouette", 4.0 + 1, [10 * null + 1 for null in nulls]).p == pytest.approx(p)
    p = excess("davies_bouldin", 0.4, nulls).p
    assert excess("davies_bouldin", 40.0, [100 * null for null in nulls]).p == pytest.approx(p)


def test_equal_nulls() -> None:
    assert [excess("silhouette", value, [0.5] * 3).p for value in (0.6, 0.5, 0.4)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "observed", "nulls", "counted"),
    [
        ("silhouette", math.nan, [0.1, 0.2], 2),
        ("silhouette", 0.5, [], 0),
        ("silhouette", 0.5, [0.1], 1),
        ("silhouette", 0.5, [0.1, math.nan], 1),
        ("davies_bouldin", 0.5, [0.1, 0.0], 1),
        ("davies_bouldin", 0.0, [0.1, 0.2], 2),
        ("calinski_harabasz", -1.0, [0.1, 0.2], 2),
    ],
)
def test_not_defined(name: str, observed: float, nulls: list[float], counted: int) -> None:
    """A ratio of 0 has no logarithm: no excess, rather than an infinite or a wrong one."""
    found = excess(name, observed, nulls)
    assert math.isnan(found.p) and math.isnan(found.excess)
    assert found.replicates == counted


def test_undefined_nulls_are_left_out() -> None:
    assert excess("silhouette", 0.5, [0.1, math.nan, 0.3, math.inf]) == excess("silhouette", 0.5, [0.1, 0.3])


def test_halves_by_hand() -> None:
    assert halves(0.52, [0.5, 0.6, 0.7]) == Halves(pytest.approx(0.6), pytest.approx(0.1), False)
    assert halves(0.39, [0.5, 0.6, 0.7]).depends_on_n
    assert halves(0.81, [0.5, 0.6, 0.7]).depends_on_n
    assert halves(0.6, [0.5, math.nan, 0.7]).mean == pytest.approx(0.6)


def test_too_few_halves() -> None:
    assert math.isnan(halves(0.5, []).mean)
    one = halves(0.5, [0.4])
    assert one.mean == 0.4 and math.isnan(one.sd) and not one.depends_on_n
    assert not halves(math.nan, [0.4, 0.5]).depends_on_n


@pytest.mark.parametrize("value", [0.1, 1.0, 0.7, 1 / 3])
def test_equal_halves_equal_to_all_do_not_depend_on_n(value: float) -> None:
    """The mean of equal numbers is off by rounding: that is no dependence."""
    for count in (2, 3, 5, 20):
        assert not halves(value, [value] * count).depends_on_n
    assert halves(value + 0.01, [value] * 3).depends_on_n
