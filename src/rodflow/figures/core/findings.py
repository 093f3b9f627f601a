"""Sentences for captions on what the runs of a figure show, from the numbers that it draws."""

import pandas as pd

from rodflow.figures.core.style import process_style, two_digits

_RUN = ["model", "optimizer", "seed", "process"]


def medians(table: pd.DataFrame, quantity: str, what: str) -> str:
    """For each process the median over the runs, and the range, of a number of a run, or of the last of a curve.

    Of a process with one run it is that run's number.

    Args:
        table: of a `rodflow.figures.core.style.Drawing`.
        quantity: which of its numbers.
        what: the same in words.

    Returns:
        One sentence; "" where the figure has no such number.
    """
    rows = table[table["quantity"] == quantity].dropna(subset="value")
    of_runs = rows.groupby(_RUN, sort=False)["value"].last()
    parts, most = [], 0
    for process, values in of_runs.groupby("process", sort=False):
        median, low, high = map(two_digits, (values.median(), values.min(), values.max()))
        most = max(most, len(values))
        several = f" ({low} to {high} in {len(values)} runs)" if len(values) > 1 else ""
        parts.append(f"{process_style(str(process)).label} {median}{several}")
    of = "the median of " if most > 1 else ""
    return f"In this experiment {of}{what}: {'; '.join(parts)}." if parts else ""


def share_within(table: pd.DataFrame, quantity: str, low: float, high: float, what: str) -> str:
    """How many runs have a number between two limits, which count; "" where the figure has no such number."""
    values = table.loc[table["quantity"] == quantity, "value"].dropna()
    if values.empty:
        return ""
    inside = int(values.between(low, high).sum())
    return f"In this experiment {what} in {inside} of {len(values)} runs."
