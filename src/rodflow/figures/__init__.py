"""The catalogue of figures: what each one needs, known without importing matplotlib.

A figure is a module of this package with a function `draw(runs) -> Drawing`: stored runs in, a
matplotlib figure and the table of what it draws out.

    drawing = figures.load("thresholds").draw(stored_runs("results/digits"))
    style.save(drawing, "results/digits/figures/thresholds")

To add one, write the module, name it here, and write its caption in `workflow/report/`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from rodflow.results import StoredRun

if TYPE_CHECKING:
    from rodflow.figures.style import Drawing


@dataclass(frozen=True)
class Entry:
    """What a figure is made from.

    Attributes:
        per_model: whether there is one figure a model, or one of all runs.
        needs: the artifacts of a run that it reads: "comparison", "trajectories", "sharpness".
    """

    per_model: bool
    needs: tuple[str, ...]


class Module(Protocol):
    """What a figure's module offers."""

    def draw(self, runs: Sequence[StoredRun]) -> "Drawing":
        """The figure of these runs, which appear in the order given."""


FIGURES = {
    "tracking": Entry(per_model=True, needs=("comparison", "trajectories")),
    "thresholds": Entry(per_model=False, needs=("comparison", "trajectories", "sharpness")),
    "tracking_summary": Entry(per_model=False, needs=("comparison",)),
}


def load(name: str) -> Module:
    """The module that draws a figure.

    Raises:
        LookupError: there is no such figure.
    """
    if name not in FIGURES:
        raise LookupError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return cast(Module, import_module(f"{__name__}.{name}"))
