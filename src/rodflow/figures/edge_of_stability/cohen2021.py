"""Sharpness over threshold of runs that each differ from gradient descent in one thing: a panel a run."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.endings import note_endings
from rodflow.figures.core.findings import medians
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import mark_end, onset, sharpness
from rodflow.figures.core.style import (
    DASHED,
    THIN,
    Drawing,
    Numbers,
    key,
    lines_of,
    model_label,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.figures.core.sweeps import criterion_label, named, varied
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=27,
    caption=r"""
*Claim* (Cohen et al., arXiv 2103.00065): the sharpness rises to the threshold of the method, whatever the size of
network and data and the criterion, and stays there; with momentum too, each kind at its own; after a drop of the
learning rate it rises again, to the new threshold; on small batches it does not get there. Gradient descent on the
quadratic Taylor model leaves, because only higher derivatives hold the run at the edge.

One panel a run: sharpness over the stability threshold of its method against the optimizer step, both of the
full-batch loss; the threshold is that at the step where the learning rate changes in time. Line at 1; dashed: where
the run reaches it; a cross ends the curve of a process that diverged. The Taylor model is expanded at step
:math:`t_0`, where its curve begins; its curve shows the sharpness of the loss itself at the weights it takes.

Read from ``comparison.nc``; ``cohen2021.csv`` has every point drawn.
""",
)

_COLUMNS, _TALL, _HIGHEST = 4, 0.95, 1.8


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Small multiples in the order of the config."""
    numbers = Numbers()
    lines = -(-len(runs) // _COLUMNS)
    with styled():
        figure, rows = rows_of_panels([_TALL] * lines, _COLUMNS)
        panels = [*chain(*rows)]
        names = varied(runs)
        for place, (axes, run) in enumerate(zip(panels, runs, strict=False)):
            for process in run.processes:
                values = sharpness(run, process).dropna("snapshot")
                steps, heights = values["snapshot"].values, values.values.astype(float)
                axes.plot(steps, heights, label=process, **process_style(process).line)
                numbers.add(run, process, named("sharpness", run, names), heights, steps)
                axes.set_ylim(0, _HIGHEST)
                if run.status(process) != COMPLETED and heights.size:
                    mark_end(axes, process, steps[-1], heights[-1])
            axes.axhline(1, **THIN)
            if np.isfinite(reached := onset(run)):
                axes.axvline(reached, **THIN, linestyle=DASHED)
            axes.set_xlim(0, run.settings["steps"])
            note_endings(axes, [run])
            axes.set_title(
                f"{optimizer_label(run.optimizer)}, {model_label(run.model)}", pad=14, fontsize=7
            )
            note(axes, ", ".join(_words(run)), (0.5, 1), shift=(0, 3), ha="center")
            axes.tick_params(labelleft=place % _COLUMNS == 0)
            if place + _COLUMNS >= len(runs):
                axes.set_xlabel("optimizer step")
        for axes in panels[len(runs) :]:
            axes.set_axis_off()
        for row in rows:
            row[0].set_ylabel("sharpness /\nthreshold")
        key(figure, lines_of(dict.fromkeys(p for run in runs for p in run.processes)))
        fit(figure, [row[0] for row in rows], [_TALL] * lines)
    table = numbers.table()
    shows = medians(table, "sharpness", "the last sharpness over threshold")
    return Drawing(figure, table, shows)


def _words(run: StoredRun) -> list[str]:
    """What tells a run from the others, in few words."""
    rate, batch = run.settings["optimizer"]["learning_rate"], run.settings["batch_size"]
    momentum = run.settings["optimizer"].get("momentum")
    found = [criterion_label(run)]
    found.append(
        f"$\\eta$ drops at {rate['at']}" if isinstance(rate, dict) else f"$\\eta$ {rate:g}"
    )
    found += [f"$\\beta$ {momentum:g}"] if momentum else []
    found += [f"batch {batch}"] if batch else []
    flows = [process for process in run.processes if process != DISCRETE]
    return found + ([f"$t_0$ {run.settings['start']}"] if flows else [])
