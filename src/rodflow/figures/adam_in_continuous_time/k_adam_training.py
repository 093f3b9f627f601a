"""k-Adam, each k at its best learning rate, on networks without and with normalisation layers.

One column a problem: a network, a criterion, full batches or small ones, and how the rescalings decay. A colour a k,
solid without and dashed with normalisation. Source: Gould and Tanaka 2024 (arXiv 2411.05746).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from rodflow.analysis.learning_rates import (
    Method,
    Tuned,
    curve,
    has_test,
    lowest_test_loss,
    mean_curve,
    tuned,
)
from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import diverged, ending
from rodflow.figures.core.panels import columns_of_panels, fit
from rodflow.figures.core.rows import show_on_log_scale
from rodflow.figures.core.style import (
    FAINT,
    INK,
    Drawing,
    Numbers,
    key,
    note,
    note_lines,
    optimizer_label,
    styled,
)
from rodflow.figures.core.sweeps import (
    color_key,
    criterion_label,
    formula,
    in_order,
    ordered_colors,
    plain,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=("comparison", "trajectories"),
    order=22,
    caption=r"""
*Claim* (after Gould and Tanaka, arXiv 2411.05746): 2-Adam without normalisation layers ends at or below Adam with
and without them; with equal decays :math:`k \ge 3` trains badly at any of the rates; and under squared error, whose
minimum lies at finite weights, every further rescaling costs accuracy, for it keeps the steps as long as the
learning rate where those of Adam shrink.

k-Adam, Adam's rescaling :math:`k` times over, at the best of a few learning rates for each :math:`k`; one
column a problem (a network, a loss, full batches or small ones, how the rescalings decay), one colour a
:math:`k` (1 is Adam), solid for the network as it is, dashed for the same with a layer norm after each hidden
layer or convolution; a vision transformer has layer norm in its blocks by itself. *Top*: the training loss,
averaged over a fortieth of the run, against the optimizer step: geometric mean of the seeds, and their range as
a band. *Below*: the training loss averaged over the last tenth of the run against the learning rate, with the
range of the seeds; the best is filled, a cross at the top is a rate at which a run diverged. A loss below the
rounding of single precision, 1.2e-7, counts as that. *Bottom*, where there is a test set: the same of the lowest test
loss along the run. *k-Adam, shared decays*: each of the :math:`k` rescalings has
the decays :math:`1 - (1 - \beta)^{1/k}`, so that together they weigh a new gradient as Adam does; *k-Adam* alone,
with equal decays: each has :math:`\beta_1` and :math:`\beta_2` itself, and momentum lags :math:`k` times as far behind.

Training losses are read from the trajectories, test losses from ``comparison.nc``; ``k_adam_training.csv``
has every point drawn.
""",
)


_TALL = (1.5, 1.2, 1.2)  # inches
_LABELS = ("training loss", "last training loss", "lowest test loss")
_DASHES: dict[bool, LineStyleType] = {False: "-", True: (0, (3, 1.3))}
_KINDS = {"mlp": "MLP", "cnn": "CNN", "vit": "ViT"}
_WINDOWS = 40  # in which a curve is averaged
_LABELLED = 4  # rates that have room for a label each

_Colors = Mapping[float | None, str]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Rows: the loss at the best learning rate against the steps; last loss and test loss against the learning rate.

    Args:
        runs: of k-Adam over k, learning rates, seeds and networks.
    """
    problems, tested = tuned(runs), tuned(runs, lowest_test_loss)
    tall = _TALL[: 3 if any(map(has_test, runs)) else 2]
    colors: _Colors = ordered_colors(in_order({one.k for methods in problems for one in methods}))
    numbers = Numbers()
    with styled():
        figure, panels = columns_of_panels(tall, len(problems))
        for methods, (upper, lower, *_) in zip(problems, panels, strict=True):
            _draw_curves(upper, methods, colors, numbers)
            _draw_rates(lower, "last_loss", methods, colors, numbers)
            _head(upper, _first(methods))
        if len(tall) == len(_TALL):
            for methods, (*_, lowest) in zip(tested, panels, strict=True):
                _draw_rates(lowest, "lowest_test_loss", methods, colors, numbers)
        for axes, label in zip(panels[0], _LABELS, strict=False):
            axes.set_ylabel(label)
        kinds = [
            Line2D([], [], color=INK, linewidth=1, linestyle=_DASHES[kind], label=label)
            for kind, label in ((False, "as it is"), (True, "with normalisation layers"))
            if any(method.normalised == kind for methods in problems for method in methods)
        ]
        best = Line2D(
            [],
            [],
            color=INK,
            linestyle="none",
            marker="o",
            markersize=3.5,
            label="best, drawn above",
        )
        key(figure, [*color_key("k", dict(colors)), *kinds, best])
        fit(figure, panels[0], tall)
    return Drawing(figure, numbers.table())


def _first(methods: Mapping[Method, Tuned]) -> StoredRun:
    """One of the runs of a problem."""
    return next(run for own in methods.values() for runs in own.runs.values() for run in runs)


def _name(quantity: str, method: Method, *more: str) -> str:
    """Of a quantity of a method in the table, such as "loss[k=2 normalised]"."""
    words = [f"k={method.k}", *["normalised"] * method.normalised, *more]
    return f"{quantity}[{' '.join(words)}]"


def _look(method: Method, colors: _Colors) -> Look:
    return {"color": colors[method.k], "linestyle": _DASHES[method.normalised], "linewidth": 1.0}


def _draw_curves(
    axes: Axes, methods: Mapping[Method, Tuned], colors: _Colors, numbers: Numbers
) -> None:
    """The geometric mean over the seeds, the range of them as a band, and words where none of the rates completed."""
    steps, shown, words = _first(methods).settings["steps"], [np.ones(0)], []
    for method, own in methods.items():
        chosen = own.runs[own.best]
        losses = curve(chosen, max(steps // _WINDOWS, 1))
        at, look = losses["step"].values, _look(method, colors)
        mean = mean_curve(losses).values
        low, high = losses.min("seed").values, losses.max("seed").values
        name = _name("loss", method)
        axes.plot(at, mean, label=name, zorder=3, **look)
        axes.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0, zorder=2)
        for part, values in (("", mean), ("_lowest", low), ("_highest", high)):
            numbers.add(chosen[0], DISCRETE, _name(f"loss{part}", method), values, np.rint(at))
        lost = [run for run in chosen if diverged(run)]
        words += [(f"{formula('k', method.k)}: {ending(run)}", look["color"]) for run in lost]
        shown += [values[values <= 10 * values[:1]] if lost else values for values in (low, high)]
    show_on_log_scale(axes, np.concatenate(shown))
    note_lines(axes, dict.fromkeys(words))
    axes.set_xlim(0, steps)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("optimizer step", labelpad=1)


def _draw_rates(
    axes: Axes, what: str, methods: Mapping[Method, Tuned], colors: _Colors, numbers: Numbers
) -> None:
    """The loss of every rate tried, with the range of the seeds; a cross at the top where a seed diverged."""
    axes.set_xscale("log")
    shown, lost = [np.ones(0)], []
    for place, (method, own) in enumerate(methods.items()):
        look, nudge = _look(method, colors), 1.04 ** (place - (len(methods) - 1) / 2)
        rates = [rate for rate in own.runs if np.isfinite(own.loss(rate))]
        lost += [(rate * nudge, look["color"]) for rate in own.runs if rate not in rates]
        means = [own.loss(rate) for rate in rates]
        name = _name(what, method)
        x = [rate * nudge for rate in rates]
        axes.plot(x, means, label=name, zorder=2.5, **look | {"linewidth": 0.7})
        for at, rate, mean in zip(x, rates, means, strict=True):
            ends = [own.judged(run) for run in own.runs[rate]]
            axes.plot([at, at], [min(ends), max(ends)], color=look["color"], linewidth=0.8)
            filled = look["color"] if rate == own.best else "white"
            axes.plot(
                at,
                mean,
                marker="o",
                markersize=3,
                color=look["color"],
                markerfacecolor=filled,
                zorder=3,
            )
            shown.append(np.array(ends))
            for run, value in zip(own.runs[rate], ends, strict=True):
                words = f"learning_rate={plain(rate)}"
                numbers.add(run, DISCRETE, _name(what, method, words), value)
    show_on_log_scale(axes, np.concatenate(shown))
    for at, color in lost:
        axes.plot(
            at,
            axes.get_ylim()[1],
            marker="x",
            markersize=4,
            color=color,
            clip_on=False,
            label="diverged",
        )
    tried = sorted({rate for own in methods.values() for rate in own.runs})
    axes.set_xlim(tried[0] / 1.6, tried[-1] * 1.6)
    every = 1 if len(tried) <= _LABELLED else 2
    labels = ["" if place % every else plain(rate) for place, rate in enumerate(tried)]
    axes.set_xticks(tried, labels=labels)
    axes.minorticks_off()
    axes.set_xlabel("learning rate", labelpad=1)


def _head(axes: Axes, run: StoredRun) -> None:
    """What the column is of."""
    settings = run.settings
    kind, batch, own = settings["model"]["kind"], settings["batch_size"], settings["optimizer"]
    batches = "full batches" if batch is None else f"batches of {batch}"
    decays = ", ".join(formula(n, own[n]) for n in ("b1", "b2") if n in own)
    title = f"{_KINDS.get(kind, kind)}, {criterion_label(run)}"
    axes.set_title(title, loc="left", pad=30, fontsize=7.5, fontweight="bold")
    note(axes, optimizer_label(run.optimizer), (0, 1), shift=(0, 21), room=False, fontsize=6)
    note(axes, batches, (0, 1), shift=(0, 13), room=False, fontsize=6)
    note(axes, decays, (0, 1), shift=(0, 5), room=False, fontsize=6, color=FAINT)
