"""At which level minibatch training holds its sharpness, and at which its models say that it does.

One row an optimizer: the level against the batch size; the sharpness over its threshold along the run; and the loss. A
colour is a batch size along the run, and a process in the first column.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from rodflow.analysis.comparison import last_quarter
from rodflow.analysis.equilibrium import mean_and_error
from rodflow.analysis.minibatches import late_mean, modelled_loss, run_loss, trend
from rodflow.config.catalogue import FLOWS
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import LATE, medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import threshold_key
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    at_snapshots,
    describe_row,
    failures,
    sharpness,
    show_on_log_scale,
)
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    REFERENCE,
    Drawing,
    Numbers,
    end_labels,
    hyperparameters,
    key,
    model_label,
    note,
    process_marker,
    process_style,
    styled,
)
from rodflow.figures.core.sweeps import by_other_settings
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=20,
    caption=r"""
*Claim* (this project's): a flow with noise predicts the level at which minibatch training holds its sharpness;
without noise it settles at the full-batch threshold, or where full-batch training does.

One row an optimizer. *Left*: the full-batch preconditioned sharpness over its threshold, averaged over the last
quarter of the run, against the batch size (logarithmic); marks are means over seeds, bars their standard errors.
The flows draw batches of their own and never see those of the run. At the full batch stands the rod flow, and the
dotted line goes on from there: the model without noise. Crosses are the batch sharpness of the run over the same
threshold, where the optimizer has no preconditioner; the dashed line is :math:`(1-\beta)/(1+\beta)` of it, where
theory has it at small batches with momentum. A level whose trend over the last third is more than twice its
standard error has an open mark. *Middle and right*: the same sharpness, and the full-batch loss of the iterates,
along the run: means over seeds, one colour a batch size, full lines the run and dashed ones the model, which is the
pair of copies with opposite noise, and for the full batch the rod flow.

Levels are from ``comparison.nc``, losses from the trajectories; ``minibatch_levels.csv`` has every point drawn.
""",
)

_TITLES = ("level in the last quarter", "preconditioned sharpness / threshold", "full-batch loss")
_PANEL, _WIDE = 1.5, (1.0, 1.0, 1.0)
_ROOM = 0.1  # beside the outermost batch sizes, of the width of the axis
_ASIDE = 0.02  # how far the processes of one batch size stand apart, likewise
_PROCESSES = (DISCRETE, "pair", "kicked_rod", "rod_unit_step")  # whose levels are drawn
_ALONG = ("pair", "rod_unit_step")  # what is drawn along the run
_MARK: Look = {"markersize": 4.2}


@dataclass(frozen=True)
class _Batch:
    """The runs of a row with one batch size.

    Attributes:
        runs: one a seed.
        size: images in a batch.
        full: whether that is all of them.
        color: along the run.
    """

    runs: Sequence[StoredRun]
    size: int
    full: bool
    color: str

    @property
    def about(self) -> str:
        """The batch size in the table."""
        return f"batch_size={'full' if self.full else self.size}"

    def completed(self, process: str) -> list[StoredRun]:
        """The runs that have this process, completed."""
        return [
            run
            for run in self.runs
            if process in run.processes and run.status(process) == COMPLETED
        ]

    def levels(self, process: str) -> list[float]:
        """The level of each seed."""
        found = self.completed(process)
        return [float(run.comparison["late_mean"].sel(process=process)) for run in found]

    def settled(self, process: str) -> bool:
        """Whether the mean of the seeds has no trend left."""
        mean = self.mean(process, sharpness)
        return mean is None or trend(mean, self.runs[0].settings["steps"]).settled

    def mean(
        self, process: str, of: Callable[[StoredRun, str], xr.DataArray]
    ) -> xr.DataArray | None:
        """Mean over the seeds of a quantity, [snapshot]; None without any."""
        found = [of(run, process).dropna("snapshot") for run in self.completed(process)]
        if not found:
            return None
        aligned = xr.align(*found, join="inner")
        return reduce(lambda a, b: a + b, aligned) / len(aligned)


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer, model and setting; the levels, and what happens along the run."""
    rows = [_batches(group) for group in by_other_settings(runs, "batch_size")]
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(rows)
        figure, panels = rows_of_panels(tall, len(_TITLES), wide=_WIDE)
        for (levels, along, losses), batches in zip(panels, rows, strict=True):
            run = batches[0].runs[0]
            _draw_levels(levels, batches, numbers)
            _draw_along(along, batches, sharpness, "sharpness_over_threshold", numbers)
            drawn = _draw_along(losses, batches, _loss, "loss", numbers)
            show_on_log_scale(losses, drawn)
            along.axhline(1, **REFERENCE)
            along.set_ylim(0, max(1.2, min(along.get_ylim()[1], 1.6)))
            _state_failures(along, batches)
            lines = [*([model_label(run.model)] if several else []), *hyperparameters(run)]
            describe_row(levels, run.optimizer, *lines)
        for axes, title in zip(panels[0], _TITLES, strict=True):
            axes.set_title(title, pad=6)
        panels[-1][0].set_xlabel("batch size [samples]")
        for axes in panels[-1][1:]:
            axes.set_xlabel("optimizer step")
        _key(figure, rows)
        fit(figure, [row[0] for row in panels], tall)
        for (_, along, _), batches in zip(panels, rows, strict=True):
            _name_batches(along, batches)
    table = numbers.table()
    shows = medians(table, "level", LATE)
    return Drawing(figure, table, shows)


def _batches(runs: Sequence[StoredRun]) -> list[_Batch]:
    """The runs of a row by their batch size, from the smallest on."""
    found: dict[tuple[bool, int], list[StoredRun]] = {}
    for run in runs:
        size = run.settings["batch_size"]
        images = int(run.settings["dataset"]["samples"] if size is None else size)
        found.setdefault((size is None, images), []).append(run)
    palette = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 1, len(found)))
    return [
        _Batch(own, size, full, to_hex(color))
        for ((full, size), own), color in zip(sorted(found.items()), palette, strict=True)
    ]


def _loss(run: StoredRun, process: str) -> xr.DataArray:
    """The loss of the iterates at the snapshots, of the run or as a model predicts it."""
    series = run.series(process)
    if process == DISCRETE:
        return run_loss(series)
    return at_snapshots(modelled_loss(series), series)


def _draw_levels(axes: Axes, batches: Sequence[_Batch], numbers: Numbers) -> None:
    """The levels of the run and its models, and the batch sharpness, against the batch size."""
    low, high = batches[0].size, batches[-1].size
    wide = np.log(high / low) or 1.0
    axes.set_xscale("log")
    axes.set_xlim(low * np.exp(-_ROOM * wide), high * np.exp(_ROOM * wide))
    for place, process in enumerate(_PROCESSES):
        aside = np.exp(_ASIDE * wide * (place - 1) * (place < 3))
        points = [
            (batch, *mean_and_error(levels))
            for batch in batches
            if (levels := batch.levels(process))
        ]
        _draw_process(axes, process, points, float(aside), numbers)
        if process == "rod_unit_step" and points:
            style = process_style(process)
            axes.axhline(points[-1][1], color=style.color, linewidth=0.8, linestyle=(0, (1, 2)))
    _draw_batch_sharpness(axes, batches, numbers)
    axes.axhline(1, **REFERENCE)
    axes.set_ylim(0, max(1.2, axes.get_ylim()[1]))
    axes.set_xticks([b.size for b in batches], labels=[_label(b) for b in batches])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(batch: _Batch) -> str:
    return f"{batch.size}\n(all)" if batch.full else f"{batch.size}"


def _draw_process(
    axes: Axes,
    process: str,
    points: Sequence[tuple[_Batch, float, float]],
    aside: float,
    numbers: Numbers,
) -> None:
    """Means and standard errors of one process, joined by its line."""
    if not points:
        return
    style = process_style(process)
    sizes, means = [b.size * aside for b, _, _ in points], [mean for _, mean, _ in points]
    axes.plot(sizes, means, label=f"{process} levels", **style.line)
    for (batch, mean, error), size in zip(points, sizes, strict=True):
        settled = batch.settled(process)
        first = batch.completed(process)[0]
        numbers.add(first, process, f"level[{batch.about}]", mean)
        numbers.add(first, process, f"settled[{batch.about}]", settled)
        look: Look = {"color": style.text_color, "zorder": 3}
        face = style.text_color if settled else "white"
        axes.plot(size, mean, process_marker(process), **_MARK, markerfacecolor=face, **look)
        if np.isfinite(error):
            numbers.add(first, process, f"standard_error_level[{batch.about}]", error)
            axes.errorbar(size, mean, error, fmt="none", ecolor=style.text_color, elinewidth=0.9)


def _draw_batch_sharpness(axes: Axes, batches: Sequence[_Batch], numbers: Numbers) -> None:
    """The batch sharpness of the run over the threshold, where that is one of the Hessian itself."""
    for batch in batches:
        found = [
            run for run in batch.completed(DISCRETE) if "batch_sharpness" in run.series(DISCRETE)
        ]
        limits = [run.eigenvalues(DISCRETE).attrs for run in found]
        if not found or limits[0].get("preconditioner") != "identity":
            continue
        values = [
            late_mean(run.series(DISCRETE)["batch_sharpness"], run.settings["steps"])
            / float(limit["threshold"])
            for run, limit in zip(found, limits, strict=True)
        ]
        mean, error = mean_and_error(values)
        look: Look = {"color": FAINT, "zorder": 2.5}
        axes.plot(batch.size, mean, "x", markersize=4, label="batch sharpness", **look)
        numbers.add(found[0], DISCRETE, f"batch_sharpness[{batch.about}]", mean)
        if np.isfinite(error):
            numbers.add(found[0], DISCRETE, f"standard_error_batch_sharpness[{batch.about}]", error)
            axes.errorbar(batch.size, mean, error, fmt="none", ecolor=FAINT, elinewidth=0.9)
    if "momentum" in (given := batches[0].runs[0].settings["optimizer"]):
        b = given["momentum"]
        small = (1 - b) / (1 + b)
        axes.axhline(small, color=FAINT, linewidth=0.8, linestyle=DASHED)
        above: Look = {"va": "bottom", "ha": "right", "color": FAINT, "room": False}
        note(
            axes,
            r"$2(1-\beta)/\eta$",
            (1, small),
            coordinates=("axes fraction", "data"),
            shift=(0, 1),
            **above,
        )


def _draw_along(
    axes: Axes,
    batches: Sequence[_Batch],
    of: Callable[[StoredRun, str], xr.DataArray],
    name: str,
    numbers: Numbers,
) -> np.ndarray:
    """The mean over seeds of a quantity along the run, of run and model; all values drawn."""
    reach = [np.zeros(0)]
    for batch in batches:
        for process in (DISCRETE, *_ALONG):
            mean = batch.mean(process, of)
            if mean is None or not mean.size:
                continue
            look: Look = {"color": batch.color, "linewidth": 1.0}
            look |= {"linestyle": DASHED, "zorder": 3} if process != DISCRETE else {"alpha": 0.8}
            steps = mean["snapshot"].values
            axes.plot(steps, mean, label=f"{process} {name}[{batch.about}]", **look)
            first = batch.completed(process)[0]
            numbers.add(first, process, f"mean_{name}[{batch.about}]", mean, steps)
            reach.append(mean.values)
    axes.set_xlim(0, max(run.settings["steps"] for batch in batches for run in batch.runs))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    return np.concatenate(reach)


def _name_batches(axes: Axes, batches: Sequence[_Batch]) -> None:
    """The batch size where the run's sharpness ends, to the right of the panel."""
    ends = []
    for batch in batches:
        mean = batch.mean(DISCRETE, sharpness)
        if mean is not None and mean.size:
            ends.append(
                (
                    float(last_quarter(mean, int(mean["snapshot"][-1])).mean()),
                    str(batch.size),
                    batch.color,
                )
            )
    end_labels(axes, ends, apart=7)
    note(axes, "batch size", (1, 1), shift=(4, 0), va="center", color=FAINT)


def _state_failures(axes: Axes, batches: Sequence[_Batch]) -> None:
    """In words which processes did not complete, and what their status says."""
    words = [
        f"{process_style(process).short}, batch {batch.size}: {status}"
        for batch in batches
        for process, status in failures(batch.runs)
    ]
    if words:
        note(axes, "\n".join(words), (0, 1), shift=(3, -3), va="top", room=False)


def _key(figure: Figure, rows: Sequence[Sequence[_Batch]]) -> None:
    """What marks and lines are, above the panels."""
    shown = {p for batches in rows for b in batches for run in b.runs for p in run.processes}
    handles = []
    for process in filter(shown.__contains__, _PROCESSES):
        style = process_style(process)
        label = style.label if process in FLOWS else "run"
        look: Look = {**style.line, "color": style.text_color, "linewidth": 1.2, **_MARK}
        handles.append(Line2D([], [], marker=process_marker(process), label=label, **look))
    cross: Look = {"marker": "x", "color": FAINT, "linestyle": "none", "markersize": 4}
    handles.append(Line2D([], [], label="batch sharpness", **cross))
    along = Line2D([], [], label="model, along the run", color=INK, linestyle=DASHED, linewidth=1)
    key(figure, [*handles, along, threshold_key(linestyle="-")])
