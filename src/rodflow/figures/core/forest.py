"""The layout of figures that compare all runs: a line each, names left, numbers right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from rodflow.figures.core.keywords import Font, Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.style import (
    BAND,
    FAINT,
    key,
    model_label,
    note,
    optimizer_label,
    process_marker,
    process_style,
)
from rodflow.store.results import StoredRun

_LINE, _APART = 0.2, 0.1  # inches
_OPTIMIZER, _MODEL = 83, 32  # points: columns of names


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

    def write(
        self, offset: float, height: float, text: str, *, room: bool = True, **font: Unpack[Font]
    ) -> None:
        """Text that ends `offset` inches to the right of the panel, at a height in data.

        Args:
            offset, height: inches to the right of the panel, and where in its data coordinates.
            text: the words.
            room: whether the layout makes room for them.
            font: what is not as usual.
        """
        where = ("axes fraction", "data")
        shift = (72 * offset, 0)
        look: Font = {"ha": "right", "va": "center", **font}
        note(self.axes, text, (1, height), coordinates=where, shift=shift, room=room, **look)

    def fit(self) -> None:
        """Make the figure as high as its lines need; to be called when everything is drawn."""
        low, high = self.axes.get_ylim()
        fit(self.figure, [self.axes], [(high - low) * _LINE])

    def write_head(self, offset: float, text: str, *, line: int = 0, **font: Unpack[Font]) -> None:
        """A heading of a column of text: as `write`, above the panel, in this line from below.

        Args:
            offset: inches to the right of the panel.
            text: the words.
            line: which line, from 0 on; each is 12 points high.
            font: what is not as usual.
        """
        shift = (72 * offset, 6 + 12 * line)
        look: Font = {**font, "ha": "right"}
        note(self.axes, text, (1, 1), shift=shift, **look)

    def key(self, flows: Sequence[str], filled: str, empty: str) -> None:
        """Above the panel: the mark of each flow, and what filled and open ones are.

        Args:
            flows: those that have marks.
            filled, empty: what marks of either kind are, in words.
        """
        look: Look = {"linestyle": "none", "markersize": 4.5}
        marks = [(process_style(flow), process_marker(flow)) for flow in flows]
        handles = [
            Line2D([], [], color=style.color, marker=marker, label=style.label, **look)
            for style, marker in marks
        ]
        handles += [
            Line2D([], [], color=FAINT, marker="o", markerfacecolor=face, label=label, **look)
            for label, face in ((filled, FAINT), (empty, "white"))
        ]
        key(self.figure, handles)


def forest(runs: Sequence[StoredRun]) -> Forest:
    """Lay out runs as lines, optimizers (then models) in the order given.

    Args:
        runs: what to show.
    """
    groups: dict[str, dict[str, list[StoredRun]]] = {}
    for run in runs:
        groups.setdefault(run.optimizer, {}).setdefault(run.model, []).append(run)
    several = len({run.model for run in runs}) > 1
    left = _OPTIMIZER + _MODEL * several

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
    figure, ((axes,),) = rows_of_panels([(0.4 - low) * _LINE], 1)
    axes.set_ylim(low - 0.2, 0.2)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    where = ("axes fraction", "data")
    for index, (optimizer, top, bottom) in enumerate(bands):
        at = (0, (top + bottom) / 2)
        font: Look = {"fontsize": 7.5, "fontweight": "bold"}
        name = optimizer_label(optimizer)
        note(axes, name, at, coordinates=where, shift=(-left, 0), va="center", **font)
        if index % 2 == 0:
            band = axes.fill_between(
                (0, 1),
                bottom - _APART / _LINE / 2,
                top + _APART / _LINE / 2,
                transform=blended_transform_factory(figure.transFigure, axes.transData),
                color=BAND,
                linewidth=0,
                zorder=0,
                clip_on=False,
            )
            band.set_in_layout(False)
    for line in lines if several else ():
        name, at = model_label(line.runs[0].model), (0, line.height)
        note(axes, name, at, coordinates=where, shift=(-_MODEL, 0), va="center")
    return Forest(figure, axes, tuple(lines))
