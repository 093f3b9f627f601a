"""The variance of the oscillation along each of its directions: measured, and predicted by central and rod flows."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from rodflow.config.declarations import FigureEntry, with_flow
from rodflow.figures.core.findings import medians
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    describe_run,
    draw_processes,
    mark_steps,
    share_steps,
    state_failures,
)
from rodflow.figures.core.style import Drawing, Numbers, key, lines_of, model_label, styled
from rodflow.figures.core.sweeps import plain
from rodflow.figures.core.variances import DIRECTIONS, held_variances, variances
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=("comparison", "trajectories"),
    order=31,
    runs=with_flow("central"),
    caption=r"""
*Claim* (Cohen et al., arXiv 2410.24206): the covariance :math:`\Sigma` that the central flow computes predicts
the variance with which the iterates oscillate, direction by direction and as it changes in time; a rod flow,
whose covariance is that of its two ends, does so too.

Variance of the oscillation along its directions on the model ``{part}``: the three largest eigenvalues of
:math:`P^{1/2} \Sigma P^{1/2}`, against the optimizer step; one row an optimizer, one column a direction.
:math:`P` is the preconditioner over the learning rate, so that a variance has the unit of the loss. Of the
central flow :math:`\Sigma` is what it holds the sharpness at the threshold with. Of the discrete run and of rods
it is :math:`X X^\top`, with :math:`X` the half-extent of consecutive iterates, averaged over nine snapshots
around each, for they oscillate in bursts. Dotted: where the flows start; dashed: where the run reaches its
threshold. A panel reaches to one and a half times the highest of the run.

Read from the trajectories; ``variances_{part}.csv`` has every point drawn.
""",
)

_PANEL = 1.0  # inches
_TITLES = ("first direction", "second direction", "third direction")


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One row a run, one column a direction, one line a process that oscillates."""
    numbers = Numbers()
    tall, several = [_PANEL] * len(runs), len({run.model for run in runs}) > 1
    seeds = len({run.seed for run in runs}) > 1
    shown: dict[str, None] = {}
    with styled():
        figure, rows = rows_of_panels(tall, DIRECTIONS)
        for line, run in zip(rows, runs, strict=True):
            found = {process: variances(run, process) for process in run.processes}
            run.release()
            own = {process: values for process, values in found.items() if values is not None}
            shown |= dict.fromkeys(own)
            _tabulate(run, own, numbers)
            for which, axes in enumerate(line):
                along = {process: values[:, which] for process, values in own.items()}
                of = partial(_one_of, along)
                draw_processes(axes, run, f"variance_{1 + which}", of, numbers, among=[*own])
                axes.yaxis.set_major_locator(MaxNLocator(3))
                if DISCRETE in own and (highest := np.nanmax([*along[DISCRETE], 0])) > 0:
                    axes.set_ylim(0, 1.5 * highest)
                axes.yaxis.set_major_formatter(lambda value, _: plain(value))
                if line is rows[0]:
                    axes.set_title(_TITLES[which], pad=12)
            mark_steps(line, run, named=line is rows[0])
            names = [model_label(run.model)] * several + [f"seed {run.seed}"] * seeds
            describe_run(line[0], run, *names)
            state_failures(line[0], [run], without=[p for p in run.processes if p not in own])
        for axes in rows[-1]:
            axes.set_xlabel("optimizer step")
        share_steps(rows)
        key(figure, lines_of(shown))
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    what = "the mean variance along the first direction at the edge of stability, over the run's"
    return Drawing(figure, table, medians(table, "mean_variance_1_over_discrete", what))


def _one_of(found: Mapping[str, xr.DataArray], _: StoredRun, process: str) -> xr.DataArray:
    return found[process]


def _tabulate(run: StoredRun, found: Mapping[str, xr.DataArray], numbers: Numbers) -> None:
    """The means at the edge of stability, and of the flows' what they are over the run's."""
    held = {process: held_variances(run, values) for process, values in found.items()}
    for process, values in held.items():
        for which, value in enumerate(values, start=1):
            numbers.add(run, process, f"mean_variance_{which}", value)
            if process != DISCRETE and DISCRETE in held and held[DISCRETE][which - 1] > 0:
                ratio = value / held[DISCRETE][which - 1]
                numbers.add(run, process, f"mean_variance_{which}_over_discrete", ratio)
