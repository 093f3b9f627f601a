"""How far below its threshold the sharpness stays when an optimizer sees minibatches.

One row an optimizer and model, and each setting of it. On the left the preconditioned sharpness over its threshold
along the run, one colour a batch size; on the right its average over the last quarter against the batch size. The loss
and the flows that model such runs are in `rodflow.figures.minibatches.minibatch_levels`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from rodflow.analysis.equilibrium import mean_and_error
from rodflow.config.declarations import ALONG_RUNS, SYMBOLS, FigureEntry
from rodflow.figures.core.findings import LATE, medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import cross, curve, diverged, late, threshold_key
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import by_row, describe_row, onset, sharpness
from rodflow.figures.core.style import (
    FAINT,
    REFERENCE,
    Drawing,
    Numbers,
    end_labels,
    hyperparameters,
    key,
    model_label,
    note,
    styled,
)
from rodflow.figures.core.sweeps import varied, words_of
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=19,
    caption=r"""
*Claim* (Cohen et al., arXiv 2207.14484): with minibatches the sharpness levels off or creeps up below the
threshold, the lower the smaller the batch, and with all images it is held there.

How far below its threshold the preconditioned sharpness stays at different batch sizes. The curvature is that
of the loss over all images, whatever the batch; the preconditioner is the run's own, from the gradients of its
batches; and the threshold is that of linear theory for steps on all images. Everything but the batch size is
dimensionless. *Left*: along the run, against the optimizer step, one colour a batch size; thin lines are seeds,
bold lines their mean. *Right*: the time average over the last quarter of the run against the batch size
(logarithmic); dots, moved a little aside, are seeds, diamonds and the numbers above them their mean, and bars
its standard error. Below each batch size stands how many seeds reach the threshold at any time from :math:`t_0`
on. A mean that still rises on the left has not settled by the end, so that its average on the right depends on
the length of the run. Means are over the seeds that completed; one that diverged is named, and its line ends in
a cross. The figure ``minibatch_levels`` has the loss, and the flows that model such runs.

Sharpness, averages and onsets are from ``comparison.nc``; ``aeos_minibatch.csv`` has every point drawn, means
and standard errors in the rows of the first seed.
""",
)


_LOWEST_TOP, _HIGHEST_TOP = 1.2, 2.1  # of the axis of sharpness over threshold
_TITLES = ("preconditioned sharpness / threshold", "average over the last quarter")
_ASIDE = 0.035  # how far single seeds stand beside their mean, of the width of the axis
_ROOM = 0.12  # beside the outermost batch sizes, likewise

_PANEL, _WIDE = 1.8, (2.95, 2.3)  # inches


@dataclass(frozen=True)
class _Batch:
    """The runs of one row with one batch size.

    Attributes:
        runs: one a seed.
        size: images in a batch.
        name: "full" where that is all of them, otherwise the size.
        about: in the table, such as "batch_size=16".
        color: of everything drawn of them.
    """

    runs: Sequence[StoredRun]
    size: int
    name: str
    about: str
    color: str

    @property
    def label(self) -> str:
        """The size in words."""
        return f"{self.size} (all)" if self.name == "full" else f"{self.size}"

    @property
    def completed(self) -> list[StoredRun]:
        """The runs that did."""
        return [run for run in self.runs if not diverged(run)]

    @property
    def late_means(self) -> dict[StoredRun, float]:
        """Average over the last quarter, of the completed runs."""
        return {run: value for run in self.runs if np.isfinite(value := late(run))}

    @property
    def mean(self) -> xr.DataArray | None:
        """Mean over the completed runs, [snapshot], where all of them have a value; None without any."""
        if not self.completed:
            return None
        ratios = [sharpness(run, DISCRETE).dropna("snapshot") for run in self.completed]
        return cast(xr.DataArray, sum(xr.align(*ratios, join="inner")) / len(ratios))


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer, model and setting, the run on the left and the batch sizes on the right."""
    rows = _rows(runs)
    every = [batch.size for _, batches in rows for batch in batches]
    span = min(every), max(every)
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(rows)
        figure, panels = rows_of_panels(tall, len(_TITLES), wide=_WIDE)
        for (along, sizes), (lines, batches) in zip(panels, rows, strict=True):
            _draw_runs(along, batches, numbers)
            sizes.set_ylim(along.get_ylim())
            for axes in (along, sizes):
                axes.axhline(1, **REFERENCE)
            _draw_sizes(sizes, batches, span, numbers)
            _state_failures(along, batches)
            run = batches[0].runs[0]
            describe_row(
                along, run.optimizer, *([model_label(run.model)] if several else []), *lines
            )
        for axes, title in zip(panels[0], _TITLES, strict=True):
            axes.set_title(title, pad=6)
        for (upper, _), (lower, _) in pairwise(panels):
            upper.tick_params(labelbottom=upper.get_xlim() != lower.get_xlim())
        panels[-1][0].set_xlabel("optimizer step")
        panels[-1][1].set_xlabel("batch size [images]")
        _key(figure)
        fit(figure, [along for along, _ in panels], tall)
        for (along, _), (_, batches) in zip(panels, rows, strict=True):
            _name_batches(along, batches)
    table = numbers.table()
    shows = medians(table, "late_mean", LATE)
    return Drawing(figure, table, shows)


def _rows(runs: Sequence[StoredRun]) -> list[tuple[list[str], list[_Batch]]]:
    """Of each row its hyperparameters, in words, and its batch sizes from the smallest on."""
    order = sorted({_size(run) for run in runs})
    palette = matplotlib.colormaps["viridis_r"](np.linspace(0.22, 1, len(order) + 1)[1:])
    colors = {size: to_hex(color) for size, color in zip(order, palette, strict=True)}
    rows = []
    for members in by_row(runs):
        names = [name for name in varied(members) if name != "batch_size"]
        parts: dict[tuple[str, ...], list[StoredRun]] = {}
        for run in members:
            parts.setdefault(tuple(words_of(run, names)), []).append(run)
        for words, part in parts.items():
            lines = [*hyperparameters(part[0])]
            lines += [word for word in words if word.split("=")[0] not in SYMBOLS]
            rows.append((lines, _batches(part, words, colors)))
    return rows


def _batches(
    runs: Sequence[StoredRun], words: Sequence[str], colors: Mapping[tuple[bool, int], str]
) -> list[_Batch]:
    """The runs of a row by their batch size; `words` tell the row apart in the table."""
    found: dict[tuple[bool, int], list[StoredRun]] = {}
    for run in runs:
        found.setdefault(_size(run), []).append(run)
    return [
        _Batch(own, size, name, " ".join([*words, f"batch_size={name}"]), colors[full, size])
        for (full, size), own in sorted(found.items(), key=lambda item: item[0])
        for name in ["full" if full else f"{size}"]
    ]


def _size(run: StoredRun) -> tuple[bool, int]:
    """Whether a batch is all images, and how many images it is."""
    size, samples = run.settings["batch_size"], run.settings["dataset"]["samples"]
    return size is None, int(samples if size is None else size)


def _draw_runs(axes: Axes, batches: Sequence[_Batch], numbers: Numbers) -> None:
    """Single seeds and their mean along the run."""
    reach = [np.ones(0)]
    curves = []
    for batch in batches:
        for run in batch.runs:
            quantity = f"sharpness_over_threshold[{batch.about}]"
            look: Look = {"linewidth": 0.6, "alpha": 0.55, "zorder": 2}
            look |= {"color": batch.color, "label": f"{batch.about} seed {run.seed}"}
            drawn = curve(axes, run, quantity, sharpness(run, DISCRETE), numbers, **look)
            lost = diverged(run) and drawn.size
            reach.append(drawn.values[drawn <= 10 * drawn[0]] if lost else drawn.values)
            curves.append((run, drawn, batch.color))
        mean = batch.mean
        if mean is not None:
            steps = mean["snapshot"].values
            axes.plot(steps, mean, label=batch.about, color=batch.color, linewidth=1.8, zorder=3)
            quantity = f"mean_sharpness_over_threshold[{batch.about}]"
            numbers.add(batch.runs[0], DISCRETE, quantity, mean, steps)
    axes.set_xlim(0, max(run.settings["steps"] for batch in batches for run in batch.runs))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    highest = max(np.concatenate(reach), default=1.0)
    axes.set_ylim(0, np.clip(1.1 * highest, _LOWEST_TOP, _HIGHEST_TOP))
    for run, drawn, color in curves:
        cross(axes, run, drawn, color)


def _draw_sizes(
    axes: Axes, batches: Sequence[_Batch], span: tuple[int, int], numbers: Numbers
) -> None:
    """Averages over the last quarter against the batch size, and how many seeds reach the threshold."""
    low, high = span
    wide = np.log(high / low) or 1.0
    axes.set_xscale("log")
    axes.set_xlim(low * np.exp(-_ROOM * wide), high * np.exp(_ROOM * wide))
    labels = []
    for batch in batches:
        reaching = sum(bool(np.isfinite(onset(run))) for run in batch.completed)
        seeds = f"{reaching} of {len(batch.completed)}" if batch.completed else "diverged"
        name = batch.label.replace(" ", "\n")
        labels.append(f"{name}\n{seeds}" if "\n" in name else f"{name}\n\n{seeds}")
        for run in batch.completed:
            numbers.add(run, DISCRETE, f"reaches_threshold[{batch.about}]", np.isfinite(onset(run)))
        if batch.late_means:
            _draw_late(axes, batch, float(batch.size * np.exp(-_ASIDE * wide)), numbers)
    axes.set_xticks([batch.size for batch in batches], labels=labels)
    look: Look = {
        "ha": "right",
        "va": "top",
        "color": FAINT,
        "linespacing": 1.1,
    }
    note(axes, "seeds that reach\nthe threshold", (0, 0), shift=(-4, -20), **look)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_late(axes: Axes, batch: _Batch, aside: float, numbers: Numbers) -> None:
    """The averages of the seeds with one batch size, their mean and its standard error."""
    for run, value in batch.late_means.items():
        numbers.add(run, DISCRETE, f"late_mean[{batch.about}]", value)
    values = [*batch.late_means.values()]
    dots: Look = {
        "marker": "o",
        "markersize": 2.8,
        "linestyle": "none",
        "markeredgewidth": 0,
    }
    axes.plot(
        [aside] * len(values), values, color=batch.color, alpha=0.6, label=batch.about, **dots
    )
    mean, error = mean_and_error(values)
    first = batch.runs[0]
    numbers.add(first, DISCRETE, f"mean_late_mean[{batch.about}]", mean)
    look: Look = {"color": batch.color, "zorder": 3}
    axes.plot(batch.size, mean, marker="D", markersize=3.6, label=f"mean {batch.about}", **look)
    if np.isfinite(error):
        numbers.add(first, DISCRETE, f"standard_error_late_mean[{batch.about}]", error)
        axes.errorbar(
            batch.size,
            mean,
            error,
            fmt="none",
            ecolor=batch.color,
            capsize=3,
            capthick=0.9,
            elinewidth=0.9,
            zorder=3,
        )
    where, shift = ("data", "data"), (0, 6)
    place = (batch.size, max(values))
    note(axes, f"{mean:.2f}", place, coordinates=where, shift=shift, ha="center")


def _name_batches(axes: Axes, batches: Sequence[_Batch]) -> None:
    """The batch size where the mean of its seeds ends, to the right of the panel."""
    found = [(batch, batch.mean) for batch in batches]
    ends = [(b, float(mean[-1])) for b, mean in found if mean is not None and mean.size]
    end_labels(axes, [(height, batch.label, batch.color) for batch, height in ends])
    note(axes, "batch size", (1, 1), shift=(4, 0), va="top", color=FAINT)


def _state_failures(axes: Axes, batches: Sequence[_Batch]) -> None:
    """In words which runs did not complete."""
    words = [
        f"batch size {batch.name}, seed {run.seed}: {run.status(DISCRETE)}"
        for batch in batches
        for run in batch.runs
        if diverged(run)
    ]
    if words:
        note(axes, "\n".join(words), (0, 1), shift=(3, -3), va="top", room=False)


def _key(figure: Figure) -> None:
    """What lines and marks are, above the panels."""
    thin = Line2D([], [], color=FAINT, linewidth=0.6, marker="o", markersize=2.8)
    thin.set_label("single seed")
    bold = Line2D([], [], color=FAINT, linewidth=1.8, marker="D", markersize=3.6)
    bold.set_label("mean of the seeds (bars: standard error)")
    key(figure, [thin, bold, threshold_key(linestyle="-")])
