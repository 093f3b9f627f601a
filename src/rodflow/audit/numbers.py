"""Numbers as the audit and its pages write them: two digits, which is what they are worth."""

import math
from collections.abc import Iterable


def digits(value: float) -> str:
    """A number with two significant digits; a power of ten where it is below 0.01 or from 1000 on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, power = f"{value:.1e}".split("e")
    if not -2 <= (exponent := int(power)) < 3:
        return f"{mantissa}e{exponent}"
    return f"{float(f'{value:.1e}'):.{max(0, 1 - exponent)}f}"


def span(values: Iterable[float]) -> str:
    """From the lowest to the highest of some numbers, or the one number that they are in two digits."""
    found = sorted(values)
    ends = dict.fromkeys((digits(found[0]), digits(found[-1]))) if found else {}
    return " to ".join(ends)
