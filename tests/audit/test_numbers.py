"""Numbers in two digits."""

import math

import pytest

from rodflow.audit.numbers import digits, span


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
