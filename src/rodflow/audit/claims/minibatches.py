"""Training on minibatches: what its flows predict, and what papers say of its curvature.

A comparison is one of means over seeds, by optimizer and batch size: a seed is one sample of the noise in the run and
another one in the flow.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rodflow.analysis.minibatches import (
    gap_exponent,
    inversions,
    late_mean,
    modelled_loss,
    run_loss,
    trend,
)
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    Overall,
    at_most,
)
from rodflow.audit.claims.measures import compared, demand, failed
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = "minibatch_levels"
ENOUGH = 50
"""Images in a batch from which on the loss is judged."""


def _settings(run: StoredRun) -> Settings:
    return artifact.settings(run.comparison)


def _size(run: StoredRun) -> int:
    """Images in a batch of a run on minibatches that completed."""
    size = _settings(run)["batch_size"]
    if size is None:
        raise NotApplicable("takes all images in every step, so that there is no noise")
    demand(run, DISCRETE)
    return int(size)


def _level(run: StoredRun, process: str) -> float:
    return compared(run, "late_mean", process)


def level(flow: str) -> Measure:
    """The level of a flow over that of the run; inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, of full batches or a run that ended early, or there is no such flow.
    """

    def measure(run: StoredRun) -> Measured:
        size = _size(run)
        if flow not in run.processes:
            raise NotApplicable(f"the experiment has no {flow} flow")
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        there, here = _level(run, DISCRETE), _level(run, flow)
        return Measured(here / there, f"batches of {size}: run {there:.3g}, {flow} {here:.3g}")

    return measure


def averaged_loss(flow: str) -> Measure:
    """The averaged loss of a flow over that of the run's iterates, over the last quarter; inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as that of `level`, or batches are smaller than `ENOUGH`.
    """

    def measure(run: StoredRun) -> Measured:
        size, steps = _size(run), _settings(run)["steps"]
        if size < ENOUGH:
            raise NotApplicable(f"has batches of {size}; the target begins at {ENOUGH}")
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        there = late_mean(run_loss(run.series(DISCRETE)), steps)
        here = late_mean(modelled_loss(run.series(flow)), steps)
        return Measured(here / there, f"batches of {size}: run {there:.3g}, {flow} {here:.3g}")

    return measure


def settled(run: StoredRun) -> Measured:
    """The trend of the level over the last third of the run, in standard errors.

    Raises:
        NotApplicable: it has full batches, ended early, or has fewer than six snapshots there.
    """
    size = _size(run)
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE)
    found = trend(ratio, _settings(run)["steps"])
    if math.isnan(found.change):
        raise NotApplicable("too few snapshots in the last third")
    return Measured(
        abs(found.change) / found.error,
        f"batches of {size}: {found.change:+.2g} ± {found.error:.2g} over the last third",
    )


def batch_sharpness(run: StoredRun) -> Measured:
    """The batch sharpness of a run of gradient descent, over the last quarter, in units of 2 / eta."""
    size, settings = _size(run), _settings(run)
    value = late_mean(run.series(DISCRETE)["batch_sharpness"], settings["steps"])
    share = value * settings["optimizer"]["learning_rate"] / 2
    return Measured(share, f"batches of {size}: {value:.3g}")


def with_momentum(run: StoredRun) -> Measured:
    """The batch sharpness of heavy ball over the last quarter, in units of 2 (1 - b) / eta of its classical form.

    This project's moment is an average: its learning rate times 1 - b is the classical one.
    """
    measured = batch_sharpness(run)
    return Measured(measured.value, f"{measured.note}, in units of 2 (1 - b) / eta")


def gap(run: StoredRun) -> Measured:
    """The level of a run, or of the full batch."""
    demand(run, DISCRETE)
    size = _settings(run)["batch_size"]
    return Measured(_level(run, DISCRETE), "all images" if size is None else f"batches of {size}")


Group = tuple[str, str, float]
"""Model, optimizer and batch size; inf for all images."""


def by_group(
    runs: Sequence[StoredRun], of: Callable[[StoredRun], float]
) -> Mapping[Group, Sequence[float]]:
    """The numbers of the seeds of each model, optimizer and batch size.

    Args:
        runs, of: the runs, and the number of each.
    """
    found: dict[Group, list[float]] = defaultdict(list)
    for run in runs:
        size = _settings(run)["batch_size"]
        found[run.model, run.optimizer, math.inf if size is None else size].append(of(run))
    return found


def worst(of: Callable[[StoredRun, str], float], flow: str) -> Overall:
    """The largest relative distance between the means over seeds of a flow and of the run; inf if the flow diverged.

    Args:
        of: the number of a run and one of its processes.
        flow: whose number is compared with that of the discrete run.
    """

    def overall(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
        if not np.isfinite(values).all():
            return math.inf
        here = by_group(runs, lambda run: of(run, flow))
        there = by_group(runs, lambda run: of(run, DISCRETE))
        return max(abs(float(np.mean(here[g]) / np.mean(there[g])) - 1) for g in here)

    return Overall("largest distance of means over seeds", overall)


def _loss(run: StoredRun, process: str) -> float:
    series, steps = run.series(process), _settings(run)["steps"]
    return late_mean(run_loss(series) if process == DISCRETE else modelled_loss(series), steps)


def wrong_order(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """How many pairs of batch sizes the pair has in another order than the run, by means over seeds.

    inf if the pair diverged.

    Args:
        values, runs: what was measured, of which only counts whether it is finite, and the runs, whose levels are
            compared.
    """
    if not np.isfinite(values).all():
        return math.inf
    of_run, of_pair = _levels(runs, DISCRETE), _levels(runs, "pair")
    return sum(inversions(own, of_pair[key]) for key, own in of_run.items())


def _levels(
    runs: Sequence[StoredRun], process: str
) -> Mapping[tuple[str, str], Mapping[float, float]]:
    """Model and optimizer -> batch size -> mean level of the seeds."""
    found: dict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    groups = by_group(runs, lambda run: _level(run, process))
    for (model, optimizer, size), levels in groups.items():
        found[model, optimizer][size] = float(np.mean(levels))
    return found


def exponent(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """The power with which the gap of gradient descent closes as the batch grows; NaN where it cannot be fitted.

    Args:
        values, runs: what was measured, which does not enter, and the runs of one model and optimizer, whose levels do.
    """
    groups = by_group(runs, lambda run: _level(run, DISCRETE))
    full = [np.mean(own) for (_, _, size), own in groups.items() if math.isinf(size)]
    sizes = sorted(key for key in groups if not math.isinf(key[2]))
    if not full:
        return math.nan
    means = [float(np.mean(groups[key])) for key in sizes]
    return gap_exponent([key[2] for key in sizes], means, float(full[0]))


def of_smallest(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """The mean over seeds at the smallest batch.

    Args:
        values, runs: what was measured, and the runs, one each and in the same order.

    Raises:
        NotApplicable: a run has full batches or ended early.
    """
    sizes = [_size(run) for run in runs]
    return float(np.mean([v for v, size in zip(values, sizes, strict=True) if size == min(sizes)]))


def _about(*names: str) -> Callable[[Settings], str]:
    """Runs of these optimizers."""
    reason = f"is about {', '.join(names)}"
    return lambda settings: "" if settings["optimizer"]["name"] in names else reason


_ALONG = ("comparison.nc", "discrete.nc")
_WITH_PAIR = (*_ALONG, "pair.nc")
_PLAIN, _ADAM = ("gd", "heavy_ball", "rmsprop"), ("adam", "adamw")
_LEVELS = (
    "level of the pair over that of the run; together the largest distance of means over seeds"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="minibatch-level",
        figure=FIGURE,
        source=TARGET,
        statement=(
            "At every batch size the pair with opposite noise has the level of gradient descent, heavy ball and "
            "RMSProp within 10%, though it never sees the batches of the run."
        ),
        quantity=_LEVELS,
        measure=level("pair"),
        allowed=at_most(0.10),
        overall=worst(_level, "pair"),
        about=_about(*_PLAIN),
    ),
    Claim(
        id="minibatch-level-adam",
        figure=FIGURE,
        source=TARGET,
        statement="And that of Adam and AdamW within 15%.",
        quantity=_LEVELS,
        measure=level("pair"),
        allowed=at_most(0.15),
        overall=worst(_level, "pair"),
        about=_about(*_ADAM),
    ),
    Claim(
        id="minibatch-level-kicked",
        figure=FIGURE,
        source=TARGET,
        statement="Without momentum the kicked rod has the level within 10% too.",
        quantity="level of the kicked rod over that of the run; together the largest distance of means over seeds",
        measure=level("kicked_rod"),
        allowed=at_most(0.10),
        overall=worst(_level, "kicked_rod"),
    ),
    Claim(
        id="minibatch-order",
        figure=FIGURE,
        source=TARGET,
        statement="The pair has the levels of the batch sizes in the order of the run, for every optimizer.",
        quantity="pairs of batch sizes in the wrong order",
        measure=level("pair"),
        allowed=at_most(0),
        overall=Overall("pairs of batch sizes in the wrong order", wrong_order),
    ),
    Claim(
        id="minibatch-loss",
        figure=FIGURE,
        source=TARGET,
        statement=f"From batches of {ENOUGH} on the averaged loss of the pair is within 15% of that of the iterates.",
        quantity="loss of the pair over that of the run; together the largest distance of means over seeds",
        measure=averaged_loss("pair"),
        allowed=at_most(0.15),
        overall=worst(_loss, "pair"),
        files=_WITH_PAIR,
    ),
    Claim(
        id="minibatch-settled",
        figure=FIGURE,
        source=TARGET,
        statement="The levels are settled: over the last third the trend is within twice its standard error.",
        quantity="trend over the last third in standard errors",
        measure=settled,
        allowed=Bound(high=2, strict=True),
    ),
    Claim(
        id="minibatch-batch-sharpness",
        figure=FIGURE,
        source="Andreyev and Beneventano 2024 (arXiv 2412.20553)",
        statement="The batch sharpness of SGD settles at 2/eta: over the last quarter it is within 15% of it.",
        quantity="batch sharpness over the last quarter in units of 2/eta",
        measure=batch_sharpness,
        allowed=Bound(0.85, 1.15),
        files=_ALONG,
        about=_about("gd"),
    ),
    Claim(
        id="minibatch-momentum-small",
        figure=FIGURE,
        source="arXiv 2604.14108",
        statement=(
            "With momentum the batch sharpness settles at 2 (1 - b) / eta where batches are small: at the smallest "
            "one it is within 25% of it."
        ),
        quantity="batch sharpness over the last quarter in units of 2 (1 - b) / eta, at the smallest batch",
        measure=with_momentum,
        allowed=Bound(0.75, 1.25),
        overall=Overall("mean at the smallest batch", of_smallest),
        files=_ALONG,
        about=_about("heavy_ball"),
    ),
    Claim(
        id="minibatch-gap",
        figure=FIGURE,
        source="arXiv 2604.21016",
        statement="The gap between the full-batch sharpness of SGD and that with all images goes as 1/batch.",
        quantity="power of the batch size with which the gap closes",
        measure=gap,
        allowed=Bound(-1.25, -0.75),
        overall=Overall("power of the batch size", exponent),
        about=_about("gd"),
    ),
)
"""In the order of the report."""
