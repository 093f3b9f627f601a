"""Numbers in two digits, and in more where two would tell another verdict."""

import math

import pytest

from rodflow.audit.claims.claim import Bound, above, at_least, at_most
from rodflow.audit.numbers import against, digits, span


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.04, "1.0"), (0.996, "1.0"), (0.0512, "0.051"), (38.2, "38"), (173.0, "170"), (999.0, "1.0e3"),
        (1.59e-7, "1.6e-7"), (-0.25, "-0.25"), (4200, "4.2e3"), (0, "0"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_has_two_digits(value: float, words: str) -> None:
    assert digits(value) == words


def test_a_span_is_from_the_lowest_to_the_highest() -> None:
    assert span([1.1, 0.93, 1.0]) == "0.93 to 1.1"


def test_a_span_of_numbers_that_are_the_same_in_two_digits_is_one_number() -> None:
    assert span([1.01, 1.04]) == "1.0" and span([]) == ""


@pytest.mark.parametrize(
    ("value", "allowed", "words"),
    [
        (1.04, at_most(1.1), "1.0"),
        (1.1, at_most(1.1), "1.1"),
        (1.104, at_most(1.1), "1.104"),
        (1.109, at_most(1.1), "1.11"),
        (1.2, at_most(1.1), "1.2"),
        (0.1004, at_most(0.1), "0.1004"),
        (0.8999, Bound(0.9, 1.1), "0.8999"),
        (0.894, Bound(0.9, 1.1), "0.89"),
        (1.249, at_most(1.25), "1.2"),
        (1.26, at_most(1.25), "1.3"),
        (0.0497, Bound(high=0.05, strict=True), "0.0497"),
        (1.003, above(1), "1.003"),
        (99.6, at_least(100), "99.6"),
        (999.8, at_least(1000), "999.8"),
        (1.00001, at_most(1), "1.000"),
        (math.inf, at_most(1), "inf"),
        (math.nan, at_most(1), "nan"),
    ],
)
def test_a_judged_number_has_the_digits_that_show_on_which_side_it_is(
    value: float, allowed: Bound, words: str
) -> None:
    """Four at most."""
    assert against(value, allowed) == words


def test_the_ends_of_a_span_that_is_judged_show_on_which_side_they_are() -> None:
    assert span([1.104, 0.9, 1.0], at_most(1.1)) == "0.90 to 1.104"
    assert span([1.0, 1.003], above(1)) == "1.0 to 1.003"
