"""Toy potentials: what the flows do where everything can be worked out by hand.

In the parabola L = (S/2) w^2 an oscillation grows exactly beyond the threshold of eta S (2 for gradient descent), at
the rate log |J| a step with J the eigenvalue of the optimizer's map nearest to -1. In the quartic
L = (S/2) w^2 - (Q/4) w^4 gradient descent ends on a two-cycle w = X, -X, X, ... with

    X^2 = S/Q - 2 / (eta Q),

which exists exactly when eta S > 2 and attracts while eta S < 3. Everything here is measured with the library's own
maps and flows, in double precision and without the seeding noise.

    toy_dataset()["amplitude"].sel(process="rod").plot()
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PyTree

from rodflow.dynamics.flows.closure import CovarianceClosure
from rodflow.dynamics.flows.rod import RodFlow
from rodflow.dynamics.flows.rod_unit_step import RodUnitStep
from rodflow.dynamics.lifted import from_consecutive
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import TABLE

DISCRETE = "discrete"
WithRod = RodFlow | RodUnitStep | CovarianceClosure
Orbit = Callable[[Callable[[PyTree], PyTree], PyTree, int], PyTree]

FLOWS: dict[str, WithRod] = {
    "rod": RodFlow(),
    "rod_unit_step": RodUnitStep(),
    "closure": CovarianceClosure(rank=2),
}
"""The flows that have a rod. In one dimension the closure's Sigma has rank 1, 2 with a momentum."""

OPTIMIZERS: dict[str, dict[str, float]] = {
    "gd": {"learning_rate": 1.0},
    "heavy_ball": {"learning_rate": 1.0, "momentum": 0.5},
}
"""The optimizers whose growth rates are measured, with their hyperparameters."""

OVER_THRESHOLD = np.linspace(0.75, 1.25, 41)
"""eta S over the threshold, for the growth rates."""

ETA_SHARPNESS = np.linspace(1.62, 2.82, 31)
"""eta S of the quartic, for the amplitudes: nothing settles in reasonable time at 2 itself."""

SHARPNESS, QUARTIC = 1.0, 1.0
RATE, FIRST, START, STEPS = 2.2, 0.01, 3, 45
"""The trajectory: learning rate, initial weight, step at which the flows start, last step."""

Potential = Callable[[Float[Array, "1"]], Float[Array, ""]]


def parabola(sharpness: float | Array) -> Potential:
    """L = (S/2) w^2."""
    return lambda w: jnp.sum(sharpness / 2 * w**2)


def quartic(sharpness: float = SHARPNESS, coefficient: float = QUARTIC) -> Potential:
    """L = (S/2) w^2 - (Q/4) w^4.

    Args:
        sharpness: S, the curvature at the minimum.
        coefficient: Q; where it is positive the curvature falls with the distance from the minimum.
    """
    return lambda w: jnp.sum(sharpness / 2 * w**2 - coefficient / 4 * w**4)


def two_cycle(
    eta_sharpness: np.ndarray, sharpness: float = SHARPNESS, coefficient: float = QUARTIC
) -> np.ndarray:
    """Its amplitude X by the formula above; 0 where there is none.

    Args:
        eta_sharpness: learning rate times S.
        sharpness, coefficient: S and Q of the quartic.
    """
    eta = eta_sharpness / sharpness
    return np.sqrt(np.maximum(sharpness / coefficient - 2 / (eta * coefficient), 0))


def growth_rates(optimizer: str, over_threshold: np.ndarray, units: int = 2400) -> np.ndarray:
    """The rate log(|X(t+1)| / |X(t)|) a step in a parabola, for the discrete run and each flow, [process, value].

    The mean over the second half of `units` steps, from a centre at rest, where it stays. The potential is
    homogeneous, so the length is set back to 1 after every step. For the discrete run X is the state itself.

    Args:
        optimizer: one of `OPTIMIZERS`.
        over_threshold: learning rate times sharpness of the parabola over the optimizer's threshold, [value].
        units: how many units of time, each an optimizer step.
    """
    hyperparameters = OPTIMIZERS[optimizer]
    entry = TABLE[optimizer]
    limit = entry.limit(**hyperparameters)
    with jax.enable_x64(True):
        weights = jnp.zeros(1)
        known = optimizer_map(parabola(1.0), entry.build(**hyperparameters), weights)

        def rates(sharpness: Array) -> list[Array]:
            here = OptimizerMap(parabola(sharpness), known.transformation, known.oscillating)
            still = here.initial(weights)
            kick = jax.tree.map(jnp.ones_like, still)
            back = jax.tree.map(jnp.negative, kick)
            found = [_growth(here, kick, units)]
            for flow in FLOWS.values():
                carry = flow.begin(here, back, kick, back)
                unit = partial(flow.unit, here)
                found.append(_growth(unit, unit(carry), units))
            return found

        return np.stack(jax.jit(jax.vmap(rates))(jnp.asarray(limit * over_threshold)))


def _growth(advance: Callable[[PyTree], PyTree], start: PyTree, units: int) -> Array:
    def step(x: PyTree, _: None) -> tuple[PyTree, Array]:
        x = advance(x)
        size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)))
        return jax.tree.map(lambda leaf: leaf / size, x), jnp.log(size)

    return jnp.mean(jax.lax.scan(step, start, length=units)[1][units // 2 :])


def amplitudes(eta_sharpness: np.ndarray, units: int = 3000) -> np.ndarray:
    """Where the oscillation of gradient descent in the quartic settles, by process, [process, value].

    Half the distance of the last two iterates, and the rod's half-length, after `units` steps from a small start.

    Args:
        eta_sharpness: learning rate times S of the quartic, [value].
        units: how many units of time, each an optimizer step.
    """
    with jax.enable_x64(True):

        def settled(rate: Array) -> list[Array]:
            optimizer = OptimizerMap(quartic(), TABLE["gd"].build(learning_rate=rate), (True,))
            kick = optimizer.initial(jnp.full(1, FIRST))
            back = optimizer.initial(jnp.full(1, -FIRST))
            last = _repeat(optimizer, kick, units)
            found = [jnp.abs(optimizer(last).weights - last.weights)[0] / 2]
            for flow in FLOWS.values():
                carry = flow.begin(optimizer, back, kick, back)
                end = _repeat(partial(flow.unit, optimizer), carry, units)
                found.append(jnp.abs(flow.snapshot(optimizer, end)["half_extent"])[0])
            return found

        return np.stack(jax.jit(jax.vmap(settled))(jnp.asarray(eta_sharpness / SHARPNESS)))


def _repeat(advance: Callable[[PyTree], PyTree], start: PyTree, times: int) -> PyTree:
    return jax.lax.fori_loop(0, times, lambda _, x: advance(x), start)


def trajectories() -> dict[str, np.ndarray]:
    """Gradient descent in the quartic, and the flows that follow it from `START`.

    Returns:
        `iterate` [step], and `centre` and `half_extent` [process, step] at steps 0 to `STEPS`; of the discrete run
        those of three consecutive iterates, NaN where there are none, or where a flow has not started.
    """
    with jax.enable_x64(True):
        optimizer = optimizer_map(quartic(), TABLE["gd"].build(learning_rate=RATE), jnp.zeros(1))

        def orbit(advance: Callable[[PyTree], PyTree], start: PyTree, length: int) -> PyTree:
            return jax.lax.scan(lambda x, _: (advance(x), x), start, length=length)[1]

        states = jax.jit(lambda w: orbit(optimizer, optimizer.initial(w), STEPS + 2))(
            jnp.full(1, FIRST)
        )
        before, now, after = (
            jax.tree.map(lambda leaf, k=k: leaf[k : STEPS + k], states) for k in range(3)
        )
        measured = from_consecutive(optimizer, before, now, after)
        shown = {DISCRETE: (measured.centre.weights, measured.extent.weights)}
        around = [
            jax.tree.map(lambda leaf, k=k: leaf[k], states) for k in range(START - 1, START + 2)
        ]
        for name, flow in FLOWS.items():
            shown[name] = jax.jit(partial(_followed, flow, optimizer, around, orbit))()
        nothing = np.full((len(shown), STEPS + 1), np.nan)
        centre, extent = nothing.copy(), nothing.copy()
        for row, (z, x) in enumerate(shown.values()):
            centre[row, STEPS + 1 - len(z) :] = np.asarray(z)[:, 0]
            extent[row, STEPS + 1 - len(x) :] = np.asarray(x)[:, 0]
        return {
            "iterate": np.asarray(states.weights)[:-1, 0],
            "centre": centre,
            "half_extent": np.abs(extent),
        }


def _followed(
    flow: WithRod, optimizer: OptimizerMap, around: list[State], orbit: Orbit
) -> tuple[Array, Array]:
    """Centre and half-extent of a flow at steps `START` to `STEPS`."""

    def look(carry: PyTree) -> tuple[Array, Array]:
        kept = flow.snapshot(optimizer, carry)
        return kept["weights"], kept["half_extent"]

    carries = orbit(
        lambda c: flow.unit(optimizer, c), flow.begin(optimizer, *around), STEPS + 1 - START
    )
    return jax.vmap(look)(carries)


def toy_dataset() -> xr.Dataset:
    """Growth rates in a parabola, amplitudes in a quartic, and a trajectory, all dimensionless.

    Returns:
        growth_rate [optimizer, process, over_threshold] and threshold [optimizer]; amplitude [process, eta_sharpness]
        and predicted_amplitude [eta_sharpness]; iterate [step], centre and half_extent [process, step].
    """
    thresholds = [
        TABLE[name].limit(**chosen) * chosen["learning_rate"] for name, chosen in OPTIMIZERS.items()
    ]
    rates = np.stack([growth_rates(name, OVER_THRESHOLD) for name in OPTIMIZERS])
    orbit = trajectories()
    by_process = ("process", "step")
    variables: dict[str, tuple[tuple[str, ...], np.ndarray | Array | list[float]]] = {
        "threshold": (("optimizer",), thresholds),
        "growth_rate": (("optimizer", "process", "over_threshold"), rates),
        "amplitude": (("process", "eta_sharpness"), amplitudes(ETA_SHARPNESS)),
        "predicted_amplitude": (("eta_sharpness",), two_cycle(ETA_SHARPNESS)),
        "iterate": (("step",), orbit["iterate"]),
        "centre": (by_process, orbit["centre"]),
        "half_extent": (by_process, orbit["half_extent"]),
    }
    coordinates: dict[str, np.ndarray | list[str]] = {
        "process": [DISCRETE, *FLOWS],
        "optimizer": list(OPTIMIZERS),
        "over_threshold": OVER_THRESHOLD,
        "eta_sharpness": ETA_SHARPNESS,
        "step": np.arange(STEPS + 1),
    }
    data = xr.Dataset(variables, coordinates)
    for name, text in _LONG_NAMES.items():
        data[name].attrs.update(long_name=text, units="1")
    return data.assign_attrs(
        title="toy potentials: parabola and quartic",
        sharpness=SHARPNESS,
        quartic=QUARTIC,
        learning_rate=RATE,
        start=START,
    )


_LONG_NAMES = {
    "process": "the discrete run, or the name of a flow",
    "optimizer": "optimizer",
    "over_threshold": "learning rate x sharpness of the parabola over the threshold",
    "eta_sharpness": "learning rate x sharpness S of the quartic at its minimum, gradient descent",
    "step": "optimizer step",
    "threshold": "largest stable learning rate x sharpness, by linear theory",
    "growth_rate": "growth rate of the oscillation, log |X(t+1)| / |X(t)|, per step",
    "amplitude": "amplitude of the two-cycle in the quartic",
    "predicted_amplitude": "amplitude of the two-cycle by X^2 = S/Q - 2/(eta Q), 0 without one",
    "iterate": "weight of gradient descent in the quartic",
    "centre": "midpoint of the iterates, or centre of the flow",
    "half_extent": "half-extent of the iterates, or half-length of the flow's rod",
}
