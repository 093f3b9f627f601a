"""Where everything of an experiment is: the artifacts of each run, and the figures with what they are drawn from.

The workflow makes these files and the audit expects them; both ask here. Paths are relative to the experiment's
folder. The module imports neither JAX nor matplotlib.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rodflow.config import declarations
from rodflow.config.catalogue import FIGURES
from rodflow.config.experiment import Experiment, Run, shared

SUFFIXES = ("pdf", "png", "csv", "rst")
"""What a figure is stored as: vector and pixel graphics, the numbers drawn, and the caption."""


@dataclass(frozen=True)
class Figure:
    """One figure of an experiment.

    Attributes:
        name: of its module in `rodflow.figures`.
        part: the model or the sweep that it is of, "" for one of the whole experiment.
        runs: the runs that are drawn, in order.
    """

    name: str
    part: str
    runs: tuple[Run, ...]

    @property
    def stem(self) -> str:
        """Path without suffix."""
        return f"figures/{self.name}" + (f"_{self.part}" if self.part else "")

    @property
    def files(self) -> tuple[str, ...]:
        """Its files."""
        return tuple(f"{self.stem}.{suffix}" for suffix in SUFFIXES)

    @property
    def drawn_from(self) -> tuple[str, ...]:
        """What its module is handed: the folders of its runs, or the artifact of no run."""
        return tuple(run.path for run in self.runs) or self.sources

    @property
    def sources(self) -> tuple[str, ...]:
        """The artifacts that it reads."""
        entry = FIGURES[self.name]
        if entry.of_no_run:
            return tuple(f"{name}.nc" for name in entry.needs)
        return tuple(
            path for run in self.runs for kind in entry.needs for path in _files(run, kind)
        )


def figures(experiment: Experiment) -> tuple[Figure, ...]:
    """The figures that an experiment draws. One without runs to draw is left out."""
    planned: list[Figure] = []
    parts = [
        (name, part, runs)
        for name in experiment.figures
        for part, runs in _parts(FIGURES[name], experiment)
    ]
    parts += _of_sweeps(experiment)
    for name, part, runs in parts:
        entry = FIGURES[name]
        chosen = entry.runs(runs) if runs else ()
        if chosen or entry.of_no_run:
            planned.append(Figure(name, part, tuple(chosen)))
    return tuple(planned)


def replays(run: Run, experiment: Experiment) -> tuple[str, ...]:
    """What is run again from the states of a run: "replicas", "iterates", "onset_window".

    Args:
        run: one of the experiment's; of a sweep's nothing is run again.
        experiment: which says how many replicas there are, and whose figures need the others.
    """
    if run.group:
        return ()
    drawn = _needs(run, experiment)
    wanted = {"replicas": experiment.replicas > 0, "iterates": "iterates" in drawn}
    wanted["onset_window"] = "onset_window" in drawn
    return tuple(kind for kind, yes in wanted.items() if yes)


def has_outputs(run: Run, experiment: Experiment) -> bool:
    """Whether a run is measured in function space, as a figure of it needs.

    Args:
        run: one of the experiment's.
        experiment: whose figures are asked.
    """
    return "outputs" in _needs(run, experiment)


def _needs(run: Run, experiment: Experiment) -> set[str]:
    """The kinds of artifacts that the figures of a run read."""
    return {
        need
        for figure in figures(experiment)
        if run in figure.runs
        for need in FIGURES[figure.name].needs
    }


MOST = 6
"""Runs in a batch: enough to share what a program costs to compile, and few enough to keep all cores busy."""


def batches(experiment: Experiment) -> tuple[tuple[Run, ...], ...]:
    """The runs of sweeps that are trained in one job: they differ in hyperparameters and seed only."""
    alike: dict[str, list[Run]] = {}
    for sweep in experiment.sweeps:
        for run in sweep.runs:
            key = json.dumps([sweep.name, run.flows, shared(run.settings)], sort_keys=True)
            alike.setdefault(key, []).append(run)
    return tuple(
        tuple(runs[part::parts])
        for runs in alike.values()
        for parts in [math.ceil(len(runs) / MOST)]
        for part in range(parts)
    )


def run_files(run: Run, experiment: Experiment) -> dict[str, tuple[str, str]]:
    """The artifacts of a run: path -> kind, and process for trajectories and sharpness.

    Args:
        run: one of the experiment's.
        experiment: which decides what is run again and measured.
    """
    found = {
        path: (kind, path.rsplit("/", 1)[-1].removesuffix(".nc"))
        for kind, files in (("trajectory", "trajectories"), ("sharpness", "sharpness"))
        for path in _files(run, files)
    }
    found |= {f"{run.path}/{kind}.nc": (kind, "") for kind in replays(run, experiment)}
    if has_outputs(run, experiment):
        found[f"{run.path}/outputs.nc"] = ("outputs", "")
    return found | {f"{run.path}/comparison.nc": ("comparison", "")}


def expected_files(experiment: Experiment) -> set[str]:
    """Every artifact and figure that a complete experiment has."""
    runs = {path for run in experiment.all_runs for path in run_files(run, experiment)}
    planned = figures(experiment)
    drawn = {path for figure in planned for path in (*figure.files, *figure.sources)}
    return {"dataset.nc"} | runs | drawn


def _parts(
    entry: declarations.FigureEntry, experiment: Experiment
) -> list[tuple[str, Sequence[Run]]]:
    if entry.per == "model":
        models = dict.fromkeys(run.model for run in experiment.runs)
        return [(model, [r for r in experiment.runs if r.model == model]) for model in models]
    return [("", experiment.runs)]


def _of_sweeps(experiment: Experiment) -> list[tuple[str, str, list[Run]]]:
    """Figure, part and runs: of each sweep that names a figure, or of all of them."""
    parts: dict[tuple[str, str], dict[Run, None]] = {}
    for sweep in experiment.sweeps:
        for name in sweep.figures:
            part = sweep.name if FIGURES[name].per == "sweep" else ""
            runs = parts.setdefault((name, part), {})
            runs |= dict.fromkeys([*sweep.base, *sweep.runs])
    return [(name, part, [*runs]) for (name, part), runs in parts.items()]


def _files(run: Run, kind: str) -> list[str]:
    names = {
        "trajectories": list(run.processes),
        "sharpness": [f"sharpness/{process}" for process in run.processes],
    }
    return [f"{run.path}/{name}.nc" for name in names.get(kind, [kind])]
