"""What a run holds at the edge of stability, over the window by which claims judge it: see `rodflow.analysis.edge`."""

from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.lines import Line2D

from rodflow.analysis import edge
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import diverged, never_reached
from rodflow.figures.core.rows import onset, sharpness
from rodflow.figures.core.style import FAINT
from rodflow.store.results import DISCRETE, StoredRun

NOT_AT_EDGE = "not at the edge"
"""What is said of a run that reached its threshold, and whose rod is closed for most of the window."""

ROD_CLOSED = f"rod closed: {NOT_AT_EDGE}"
"""What a key says of it."""


class Held(NamedTuple):
    """What a run that reached its threshold holds.

    Attributes:
        window: from the opening of the rod to the end of the run.
        ratio: how sharpness over threshold is spread over it.
    """

    window: edge.Window
    ratio: edge.Spread

    def name(self, number: str) -> str:
        """Of a number in the table, such as "mean_at_edge"; another one where the run is not there."""
        return f"{number}_{'at_edge' if self.window.at_edge else 'not_at_edge'}"

    @property
    def numbers(self) -> dict[str, float]:
        """Time average and quantiles of 10% and 90%, by their names in the table."""
        found = {"mean": self.ratio.mean, "low": self.ratio.low, "high": self.ratio.high}
        return {self.name(number): value for number, value in found.items()}


def held(run: StoredRun, since: int = 0) -> Held | None:
    """What a run holds from the opening of its rod on, or from a later step; None where there is nothing to show.

    A run that diverged or never reached its threshold holds nothing.

    Args:
        run: the run.
        since: the first step that counts, if the rod opens before it.
    """
    if diverged(run) or never_reached(run):
        return None
    where = edge.window(run.series(DISCRETE)["rod_length"], onset(run))
    if where is None:
        return None
    where = where._replace(first=max(where.first, since))
    found = edge.spread(sharpness(run, DISCRETE), where)
    return Held(where, found) if found.size else None


def held_at_edge(run: StoredRun, since: int = 0) -> Held | None:
    """The same; None too of a run that is not at the edge.

    Args:
        run, since: as for `held`.
    """
    found = held(run, since)
    return found if found and found.window.at_edge else None


def not_at_edge_key(runs: Iterable[StoredRun]) -> list[Line2D]:
    """What a key shows of the open marks of runs that are not at the edge, if there are any."""
    look: Look = {"marker": "o", "markersize": 4, "markerfacecolor": "white"}
    one = Line2D([], [], color=FAINT, linestyle="none", label=ROD_CLOSED, **look)
    return [one] if any((found := held(run)) and not found.window.at_edge for run in runs) else []
