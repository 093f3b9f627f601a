"""Words in a panel on the discrete runs that ended early, where a cross at the end of a curve may be out of sight."""

from collections.abc import Iterable

from matplotlib.axes import Axes

from rodflow.figures.core.marks import diverged, ending
from rodflow.figures.core.style import INK, note_lines
from rodflow.store.results import StoredRun


def note_endings(axes: Axes, runs: Iterable[StoredRun]) -> None:
    """In the lower left corner, how those of the runs ended that did not complete, each ending once.

    Args:
        axes, runs: the panel, and the runs that are drawn in it.
    """
    words = dict.fromkeys(ending(run) for run in runs if diverged(run))
    note_lines(axes, [(text, INK) for text in words])
