"""The region of Adam's decays in which its updates are bounded: given gradients along a path through it, and training.

The bounds and their derivation are in `rodflow.analysis.adam_bound`. Source: Gould and Tanaka 2024 (arXiv 2411.05746).

    adam_region(dataset)["growth_rate"].sel(time="discrete").plot()
"""

from collections.abc import Sequence
from typing import TypedDict

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, Float

from rodflow.analysis.adam_bound import Numbers, bound, condition, correction, quotient
from rodflow.dynamics.training import discrete_side_by_side
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.problem import objective

Scalar = float | Array
Moments = tuple[Array, Array]

B1 = 0.9
PATH = (0.999, 0.99, 0.95, 0.9, 0.85, 0.83, 0.81, 0.79, 0.75, 0.7, 0.6, 0.5)
"""The path: b, and the values of c. It crosses C = 0 at c = 0.818, and c = b^2 = 0.81 is one of its points."""

PLANE = 1 - np.geomspace(0.6, 1e-3, 81)
"""Values of b and of c in the plane."""

STEPS, RATES_FROM, RATES_TO = 1000, 400, 800
"""Steps of given gradients, and between which of them growth rates are measured."""

GRADIENTS = ("worst", "random", "constant", "alternating")
SEQUENCES, STARTS, ASCENT_STEPS = 256, 6, 12
"""Random sequences; random starts of the ascent, and how many gradients it is free to choose."""

SEEDS = (1, 2, 3)


class Training(TypedDict):
    """Full-batch training with Adam along the path."""

    model: dict[str, str | list[int]]
    criterion: str
    samples: int
    steps: int
    learning_rate: float
    eps: float


TRAINING: Training = {
    "model": {"kind": "mlp", "hidden": [32], "activation": "tanh"},
    "criterion": "mse",
    "samples": 300,
    "steps": 300,
    "learning_rate": 0.03,
    "eps": 1e-8,
}


def moments(
    gradients: Float[Array, " step"], b: Scalar, c: Scalar, growth: Scalar = 1.0
) -> tuple[Array, Array]:
    """First and second moment after every step, from zero, over growth^s and growth^{2s}, of gradients x_s growth^s.

    Scaled like this neither leaves the range of floating-point numbers where gradients grow or decay for long, and
    m/sqrt(v) does not notice it.

    Args:
        gradients: x_s of the steps s = 1, 2, ...
        b, c: decays of the first and second moment.
        growth: the factor by which the gradients themselves grow in a step.

    Returns:
        m_s / growth^s and v_s / growth^{2s}, each [step], without bias correction.
    """

    def step(carry: Moments, x: Array) -> tuple[Moments, Moments]:
        m, v = carry
        m = b * m / growth + (1 - b) * x
        v = c * v / growth**2 + (1 - c) * x**2
        return (m, v), (m, v)

    zero = jnp.zeros((), gradients.dtype)
    return jax.lax.scan(step, (zero, zero), gradients)[1]


def updates(
    gradients: Float[Array, " step"], b: Scalar, c: Scalar, growth: Scalar = 1.0
) -> Float[Array, " step"]:
    """The ratio m/sqrt(v) after every step, without bias correction.

    Args:
        gradients, b, c, growth: as in `moments`.
    """
    m, v = moments(gradients, b, c, growth)
    return m / jnp.sqrt(v)


def largest_by_eigenvalue(b: float, c: float, steps: int) -> float:
    """The largest |m|/sqrt(v) after these steps, from the recursion alone.

    m is linear in the gradients, m = <a, g>, and v = <g, D g> with D diagonal, so m^2/v is a generalised Rayleigh
    quotient: its largest value is the largest eigenvalue of D^{-1/2} a a^T D^{-1/2}.

    Args:
        b, c: decays of the first and second moment.
        steps: how many gradients there are; the value is the one after the last.
    """
    with jax.enable_x64(True):
        ones = jnp.ones(steps)
        a = jax.grad(lambda g: moments(g, b, c)[0][-1])(ones)
        d = jax.grad(lambda g: moments(g, b, c)[1][-1])(ones) / 2
        vector = a / jnp.sqrt(d)
        return float(jnp.sqrt(jnp.linalg.eigvalsh(jnp.outer(vector, vector))[-1]))


def largest_by_ascent(b: np.ndarray, c: np.ndarray, steps: int, starts: int) -> np.ndarray:
    """The |m|/sqrt(v) that L-BFGS climbs to over all gradients from random ones, [point, start].

    It climbs log |m| - log(v)/2 after the last step and knows nothing of the bound.

    Args:
        b, c: decays of the first and second moment, [point].
        steps: how many gradients there are, all of them free.
        starts: how many random gradients are begun from, the same ones at every point.
    """

    def climb(start: Array, b: Array, c: Array) -> Array:
        def loss(gradients: Array) -> Array:
            m, v = moments(gradients, b, c)
            return jnp.log(v[-1]) / 2 - jnp.log(jnp.abs(m[-1]))

        ascent = optax.lbfgs()
        value_and_gradient = optax.value_and_grad_from_state(loss)

        def step(_: int, carry: tuple[Array, optax.OptState]) -> tuple[Array, optax.OptState]:
            gradients, state = carry
            value, slope = value_and_gradient(gradients, state=state)
            change, state = ascent.update(
                slope, state, gradients, value=value, grad=slope, value_fn=loss
            )
            return optax.apply_updates(gradients, change), state

        gradients, _ = jax.lax.fori_loop(0, 300, step, (start, ascent.init(start)))
        return jnp.exp(-loss(gradients))

    with jax.enable_x64(True):
        first = jax.random.normal(jax.random.key(0), (starts, steps))
        over_starts = jax.vmap(climb, (0, None, None))
        every = jax.jit(jax.vmap(over_starts, (None, 0, 0)))
        return np.asarray(every(first, jnp.asarray(b), jnp.asarray(c)))


def continuous_updates(b: np.ndarray, c: np.ndarray, times: np.ndarray) -> np.ndarray:
    """m/sqrt(v) of the differential equations with their worst gradients, integrated numerically, [point, time].

    With g = e^{rs} the scaled moments M = m/g and V = v/g^2 obey M' = (1-M)/tau_1 - r M, V' = (1-V)/tau_2 - 2 r V.

    They begin at M = V = 0.

    Args:
        b, c: decays of the first and second moment, [point]; tau_1 = b/(1-b) and tau_2 = c/(1-c).
        times: in units of optimizer steps, [time], ascending and above 0.
    """

    def one(b: Array, c: Array) -> Array:
        rate_1, rate_2 = (1 - b) / b, (1 - c) / c

        def slope(t: Numbers | Scalar, y: Array, _: None) -> Array:
            r = rate_1 - rate_2
            return jnp.stack([rate_1 * (1 - y[0]) - r * y[0], rate_2 * (1 - y[1]) - 2 * r * y[1]])

        found = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri8(),
            0.0,
            float(times[-1]),
            1e-3,
            jnp.zeros(2),
            saveat=diffrax.SaveAt(ts=jnp.asarray(times, float)),
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-12),
            max_steps=100_000,
        ).ys
        assert found is not None
        return found[:, 0] / jnp.sqrt(found[:, 1])

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(b), jnp.asarray(c)))


def training(
    dataset: xr.Dataset, b: np.ndarray, c: np.ndarray, settings: Training = TRAINING
) -> dict[str, np.ndarray]:
    """Full-batch Adam in double precision, from the same initial weights at every point.

    Args:
        dataset: the training data, of which the first `samples` are used.
        b, c: decays of the first and second moment, [point].
        settings: of the model and its training.

    Returns:
        `training_update` [point, seed, step]: the largest |w_t - w_{t-1}| / learning rate of all weights, that is
        |m_hat|/(sqrt(v_hat) + eps), NaN from where a run diverged; and `training_loss`, alike, after the step.
    """
    steps, rate = settings["steps"], settings["learning_rate"]
    few = dataset.isel(sample=slice(settings["samples"]))
    largest = np.full((len(b), len(SEEDS), steps), np.nan)
    losses = np.full_like(largest, np.nan)
    with jax.enable_x64(True):
        for n, seed in enumerate(SEEDS):
            loss, weights = objective.build(
                few, settings["model"], settings["criterion"], seed, jnp.float64
            )
            maps = []
            for b1, b2 in zip(b.tolist(), c.tolist(), strict=True):
                numbers = {"learning_rate": rate, "b1": b1, "b2": b2, "eps": settings["eps"]}
                adam = TABLE["adam"].tuned(weights.dtype, **numbers)
                maps.append(optimizer_map(loss, adam, weights))
            runs = discrete_side_by_side(
                maps,
                [weights] * len(maps),
                steps=steps,
                snapshot_steps=range(steps + 1),
                seeds=[seed] * len(maps),
            )
            for k, run in enumerate(runs):
                moved = np.diff(run.snapshots["iterate"], axis=0)
                largest[k, n, : len(moved)] = np.abs(moved).max(axis=1) / rate
                losses[k, n, : len(moved)] = run.series["loss"][1 : len(moved) + 1]
    return {"training_update": largest, "training_loss": losses}


def growth_rate(sizes: np.ndarray, first: int, last: int) -> np.ndarray:
    """The mean slope of log |u| from one step to another, per step, [...].

    Args:
        sizes: |u| after each step, [..., step], steps counted from 1.
        first, last: the two steps.
    """
    return np.log(sizes[..., last - 1] / sizes[..., first - 1]) / (last - first)


def along(b: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    """What given gradients make along a path of decays.

    Args:
        b, c: decays of the first and second moment, [point].

    Returns:
        `update` [point, gradients, step]: |m|/sqrt(v) without bias correction for each kind of `GRADIENTS`; of the
        random ones, which are normally distributed and independent, it is the largest of all sequences. `growth_rate`
        [point, time]: with the worst gradients, per step, from `RATES_FROM` to `RATES_TO`, in discrete and in
        continuous time. `predicted_rate`, alike: that of the bound where it grows, log(q)/2 and -C/2.
    """
    with jax.enable_x64(True):
        ones = jnp.ones(STEPS)
        signs = (-1.0) ** jnp.arange(STEPS)
        noise = jax.random.normal(jax.random.key(1), (SEQUENCES, STEPS))

        def every(b: Array, c: Array) -> Array:
            chance = jax.vmap(lambda g: jnp.abs(updates(g, b, c)))(noise).max(axis=0)
            plain = [jnp.abs(updates(g, b, c)) for g in (ones, signs)]
            return jnp.stack([updates(ones, b, c, c / b), chance, *plain])

        sizes = np.asarray(jax.jit(jax.vmap(every))(jnp.asarray(b), jnp.asarray(c)))
    times = np.array([RATES_FROM, RATES_TO])
    continuous = continuous_updates(b, c, times)
    rates = [
        growth_rate(sizes[:, 0], RATES_FROM, RATES_TO),
        np.log(continuous[:, 1] / continuous[:, 0]) / (RATES_TO - RATES_FROM),
    ]
    predicted = [np.log(quotient(b, c)) / 2, -condition(b, c) / 2]
    return {
        "update": sizes,
        "growth_rate": np.stack(rates, axis=1),
        "predicted_rate": np.stack(predicted, axis=1),
    }


def adam_region(
    dataset: xr.Dataset,
    path: Sequence[float] = PATH,
    settings: Training = TRAINING,
) -> xr.Dataset:
    """The region of stable decays: the plane, given gradients along a path through it, and training.

    Args:
        dataset: the training data; see `rodflow.problem.labelled.load`.
        path: values of c.
        settings: of the training.
    """
    c = np.array(path)
    b = np.full_like(c, B1)
    steps = np.arange(1, STEPS + 1)
    given = along(b, c)
    trained = training(dataset, b, c, settings)
    found = largest_by_ascent(b, c, ASCENT_STEPS, STARTS)
    eigenvalues = [largest_by_eigenvalue(*pair, ASCENT_STEPS) for pair in zip(b, c, strict=True)]
    at = (b[:, None], c[:, None], steps[None])
    by_step, by_time = ("point", "step"), ("point", "time")
    by_seed = ("point", "seed", "training_step")
    variables: dict[str, tuple[tuple[str, ...], Numbers]] = {
        "plane_condition": (("b1", "b2"), condition(PLANE[:, None], PLANE[None])),
        "plane_quotient": (("b1", "b2"), quotient(PLANE[:, None], PLANE[None])),
        "path_b1": (("point",), b),
        "path_b2": (("point",), c),
        "condition": (("point",), condition(b, c)),
        "quotient": (("point",), quotient(b, c)),
        "bound": (by_step, bound(*at)),
        "correction": (by_step, correction(*at)),
        "limit": (("point",), bound(b, c, np.inf)),
        "update": (("point", "gradients", "step"), given["update"]),
        "growth_rate": (by_time, given["growth_rate"]),
        "predicted_rate": (by_time, given["predicted_rate"]),
        "climbed": (("point", "start"), found),
        "eigenvalue": (("point",), np.array(eigenvalues)),
        "training_update": (by_seed, trained["training_update"]),
        "training_loss": (by_seed, trained["training_loss"]),
    }
    coordinates: dict[str, np.ndarray | list[str] | list[int]] = {
        "b1": PLANE,
        "b2": PLANE,
        "point": np.arange(len(c)),
        "step": steps,
        "gradients": list(GRADIENTS),
        "time": ["discrete", "continuous"],
        "start": np.arange(STARTS),
        "seed": list(SEEDS),
        "training_step": np.arange(1, settings["steps"] + 1),
    }
    return _described(xr.Dataset(variables, coordinates), settings)


def _described(data: xr.Dataset, settings: Training) -> xr.Dataset:
    """The same with names and units, and what it was made with."""
    for name, text in _LONG_NAMES.items():
        data[name].attrs.update(long_name=text, units="1")
    return data.assign_attrs(
        title="the region of decays where updates of Adam are bounded",
        climbed_steps=ASCENT_STEPS,
        sequences=SEQUENCES,
        rates_from=RATES_FROM,
        rates_to=RATES_TO,
        learning_rate=settings["learning_rate"],
    )


_LONG_NAMES = {
    "b1": "decay b of the first moment",
    "b2": "decay c of the second moment",
    "point": "number of the point on the path",
    "step": "optimizer step of given gradients",
    "gradients": "kind of the given gradients",
    "time": "Adam in discrete or in continuous time",
    "start": "number of the random gradients from which the ascent starts",
    "seed": "seed of the initial weights",
    "training_step": "optimizer step of training",
    "plane_condition": "C(b, c) = 2(1-b)/b - (1-c)/c",
    "plane_quotient": "q = b^2/c",
    "path_b1": "decay b on the path",
    "path_b2": "decay c on the path",
    "condition": "C(b, c) on the path",
    "quotient": "q = b^2/c on the path",
    "bound": "bound of |m|/sqrt(v) after the step, without bias correction",
    "correction": "factor by which bias correction multiplies |m|/sqrt(v) and its bound",
    "limit": "bound of |m|/sqrt(v) for all time",
    "update": "|m|/sqrt(v) after the step, without bias correction; of random gradients the largest",
    "growth_rate": "growth rate of |m|/sqrt(v) with the worst gradients, per step",
    "predicted_rate": "growth rate of the bound where it grows, log(q)/2 or -C/2, per step",
    "climbed": "largest |m|/sqrt(v) found by ascent over all gradients of a few steps",
    "eigenvalue": "the same from the largest eigenvalue of a Rayleigh quotient",
    "training_update": "largest update of a weight over the learning rate, with bias correction",
    "training_loss": "full-batch loss after the step",
}
