"""How figures draw a curve against the steps, the threshold, and what does not end at it."""

from collections.abc import Iterable
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rodflow.analysis.equilibrium import last_reached
from rodflow.figures.core.keywords import Look, Stroke
from rodflow.figures.core.rows import mark_end, onset, sharpness
from rodflow.figures.core.style import DASHED, INK, Numbers
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

TOLERANCE = 0.1
"""How far from its threshold, as a fraction of it, a run may hold its sharpness and still be said to be there."""

NOT_REACHED = "threshold not reached"
"""What is said of a run that completed without reaching its threshold."""

NO_THRESHOLD = "no linear threshold"
"""What is said of a run whose optimizer's step is not linear in a small gradient."""

BAND_COLOR = "#cfe3f1"
"""Of the area near a threshold."""

_DASHED: Look = {"color": INK, "linewidth": 0.8, "linestyle": DASHED}


def diverged(run: StoredRun) -> bool:
    """Whether the discrete run ended early."""
    return run.status(DISCRETE) != COMPLETED


def ending(run: StoredRun) -> str:
    """How the discrete run ended, such as "diverged at step 133"."""
    return run.status(DISCRETE).split(":")[0]


def no_rod(run: StoredRun) -> str:
    """In words, that the first mode of a run to become unstable does not alternate; "" if it does."""
    if run.alternates:
        return ""
    return f"first mode turns by {np.degrees(run.angle):.0f}° a step: no rod"


def never_reached(run: StoredRun) -> bool:
    """Whether a run completed and never reached the threshold that it has."""
    return run.has_threshold and not diverged(run) and not np.isfinite(onset(run))


def late(run: StoredRun) -> float:
    """Mean sharpness over threshold in the last quarter; NaN of a run that diverged, whose last quarter is another."""
    if diverged(run):
        return np.nan
    return float(run.comparison["late_mean"].sel(process=DISCRETE))


def exception(run: StoredRun) -> str:
    """In words, why a run does not end at its threshold; "" if it does."""
    if diverged(run):
        return ending(run)
    if not run.has_threshold:
        return NO_THRESHOLD
    if no_rod(run):
        return no_rod(run)
    if never_reached(run):
        return NOT_REACHED
    if not np.isfinite(late(run)) or late(run) >= 1 - TOLERANCE:
        return ""
    return f"last reached at step {int(last_reached(sharpness(run, DISCRETE)))}"


def in_gain(run: StoredRun) -> bool:
    """Whether the preconditioner of the sharpness is the inverse of the critical gain."""
    return run.eigenvalues(DISCRETE).attrs.get("preconditioner") == "critical gain"


def top_of_ratio(runs: Iterable[StoredRun], least: float, most: float) -> float:
    """The upper end of an axis of sharpness over threshold: what runs that completed need, within limits.

    Args:
        runs: those drawn in the panel.
        least, most: the limits, over the threshold.
    """
    highest = [float(sharpness(run, DISCRETE).max()) for run in runs if not diverged(run)]
    return float(np.clip(1.05 * np.nanmax([0.0, *highest]), least, most))


def curve(
    axes: Axes,
    run: StoredRun,
    quantity: str,
    values: xr.DataArray,
    numbers: Numbers,
    **look: Unpack[Stroke],
) -> xr.DataArray:
    """Draw a quantity of a discrete run against the steps where it is finite, and enter it.

    Args:
        axes: where.
        run: whose.
        quantity: its name in the table, and the label of the line if `look` has none.
        values: over steps or snapshots.
        numbers: where it is entered.
        look: keyword arguments of `Axes.plot`.

    Returns:
        What is drawn.
    """
    (dim,) = map(str, values.dims)
    values = values.where(np.isfinite(values), drop=True).astype(np.float64)
    drawn: Look = {"label": quantity, **look}
    axes.plot(values[dim].values, values.values, **drawn)
    numbers.add(run, DISCRETE, quantity, values, values[dim].values)
    return values


def cross(axes: Axes, run: StoredRun, drawn: xr.DataArray, color: str) -> None:
    """Where the curve of a run ends, if because it diverged: `rows.mark_end` in the colour of the curve.

    Args:
        axes: axes whose limits are final.
        run: whose curve it is.
        drawn: the curve.
        color: its colour.
    """
    if diverged(run) and drawn.size:
        mark_end(axes, DISCRETE, float(drawn[drawn.dims[0]][-1]), float(drawn[-1]))
        axes.lines[-1].set_color(color)


def mark_threshold(axes: Axes, limit: float = 1.0, **look: Unpack[Stroke]) -> None:
    """The threshold as a dashed line across the axes, in a band of what is near it.

    Args:
        axes: where.
        limit: the threshold.
        look: keyword arguments of `Axes.axhline` that are to be others.
    """
    near, far = (1 - TOLERANCE) * limit, (1 + TOLERANCE) * limit
    axes.axhspan(near, far, color=BAND_COLOR, linewidth=0, zorder=0.5)
    axes.axhline(limit, **{**_DASHED, "zorder": 1, **look})


def threshold_key(**look: Unpack[Stroke]) -> Line2D:
    """What a key shows of the line at the threshold."""
    return Line2D([], [], label="threshold", **{**_DASHED, **look})


def band_key(linewidth: float | None = None) -> Patch:
    """What a key shows of the band around the threshold."""
    return Patch(color=BAND_COLOR, label=f"±{TOLERANCE:.0%}", linewidth=linewidth)
