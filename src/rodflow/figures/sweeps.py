"""How figures of sweeps name, group and colour their runs."""

from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from rodflow.figures.style import model_label
from rodflow.results import StoredRun

_CRITERIA = {"mse": "squared error", "cross_entropy": "cross-entropy"}


def step_size(run: StoredRun) -> float:
    """The step size η of a run."""
    return float(run.settings["optimizer"]["learning_rate"])


def sweep_name(run: StoredRun, runs: Iterable[StoredRun]) -> str:
    """What tells a run from others of a sweep in the table, such as "learning_rate=0.05 criterion=mse".

    Args:
        run: which one.
        runs: all that the figure draws; the criterion is named if they have several.
    """
    name = f"learning_rate={step_size(run):g}"
    several = len({other.settings["criterion"] for other in runs}) > 1
    return f"{name} criterion={run.settings['criterion']}" if several else name


def problem_label(run: StoredRun) -> str:
    """The model, its activation where its name does not say it, and the criterion, for people."""
    model, criterion = run.settings["model"], run.settings["criterion"]
    label, activation = model_label(run.model), str(model.get("activation", ""))
    if activation and activation.lower() not in label.lower():
        label = f"{label} ({activation})"
    return f"{label}, {_CRITERIA.get(criterion, criterion.replace('_', ' '))}"


def by_problem(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each model and criterion, in the order given, each by step size and seed."""
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.model, run.settings["criterion"]), []).append(run)
    return [sorted(group, key=lambda run: (step_size(run), run.seed)) for group in groups.values()]


def ordered_colors(count: int) -> list[str]:
    """Colours from dark to light for values in order, also for people who see few colours."""
    return [to_hex(colormaps["plasma"](place)) for place in np.linspace(0.03, 0.73, max(count, 2))][
        :count
    ]
