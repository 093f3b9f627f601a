"""Losses of Adam against C(b1, b2), at several points of each of its level curves.

Source: Gould and Tanaka 2024 (arXiv 2411.05746).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rodflow.analysis.adam_bound import condition
from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.endings import note_endings
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.style import Drawing, Numbers, key, optimizer_label, styled
from rodflow.figures.core.sweeps import hyperparameter, named, ordered_colors, varied
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=("comparison", "trajectories"),
    order=29,
    caption=r"""
*Claim* (Gould and Tanaka, arXiv 2411.05746): Adam generalises better the larger :math:`C(\beta_1, \beta_2)` is, and
alike along its level curves: points of one abscissa coincide on the left, and fall to the right. Where the training
loss (right) does the same, it may be no more than the speed of training.

Each mark is a run of Adam, all with the same learning rate and number of steps: loss on the test set and on the
training set, averaged over the last quarter of the run, against :math:`C = 2(1-\beta_1)/\beta_1 -
(1-\beta_2)/\beta_2`; both axes are dimensionless. Marks of one abscissa are on one level curve of :math:`C`, and
their colours are :math:`\beta_2`, spread a little sideways; several marks of one colour are seeds. Runs that diverged
are left out.

Read from ``comparison.nc`` and the trajectories; ``adam_levels.csv`` has every number.
""",
)

_TALL = (2.2,)  # inches
_MARK: Look = {"marker": "o", "markersize": 4, "linestyle": "none", "alpha": 0.8}
_LAST = 0.75
_SIDEWAYS = 0.012


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Test loss and training loss.

    Args:
        runs: those of an optimizer with both decays that were completed are drawn.
    """
    shown = [run for run in runs if run.status(DISCRETE) == COMPLETED and np.isfinite(_level(run))]
    numbers, names = Numbers(), varied(shown, "b1", "b2")
    colors = ordered_colors(sorted({_decay(run, "b2") for run in shown}))
    with styled():
        figure, ((left, right),) = rows_of_panels(_TALL, 2)
        for axes, name in ((left, "test_loss"), (right, "loss")):
            for run in shown:
                _draw(axes, run, name, colors, numbers, names)
            axes.set_yscale("log")
            axes.set_xlabel(r"$C(\beta_1, \beta_2)$")
            axes.set_ylabel(name.replace("_", " ") if name != "loss" else "training loss")
        note_endings(left, runs)
        handles = [
            Line2D([], [], color=color, label=rf"$\beta_2$ = {b2:g}", **_MARK)
            for b2, color in colors.items()
        ]
        key(figure, handles, title=optimizer_label(shown[0].optimizer) if shown else "")
        fit(figure, [left], _TALL)
    return Drawing(figure, numbers.table())


def _decay(run: StoredRun, name: str) -> float:
    """A decay of a run; NaN where its optimizer has none of the name."""
    value = hyperparameter(run, name)
    return float("nan") if value is None else float(value)


def _level(run: StoredRun) -> float:
    """C of its decays; NaN where it lacks one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(condition(*(np.float64(_decay(run, name)) for name in ("b1", "b2"))))


def _draw(
    axes: Axes,
    run: StoredRun,
    name: str,
    colors: dict[float, str],
    numbers: Numbers,
    names: Sequence[str],
) -> None:
    """The mark of one run."""
    b2, level = _decay(run, "b2"), _level(run)
    since = _LAST * run.settings["steps"]
    if name == "loss":
        values = run.series(DISCRETE)["loss"].sel(step=slice(since, None))
    elif name not in run.comparison:
        return
    else:
        values = run.comparison[name].sel(process=DISCRETE, snapshot=slice(since, None))
    value = float(values.astype(np.float64).mean())
    place = [*colors].index(b2) - (len(colors) - 1) / 2
    axes.plot(level + _SIDEWAYS * place, value, color=colors[b2], label=name, **_MARK)
    numbers.add(run, DISCRETE, named(name, run, names), value)
    numbers.add(run, DISCRETE, named("C", run, names), level)
