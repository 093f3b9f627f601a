"""Every model on losses of a few weights: a column for each, from its sharpness to how far each model is off."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from rodflow.analysis import edge
from rodflow.analysis.burst import first_burst
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.endings import note_endings
from rodflow.figures.core.findings import medians
from rodflow.figures.core.panels import columns_of_panels, fit
from rodflow.figures.core.rows import (
    at_snapshots,
    draw_processes,
    mark_end,
    mark_steps,
    onset,
    sharpness,
    show_on_log_scale,
    tracking_error,
)
from rodflow.figures.core.style import (
    THIN,
    Drawing,
    Numbers,
    key,
    lines_of,
    model_label,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=ALONG_RUNS,
    order=26,
    caption=r"""
*Claim* (this project's): from the threshold on the stable flow leaves the run, its sharpness rising for ever,
and so does the covariance closure, whose rod never opens. The rod flows stay near everywhere; the central flow
takes the middle way, without the oscillation's own bursts; the edge flow, which knows one direction, is near
where one is unstable, and in unit steps nearest of all on two weights.

Losses of a few weights, one column a run, against the optimizer step: preconditioned sharpness over the
stability threshold (shown up to 1.55; line at 1); length of the rod, of the iterates and of the flows that have
one, and of the central flow the root mean square of its oscillation; tracking error, the distance of a flow's
centre from the midpoint of the iterates over the distance travelled since :math:`t_0`; the sharpness once more
in the first burst of the run, from the onset of the threshold until it is below again and as long on each side,
on which Marion 2026 (arXiv 2606.18080) judges the edge flow; and below, for each
flow, the median of the tracking error from the run's onset on. Dotted: :math:`t_0`; dashed: onset; a cross ends the
curve of a process that diverged. The toy of two weights is that of Berthier (arXiv 2609.01034); those with two
unstable directions are our analogues.

Read from ``comparison.nc`` and the trajectories; ``few_weights.csv`` has every number drawn.
""",
)

_TALL = [1.1, 1.1, 1.3, 1.3, 1.3]  # inches
_HIGHEST = 1.55  # of sharpness over threshold that is shown


def oscillation(run: StoredRun, process: str) -> xr.DataArray:
    """The length of the rod of a process at its snapshots; nothing of one that has no oscillation.

    Args:
        run, process: the stored run, and which of its processes.
    """
    series = run.series(process)
    for name in ("rod_length", "oscillation"):
        if name in series and series.sizes["step"]:
            return at_snapshots(series[name], series)
    return sharpness(run, process).isel(snapshot=slice(0))


_QUANTITIES: dict[str, tuple[str, Callable[[StoredRun, str], xr.DataArray]]] = {
    "sharpness_over_threshold": ("sharpness / threshold", sharpness),
    "rod_length": ("rod length", oscillation),
    "tracking_error": ("tracking error", tracking_error),
}
"""By name in the table: title, and the values of a process at its snapshots."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one column a run, one row a quantity, and the median errors below."""
    numbers = Numbers()
    with styled():
        figure, columns = columns_of_panels(_TALL, len(runs))
        columns[0][-2].set_ylabel("sharpness / threshold,\nfirst burst")
        for column, run in zip(columns, runs, strict=True):
            for axes, (name, (title, of)) in zip(column, _QUANTITIES.items(), strict=False):
                _panel(axes, run, name, of, numbers)
                if column is columns[0]:
                    axes.set_ylabel(title)
            column[0].set_title(
                f"{optimizer_label(run.optimizer)}, {model_label(run.model)}", pad=12
            )
            mark_steps(column[:1], run, named=True)
            mark_steps(column[1:-1], run, named=False)
            _zoom(column[-2], run, numbers)
            note_endings(column[0], [run])
            for axes in column[-3:-1]:
                axes.set_xlabel("optimizer step")
            for axes in column[:-3]:
                axes.tick_params(labelbottom=False)
            _medians(column[-1], run, numbers, named=column is columns[0])
        key(figure, lines_of(dict.fromkeys(p for run in runs for p in run.processes)))
        fit(figure, columns[0], _TALL)
    table = numbers.table()
    shows = medians(
        table, "median_tracking_error", "each run's median tracking error from the onset on"
    )
    return Drawing(figure, table, shows)


def _panel(
    axes: Axes,
    run: StoredRun,
    name: str,
    of: Callable[[StoredRun, str], xr.DataArray],
    numbers: Numbers,
) -> None:
    """Draw one quantity of a run, and enter it in the table."""
    shown, lost = [np.ones(0)], []
    for process, steps, heights in draw_processes(axes, run, name, of, numbers):
        if run.status(process) == COMPLETED:
            shown.append(heights)
        elif heights.size:
            lost.append((process, steps[-1], heights[-1]))
    if name == "sharpness_over_threshold":
        axes.set_ylim(0.8, _HIGHEST)
        axes.axhline(1, **THIN)
    else:
        found = np.concatenate(shown)
        show_on_log_scale(axes, found)
        if found.size and found.max(initial=0) > 0:  # what starts at rounding has no lower end
            axes.set_ylim(bottom=max(axes.get_ylim()[0], found.max() / 1e7))
    for process, step, height in lost:
        mark_end(axes, process, step, height)


def _zoom(axes: Axes, run: StoredRun, numbers: Numbers) -> None:
    """The sharpness in the first burst of the run; an empty panel where it has none."""
    burst = first_burst(sharpness(run, DISCRETE))
    if burst is None:
        return

    def inside(of: StoredRun, process: str) -> xr.DataArray:
        return sharpness(of, process).sel(snapshot=slice(burst.first, burst.last))

    draw_processes(axes, run, "sharpness_in_first_burst", inside, numbers)
    axes.set_xlim(burst.first, burst.last)
    shown = inside(run, DISCRETE).values
    low, high = np.nanmin(shown), np.nanmax(shown)
    room = high - low or 1.0  # of a toy whose sharpness stays the same
    axes.set_ylim(low - 0.3 * room, high + 0.5 * room)
    axes.axhline(1, **THIN)


def _medians(axes: Axes, run: StoredRun, numbers: Numbers, *, named: bool) -> None:
    """One dot a flow: the median of its tracking error from the onset of the run on."""
    flows = [process for process in run.processes if process != DISCRETE]
    found = [edge.errors(tracking_error(run, flow), onset(run)).median for flow in flows]
    for row, (flow, median) in enumerate(zip(flows, found, strict=True)):
        if np.isfinite(median):
            color = process_style(flow).text_color
            axes.plot(median, row, marker="o", markersize=4, color=color, label=flow)
            numbers.add(run, flow, "median_tracking_error", median)
    axes.set_xscale("log")
    axes.set_ylim(max(len(flows), 1) - 0.5, -0.5)
    axes.set_yticks(
        range(len(flows)), [process_style(flow).short if named else "" for flow in flows]
    )
    axes.set_xlabel("median tracking error\nfrom the onset on")
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
