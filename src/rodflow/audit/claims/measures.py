"""What claims are about: which runs, and the numbers that are measured in them.

What is said of the edge of stability is said of the window of `rodflow.analysis.edge`, and of errors from the onset on.
"""

# Longer than others because it is one vocabulary, and each word says what it takes and when it does not apply.

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from rodflow.analysis import edge
from rodflow.analysis.comparison import oscillation_onset
from rodflow.audit.claims.claim import Measure, Measured, NotApplicable, NotAtEdge
from rodflow.audit.numbers import digits
from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

LATEST_ONSET = 0.75
"""By when a run should reach its threshold, as a fraction of its length."""

SHORTEST = 10
"""Snapshots that a run must be at its edge to say something about it."""

# What the numbers are, in words

HELD = "time average of sharpness over threshold from the opening of the rod to the end"
MEDIAN_ERROR = "median tracking error from the onset of the threshold on"
LOSS_ERROR = (
    "geometric mean, from the opening of the rod to the end, of the relative difference of losses averaged over pairs "
    "of consecutive steps"
)


def over(above: str, below: str, what: str = "both medians") -> str:
    """What the quotient of two tracking errors is.

    Args:
        above, below: the flows whose errors are divided, the first by the second, in words.
        what: which of their errors, in words.
    """
    return f"tracking error of the {above} over that of the {below}, {what} from the onset of the threshold on"


# Which runs a claim is about


def optimizer_in(*names: str) -> Callable[[Settings], str]:
    """Runs of these optimizers."""
    reason = f"is about {', '.join(names)}"
    return lambda settings: "" if settings["optimizer"]["name"] in names else reason


def digits_mlp(**chosen: float | str) -> Callable[[Settings], str]:
    """Runs of the tanh MLP 32-32 on 1000 digits with squared error.

    Args:
        chosen: `start`, `steps` or a setting of the optimizer -> the value that it must have.
    """
    reason = "is about the tanh MLP 32-32 on 1000 digits with squared error" + "".join(
        f", {'optimizer' if key == 'name' else key} {value}" for key, value in chosen.items()
    )
    fixed: dict[str, Settings] = {
        "dataset": {"name": "digits", "samples": 1000},
        "model": {"kind": "mlp", "hidden": [32, 32], "activation": "tanh"},
    }

    def about(settings: Settings) -> str:
        plain = settings["model"].get("normalisation", "none") == "none"
        same = (
            plain
            and settings["criterion"] == "mse"
            and all(
                settings[part].get(key) == value
                for part, values in fixed.items()
                for key, value in values.items()
            )
        )
        options = settings["optimizer"] | {key: settings[key] for key in ("start", "steps")}
        same = same and all(options.get(key) == value for key, value in chosen.items())
        return "" if same else reason

    return about


_OF_THEORY = {name: OPTIMIZERS[name] for name in OPTIMIZERS if OPTIMIZERS[name].order <= 9}
ADAPTIVE = tuple(name for name, one in _OF_THEORY.items() if one.adaptive)
NON_ADAPTIVE = tuple(name for name, one in _OF_THEORY.items() if not one.adaptive)
NON_MOMENTUM = tuple(name for name, one in _OF_THEORY.items() if one.momentum == "")
ADAPTIVE_MOMENTUM = tuple(
    name for name, one in _OF_THEORY.items() if one.adaptive and one.momentum != ""
)
DIGITS_GD = digits_mlp(name="gd", learning_rate=0.1, start=20, steps=1000)
DIGITS_RMSPROP = digits_mlp(name="rmsprop", learning_rate=1e-3, b2=0.99, start=30, steps=600)
DIGITS_ADAM = digits_mlp(name="adam", learning_rate=5e-3, b1=0.9, b2=0.99, start=50, steps=600)

# What is measured


def compared(run: StoredRun, name: str, process: str) -> float:
    """A number of a process in the comparison of its run, such as its last tracking error.

    Args:
        run, process: the stored run, and which of its processes.
        name: of the number in the comparison.
    """
    return float(run.comparison[name].sel(process=process))


def demand(run: StoredRun, *processes: str) -> None:
    """That a run has these processes, and all of them were completed.

    Raises:
        NotApplicable: it has not, or they were not.
    """
    for process in processes:
        name = "discrete run" if process == DISCRETE else f"{process} flow"
        if process not in run.processes:
            raise NotApplicable(f"the experiment has no {name}")
        if (status := run.status(process)) != COMPLETED:
            raise NotApplicable(f"{name} {status}")


def demand_threshold(run: StoredRun) -> None:
    """That the optimizer of a run has a linear threshold.

    Raises:
        NotApplicable: it has none.
    """
    if not run.has_threshold:
        raise NotApplicable("no linear threshold")


def demand_rod(run: StoredRun) -> None:
    """That what becomes unstable first alternates.

    Raises:
        NotApplicable: it does not.
    """
    if not run.alternates:
        turns = f"{math.degrees(run.angle):.0f} degrees a step"
        raise NotApplicable(f"the first unstable mode turns by {turns}, and is no rod")


def failed(run: StoredRun, flow: str) -> str:
    """How a flow of a completed discrete run ended, "" if it is completed.

    Args:
        run, flow: the stored run, and which of its flows.

    Raises:
        NotApplicable: the discrete run was not completed, or there is no such flow.
    """
    demand(run, DISCRETE)
    if flow not in run.processes:
        raise NotApplicable(f"the experiment has no {flow} flow")
    status = run.status(flow)
    return "" if status == COMPLETED else f"{flow} flow {status}"


def _steps(run: StoredRun) -> int:
    return artifact.settings(run.comparison)["steps"]


def _start(run: StoredRun) -> int:
    return artifact.settings(run.comparison)["start"]


def ratio(above: float, below: float) -> float:
    """A quotient; inf where only the divisor is 0, and NaN for 0 over 0.

    Args:
        above, below: what is divided, and by what.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(above) / np.float64(below))


def onset_time(run: StoredRun) -> Measured:
    """When the discrete run reaches its threshold, as a fraction of its length; inf: never."""
    demand(run, DISCRETE)
    demand_threshold(run)
    onset = compared(run, "onset", DISCRETE)
    if math.isnan(onset):
        highest = float(run.comparison["sharpness_over_threshold"].sel(process=DISCRETE).max())
        return Measured(
            math.inf, f"threshold never reached, sharpness at most {digits(highest)} of it"
        )
    return Measured(onset / _steps(run), f"step {onset:.0f} of {_steps(run)}")


def onset_of(run: StoredRun) -> float:
    """The snapshot at which a completed run reaches its threshold.

    Raises:
        NotApplicable: the run was not completed, has no linear threshold, or never reaches it.
    """
    if math.isinf((time := onset_time(run)).value):
        raise NotApplicable(time.note)
    return compared(run, "onset", DISCRETE)


def edge_of(run: StoredRun) -> edge.Window:
    """The window in which a run is at the edge of stability.

    Raises:
        NotApplicable: as `onset_of`, or the iterates do not oscillate.
        NotAtEdge: the rod is closed for most of the window.
    """
    found = edge.window(run.series(DISCRETE)["rod_length"], onset_of(run))
    if found is None:
        raise NotApplicable("the iterates do not oscillate")
    if not found.at_edge:
        part = f"{100 * found.closed:.0f}% of the steps {found.first} to {found.last}"
        raise NotAtEdge(f"the rod is closed on {part}")
    return found


def _at_edge(run: StoredRun) -> tuple[edge.Window, edge.Spread]:
    """The window of a run, and sharpness over threshold there."""
    where = edge_of(run)
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE)
    found = edge.spread(ratio, where)
    if found.size < SHORTEST:
        raise NotApplicable(f"at the edge for {found.size} snapshots, from step {where.first} on")
    return where, found


def equilibrium(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold at the edge of stability."""
    where, found = _at_edge(run)
    note = f"within 10% for {100 * found.near:.0f}% of the steps {where.first} to {where.last}"
    return Measured(found.mean, note, found.low, found.high)


def near_threshold(run: StoredRun) -> Measured:
    """Part of the time at the edge for which the sharpness is within 10% of the threshold."""
    where, found = _at_edge(run)
    return Measured(found.near, f"steps {where.first} to {where.last}")


# How far a flow is from its run


def _errors(run: StoredRun, flow: str) -> edge.Errors:
    """Tracking errors of a completed flow of a run that reaches its threshold."""
    error = run.comparison["tracking_error"].sel(process=flow)
    return edge.errors(error, onset_of(run))


def _words(flow: str, found: edge.Errors) -> str:
    smooth, median, largest = map(digits, found)
    before = "" if math.isnan(found.smooth) else f", before the onset {smooth}"
    return f"{flow}: median {median}, largest {largest}{before}"


def stable_over(flow: str, which: Literal["median", "largest"] = "median") -> Measure:
    """Tracking error of the stable flow from the onset on over that of a flow; 0 if the flow diverged.

    Args:
        flow, which: the flow, and which of its errors from the onset on.

    Raises:
        NotApplicable: by the measure, as `failed` and `onset_of`, or there is no completed stable flow.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(0.0, failure)
        demand(run, "stable")
        stable, own = _errors(run, "stable"), _errors(run, flow)
        note = f"{_words('stable', stable)}; {_words(flow, own)}"
        return Measured(ratio(getattr(stable, which), getattr(own, which)), note)

    return measure


def edge_error(flow: str) -> Measure:
    """Median tracking error of a flow from the onset on; inf if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        found = _errors(run, flow)
        return Measured(found.median, _words(flow, found))

    return measure


def error_ratio(reference: str) -> Callable[[str], Measure]:
    """Median tracking error of a flow from the onset on over that of another; inf if the first diverged."""

    def of(flow: str) -> Measure:
        def measure(run: StoredRun) -> Measured:
            if failure := failed(run, flow):
                return Measured(math.inf, failure)
            demand(run, reference)
            own, other = _errors(run, flow), _errors(run, reference)
            note = f"{_words(flow, own)}; {_words(reference, other)}"
            return Measured(ratio(own.median, other.median), note)

        return measure

    return of


def onset_error(flow: str) -> Measure:
    """Distance of a flow's onset from the discrete run's, in lengths of the run; inf: only one.

    The onset is when the sharpness reaches the threshold. A run that is there when the flows start
    leaves nothing to predict.

    Raises:
        NotApplicable: by the measure, as `failed`, without a linear threshold, or where nothing is left to predict.
    """

    def measure(run: StoredRun) -> Measured:
        failure = failed(run, flow)
        demand_threshold(run)
        there, here = compared(run, "onset", DISCRETE), compared(run, "onset", flow)
        if there <= _start(run):
            raise NotApplicable("at its threshold before the flows start")
        if math.isnan(there) and math.isnan(here) and not failure:
            raise NotApplicable("threshold never reached, nor predicted to be")
        distance = _distance(run, there, here, failure)
        stable = compared(run, "onset", "stable") if "stable" in run.processes else math.nan
        also = "" if math.isnan(stable) else f"; stable flow at {stable:.0f}"
        return distance._replace(note=distance.note + also)

    return measure


def oscillation_error(flow: str) -> Measure:
    """Distance of the steps at which the oscillation sets in, in lengths of the run; inf: only one.

    It has set in when the rod is half as long as the longest of the discrete run. A run that has
    its longest rods when the flows start, or stays below its threshold, leaves nothing to predict.

    Raises:
        NotApplicable: by the measure, as `failed`, without a linear threshold, or where nothing is left to predict.
    """

    def measure(run: StoredRun) -> Measured:
        failure = failed(run, flow)
        demand_threshold(run)
        if math.isnan(compared(run, "onset", DISCRETE)):
            raise NotApplicable("threshold never reached")
        rods = [run.series(name)["rod_length"] for name in (DISCRETE, flow)]
        longest = float(rods[0].sel(step=slice(_start(run), None)).max())
        there, here = (oscillation_onset(rod, _start(run), longest) for rod in rods)
        if there <= _start(run):
            raise NotApplicable("oscillates before the flows start")
        return _distance(run, there, here, failure)

    return measure


def _distance(run: StoredRun, there: float, here: float, failure: str) -> Measured:
    """How far a predicted step is from the true one, in lengths of the run; inf without one."""
    if math.isnan(there):
        return Measured(math.inf, failure or f"predicted at step {here:.0f}, never reached")
    if math.isnan(here):
        return Measured(math.inf, failure or f"reached at step {there:.0f}, not predicted")
    return Measured(abs(here - there) / _steps(run), f"step {there:.0f}, predicted at {here:.0f}")


def over_floor(flow: str) -> Measure:
    """Last tracking error of a flow over the median of the replicas' last ones; inf if the flow diverged.

    Raises:
        NotApplicable: by the measure, as `failed`, or there are no replicas.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        if "floor_last" not in run.comparison:
            raise NotApplicable("the experiment has no replicas")
        floor = float(run.comparison["floor_last"].median())
        own = compared(run, "error_last", flow)
        return Measured(ratio(own, floor), f"{flow} {digits(own)}, floor {digits(floor)}")

    return measure


def iterate_error(after: int) -> Measure:
    """Iterate error of the rod flow so many steps after it was started at the edge of stability; inf if it diverged.

    Raises:
        NotApplicable: by the measure, where the run ended early, ends before that step, or no iterates are predicted.
    """

    def measure(run: StoredRun) -> Measured:
        demand(run, DISCRETE)
        if not run.has("iterates"):
            raise NotApplicable("the experiment predicts no iterates")
        found = run.iterates
        status = str(found.attrs["status"])
        if status.startswith("not started"):
            raise NotApplicable(status)
        step = int(found.attrs["restart"]) + after
        if step not in found["step"]:
            if status != COMPLETED:
                return Measured(math.inf, status)
            raise NotApplicable(
                f"the run ends {_steps(run) - step + after} steps after the restart"
            )
        error = float(found["iterate_error"].sel(step=step))
        return Measured(error, f"at step {step}, started at {step - after}")

    return measure


def all_steps(run: StoredRun) -> slice:
    """The steps of a run from where the flows start."""
    return slice(_start(run), _steps(run))


def _averaged_over_pairs(values: np.ndarray) -> np.ndarray:
    """Means of consecutive values, in which an oscillation of period two cancels."""
    return (values[1:] + values[:-1]) / 2


def loss_error(flow: str) -> Measure:
    """Geometric mean, at the edge of stability, of the relative error of the loss that a flow predicts.

    The time-averaged loss of the central flow, the mean loss of a rod's two ends, or the loss at the centre of a flow
    that has neither, against the loss of the iterates, both averaged over pairs of consecutive steps. An error below
    the rounding of float32 counts as that rounding, so that one exact step does not make the mean 0.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        where = edge_of(run)
        steps = slice(where.first, where.last)
        series = run.series(flow).sel(step=steps)
        if "averaged_loss" in series:
            loss = series["averaged_loss"]
        elif "loss_plus" in series:
            loss = (series["loss_plus"] + series["loss_minus"]) / 2
        else:
            loss = series["loss"]
        iterates = run.series(DISCRETE)["loss"].sel(step=steps)
        predicted, true = (
            _averaged_over_pairs(part.values.astype(float)) for part in (loss, iterates)
        )
        errors = np.maximum(np.abs(predicted / true - 1), np.finfo(np.float32).eps)
        low, high = np.quantile(errors, (0.1, 0.9))
        mean = float(np.exp(np.log(errors).mean()))
        return Measured(mean, f"steps {where.first} to {where.last}", float(low), float(high))

    return measure
