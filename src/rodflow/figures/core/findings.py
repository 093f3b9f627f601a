"""Sentences for captions on what the runs of a figure show, from the numbers that it draws."""

from typing import Literal

import pandas as pd

from rodflow.figures.core.style import optimizer_label, process_style, two_digits

LATE = "sharpness over threshold in the last quarter"
AT_EDGE = "sharpness over threshold at the edge"
"""What medians are of, in words."""

_RUN = ["model", "optimizer", "seed", "process", "quantity"]


def _rows(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The numbers of a quantity; in a sweep its name ends with what the run changes, in brackets."""
    names = table["quantity"].astype(str).str.split("[", n=1).str[0]
    return table[names == quantity].dropna(subset="value")


def medians(
    table: pd.DataFrame,
    quantity: str,
    what: str,
    by: Literal["process", "optimizer"] = "process",
) -> str:
    """For each process or optimizer the median over the runs, and the range, of a number or of the last of a curve.

    Of one with one run it is that run's number.

    Args:
        table: of a `rodflow.figures.core.style.Drawing`.
        quantity: which of its numbers.
        what: the same in words.
        by: what has a median each.

    Returns:
        One sentence; "" where the figure has no such number.
    """
    of_runs = _rows(table, quantity).groupby(_RUN, sort=False)["value"].last()
    parts, most = [], 0
    for key, values in of_runs.groupby(by, sort=False):
        median, low, high = map(two_digits, (values.median(), values.min(), values.max()))
        most = max(most, len(values))
        several = f" ({low} to {high} in {len(values)} runs)" if len(values) > 1 else ""
        label = process_style(str(key)).label if by == "process" else optimizer_label(str(key))
        parts.append(f"{label} {median}{several}")
    of = "the median of " if most > 1 else ""
    return f"In this experiment {of}{what}: {'; '.join(parts)}." if parts else ""


def share_within(table: pd.DataFrame, quantity: str, low: float, high: float, what: str) -> str:
    """How many runs have a number between two limits, which count; "" where the figure has no such number.

    Args:
        table: of a `rodflow.figures.core.style.Drawing`, or those of its rows that count.
        quantity: which of its numbers, of which a run has one.
        low, high: the limits.
        what: what it is of a run to be within them, in words.
    """
    values = _rows(table, quantity)["value"]
    if values.empty:
        return ""
    inside = int(values.between(low, high).sum())
    return f"In this experiment {what} in {inside} of {len(values)} runs."
