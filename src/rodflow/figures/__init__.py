"""The catalogue of figures: what each one needs, known without importing matplotlib.

A figure is a module of this package with a function `draw(runs) -> Drawing`: stored runs in, a
matplotlib figure and the table of what it draws out.

    drawing = figures.load("tracking").draw(stored_runs("results/digits"))
    style.save(drawing, "results/digits/figures/tracking")

To add one, write the module, name it here, and write its caption in `workflow/report/`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from rodflow.results import DISCRETE, StoredRun

if TYPE_CHECKING:
    from rodflow.figures.style import Drawing


@dataclass(frozen=True)
class Needs:
    """What a figure is made from.

    Attributes:
        per_model: whether there is one figure a model, or one of all runs.
        files: which artifacts of a run it reads: "comparison", "trajectories", "sharpness".
    """

    per_model: bool
    files: tuple[str, ...]

    def inputs(self, flows: Iterable[str]) -> list[str]:
        """The files it reads of one run with these flows, relative to the run's folder."""
        processes = [DISCRETE, *flows]
        paths = {
            "comparison": ["comparison.nc"],
            "trajectories": [f"{process}.nc" for process in processes],
            "sharpness": [f"sharpness/{process}.nc" for process in processes],
        }
        return [path for kind in self.files for path in paths[kind]]


class Module(Protocol):
    """What a figure's module offers."""

    def draw(self, runs: Sequence[StoredRun]) -> "Drawing":
        """The figure of these runs, which appear in the order given."""


CATALOGUE = {
    "tracking": Needs(per_model=True, files=("comparison", "trajectories")),
    "thresholds": Needs(per_model=False, files=("comparison", "trajectories", "sharpness")),
    "tracking_summary": Needs(per_model=False, files=("comparison",)),
}


def load(name: str) -> Module:
    """The module that draws a figure.

    Raises:
        LookupError: there is no such figure.
    """
    if name not in CATALOGUE:
        raise LookupError(f"no figure {name!r}; there are {', '.join(CATALOGUE)}")
    return cast(Module, import_module(f"{__name__}.{name}"))
