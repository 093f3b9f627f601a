"""How tightly Adam holds its sharpness at the threshold: second-moment decay β₂ and ε.

One column a decay, one row and one colour an ε, seeds as further lines; below, mean, range and standard deviation of
the last quarter against the decay. One such block for each model and each choice of the other settings.
Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rodflow.comparison import last_quarter
from rodflow.equilibrium import last_reached
from rodflow.figures.rows import onset, sharpness
from rodflow.figures.style import (
    FAINT,
    INK,
    Drawing,
    Numbers,
    key,
    model_label,
    new_figure,
    note,
    optimizer_label,
    styled,
)
from rodflow.results import COMPLETED, DISCRETE, StoredRun

_B2, _EPS = "b2", "eps"
_SYMBOLS = {"learning_rate": "$\\eta$", "b1": "$\\beta_1$", _B2: "$\\beta_2$", _EPS: "$\\epsilon$"}
_CRITERIA = {"mse": "squared error", "cross_entropy": "cross-entropy"}

_TOLERANCE, _BAND = 0.1, "#cfe3f1"
_LOWEST_TOP, _HIGHEST_TOP = 1.3, 1.75  # of sharpness over threshold that is shown

_LOW = 0.45  # words stand above curves that end below this

_LEFT, _RIGHT, _BETWEEN, _WIDTH, _SMALLEST = 0.72, 0.15, 0.26, 7.5, 5.2  # inches
_NARROW, _WIDE = 1.2, 2.4  # a panel at least, at most
_TALL, _GAP, _UNDER, _SUMMARY, _FOOT = 0.72, 0.12, 0.52, 1.1, 0.46
_KEY, _LINE, _HEAD = 0.26, 0.15, 0.58  # first line of the key, further ones, a block's title


@dataclass(frozen=True)
class _Block:
    """Runs that differ in b2, eps and seed alone.

    Attributes:
        runs: one for each b2, eps and seed.
        decays: the columns.
        eps: the rows.
        colors: of each eps.
        names: the settings that tell runs apart in the table.
    """

    runs: Sequence[StoredRun]
    decays: Sequence[float | None]
    eps: Sequence[float | None]
    colors: dict[float | None, str]
    names: tuple[str, ...]

    def at(self, b2: float | None, eps: float | None) -> list[StoredRun]:
        """The runs of one panel, one a seed."""
        return [run for run in self.runs if (_value(run, _B2), _value(run, _EPS)) == (b2, eps)]

    def quantity(self, quantity: str, run: StoredRun) -> str:
        """In the table, such as "held_over_threshold[b2=0.9 eps=0.001]"."""
        own = _settings(run)
        given = [f"{name}={_plain(own[name])}" for name in self.names if name in own]
        return f"{quantity}[{' '.join(given)}]"


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid of sharpness over threshold against the steps, and what is held against the decay.

    Args:
        runs: of any models and optimizers; one without such a decay has a column of its own.
    """
    found = [_settings(run) for run in runs]
    several = [n for one in found for n in one if len({other.get(n) for other in found}) > 1]
    names = tuple(dict.fromkeys([_B2, _EPS, *several]))
    eps = _in_order(_value(run, _EPS) for run in runs)
    places = np.linspace(0.03, 0.73, max(len(eps), 2))
    colors = {one: to_hex(colormaps["plasma"](x)) for one, x in zip(eps, places, strict=False)}
    blocks = []
    for group in _groups(runs):
        decays, rows = (_in_order(_value(run, name) for run in group) for name in (_B2, _EPS))
        blocks.append(_Block(group, decays, rows, colors, names))
    numbers = Numbers()
    with styled():
        lines = 1 + len(eps) // 6
        figure, places_of = _figure(blocks, lines)
        for block, (panels, summary) in zip(blocks, places_of, strict=True):
            _draw_grid(block, panels, numbers)
            _draw_summary(block, summary, numbers)
            _head(block, panels[0][0])
        _key(figure, colors, lines, short=any(map(_short, runs)))
    return Drawing(figure, numbers.table())


def deviation(run: StoredRun) -> float:
    """Standard deviation of sharpness over threshold in the last quarter; NaN of a run that did not complete."""
    end = last_quarter(_ratio(run), run.settings["steps"])
    return float(end.std()) if run.status(DISCRETE) == COMPLETED and end.size else np.nan


def _ratio(run: StoredRun) -> xr.DataArray:
    """Sharpness over threshold at the snapshots where it is known."""
    return sharpness(run, DISCRETE).dropna("snapshot")


def _settings(run: StoredRun) -> dict[str, Any]:
    """The hyperparameters of a run, its loss and its batch."""
    given = {name: value for name, value in run.settings["optimizer"].items() if name != "name"}
    more = {
        name: run.settings[name] for name in ("criterion", "batch_size") if name in run.settings
    }
    return given | more


def _value(run: StoredRun, name: str) -> float | None:
    return run.settings["optimizer"].get(name)


def _in_order(values: Iterable[float | None]) -> list[float | None]:
    """Each once, none first."""
    return sorted(dict.fromkeys(values), key=lambda value: -1.0 if value is None else value)


def _plain(value: Any) -> str:
    """A setting in few characters, as 1e-8."""
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, int | float) else str(value)


def _word(name: str, value: float | None) -> str:
    """A setting as a formula, such as "β₂ = 0.9"."""
    return f"no {_SYMBOLS[name]}" if value is None else f"{_SYMBOLS[name]} = {_plain(value)}"


def _groups(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each block, in the order given."""
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in runs:
        fixed = {k: v for k, v in _settings(run).items() if k not in (_B2, _EPS)}
        groups.setdefault((run.model, run.optimizer, *sorted(fixed.items())), []).append(run)
    return [*groups.values()]


def _figure(
    blocks: Sequence[_Block], lines: int
) -> tuple[Figure, list[tuple[list[list[Axes]], list[Axes]]]]:
    """An empty figure, and of each block its panels by row and column and the two of the summary."""
    columns = max(len(block.decays) for block in blocks)
    room = _WIDTH - _LEFT - _RIGHT + _BETWEEN
    panel = float(np.clip(room / columns - _BETWEEN, _NARROW, _WIDE))
    width = max(_LEFT + columns * (panel + _BETWEEN) - _BETWEEN + _RIGHT, _SMALLEST)
    grids = [len(block.eps) * (_TALL + _GAP) - _GAP for block in blocks]
    first = _KEY + _LINE * (lines - 1)
    height = first + sum(_HEAD + grid + _UNDER + _SUMMARY + _FOOT for grid in grids)
    figure = new_figure(width, height)

    def add(top: float, tall: float, left: float, wide: float) -> Axes:
        return figure.add_axes(
            (left / width, 1 - (top + tall) / height, wide / width, tall / height)
        )

    found = []
    top = first
    for block, grid in zip(blocks, grids, strict=True):
        top += _HEAD
        panels = [
            [
                add(top + r * (_TALL + _GAP), _TALL, _LEFT + c * (panel + _BETWEEN), panel)
                for c in range(len(block.decays))
            ]
            for r in range(len(block.eps))
        ]
        top += grid + _UNDER
        half = (width - _LEFT - _RIGHT - _LEFT) / 2
        summary = [add(top, _SUMMARY, _LEFT + c * (half + _LEFT), half) for c in range(2)]
        found.append((panels, summary))
        top += _SUMMARY + _FOOT
    return figure, found


def _draw_grid(block: _Block, panels: Sequence[Sequence[Axes]], numbers: Numbers) -> None:
    """Sharpness over threshold of every run."""
    whole = [sharpness(r, DISCRETE) for r in block.runs if r.status(DISCRETE) == COMPLETED]
    highest = max([float(values.max()) for values in whole], default=0.0)
    top = float(np.clip(1.05 * highest, _LOWEST_TOP, _HIGHEST_TOP))
    for row, eps in zip(panels, block.eps, strict=True):
        for axes, b2 in zip(row, block.decays, strict=True):
            axes.set_xlim(0, max(run.settings["steps"] for run in block.runs))
            axes.set_ylim(0, top)
            axes.set_yticks([0, 0.5, 1, 1.5][: 3 + (top > 1.5)])
            axes.locator_params(axis="x", nbins=4)
            axes.tick_params(labelleft=axes is row[0], labelbottom=row is panels[-1])
            axes.axhspan(1 - _TOLERANCE, 1 + _TOLERANCE, color=_BAND, linewidth=0, zorder=0.5)
            axes.axhline(1, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
            _draw_runs(axes, block, block.at(b2, eps), numbers)
        row[0].set_ylabel(_word(_EPS, eps), color=block.colors[eps], fontweight="bold")
    _name_heights(panels)
    for axes, b2 in zip(panels[0], block.decays, strict=True):
        axes.set_title(_word(_B2, b2), pad=4)
    for axes in panels[-1]:
        axes.set_xlabel("optimizer step")


def _name_heights(panels: Sequence[Sequence[Axes]]) -> None:
    """What is on the vertical axes of the grid, once, beside all rows."""
    first, last = panels[0][0], panels[-1][0]
    middle = (first.get_position().y1 + last.get_position().y0) / 2
    text = f"sharpness /{' ' if len(panels) > 1 else chr(10)}threshold [1]"
    where: dict[str, Any] = {"coordinates": ("figure fraction", "figure fraction")}
    look: dict[str, Any] = {"rotation": 90, "va": "center", "ha": "left", "fontsize": 7}
    note(first, text, (0, middle), shift=(3, 0), **where, **look)


def _draw_runs(axes: Axes, block: _Block, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """One panel: the curves of all seeds, their standard deviation, and what went wrong."""
    for run in runs:
        color = block.colors[_value(run, _EPS)]
        values = _ratio(run)
        steps, heights = values["snapshot"].values, values.values.astype(float)
        name = block.quantity("sharpness_over_threshold", run)
        axes.plot(steps, heights, color=color, linewidth=0.8, zorder=2, label=name)
        numbers.add(run, DISCRETE, name, heights, steps)
        if run.status(DISCRETE) != COMPLETED and steps.size:
            look: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4}
            last = np.clip(heights[-1], *axes.get_ylim())
            look |= {"clip_on": False, "zorder": 4, "label": f"{DISCRETE} diverged"}
            axes.plot(steps[-1], last, color=color, **look)
    words = [*dict.fromkeys(text for run in runs if (text := _exception(run)))]
    known = [value for run in runs if np.isfinite(value := deviation(run))]
    if known:
        words.append(f"s.d. {_digits(float(np.mean(known)))}")
    if not runs:
        words = ["no run"]
    ends = [float(v.isel(snapshot=-1)) for v in map(_ratio, runs) if v.size]
    low = bool(ends) and max(ends) < _LOW
    words = words if low else words[::-1]
    for line, text in enumerate(words):
        look = {"ha": "right", "va": "top" if low else "bottom", "fontsize": 6.5}
        at, away = (1.0, 1 - _TOLERANCE if low else 0.0), -8 * line if low else 2 + 8 * line
        note(axes, text, at, coordinates=("axes fraction", "data"), shift=(-1, away), **look)


def _digits(value: float) -> str:
    """A standard deviation to three places, or two digits where it is smaller."""
    return f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def _exception(run: StoredRun) -> str:
    """In words, why a run does not end at its threshold; "" if it does."""
    if (status := run.status(DISCRETE)) != COMPLETED:
        return status.split(":")[0]
    if not np.isfinite(onset(run)):
        return "threshold not reached"
    if float(run.comparison["held"].sel(process=DISCRETE)) >= 1 - _TOLERANCE:
        return ""
    last = int(last_reached(sharpness(run, DISCRETE)))
    return f"last reached at step {last}"


def _short(run: StoredRun) -> bool:
    """Whether a run completed and never reached its threshold."""
    return run.status(DISCRETE) == COMPLETED and not np.isfinite(onset(run))


def _draw_summary(block: _Block, panels: Sequence[Axes], numbers: Numbers) -> None:
    """Against the decay: mean and range of the last quarter, and its standard deviation."""
    held, spread = panels
    held.axhspan(1 - _TOLERANCE, 1 + _TOLERANCE, color=_BAND, linewidth=0, zorder=0.5)
    held.axhline(1, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    for run in block.runs:
        numbers.add(run, DISCRETE, block.quantity("threshold", run), run.threshold)
    for row, eps in enumerate(block.eps):
        shift = 0.14 * (row - (len(block.eps) - 1) / 2)
        own = [run for run in block.runs if _value(run, _EPS) == eps]
        places = [block.decays.index(_value(run, _B2)) + shift for run in own]
        for run, place in zip(own, places, strict=True):
            _draw_range(held, block, run, place, numbers)
        for axes, quantity, of in (
            (held, "held_over_threshold", _held),
            (spread, "standard_deviation", _settled),
        ):
            known = {p: r for p, r in zip(places, own, strict=True) if np.isfinite(of(r))}
            first = sorted((p, of(r)) for p, r in known.items())
            color, label = block.colors[eps], "_path"
            if first:
                axes.plot(*zip(*first, strict=True), color=color, linewidth=0.6, label=label)
            for run, place in zip(own, places, strict=True):
                _draw_mark(axes, block, run, place, quantity, of, numbers)
    for axes in panels:
        labels = [_plain(b2) if b2 is not None else "none" for b2 in block.decays]
        axes.set_xticks(range(len(labels)), labels=labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_xlabel("second-moment decay $\\beta_2$ [1]")
    held.set_ylim(0, max(held.get_ylim()[1], 1 + 2 * _TOLERANCE))
    held.set_ylabel("held sharpness /\nthreshold [1]")
    spread.set_ylim(0, max(spread.get_ylim()[1], 0.02))
    spread.set_ylabel("its standard\ndeviation [1]")
    if not any(np.isfinite(_settled(run)) for run in block.runs):
        note(spread, "no run held the threshold", (0.5, 0.5), ha="center", color=FAINT)


def _held(run: StoredRun) -> float:
    """Mean of sharpness over threshold in the last quarter; NaN of a run that did not complete."""
    if run.status(DISCRETE) != COMPLETED:
        return np.nan
    return float(run.comparison["held"].sel(process=DISCRETE))


def _settled(run: StoredRun) -> float:
    """The standard deviation of a run that reached its threshold; NaN of others, which have nothing to hold."""
    return deviation(run) if np.isfinite(onset(run)) else np.nan


def _draw_range(axes: Axes, block: _Block, run: StoredRun, x: float, numbers: Numbers) -> None:
    """From the lowest to the highest in the last quarter."""
    if not np.isfinite(_held(run)):
        return
    row, ends = run.comparison.sel(process=DISCRETE), ("lowest", "highest")
    low, high = (float(row[f"held_{end}"]) for end in ends)
    color = block.colors[_value(run, _EPS)]
    axes.plot([x, x], [low, high], color=color, linewidth=2.4, alpha=0.35, label="range")
    for end, value in zip(ends, (low, high), strict=True):
        numbers.add(run, DISCRETE, block.quantity(f"held_{end}_over_threshold", run), value)


def _draw_mark(
    axes: Axes,
    block: _Block,
    run: StoredRun,
    x: float,
    quantity: str,
    of: Callable[[StoredRun], float],
    numbers: Numbers,
) -> None:
    """One number of one run, open where it never reached its threshold."""
    value, color = of(run), block.colors[_value(run, _EPS)]
    if not np.isfinite(value):
        return
    inside = color if np.isfinite(onset(run)) else "white"
    look: dict[str, Any] = {"marker": "o", "markersize": 4, "linestyle": "none", "zorder": 3}
    axes.plot(x, value, color=color, markerfacecolor=inside, label=quantity, **look)
    numbers.add(run, DISCRETE, block.quantity(quantity, run), value)


def _head(block: _Block, axes: Axes) -> None:
    """Whose block it is."""
    run, corner, above = block.runs[0], (0.0, 1.0), ("figure fraction", "axes fraction")
    given = _settings(run)
    own = [
        _word(name, given[name]) for name in _SYMBOLS if name in given and name not in (_B2, _EPS)
    ]
    if criterion := run.settings.get("criterion"):
        own.insert(0, _CRITERIA.get(criterion, criterion.replace("_", " ")))
    own.append(f"threshold of $\\eta S$ {run.threshold:.4g}")
    where: dict[str, Any] = {"coordinates": above, "va": "bottom"}
    title = f"{optimizer_label(run.optimizer)}, {model_label(run.model)}"
    note(axes, title, corner, shift=(6, 28), fontsize=8, fontweight="bold", **where)
    note(axes, ", ".join(own), corner, shift=(6, 18), fontsize=6.5, color=FAINT, **where)


def _key(figure: Figure, colors: dict[float | None, str], lines: int, *, short: bool) -> None:
    """The colours of ε, the threshold, and the marks of runs that never reach it if there are any."""
    handles: list[Artist] = [
        Line2D([], [], color=color, linewidth=1.5, label=_word(_EPS, eps))
        for eps, color in colors.items()
    ]
    look: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 2))}
    handles += [
        Line2D([], [], label="threshold", **look),
        Patch(color=_BAND, label=f"±{_TOLERANCE:.0%}"),
    ]
    if short:
        mark: dict[str, Any] = {"marker": "o", "markersize": 4, "markerfacecolor": "white"}
        mark |= {"color": FAINT, "linestyle": "none", "label": "threshold not reached"}
        handles.append(Line2D([], [], **mark))
    key(figure, handles, lines=lines)
