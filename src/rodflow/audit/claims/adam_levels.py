"""Generalisation of Adam against C(b1, b2): Gould and Tanaka 2024, config/adam-levels.yaml.

The rules were written before the runs. Beside each stands the same number of the training loss, which tells whether it
is generalisation that goes with C or the speed of training.
"""

from collections.abc import Callable, Sequence

from rodflow.analysis.levels import Trained, correlation, spread_along_over_across
from rodflow.audit.claims.claim import (
    TARGET,
    Claim,
    Measured,
    NotApplicable,
    Overall,
    above,
    at_most,
)
from rodflow.audit.claims.measures import demand, optimizer_in
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE, StoredRun

_QUARTER = 0.75


def _late(run: StoredRun, name: str) -> float:
    """Mean over the last quarter of a run."""
    since = _QUARTER * run.settings["steps"]
    if name == "loss":
        return float(run.series(DISCRETE)["loss"].sel(step=slice(since, None)).mean())
    values = run.comparison[name].sel(process=DISCRETE, snapshot=slice(since, None))
    return float(values.mean())


def late_loss(name: str) -> Callable[[StoredRun], Measured]:
    """Mean loss over the last quarter of a completed run that has a test set.

    Args:
        name: "loss" or "test_loss"; the former at every step, the latter at the snapshots.

    Raises:
        NotApplicable: by the measure, of a run that ended early or has no test set.
    """

    def measure(run: StoredRun) -> Measured:
        demand(run, DISCRETE)
        if "test_loss" not in run.comparison:
            raise NotApplicable("the experiment has no test set")
        given = run.settings["optimizer"]
        return Measured(_late(run, name), f"b1 {digits(given['b1'])}, b2 {digits(given['b2'])}")

    return measure


def _over_points(of: Callable[[Sequence[Trained]], float]) -> Callable[..., float]:
    def overall(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
        given = [run.settings["optimizer"] for run in runs]
        decays = [(float(one["b1"]), float(one["b2"])) for one in given]
        return of([Trained(*two, value) for two, value in zip(decays, values, strict=True)])

    return overall


_2024 = "Gould and Tanaka 2024 (arXiv 2411.05746)"
_FILES = ("comparison.nc", f"{DISCRETE}.nc")
_CORRELATION = Overall("rank correlation with C over points", _over_points(correlation))
_SPREAD = Overall("spread along over spread across", _over_points(spread_along_over_across))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="adam-levels-test-loss",
        figure="adam_levels",
        source=_2024,
        statement=(
            "Adam generalises better the larger C(b1, b2) is: after the same number of steps the rank correlation of "
            "the test loss with C is at most -0.8."
        ),
        quantity="test loss in the last quarter",
        measure=late_loss("test_loss"),
        allowed=at_most(-0.8),
        files=_FILES,
        overall=_CORRELATION,
        about=optimizer_in("adam"),
    ),
    Claim(
        id="adam-levels-constant",
        figure="adam_levels",
        source=_2024,
        statement=(
            "Along a level curve of C(b1, b2) generalisation is the same: the logarithm of the test loss spreads at "
            "most half as much along the curves as across them."
        ),
        quantity="test loss in the last quarter",
        measure=late_loss("test_loss"),
        allowed=at_most(0.5),
        files=_FILES,
        overall=_SPREAD,
        about=optimizer_in("adam"),
    ),
    Claim(
        id="adam-levels-training-loss",
        figure="adam_levels",
        source=TARGET,
        statement=(
            "It is not only the speed of training that goes with C: the rank correlation of the training loss with C "
            "is above -0.8."
        ),
        quantity="training loss in the last quarter",
        measure=late_loss("loss"),
        allowed=above(-0.8),
        files=_FILES,
        overall=_CORRELATION,
        about=optimizer_in("adam"),
    ),
)
"""In the order of the report."""
