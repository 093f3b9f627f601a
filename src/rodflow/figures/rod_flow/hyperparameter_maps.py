"""Maps of two hyperparameters: a number of each run in colours and in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import TOLERANCE
from rodflow.figures.core.style import SMALL, note, process_style
from rodflow.figures.rod_flow.hyperparameter_points import TITLES, Point, gain, rod_flows
from rodflow.store.results import COMPLETED, DISCRETE


@dataclass(frozen=True)
class _Map:
    """What a map shows: its title, colours, the format of its numbers, and the number of a run."""

    title: str
    palette: str
    digits: str
    of: Callable[[Point], float]


def _maps(flow: str | None) -> list[_Map]:
    """Error of a flow, gain over the stable flow, and sharpness."""
    late = _Map(
        "sharpness / threshold", "RdBu_r", ".2f", lambda point: point.number("late_mean", DISCRETE)
    )
    if flow is None:
        return [late]
    title = f"last tracking error, {process_style(flow).label}"
    return [
        _Map(title, "Purples", ".2g", lambda point: point.number("error_last", flow)),
        _Map("the stable flow's over it", "Greens", ".2g", lambda point: gain(point, flow)),
        late,
    ]


def draw_maps(
    panels: Sequence[Axes],
    pair: tuple[str, str],
    cells: Mapping[tuple[float, ...], Sequence[Point]],
    flows: Sequence[str],
) -> None:
    """All maps of two hyperparameters, side by side; panels that are left over are hidden.

    Args:
        panels: one a map, from the left.
        pair: the hyperparameters along the horizontal and the vertical axis.
        cells: their values -> the runs there, see `cells_of`.
        flows: those of the runs; the first that is not the stable flow has maps.
    """
    maps = _maps(next(iter(rod_flows(flows)), None))
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    for axes, what in zip(panels, maps, strict=False):
        _draw_map(axes, what, cells)
        axes.set_xlabel(TITLES.get(pair[0], pair[0]))
        axes.tick_params(length=0, labelleft=axes is panels[0], labelrotation=0)
    panels[0].set_ylabel(TITLES.get(pair[1], pair[1]))


def _draw_map(axes: Axes, what: _Map, cells: Mapping[tuple[float, ...], Sequence[Point]]) -> None:
    """A number a cell, in colours and in words; of several seeds their geometric mean."""
    across, up = (sorted({key[axis] for key in cells}) for axis in range(2))
    values = np.full((len(up), len(across)), np.nan)
    for (x, y), members in cells.items():
        numbers = [what.of(point) for point in members]
        values[up.index(y), across.index(x)] = np.exp(np.mean(np.log(numbers)))
    names = [[f"{value:g}" for value in axis] for axis in (up, across)]
    shades: Look = {"cmap": what.palette, "norm": _norm(values, what.palette), "cbar": False}
    words: Look = {"annot": True, "fmt": what.digits, "annot_kws": {"fontsize": SMALL}}
    sns.heatmap(pd.DataFrame(values, *names), ax=axes, linewidths=0.8, **shades, **words)
    axes.invert_yaxis()
    for row, column in np.argwhere(~np.isfinite(values)):
        why = _missing(cells.get((across[column], up[row]), []))
        at, where = (column + 0.5, row + 0.5), ("data", "data")
        note(axes, why, at, coordinates=where, ha="center", va="center")
    axes.set_title(what.title, fontsize=7)


def _norm(values: np.ndarray, colors: str) -> Normalize:
    """Around 1 for a diverging palette, otherwise logarithmic."""
    known = values[np.isfinite(values)]
    if colors.startswith("RdBu"):
        half = max(2 * TOLERANCE, *np.abs(known - 1), 0)
        return Normalize(1 - half, 1 + half)
    low, high = (known.min(), known.max()) if known.size else (1.0, 1.0)
    return LogNorm(low / 1.5, high * 1.5)


def _missing(points: Sequence[Point]) -> str:
    """Why a cell has no number."""
    statuses = [point.run.status(process) for point in points for process in point.run.processes]
    failed = [status.split(" at ")[0].split(":")[0] for status in statuses if status != COMPLETED]
    return failed[0] if failed else "no run" if not points else "none"
