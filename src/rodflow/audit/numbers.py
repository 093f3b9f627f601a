"""Numbers as the audit and its pages write them: two digits, which is what they are worth."""

import math
from collections.abc import Iterable

from rodflow.audit.claims.claim import Bound

FEWEST, MOST = 2, 4
"""Digits of a number, and of one that two would put on the other side of its bound."""


def digits(value: float, count: int = FEWEST) -> str:
    """A number with so many significant digits; a power of ten where it is below 0.01 or from 1000 on.

    Args:
        value, count: the number, and how many of its digits count.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.{count - 1}e}"
    mantissa, power = rounded.split("e")
    if not -2 <= (exponent := int(power)) < 3:
        return f"{mantissa}e{exponent}"
    return f"{float(rounded):.{max(0, count - 1 - exponent)}f}"


def against(value: float, allowed: Bound) -> str:
    """A number that is judged, with two digits, or with as many as show on which side of its bound it is.

    Four at most: what differs later is the same number to any reader.

    Args:
        value, allowed: the number, and the bound by which it is judged.
    """
    texts = [digits(value, count) for count in range(FEWEST, MOST + 1)]
    agrees = value in allowed
    return next((text for text in texts if (float(text) in allowed) == agrees), texts[-1])


def span(values: Iterable[float], allowed: Bound | None = None) -> str:
    """From the lowest to the highest of some numbers, or the one number that they are in these digits.

    Args:
        values: the numbers.
        allowed: the bound by which they are judged, if they are.
    """
    found = sorted(values)
    ends = (found[0], found[-1]) if found else ()
    written = (digits(end) if allowed is None else against(end, allowed) for end in ends)
    return " to ".join(dict.fromkeys(written))
