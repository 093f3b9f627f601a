"""Rod flow in one dimension, where everything can be worked out by hand: claims about toy.nc (`rodflow.stages.toy`).

The tests of that stage had looked at these numbers before: to 1e-9 the rods end on the two-cycle there. So the claims
put what was known where an audit shows it. The covariance closure, whose numbers stand in the notes, has the same fixed
point and threshold: none of these claims tells the two apart.
"""

import numpy as np
import xarray as xr

from rodflow.audit.claims.claim import TARGET, Claim, Measure, Measured, at_most
from rodflow.audit.claims.rod_flow import REGIS_CHEWI, ROD_FLOWS
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE

SETTLED = 1e-6
"""Of the largest amplitude. The formula is exact, and in 3,000 steps of double precision the slowest has settled: at
eta S = 2.02 a step multiplies the distance to the two-cycle by 2 eta S - 5 = -0.96, at 1.98 the weight by -0.98. What
is left, 1e-27 and less, is far below rounding, and a rod flow may be several times slower."""

CROSSING = 1e-3
"""Of the threshold. Rates are known at steps h = 1/80 of it. A straight line between two of them misplaces the crossing
by up to h^2/8 times the second derivative over the first, which is 2 for gradient descent and 18 for heavy ball: by up
to 3.5e-4."""

_TOY = "toy"


def off_two_cycle(flow: str) -> Measure:
    """Largest distance of a rod's half-length from X^2 = S/Q - 2/(eta Q), or 0 below eta S = 2, over the largest X."""

    def measure(data: xr.Dataset) -> Measured:
        sharpness, quartic = (float(data.attrs[name]) for name in ("sharpness", "quartic"))
        at = data["eta_sharpness"]
        expected = np.sqrt(np.maximum(sharpness / quartic * (1 - 2 / at), 0))
        off = abs(data["amplitude"] - expected).max("eta_sharpness", skipna=False) / expected.max()
        beside = ", ".join(
            f"{name} {digits(float(off.sel(process=name)))}" for name in (DISCRETE, "closure")
        )
        span = f"eta S from {float(at.min()):g} to {float(at.max()):g}"
        return Measured(float(off.sel(process=flow)), f"{span}; {beside}")

    return measure


def crossing(rates: xr.DataArray) -> float:
    """Where growth rates [over_threshold] change from decay to growth; NaN unless they do so once."""
    at, values = rates["over_threshold"].values, rates.values
    grows = values >= 0
    (turns,) = np.nonzero(grows[1:] & ~grows[:-1])
    if np.isnan(values).any() or turns.size != 1 or grows[0]:
        return float("nan")
    below = turns[0]
    return float(np.interp(0, values[below : below + 2], at[below : below + 2]))


def _crossings(data: xr.Dataset, process: str) -> dict[str, float]:
    rates = data["growth_rate"].sel(process=process)
    names = [str(name) for name in data["optimizer"].values]
    return {name: abs(crossing(rates.sel(optimizer=name)) - 1) for name in names}


def off_threshold(flow: str) -> Measure:
    """Largest distance over optimizers of where a rod in a parabola begins to grow from the threshold, over that."""

    def measure(data: xr.Dataset) -> Measured:
        own, others = _crossings(data, flow), _crossings(data, "closure")
        note = ", ".join(f"{name} {digits(off)}" for name, off in own.items())
        beside = f"closure {digits(float(np.max([*others.values()])))}"
        return Measured(float(np.max([*own.values()])), f"{note}; {beside}")

    return measure


def _of(flow: str, source: str) -> tuple[Claim, ...]:
    stem, name = ROD_FLOWS[flow]
    return (
        Claim(
            id=f"toy-{stem}-two-cycle",
            figure=_TOY,
            artifact=_TOY,
            source=source,
            statement=(
                f"In the quartic L = (S/2) w^2 - (Q/4) w^4 the rod of the {name} closes up to eta S = 2 and beyond "
                "settles on the two-cycle of gradient descent, X^2 = S/Q - 2/(eta Q), to 1e-6 of the largest."
            ),
            quantity="largest distance of the rod's half-length from the formula over the largest half-length",
            measure=off_two_cycle(flow),
            allowed=at_most(SETTLED),
            files=("toy.nc",),
            flow=flow,
        ),
        Claim(
            id=f"toy-{stem}-threshold",
            figure=_TOY,
            artifact=_TOY,
            source=source,
            statement=(
                f"In a parabola the rod of the {name} begins to grow where the optimizer's oscillation does, for "
                "gradient descent at eta S = 2 and for heavy ball with b = 0.5 at 6, within 0.1%."
            ),
            quantity="largest distance over optimizers of where the rod begins to grow from the threshold, over that",
            measure=off_threshold(flow),
            allowed=at_most(CROSSING),
            files=("toy.nc",),
            flow=flow,
        ),
    )


CLAIMS: tuple[Claim, ...] = (*_of("rod", REGIS_CHEWI), *_of("rod_unit_step", TARGET))
"""In the order of the report."""
