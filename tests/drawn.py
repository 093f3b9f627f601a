"""What can be read off a drawn figure: its words and lines, and rows of its table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rodflow.figures.core.style import Drawing


def words(drawing: Drawing) -> list[str]:
    """Everything that is written in a figure, but for numbers at ticks."""
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    labels = [
        part.get_text()
        for axes in drawing.figure.axes
        for part in (axes.title, axes.xaxis.label, axes.yaxis.label)
    ]
    labels += [axes.get_title(loc="left") for axes in drawing.figure.axes]
    legends = [*drawing.figure.legends, *(axes.get_legend() for axes in drawing.figure.axes)]
    keys = [
        text.get_text()
        for legend in legends
        if legend
        for text in (legend.get_title(), *legend.get_texts())
    ]
    return [word for word in [*texts, *labels, *keys] if word]


def crowded(drawing: Drawing) -> list[tuple[str, str]]:
    """Pairs of words in and above the panels of a figure that touch, once it is laid out."""
    drawing.figure.draw_without_rendering()
    titles = [axes.title for axes in drawing.figure.axes]
    texts = [*titles, *(text for axes in drawing.figure.axes for text in axes.texts)]
    boxes = [(one, one.get_window_extent()) for one in texts if one.get_text()]
    return [
        (one.get_text(), other.get_text())
        for place, (one, box) in enumerate(boxes)
        for other, there in boxes[:place]
        if box.overlaps(there)
    ]


def lines(axes: Axes, label: str) -> Iterator[Line2D]:
    """The lines with this label."""
    return (line for line in axes.lines if line.get_label() == label)


def panels(drawing: Drawing, columns: int = 3) -> np.ndarray:
    """The axes of a figure of this many columns, [row, column]."""
    return np.reshape(np.array(drawing.figure.axes, object), (-1, columns))


def rows_of(table: pd.DataFrame, process: str, quantity: str) -> pd.DataFrame:
    """What a table says of a quantity of a process."""
    return table[(table["process"] == process) & (table["quantity"] == quantity)]


def assert_drawn(line: Line2D, rows: pd.DataFrame) -> int:
    """Check that a line has exactly these points; how many there are."""
    np.testing.assert_array_equal(line.get_xdata(), rows["step"])
    np.testing.assert_array_equal(line.get_ydata(), rows["value"])
    return len(rows)
