"""Adaptive methods beside one another: the sharpness of each, in units of the threshold of its own map.

One panel a model and optimizer, seeds as further lines of the same colour.
Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rodflow.equilibrium import last_reached
from rodflow.figures.rows import by_row, onset, sharpness
from rodflow.figures.style import (
    FAINT,
    INK,
    Drawing,
    Numbers,
    hyperparameters,
    key,
    model_label,
    new_figure,
    note,
    optimizer_label,
    styled,
)
from rodflow.results import COMPLETED, DISCRETE, StoredRun, ordered

_GAIN = "alternating gain"
_COLORS = {False: sns.color_palette("colorblind").as_hex()[0], True: "#b35900"}
_LABELS = {
    False: "$\\eta S$, second moment in $P$",
    True: "$S$, alternating gain for $P^{-1}$",
}

_MARK: dict[str, Any] = {"marker": 4, "markersize": 5, "linestyle": "none"}  # its tip at the place
_TOLERANCE, _BAND = 0.1, "#cfe3f1"
_LOWEST_TOP, _HIGHEST_TOP = 1.55, 1.75  # of sharpness over threshold that is shown

_COLUMNS, _PANEL, _TALL = 4, 1.58, 1.0  # at most; inches
_LEFT, _RIGHT, _BETWEEN, _TOP, _HEAD, _FOOT, _SMALLEST = 0.56, 0.2, 0.2, 0.84, 0.7, 0.4, 5.6


@dataclass(frozen=True)
class _Last:
    """How high the runs of a panel, one a seed, hold their sharpness over the threshold in their last quarter."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, runs: Sequence[StoredRun]) -> "_Last | None":
        """Mean over the seeds, and the range of all; None if none completed."""
        done = [r.comparison.sel(process=DISCRETE) for r in runs if r.status(DISCRETE) == COMPLETED]
        known = [row for row in done if np.isfinite(row["held"])]
        if not known:
            return None
        mean, low, high = (
            [float(row[f"held{end}"]) for row in known] for end in ("", "_lowest", "_highest")
        )
        return cls(float(np.mean(mean)), min(low), max(high))


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Small multiples in the order of the table of optimizers; each names its threshold and what it holds."""
    cells = by_row(ordered(runs))
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        figure, panels = _figure(len(cells))
        top = _top(runs)
        for place, (axes, members) in enumerate(zip(panels, cells, strict=True)):
            axes.set_ylim(0, top)
            _draw_panel(axes, members, numbers)
            _head(axes, members, several=several)
            first, lowest = place % _COLUMNS == 0, place + _COLUMNS >= len(cells)
            axes.tick_params(labelleft=first)
            if first:
                axes.set_ylabel("sharpness /\nthreshold [1]")
            if lowest:
                axes.set_xlabel("optimizer step")
        _key(figure, runs)
    return Drawing(figure, numbers.table())


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    """An empty figure of this many panels."""
    columns, lines = min(count, _COLUMNS), -(-count // _COLUMNS)
    width = max(_LEFT + columns * (_PANEL + _BETWEEN) - _BETWEEN + _RIGHT, _SMALLEST)
    height = _TOP + lines * (_TALL + _HEAD) - _HEAD + _FOOT
    figure = new_figure(width, height)
    panels = []
    for place in range(count):
        line, column = divmod(place, _COLUMNS)
        left, top = _LEFT + column * (_PANEL + _BETWEEN), _TOP + line * (_TALL + _HEAD)
        box = (left / width, 1 - (top + _TALL) / height, _PANEL / width, _TALL / height)
        panels.append(figure.add_axes(box))
    return figure, panels


def _top(runs: Sequence[StoredRun]) -> float:
    """Of the vertical axis: what runs that completed need, within limits."""
    whole = [sharpness(run, DISCRETE) for run in runs if run.status(DISCRETE) == COMPLETED]
    highest = max([float(values.max()) for values in whole], default=0.0)
    return float(np.clip(1.05 * highest, _LOWEST_TOP, _HIGHEST_TOP))


def _by_gain(run: StoredRun) -> bool:
    """Whether the preconditioner is the inverse of the alternating gain."""
    return run.sharpness(DISCRETE).attrs.get("preconditioner") == _GAIN


def _draw_panel(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """Sharpness over threshold of every seed, and its mean in the last quarter."""
    last = max(run.settings["steps"] for run in runs)
    axes.set_xlim(0, last)
    axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=4)
    axes.axhspan(1 - _TOLERANCE, 1 + _TOLERANCE, color=_BAND, linewidth=0, zorder=0.5)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    for run in runs:
        color = _COLORS[_by_gain(run)]
        numbers.add(run, DISCRETE, "threshold", run.threshold)
        values = sharpness(run, DISCRETE).dropna("snapshot")
        steps, heights = values["snapshot"].values, values.values.astype(float)
        width = 0.9 if len(runs) == 1 else 0.6
        axes.plot(steps, heights, color=color, linewidth=width, zorder=2, label="discrete")
        numbers.add(run, DISCRETE, "sharpness_over_threshold", heights, steps)
        row = run.comparison.sel(process=DISCRETE)
        if run.status(DISCRETE) == COMPLETED and np.isfinite(row["held"]):
            for end in ("", "_lowest", "_highest"):
                numbers.add(run, DISCRETE, f"held{end}_over_threshold", float(row[f"held{end}"]))
            held = np.clip(float(row["held"]), *axes.get_ylim())
            axes.plot(last, held, color=INK, clip_on=False, label="held", zorder=3, **_MARK)
        elif run.status(DISCRETE) != COMPLETED and steps.size:
            _cross(axes, float(steps[-1]), float(heights[-1]), color)


def _cross(axes: Axes, step: float, value: float, color: str) -> None:
    """Where a curve ends because its run diverged, at the edge if it is beyond."""
    look: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4, "zorder": 4}
    height = np.clip(value, *axes.get_ylim())
    axes.plot(step, height, color=color, clip_on=False, label=f"{DISCRETE} diverged", **look)


def _head(axes: Axes, runs: Sequence[StoredRun], *, several: bool) -> None:
    """Above a panel whose it is, its hyperparameters and its threshold; in it what is held, and what went wrong."""
    run = runs[0]
    where: dict[str, Any] = {"va": "bottom", "ha": "left"}
    name = optimizer_label(run.optimizer)
    note(axes, name, (0, 1), shift=(0, 19), fontsize=7, fontweight="bold", **where)
    own = [text.replace(" ", "") for text in hyperparameters(run)]
    if decay := run.settings["optimizer"].get("weight_decay"):
        own.append(f"decay={decay:g}")
    if several:
        own.insert(0, model_label(run.model))
    note(axes, ", ".join(own), (0, 1), shift=(0, 10.5), fontsize=6, color=FAINT, **where)
    measured = "$S$" if _by_gain(run) else "$\\eta S$"
    limit = f"threshold of {measured}: {run.threshold:.4g}"
    note(axes, limit, (0, 1), shift=(0, 2), fontsize=6.5, color=_COLORS[_by_gain(run)], **where)
    words = [*dict.fromkeys(text for run in runs if (text := _exception(run)))]
    if held := _Last.of(runs):
        words.append(f"held {held.mean:.2f} ({held.low:.2f} to {held.high:.2f})")
    for line, text in enumerate(reversed(words)):
        note(axes, text, (1, 1), shift=(-1, -7.5 * line), ha="right", va="top", fontsize=6)


def _exception(run: StoredRun) -> str:
    """In words, why a run does not end at its threshold; "" if it does."""
    if (status := run.status(DISCRETE)) != COMPLETED:
        return status.split(":")[0]
    if not np.isfinite(onset(run)):
        highest = float(sharpness(run, DISCRETE).max())
        return f"threshold not reached: at most {highest:.2f}"
    if float(run.comparison["held"].sel(process=DISCRETE)) >= 1 - _TOLERANCE:
        return ""
    last = int(last_reached(sharpness(run, DISCRETE)))
    return f"last reached at step {last}"


def _key(figure: Figure, runs: Sequence[StoredRun]) -> None:
    """What the two colours and the marks mean."""
    kinds = sorted({_by_gain(run) for run in runs})
    lines = [Line2D([], [], color=_COLORS[k], linewidth=1.2, label=_LABELS[k]) for k in kinds]
    look: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 2))}
    lines.append(Line2D([], [], label="threshold", **look))
    mean = Line2D([], [], color=INK, label="mean, last quarter", **_MARK)
    key(figure, [*lines, Patch(color=_BAND, label=f"±{_TOLERANCE:.0%}"), mean], lines=2)
