"""Panels in rows and columns, laid out by matplotlib's own engine.

The engine makes room for all that is written beside the panels, and for a key above them:

    figure, rows = rows_of_panels([0.8, 0.8], 3)
    ...
    fit(figure, [row[0] for row in rows], [0.8, 0.8])
"""

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

PAGE = 7.5
"""Width of a page, in inches."""


BESIDE = "beside"
"""Group of the words in the column to the left of the panels."""


def page(columns: int, narrow: float = 1.7, wide: float = 4.0) -> float:
    """Width of a figure whose columns fill a page but are neither narrower nor wider than this, in inches.

    A figure of few columns may have 0.7 of a page, though they are wider then.

    Args:
        columns: how many.
        narrow, wide: the least and the largest width of one, in inches.
    """
    return float(np.clip(PAGE, columns * narrow, max(columns * wide, 0.7 * PAGE)))


def empty_figure(width: float, tall: Sequence[float]) -> Figure:
    """An empty figure that lays itself out, known to no pyplot window.

    Args:
        width: in inches.
        tall: heights of its rows of panels, in inches. It is far too high for them until `fit` is called, so that there
            is room for whatever is written.
    """
    figure = Figure(figsize=(width, 3 * sum(tall) + 5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def rows_of_panels(
    tall: Sequence[float], count: int, *, width: float = PAGE, wide: Sequence[float] | None = None
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with panels, [row][column].

    Args:
        tall: height of each row, in inches: see `fit`.
        count: how many columns.
        width: of the figure, in inches.
        wide: widths of the columns, relative to one another; None: all the same.
    """
    figure = empty_figure(width, tall)
    grid = figure.add_gridspec(len(tall), count, height_ratios=tall, width_ratios=wide)
    return figure, [
        [figure.add_subplot(grid[row, column]) for column in range(count)]
        for row in range(len(tall))
    ]


def columns_of_panels(
    tall: Sequence[float], count: int, *, width: float | None = None
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with panels, [column][row]: as `rows_of_panels`, as wide as its columns need.

    Args:
        tall: height of each row, in inches: see `fit`.
        count: how many columns.
        width: of the figure, in inches; None: that of `page`.
    """
    figure = empty_figure(page(count) if width is None else width, tall)
    grid = figure.add_gridspec(len(tall), count, height_ratios=tall)
    rows = range(len(tall))
    return figure, [
        [figure.add_subplot(grid[row, column]) for row in rows] for column in range(count)
    ]


def fit(figure: Figure, column: Sequence[Axes], tall: Sequence[float]) -> None:
    """Make a figure as high as its rows of panels need it to be; to be called when everything is drawn.

    Args:
        figure: the figure.
        column: a panel of each row.
        tall: how high each is to be, in inches.
    """
    figure.align_ylabels()
    for _ in range(_PASSES):  # what is written beside a panel moves with its height
        height = figure.get_figheight()
        if _laid_out(figure):
            _place_beside(figure)
            have = sum(axes.get_position().height for axes in column) * height
            figure.set_figheight(height + sum(tall) - have)
        else:  # the words alone are higher than the figure
            figure.set_figheight(2 * height)
    if not _laid_out(figure):
        figure.set_figheight(2 * figure.get_figheight())
        _laid_out(figure)


_PASSES = 2
_GAP = 9  # points


def _place_beside(figure: Figure) -> None:
    """Put the words of `BESIDE` as near to the panels as the widest of them and of the tick labels allow."""
    words = [
        (axes, text)
        for axes in figure.axes
        for text in axes.texts
        if isinstance(text, Annotation) and text.get_gid() == BESIDE
    ]
    ticks, wide = 0.0, 0.0
    for axes, text in words:
        box = axes.yaxis.get_tightbbox()
        if axes.axison and box is not None:
            ticks = max(ticks, axes.bbox.x0 - box.x0)
        wide = max(wide, text.get_window_extent().width)
    for _, text in words:
        text.xyann = (-(ticks + wide) * 72 / figure.dpi - _GAP, text.xyann[1])


def _laid_out(figure: Figure) -> bool:
    """Lay a figure out; whether there was room for that."""
    engine = figure.get_layout_engine()
    assert engine is not None
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        engine.execute(figure)
    return not found
