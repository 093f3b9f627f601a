"""The catalogue of figures: what each one needs, known without importing matplotlib.

A figure is a module of this package with a function `draw(runs) -> Drawing`: stored runs in, a
matplotlib figure and the table of what it draws out.

    drawing = figures.load("thresholds").draw(stored_runs("results/digits"))
    style.save(drawing, "results/digits/figures/thresholds")

To add one, write the module, name it here, and write its caption in `workflow/report/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from rodflow.settings import Run

if TYPE_CHECKING:
    from rodflow.figures.style import Drawing


def _all(runs: Sequence[Run]) -> Sequence[Run]:
    return runs


def _none(runs: Sequence[Run]) -> Sequence[Run]:
    return ()


def _with_closure(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if "closure" in run.flows]


def _with_central(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if "central" in run.flows]


def _with_adam_continuous(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if "adam_continuous" in run.flows]


def _with_stable(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if "stable" in run.flows]


def _adaptive(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if run.optimizer not in ("gd", "heavy_ball", "nesterov")]


def _gd_and_adam(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if run.optimizer in ("gd", "adam")]


def _normalised(runs: Sequence[Run]) -> Sequence[Run]:
    return [run for run in runs if run.settings["model"].get("normalisation", "none") != "none"]


def _telling(runs: Sequence[Run]) -> Sequence[Run]:
    """Of the first model and seed, one run of each kind: plain, preconditioned, and with momentum."""
    first = [run for run in runs if (run.model, run.seed) == (runs[0].model, runs[0].seed)]
    return [run for run in first if run.optimizer in ("gd", "rmsprop", "adam")] or first[:3]


OF_NO_RUN = ("toy", "adam_region")
"""Artifacts of the experiment itself, `<name>.nc`. A figure that needs one is drawn from it alone."""


@dataclass(frozen=True)
class Entry:
    """What a figure is made from.

    Attributes:
        per: what there is one figure for: the experiment, each model, each sweep that names it with the main runs it
            starts from, or all such sweeps together.
        needs: the artifacts of a run that it reads: "comparison", "trajectories", "sharpness", "iterates",
            "closeup"; or one of `OF_NO_RUN`.
        of: which of the runs are drawn.
    """

    per: Literal["experiment", "model", "sweep", "sweeps"]
    needs: tuple[str, ...]
    of: Callable[[Sequence[Run]], Sequence[Run]] = _all

    @property
    def of_no_run(self) -> bool:
        """Whether it is drawn from an artifact of the experiment's own."""
        return any(name in OF_NO_RUN for name in self.needs)


class Module(Protocol):
    """What a figure's module offers."""

    def draw(self, source: Any, /) -> "Drawing":
        """The figure of these stored runs, in the order given; or of the artifact of no run that it needs."""


_ALONG = ("comparison", "trajectories", "sharpness")

FIGURES = {
    "tracking": Entry("model", needs=("comparison", "trajectories")),
    "thresholds": Entry("experiment", needs=("comparison", "trajectories", "sharpness")),
    "tracking_summary": Entry("experiment", needs=("comparison",)),
    "rod_anatomy": Entry("model", needs=("comparison", "trajectories", "sharpness")),
    "weights_plane": Entry(
        "experiment", needs=("comparison", "trajectories", "sharpness", "closeup"), of=_telling
    ),
    "toy": Entry("experiment", needs=("toy",), of=_none),
    "closures": Entry("experiment", needs=("comparison", "trajectories"), of=_with_closure),
    "models_compared": Entry(
        "model", needs=("comparison", "trajectories", "sharpness"), of=_with_central
    ),
    "hyperparameters": Entry("sweep", needs=_ALONG),
    "iterates": Entry("model", needs=("comparison", "trajectories", "iterates")),
    "predictability": Entry("experiment", needs=("comparison", "trajectories")),
    "eos_gd": Entry("sweeps", needs=_ALONG),
    "eos_flow_comparison": Entry("sweeps", needs=_ALONG, of=_with_stable),
    "aeos_adam": Entry("sweeps", needs=_ALONG),
    "aeos_methods": Entry("model", needs=_ALONG, of=_adaptive),
    "aeos_curvature": Entry("model", needs=_ALONG, of=_gd_and_adam),
    "scale_invariance": Entry("model", needs=("comparison", "trajectories"), of=_normalised),
    "aeos_minibatch": Entry("sweeps", needs=_ALONG),
    "aeos_small_b2": Entry("sweeps", needs=_ALONG),
    "k_adam": Entry("sweeps", needs=_ALONG),
    "adam_continuous": Entry(
        "sweeps", needs=("comparison", "trajectories"), of=_with_adam_continuous
    ),
    "k_adam_training": Entry("sweeps", needs=("comparison", "trajectories")),
    "adam_stable_region": Entry("experiment", needs=("adam_region",), of=_none),
}


def load(name: str) -> Module:
    """The module that draws a figure.

    Raises:
        LookupError: there is no such figure.
    """
    if name not in FIGURES:
        raise LookupError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return cast(Module, import_module(f"{__name__}.{name}"))
