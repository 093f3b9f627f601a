"""Generalisation along and across level curves of C."""

import math

import numpy as np
import pytest

from rodflow.analysis.levels import Trained, correlation, points, spread_along_over_across

LEVELS, SECOND = (0.0, 0.1, 0.2, 0.4), (0.9, 0.95, 0.98)


def on(level: float, b2: float) -> float:
    """The b1 at which C has this value."""
    return 2 / (2 + level + (1 - b2) / b2)


def runs(slope: float, along: float = 0.0) -> list[Trained]:
    """Values whose logarithm goes with C, and along a curve."""
    return [
        Trained(on(level, b2), b2, math.exp(slope * level + along * place))
        for level in LEVELS
        for place, b2 in enumerate(SECOND)
    ]


def test_points_of_one_curve_have_one_level() -> None:
    assert sorted(set(points(runs(1.0))["level"])) == pytest.approx(LEVELS)


def test_a_value_that_falls_with_c_has_correlation_minus_1() -> None:
    assert correlation(runs(-2.0)) == pytest.approx(-1)
    assert correlation(runs(2.0)) == pytest.approx(1)


def test_a_value_that_is_constant_along_curves_has_no_spread_there() -> None:
    assert spread_along_over_across(runs(-2.0)) == pytest.approx(0, abs=1e-3)


def test_the_spread_along_curves_is_that_over_their_points() -> None:
    across = np.std([-2.0 * level for level in LEVELS], ddof=1)
    found = spread_along_over_across(runs(-2.0, along=0.3))
    assert found == pytest.approx(0.3 / across, rel=1e-2)


def test_seeds_are_averaged_before_points_are_compared() -> None:
    noisy = [one._replace(value=one.value * factor) for one in runs(-2.0) for factor in (0.5, 2.0)]
    assert spread_along_over_across(noisy) == pytest.approx(0, abs=1e-3)


def test_nothing_is_said_of_two_curves() -> None:
    few = [one for one in runs(-2.0) if one.b1 > on(0.15, one.b2)]
    assert math.isnan(correlation(few))
    assert math.isnan(spread_along_over_across(few))
