"""Full-batch Adam at the edge of stability: learning rate times preconditioned sharpness goes to a number.

The number is (2 + 2 β₁) / (1 - β₁), whatever the learning rate. One column a decay of the first moment, one colour a
learning rate, seeds as further lines of the same colour; one block of rows for each model and each choice of the other
settings. Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Iterable, Mapping, Sequence
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

from rodflow.equilibrium import last_reached
from rodflow.figures.rows import loss, onset, sharpness, show_on_log_scale
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

_RATE, _DECAY = "learning_rate", "b1"
_SYMBOLS = {_RATE: "$\\eta$", _DECAY: "$\\beta_1$", "b2": "$\\beta_2$", "eps": "$\\epsilon$"}
_CRITERIA = {"mse": "squared error", "cross_entropy": "cross-entropy"}
_GAIN = "alternating gain"

_TOLERANCE, _BAND = 0.1, "#cfe3f1"
_LOWEST_TOP, _HIGHEST_TOP = 1.3, 1.6  # of sharpness over threshold that is shown
_NARROWEST, _WIDEST = 0.16, 0.6  # half of the axis of held sharpness

_LEFT, _RIGHT, _BETWEEN, _WIDTH, _SMALLEST = 0.72, 0.12, 0.3, 7.5, 4.5  # inches
_NARROW, _WIDE = 1.3, 3.4  # a panel at least, at most
_TALL, _GAPS = (1.25, 0.7, 0.75), (0.1, 0.52, 0.42)  # of the rows, below each
_MANY = 5  # from more learning rates on their numbers are upright,
_MORE = (0.0, 0.12, 0.22)  # which takes more below the rows
_KEY, _LINE, _HEAD = 0.26, 0.15, 0.58  # first line of the key, further ones, a block's title


@dataclass(frozen=True)
class _Block:
    """Runs that differ in learning rate, decay of the first moment and seed alone, and where they are drawn."""

    runs: Sequence[StoredRun]
    panels: Sequence[Sequence[Axes]]
    decays: Sequence[float | None]
    colors: dict[float, str]

    def column(self, decay: float | None) -> list[StoredRun]:
        """The runs of one column, by learning rate and seed."""
        own = (run for run in self.runs if _decay(run) == decay)
        return sorted(own, key=lambda run: (_rate(run), run.seed))

    def color(self, run: StoredRun) -> str:
        """Of its learning rate."""
        return self.colors[_rate(run)]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Three rows: learning rate x sharpness, loss, and the sharpness held at the end over the threshold.

    Args:
        runs: of any models and optimizers; without a decay of the first moment they have a column of their own.
    """
    groups = _groups(runs)
    decays = sorted(dict.fromkeys(map(_decay, runs)), key=lambda b1: -1.0 if b1 is None else b1)
    rates = sorted({_rate(run) for run in runs})
    places = np.linspace(0.03, 0.73, max(len(rates), 2))
    colors = {rate: to_hex(colormaps["plasma"](x)) for rate, x in zip(rates, places, strict=False)}
    names = _Names.of(runs)
    numbers = Numbers()
    with styled():
        lines = 1 + len(rates) // 6
        figure, panels = _figure(len(groups), len(decays), lines, many=len(rates) > _MANY)
        for group, rows in zip(groups, panels, strict=True):
            block = _Block(group, rows, decays, colors)
            _draw_sharpness(block, numbers, names)
            _draw_loss(block, numbers, names)
            _draw_held(block, numbers, names)
            _head(block)
        _key(figure, colors, lines, short=any(map(_short, runs)))
    return Drawing(figure, numbers.table())


@dataclass(frozen=True)
class _Names:
    """What tells the runs of a sweep apart in the table: the settings that vary, learning rate and decay always."""

    varied: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[StoredRun]) -> "_Names":
        settings = [_settings(run) for run in runs]
        found = dict.fromkeys(name for one in settings for name in one)
        several = [n for n in found if len({one.get(n) for one in settings}) > 1]
        return cls(tuple(dict.fromkeys([_RATE, _DECAY, *several])))

    def quantity(self, quantity: str, run: StoredRun) -> str:
        """Of a run, such as "loss[learning_rate=0.001 b1=0.9]"."""
        own = _settings(run)
        given = [f"{name}={_plain(own[name])}" for name in self.varied if name in own]
        return f"{quantity}[{' '.join(given)}]"


def _settings(run: StoredRun) -> dict[str, Any]:
    """The hyperparameters of a run, and of what it is told apart by the loss and the batch."""
    given = {name: value for name, value in run.settings["optimizer"].items() if name != "name"}
    more = {
        name: run.settings[name] for name in ("criterion", "batch_size") if name in run.settings
    }
    return given | more


def _rate(run: StoredRun) -> float:
    return float(run.settings["optimizer"][_RATE])


def _decay(run: StoredRun) -> float | None:
    return run.settings["optimizer"].get(_DECAY)


def _plain(value: Any) -> str:
    """A setting in few characters, as 1e-8."""
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, int | float) else str(value)


def _groups(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each block, in the order given."""
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in runs:
        fixed = {k: v for k, v in _settings(run).items() if k not in (_RATE, _DECAY)}
        groups.setdefault((run.model, run.optimizer, *sorted(fixed.items())), []).append(run)
    return [*groups.values()]


def _figure(
    blocks: int, columns: int, lines: int, *, many: bool
) -> tuple[Figure, list[list[list[Axes]]]]:
    """An empty figure with room for a key of so many lines, and its panels: block, row, column."""
    room = _WIDTH - _LEFT - _RIGHT + _BETWEEN
    panel = float(np.clip(room / columns - _BETWEEN, _NARROW, _WIDE))
    width = max(_LEFT + columns * (panel + _BETWEEN) - _BETWEEN + _RIGHT, _SMALLEST)
    gaps = np.add(_GAPS, _MORE) if many else np.array(_GAPS)
    one = _HEAD + sum(_TALL) + float(gaps.sum())
    first = _KEY + _LINE * (lines - 1)
    height = first + blocks * one
    figure = new_figure(width, height)

    def add(top: float, tall: float, column: int) -> Axes:
        left = _LEFT + column * (panel + _BETWEEN)
        box = (left / width, 1 - (top + tall) / height, panel / width, tall / height)
        return figure.add_axes(box)

    panels = []
    for block in range(blocks):
        tops = first + block * one + _HEAD + np.cumsum([0, *np.add(_TALL, gaps)[:-1]])
        panels.append(
            [[add(top, t, c) for c in range(columns)] for top, t in zip(tops, _TALL, strict=True)]
        )
    return figure, panels


def _complete(run: StoredRun, quantity: str) -> float:
    """A number of the comparison; NaN of a run that did not complete, whose last quarter is another."""
    if run.status(DISCRETE) != COMPLETED:
        return np.nan
    return float(run.comparison[quantity].sel(process=DISCRETE))


def _exception(run: StoredRun) -> str:
    """In words, why a run does not end at its threshold; "" if it does."""
    if (status := run.status(DISCRETE)) != COMPLETED:
        return status.split(":")[0]
    if not np.isfinite(onset(run)):
        return "threshold not reached"
    if _complete(run, "held") >= 1 - _TOLERANCE:
        return ""
    last = int(last_reached(sharpness(run, DISCRETE)))
    return f"last reached at step {last}"


def _plot(
    axes: Axes, block: _Block, run: StoredRun, name: str, values: xr.DataArray, numbers: Numbers
) -> np.ndarray:
    """Draw a quantity of a run against the steps and enter it; which values."""
    values = values.where(np.isfinite(values), drop=True)
    steps, heights = values["snapshot"].values, values.values.astype(float)
    axes.plot(steps, heights, label=name, color=block.color(run), linewidth=0.9, zorder=2.5)
    numbers.add(run, DISCRETE, name, heights, steps)
    return heights


def _draw_sharpness(block: _Block, numbers: Numbers, names: _Names) -> None:
    """Learning rate x sharpness of every run and the threshold, all thresholds at the same height."""
    ratios = [sharpness(r, DISCRETE) for r in block.runs if r.status(DISCRETE) == COMPLETED]
    highest = max([float(ratio.max()) for ratio in ratios], default=0.0)
    top = float(np.clip(1.05 * highest, _LOWEST_TOP, _HIGHEST_TOP))
    for axes, decay in zip(block.panels[0], block.decays, strict=True):
        members = block.column(decay)
        _step_axis(axes, block)
        axes.tick_params(labelbottom=False)
        if not members:
            note(axes, "no run", (0.5, 0.5), ha="center", color=FAINT, fontsize=6.5)
            axes.set_yticks([])
            continue
        limit = members[0].threshold
        near, far = (1 - _TOLERANCE) * limit, (1 + _TOLERANCE) * limit
        axes.axhspan(near, far, color=_BAND, linewidth=0, zorder=0.5)
        axes.axhline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=3)
        axes.set_ylim(0, top * limit)
        axes.set_yticks([0, limit / 2, limit], labels=["0", f"{limit / 2:.4g}", f"{limit:.4g}"])
        axes.get_yticklabels()[-1].set_fontweight("bold")
        beyond: dict[float, tuple[float, float]] = {}
        for run in members:
            numbers.add(run, DISCRETE, names.quantity("threshold", run), run.threshold)
            name = names.quantity("learning_rate_x_sharpness", run)
            values = (sharpness(run, DISCRETE) * run.threshold).dropna("snapshot")
            _plot(axes, block, run, name, values, numbers)
            if not values.size:
                continue
            if run.status(DISCRETE) != COMPLETED:
                _cross(axes, block, run, values)
            elif values.max() > top * limit:
                peak = float(values.max()), float(values.idxmax("snapshot"))
                beyond[_rate(run)] = max(peak, beyond.get(_rate(run), peak))
        _say(axes, block, members)
        _name_peaks(axes, block, beyond)


def _name_peaks(axes: Axes, block: _Block, beyond: Mapping[float, tuple[float, float]]) -> None:
    """How far up the curves go that leave through the top, and come back, beside the place where they do."""
    for line, (rate, (value, step)) in enumerate(beyond.items()):
        early = step < np.mean(axes.get_xlim())
        where: dict[str, Any] = {"coordinates": ("data", "axes fraction"), "va": "top"}
        where |= {"ha": "left" if early else "right", "shift": (4 if early else -4, -7 * line)}
        text = f"up to {value:.3g} \u2191"
        note(axes, text, (step, 1), color=block.colors[rate], fontsize=6, **where)


def _cross(axes: Axes, block: _Block, run: StoredRun, values: xr.DataArray) -> None:
    """Where the curve of a run ends that diverged, at the edge if it is beyond."""
    axes.plot(
        float(values["snapshot"][-1]),
        np.clip(float(values[-1]), *axes.get_ylim()),
        marker="x",
        markersize=5,
        markeredgewidth=1.4,
        color=block.color(run),
        clip_on=False,
        zorder=4,
        label=f"{DISCRETE} diverged",
    )


def _say(axes: Axes, block: _Block, runs: Sequence[StoredRun]) -> None:
    """Upwards from the lower right corner, the runs that do not end at the threshold."""
    found = dict.fromkeys((_rate(run), words) for run in runs if (words := _exception(run)))
    for line, (rate, words) in enumerate(reversed(found)):
        text = f"{rate:g}: {words}"
        look: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 6}
        note(axes, text, (1, 0), shift=(-1, 2 + 7 * line), color=block.colors[rate], **look)


def _step_axis(axes: Axes, block: _Block) -> None:
    axes.set_xlim(0, max(run.settings["steps"] for run in block.runs))
    axes.locator_params(axis="x", nbins=4)


def _draw_loss(block: _Block, numbers: Numbers, names: _Names) -> None:
    """The loss with its oscillation averaged out; of a run that diverged as far up as it began."""
    shown = [np.ones(0)]
    for axes, decay in zip(block.panels[1], block.decays, strict=True):
        for run in block.column(decay):
            name = names.quantity("loss", run)
            values = _plot(axes, block, run, name, loss(run, DISCRETE), numbers)
            lost = run.status(DISCRETE) != COMPLETED and values.size
            shown.append(values[values <= 10 * values[0]] if lost else values)
    for axes in block.panels[1]:
        show_on_log_scale(axes, np.concatenate(shown))
        _step_axis(axes, block)
        axes.set_xlabel("optimizer step")
        axes.tick_params(labelleft=axes is block.panels[1][0])


def _draw_held(block: _Block, numbers: Numbers, names: _Names) -> None:
    """Mean and range of sharpness over threshold in the last quarter, against the learning rate."""
    rates = sorted({_rate(run) for run in block.runs})
    ends = [_complete(run, f"held_{end}") for run in block.runs for end in ("lowest", "highest")]
    away = np.abs(np.array(ends)[np.isfinite(ends)] - 1)
    half = float(np.clip(1.1 * np.max(away, initial=0.0), _NARROWEST, _WIDEST))
    for axes, decay in zip(block.panels[2], block.decays, strict=True):
        axes.axhspan(1 - _TOLERANCE, 1 + _TOLERANCE, color=_BAND, linewidth=0, zorder=0.5)
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        axes.set_ylim(1 - half, 1 + half)
        axes.set_xlim(-0.5, len(rates) - 0.5)
        turned: dict[str, Any] = {"rotation": 90} if len(block.colors) > _MANY else {}
        axes.set_xticks(range(len(rates)), labels=[f"{rate:g}" for rate in rates], **turned)
        axes.set_xlabel("learning rate $\\eta$ [1]")
        axes.tick_params(labelleft=axes is block.panels[2][0])
        for place, rate in enumerate(rates):
            members = [run for run in block.column(decay) if _rate(run) == rate]
            known = [_complete(run, "held") for run in members]
            spread = 0.12 * (np.arange(len(members)) - (len(members) - 1) / 2)
            for run, x in zip(members, place + spread, strict=True):
                _draw_mark(axes, block, run, float(x), numbers, names)
            if np.isfinite(known).any():
                where, color = ("data", "axes fraction"), block.colors[rate]
                text, font = f"{np.nanmean(known):.2f}", {"ha": "center", "fontsize": 6.5}
                note(
                    axes,
                    text,
                    (place, 1),
                    coordinates=where,
                    shift=(0, 1),
                    color=color,
                    **font | turned,
                )


def _draw_mark(
    axes: Axes, block: _Block, run: StoredRun, x: float, numbers: Numbers, names: _Names
) -> None:
    """Mean and range of one run: open where it never reached the threshold, at the edge where it lies beyond."""
    mean, low, high = (_complete(run, f"held{end}") for end in ("", "_lowest", "_highest"))
    if not np.isfinite(mean):
        return
    for end, value in {"": mean, "_lowest": low, "_highest": high}.items():
        numbers.add(run, DISCRETE, names.quantity(f"held{end}_over_threshold", run), value)
    color, (bottom, top) = block.color(run), axes.get_ylim()
    axes.plot([x, x], [low, high], color=color, linewidth=2.2, alpha=0.4, label="range")
    off = mean < bottom or mean > top
    axes.plot(
        x,
        np.clip(mean, bottom, top),
        marker="o" if not off else "v" if mean < bottom else "^",
        markersize=4,
        color=color,
        markerfacecolor=color if np.isfinite(onset(run)) else "white",
        linestyle="none",
        clip_on=False,
        zorder=3,
        label="_beyond" if off else "held",
    )


def _head(block: _Block) -> None:
    """Whose block it is, and what is on its axes."""
    run, (top, below, last) = block.runs[0], block.panels
    corner, above = (0.0, 1.0), ("figure fraction", "axes fraction")
    title, look = f"{optimizer_label(run.optimizer)}, {model_label(run.model)}", {"va": "bottom"}
    fixed = {k: v for k, v in _settings(run).items() if k in _SYMBOLS and k not in (_RATE, _DECAY)}
    own = [f"{_SYMBOLS[name]} = {_plain(value)}" for name, value in fixed.items()]
    if weight_decay := _settings(run).get("weight_decay"):
        own.append(f"weight decay {_plain(weight_decay)}")
    if criterion := run.settings.get("criterion"):
        own.insert(0, _CRITERIA.get(criterion, criterion.replace("_", " ")))
    own.append(f"batch of {batch}" if (batch := run.settings.get("batch_size")) else "full batch")
    name: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", **look}
    note(top[0], title, corner, coordinates=above, shift=(6, 28), **name)
    words = ", ".join(own)
    note(top[0], words, corner, coordinates=above, shift=(6, 18), fontsize=6.5, color=FAINT, **look)
    for axes, decay in zip(top, block.decays, strict=True):
        members = block.column(decay)
        heading = "" if decay is None else f"$\\beta_1$ = {decay:g}: "
        if members:
            axes.set_title(f"{heading}threshold {members[0].threshold:.4g}", pad=4, fontsize=7.5)
    gain = run.sharpness(DISCRETE).attrs.get("preconditioner") == _GAIN
    measured = (
        "sharpness $S$ [1]\nin the gain" if gain else "learning rate ×\nsharpness $\\eta S$ [1]"
    )
    labels: dict[Axes, str] = {top[0]: measured, below[0]: "loss [1]"}
    labels[last[0]] = "held /\nthreshold [1]"
    for axes, text in labels.items():
        axes.set_ylabel(text)
        axes.yaxis.set_label_coords(-0.36 / (axes.get_position().width * _inches(axes)), 0.5)


def _inches(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(figure.get_size_inches()[0])


def _short(run: StoredRun) -> bool:
    """Whether a run completed and never reached its threshold."""
    return run.status(DISCRETE) == COMPLETED and not np.isfinite(onset(run))


def _key(figure: Figure, colors: dict[float, str], lines: int, *, short: bool) -> None:
    """The colours of the learning rates, the threshold, and the marks of runs that never reach it, if any."""
    handles: list[Artist] = [
        Line2D([], [], color=color, linewidth=1.5, label=f"$\\eta$ = {rate:g}")
        for rate, color in colors.items()
    ]
    limit: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 2))}
    handles.append(Line2D([], [], label="threshold", **limit))
    handles.append(Patch(color=_BAND, label=f"±{_TOLERANCE:.0%}"))
    if short:
        mark: dict[str, Any] = {"marker": "o", "markersize": 4, "markerfacecolor": "white"}
        mark |= {"color": FAINT, "linestyle": "none", "label": "threshold not reached"}
        handles.append(Line2D([], [], **mark))
    key(figure, handles, lines=lines)
