"""How figures of sweeps name, group, colour and place their runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from rodflow.config.declarations import OTHER_SYMBOLS, SYMBOLS
from rodflow.config.values import Settings
from rodflow.errors import RodflowError
from rodflow.figures.core.style import FAINT, model_label, note, optimizer_label
from rodflow.store.results import StoredRun

_CRITERIA = {"mse": "squared error", "cross_entropy": "cross-entropy"}
_SYMBOLS = {**SYMBOLS, **OTHER_SYMBOLS}
_Value = TypeVar("_Value")


class NoStepSize(RodflowError, ValueError):
    """A figure by step size of a run that has no single one: one line with the remedy."""


def step_size(run: StoredRun) -> float:
    """The step size η of a run.

    Raises:
        NoStepSize: its learning rate changes in time, or it has none.
    """
    rate = run.settings["optimizer"].get("learning_rate")
    if not isinstance(rate, int | float):
        what = (
            "has no learning_rate" if rate is None else "has a learning rate that changes in time"
        )
        raise NoStepSize(f"{run.path}: {what}, by which this figure orders runs; leave it out")
    return float(rate)


def hyperparameter(run: StoredRun, name: str) -> float | None:
    """One of an optimizer's; None if it has none of this name.

    Args:
        run, name: the run, and the name as in the config.
    """
    value: float | None = run.settings["optimizer"].get(name)
    return value


def settings(run: StoredRun) -> Settings:
    """What tells a run from others of its model and optimizer: hyperparameters, criterion and batch size."""
    given = {name: value for name, value in run.settings["optimizer"].items() if name != "name"}
    return given | {name: run.settings[name] for name in ("criterion", "batch_size")}


def in_order(values: Iterable[float | None]) -> list[float | None]:
    """Each once, from the smallest on, none first."""
    return sorted({*values}, key=lambda value: -1.0 if value is None else value)


def varied(runs: Iterable[StoredRun], *always: str) -> list[str]:
    """Names of the settings that tell runs of a sweep apart.

    Args:
        runs: all of them.
        always: settings that are named whether they vary or not, first.
    """
    found = [settings(run) for run in runs]
    names = dict.fromkeys(name for one in found for name in one)
    # A schedule is a mapping, which no set takes.
    several = [name for name in names if len({repr(one.get(name)) for one in found}) > 1]
    return [*dict.fromkeys([*always, *several])]


def words_of(run: StoredRun, names: Iterable[str]) -> list[str]:
    """Those of its settings that have these names, as "eps=1e-8".

    Args:
        run, names: whose settings, and which of them; see `settings`.
    """
    own = settings(run)
    return [f"{name}={plain(own[name])}" for name in names if name in own]


def named(quantity: str, run: StoredRun, names: Iterable[str]) -> str:
    """A quantity of a run in the table, such as "loss[learning_rate=0.001 b1=0.9]"; see `varied`.

    Args:
        quantity: its name.
        run, names: as for `words_of`.
    """
    return f"{quantity}[{' '.join(words_of(run, names))}]"


def sweep_name(run: StoredRun, runs: Iterable[StoredRun]) -> str:
    """What tells a run from others of a sweep in the table, such as "learning_rate=0.05 criterion=mse".

    Args:
        run: which one.
        runs: all that the figure draws; the criterion is named if they have several.
    """
    several = "criterion" in varied(runs)
    return " ".join(words_of(run, ["learning_rate", *["criterion"] * several]))


def plain(value: object) -> str:
    """A setting in few characters, as 1e-8; of a learning rate in time its name and its peak."""
    if isinstance(value, Mapping):
        return f"{value['schedule']} {plain(value['peak'])}"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, int | float) else str(value)


def formula(name: str, value: float | None) -> str:
    """A hyperparameter for people, such as "β₂ = 0.9"; None is "no β₂".

    Args:
        name, value: the name as in the config, and what it is.
    """
    return f"no {_SYMBOLS[name]}" if value is None else f"{_SYMBOLS[name]} = {plain(value)}"


def criterion_label(run: StoredRun) -> str:
    """The criterion of a run for people."""
    criterion: str = run.settings["criterion"]
    return _CRITERIA.get(criterion, criterion.replace("_", " "))


def problem_label(run: StoredRun) -> str:
    """The model, its activation where its name does not say it, and the criterion, for people."""
    label, activation = model_label(run.model), str(run.settings["model"].get("activation", ""))
    if activation and activation.lower() not in label.lower():
        label = f"{label} ({activation})"
    return f"{label}, {criterion_label(run)}"


def by_problem(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each model and criterion, in the order given, each by step size and seed."""
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.model, run.settings["criterion"]), []).append(run)
    return [sorted(group, key=lambda run: (step_size(run), run.seed)) for group in groups.values()]


def by_other_settings(runs: Iterable[StoredRun], *names: str) -> list[list[StoredRun]]:
    """The runs of each model, optimizer and choice of all settings but these, in the order given."""
    groups: dict[tuple[object, ...], list[StoredRun]] = {}
    for run in runs:
        own = settings(run)
        # A schedule is a mapping, which is no key.
        others = sorted((name, repr(own[name])) for name in own if name not in names)
        groups.setdefault((run.model, run.optimizer, *others), []).append(run)
    return [*groups.values()]


def ordered_colors(values: Iterable[_Value]) -> dict[_Value, str]:
    """Colours from dark to light for values in order, also for people who see few colours."""
    values = [*values]
    places = np.linspace(0.03, 0.73, max(len(values), 2))
    return {value: to_hex(colormaps["plasma"](x)) for value, x in zip(values, places, strict=False)}


def color_key(name: str, colors: dict[float | None, str]) -> list[Line2D]:
    """What a key shows of the colours of a hyperparameter.

    Args:
        name: of the hyperparameter in the config.
        colors: value -> its colour, in the order of the key; None: a run has no such hyperparameter.
    """
    return [
        Line2D([], [], color=color, linewidth=1.5, label=formula(name, value))
        for value, color in colors.items()
    ]


def head_block(axes: Axes, run: StoredRun, names: Sequence[str], *more: str) -> None:
    """Above a block of runs, from its left edge on: whose it is, and what they have in common.

    Args:
        axes: the first panel of the block.
        run: one of its runs.
        names: hyperparameters that are not the same in the block.
        more: what else is said of it.
    """
    own = settings(run)
    common = [name for name in _SYMBOLS if name in own and name not in names]
    words = [criterion_label(run), *(formula(name, own[name]) for name in common), *more]
    title = f"{optimizer_label(run.optimizer)}, {model_label(run.model)}"
    axes.set_title(title, loc="left", pad=28, fontsize=8, fontweight="bold")
    note(axes, ", ".join(words), (0, 1), shift=(0, 18), room=False, color=FAINT)
