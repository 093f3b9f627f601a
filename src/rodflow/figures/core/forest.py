"""The layout of figures that compare all runs: a line each, names left, numbers right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rodflow.figures.core.style import BAND, model_label, new_figure, note, optimizer_label
from rodflow.store.results import StoredRun

_LINE, _APART, _TOP, _BOTTOM = 0.2, 0.1, 0.5, 0.42  # inches
_EDGE, _OPTIMIZER, _MODEL = 0.08, 1.15, 0.45  # inches: margin and columns of names


@dataclass(frozen=True)
class Line:
    """One line of a forest.

    Attributes:
        runs: the runs on it, one a seed.
        height: where it is, in data coordinates of the axes.
    """

    runs: tuple[StoredRun, ...]
    height: float

    @property
    def spread(self) -> list[float]:
        """A height for each run, close to that of the line."""
        count = len(self.runs)
        return [self.height + 0.5 * ((k + 0.5) / count - 0.5) for k in range(count)]


@dataclass(frozen=True)
class Forest:
    """A figure with lines, their names on the left and room for columns of text on the right.

    Attributes:
        figure: the figure.
        axes: the panel; vertical unit: the distance of two lines.
        lines: from top to bottom.
    """

    figure: Figure
    axes: Axes
    lines: tuple[Line, ...]

    def write(self, offset: float, height: float, text: str, **font: Any) -> None:
        """Text that ends `offset` inches to the right of the panel, at a height in data."""
        where = ("axes fraction", "data")
        shift = (72 * offset, 0)
        font = {"ha": "right", "va": "center"} | font
        note(self.axes, text, (1, height), coordinates=where, shift=shift, **font)

    @property
    def head(self) -> float:
        """The height of a heading of a column of text."""
        return self.axes.get_ylim()[1] + 0.9


def forest(runs: Sequence[StoredRun], *, panel: float, right: float) -> Forest:
    """Lay out runs as lines, optimizers (then models) in the order given.

    Args:
        runs: what to show.
        panel: width of the panel, in inches.
        right: width of the columns of text to its right, in inches.
    """
    groups: dict[str, dict[str, list[StoredRun]]] = {}
    for run in runs:
        groups.setdefault(run.optimizer, {}).setdefault(run.model, []).append(run)
    several = len({run.model for run in runs}) > 1
    left = _EDGE + _OPTIMIZER + (_MODEL if several else 0)

    lines: list[Line] = []
    bands: list[tuple[str, float, float]] = []
    depth = 0.0
    for optimizer, models in groups.items():
        top = depth
        for members in models.values():
            lines.append(Line(tuple(members), depth - 0.5))
            depth -= 1
        bands.append((optimizer, top, depth))
        depth -= _APART / _LINE
    low = depth + _APART / _LINE
    width, height = left + panel + right, _TOP + _BOTTOM + (0.4 - low) * _LINE

    figure = new_figure(width, height)
    axes = figure.add_axes(
        (left / width, _BOTTOM / height, panel / width, 1 - (_TOP + _BOTTOM) / height)
    )
    axes.set_ylim(low - 0.2, 0.2)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    where = ("figure fraction", "data")
    for index, (optimizer, top, bottom) in enumerate(bands):
        at = (_EDGE / width, (top + bottom) / 2)
        name = optimizer_label(optimizer)
        note(axes, name, at, coordinates=where, va="center", fontsize=7.5, fontweight="bold")
        if index % 2 == 0:
            axes.fill_between(
                (-left / panel, 1 + right / panel),
                bottom - _APART / _LINE / 2,
                top + _APART / _LINE / 2,
                transform=axes.get_yaxis_transform(),
                color=BAND,
                linewidth=0,
                zorder=0,
                clip_on=False,
            )
    if several:
        for line in lines:
            at = ((_EDGE + _OPTIMIZER) / width, line.height)
            note(axes, model_label(line.runs[0].model), at, coordinates=where, va="center")
    return Forest(figure, axes, tuple(lines))
