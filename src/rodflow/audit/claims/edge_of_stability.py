"""The edge of stability: Cohen et al. 2021 (gradient descent) and 2022 (adaptive methods)."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import xarray as xr

from rodflow.analysis.equilibrium import (
    growth,
    mean_and_error,
    moving_average,
    restlessness,
)
from rodflow.audit.claims.claim import (
    Bound,
    Claim,
    Measured,
    NotApplicable,
    Overall,
    above,
    at_least,
    at_most,
)
from rodflow.audit.claims.measures import (
    HELD,
    SHORTEST,
    compared,
    demand,
    edge_of,
    equilibrium,
    failed,
    onset_of,
    optimizer_in,
)
from rodflow.audit.numbers import digits
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun


def _ratio(run: StoredRun) -> xr.DataArray:
    demand(run, DISCRETE)
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE)
    return ratio.dropna("snapshot")


def sharpening(run: StoredRun) -> Measured:
    """Sharpness where the threshold is reached over that where the flows start, after the first transient.

    Raises:
        NotApplicable: as `onset_of`, or it is at its threshold at one of the first two snapshots.
    """
    onset = int(onset_of(run))
    ratio = _ratio(run).sel(snapshot=slice(artifact.settings(run.comparison)["start"], onset))
    if (ratio[:2] >= 1).any():
        raise NotApplicable("at its threshold from the start")
    there, first = float(ratio[-1]), float(ratio[0])
    return Measured(there / first, f"from {digits(first)} of the threshold to step {onset}")


def rises(run: StoredRun) -> Measured:
    """Fraction of the steps at the edge on which the loss rises while its moving average falls."""
    where = edge_of(run)
    rising, falling = restlessness(run.series(DISCRETE)["loss"], where.first, where.last)
    if rising == 0:
        return Measured(0.0, "it never rises")
    note = f"it rises on {digits(rising)} of the steps, the average falls on {digits(falling)} of these"
    return Measured(rising * falling, note)


def falls(run: StoredRun) -> Measured:
    """Moving average of the loss at the end of the edge over that at its beginning.

    Raises:
        NotApplicable: as `edge_of`, or there are fewer than two moving averages.
    """
    where = edge_of(run)
    steady = moving_average(run.series(DISCRETE)["loss"]).sel(step=slice(where.first, where.last))
    if steady.size < 2:
        raise NotApplicable("too short for the moving average")
    start, end = (float(steady[k]) for k in (0, -1))
    return Measured(end / start, f"from {digits(start)} to {digits(end)}")


def _distances(run: StoredRun) -> tuple[float, float, int]:
    """Tracking error of gradient flow where the threshold is reached, and last; and the onset."""
    onset = int(onset_of(run))
    if failure := failed(run, "stable"):
        raise NotApplicable(failure)
    error = run.comparison["tracking_error"].sel(process="stable").dropna("snapshot")
    if onset < error["snapshot"][0]:
        raise NotApplicable("at its threshold from the start")
    return float(error.sel(snapshot=onset)), float(error[-1]), onset


def follows(run: StoredRun) -> Measured:
    """Distance to gradient flow over the distance travelled, where the threshold is reached."""
    there, _, onset = _distances(run)
    return Measured(there, f"step {onset}")


def departs(run: StoredRun) -> Measured:
    """The last distance to gradient flow over that where the threshold was reached."""
    there, last, onset = _distances(run)
    return Measured(last / there, f"{digits(there)} at step {onset}, {digits(last)} at the end")


def later_growth(run: StoredRun) -> Measured:
    """Factor by which the raw sharpness grows from the onset to the end, by its trend.

    Raises:
        NotApplicable: as `onset_of`, or there are fewer than `SHORTEST` snapshots after the onset.
    """
    raw = run.eigenvalues(DISCRETE)["raw_sharpness"].sel(snapshot=slice(onset_of(run), None))
    if raw.size < SHORTEST:
        raise NotApplicable("too short after the onset")
    return Measured(growth(raw), f"from {digits(float(raw[0]))} to {digits(float(raw[-1]))}")


def late(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold in the last quarter, whether it is reached or not."""
    demand(run, DISCRETE)
    size = artifact.settings(run.comparison)["batch_size"]
    note = "full batch" if size is None else f"batches of {size}"
    return Measured(compared(run, "late_mean", DISCRETE), note)


def by_batch(
    values: Sequence[float], runs: Sequence[StoredRun]
) -> dict[str, list[tuple[float, list[float]]]]:
    """Model -> batch sizes (inf: all) in order, with the values of their seeds.

    Args:
        values, runs: what was measured, and the runs, one each and in the same order.
    """
    groups: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for value, run in zip(values, runs, strict=True):
        size = artifact.settings(run.comparison)["batch_size"]
        groups[run.model][math.inf if size is None else size].append(value)
    return {model: sorted(sizes.items()) for model, sizes in groups.items()}


def least_rise(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """The smallest rise of the mean from a batch size to the next, in standard errors; NaN below three seeds.

    Args:
        values, runs: what was measured, and the runs, one each and in the same order.
    """
    rises = []
    for sizes in by_batch(values, runs).values():
        if min(len(own) for _, own in sizes) < 3:
            return math.nan
        for (_, before), (_, after) in itertools.pairwise(sizes):
            (low, error), (high, other) = mean_and_error(before), mean_and_error(after)
            rises.append((high - low) / math.hypot(error, other))
    return min(rises, default=math.nan)


def highest_below_full(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """The largest mean of a batch size below the full one; NaN without one.

    Args:
        values, runs: what was measured, and the runs, one each and in the same order.
    """
    found = [pair for sizes in by_batch(values, runs).values() for pair in sizes]
    return max((float(np.mean(own)) for size, own in found if size < math.inf), default=math.nan)


_2021 = "Cohen et al. 2021 (arXiv 2103.00065)"
_2022 = "Cohen et al. 2022 (arXiv 2207.14484)"
_ALONG = ("comparison.nc", "discrete.nc")
_LATE = "time average of sharpness over threshold in the last quarter"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="eos-gd-sharpening",
        figure="eos_gd",
        source=_2021,
        place="figure 1",
        statement="Progressive sharpening: until it reaches 2/eta the sharpness of gradient descent rises.",
        quantity="sharpness where the threshold is reached over that at the start",
        measure=sharpening,
        allowed=above(1),
    ),
    Claim(
        id="eos-gd-hovering",
        figure="eos_gd",
        source=_2021,
        place="figure 1",
        statement=(
            "At each step size the sharpness of gradient descent hovers at 2/eta: at the edge of stability its time "
            "average is within 5% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.95, 1.05),
    ),
    Claim(
        id="eos-gd-rises",
        figure="eos_gd",
        source=_2021,
        place="abstract",
        statement=(
            "At the edge the loss is not monotone over short times: on at least 1% of the steps it rises while its "
            "average over 50 steps falls."
        ),
        quantity="fraction of the steps on which the loss rises while its 50-step moving average falls",
        measure=rises,
        allowed=at_least(0.01),
        files=_ALONG,
    ),
    Claim(
        id="eos-gd-falls",
        figure="eos_gd",
        source=_2021,
        place="abstract",
        statement="Over long times the loss falls at the edge.",
        quantity="50-step moving average of the loss at the end of the edge over that at its beginning",
        measure=falls,
        allowed=Bound(high=1, strict=True),
        files=_ALONG,
    ),
    Claim(
        id="eos-flow-follows",
        figure="eos_flow_comparison",
        source=_2021,
        statement=(
            "Until the threshold is reached gradient descent follows gradient flow: there they are at most 2% of "
            "the distance travelled apart."
        ),
        quantity="distance to gradient flow over the distance travelled, where the threshold is reached",
        measure=follows,
        allowed=at_most(0.02),
    ),
    Claim(
        id="eos-flow-departs",
        figure="eos_flow_comparison",
        source=_2021,
        statement=(
            "From the threshold on gradient descent departs from gradient flow: at the end they are at least five "
            "times as far apart."
        ),
        quantity="the last relative distance over that where the threshold is reached",
        measure=departs,
        allowed=at_least(5),
    ),
    Claim(
        id="aeos-adam-held",
        figure="aeos_adam",
        source=_2022,
        place="abstract",
        statement=(
            "The preconditioned sharpness of full-batch Adam equilibrates at (2 + 2 b1) / ((1 - b1) eta), 38/eta at "
            "b1 = 0.9, for each learning rate and b1: at the edge its time average is within 10% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="aeos-methods-held",
        figure="aeos_methods",
        source=_2022,
        statement=(
            "The preconditioned sharpness of the other adaptive methods equilibrates at the threshold of their own "
            "map: at the edge its time average is within 10% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="aeos-curvature-gd",
        figure="aeos_curvature",
        source=_2022,
        place="abstract",
        statement="Under gradient descent the raw sharpness is blocked: after the onset its trend is below 10%.",
        quantity="factor by which the raw sharpness grows after the onset",
        measure=later_growth,
        allowed=Bound(0.9, 1.1),
        files=("comparison.nc", f"sharpness/{DISCRETE}.nc"),
        about=optimizer_in("gd"),
    ),
    Claim(
        id="aeos-curvature-adam",
        figure="aeos_curvature",
        source=_2022,
        place="abstract",
        statement=(
            "Under Adam the raw sharpness is not blocked: it keeps growing after the onset, while the preconditioner "
            "adapts."
        ),
        quantity="factor by which the raw sharpness grows after the onset",
        measure=later_growth,
        allowed=above(1.1),
        files=("comparison.nc", f"sharpness/{DISCRETE}.nc"),
        about=optimizer_in("adam"),
    ),
    Claim(
        id="aeos-minibatch-below",
        figure="aeos_minibatch",
        source=_2022,
        statement="On minibatches the preconditioned sharpness of Adam lies below the full-batch threshold.",
        quantity=_LATE,
        measure=late,
        allowed=Bound(high=1, strict=True),
        overall=Overall("highest mean of a batch size below the full one", highest_below_full),
    ),
    Claim(
        id="aeos-minibatch-monotone",
        figure="aeos_minibatch",
        source=_2022,
        place="abstract",
        statement=(
            "The preconditioned sharpness of Adam approaches the threshold as the batch grows: from each batch size to "
            "the next the mean over at least three seeds rises, or falls by less than one standard error."
        ),
        quantity=_LATE,
        measure=late,
        allowed=at_least(-1),
        overall=Overall("least rise in standard errors", least_rise),
    ),
    Claim(
        id="aeos-small-b2-held",
        figure="aeos_small_b2",
        source=_2022,
        statement=(
            "Whatever b2 and epsilon, a run at the edge holds its threshold: the time average is within 10% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
    ),
)
"""In the order of the report."""
