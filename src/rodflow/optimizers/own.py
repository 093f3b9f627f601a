"""Optimizers of one's own by the name that a config gives, `FILE.py:NAME`: what they step and what is known of them."""

import math
from collections.abc import Callable, Mapping

import optax
from jaxtyping import Array

from rodflow.config.loading import call
from rodflow.config.reference import OwnError
from rodflow.config.values import Settings
from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.instability import threshold_of
from rodflow.optimizers.optimizer_map import OptimizerMap
from rodflow.optimizers.table import Entry

STEPS_TO_LOOK = 3
"""Steps after which an optimizer is linearised: moments that are still empty have no gain."""


def own_transformation(
    name: str, arguments: Mapping[str, object], own: Settings, steps: int
) -> optax.GradientTransformation:
    """The optax transformation that code of one's own gives.

    Args:
        name: the reference.
        arguments: its hyperparameters.
        own: what identifies the code, and where it is: `own` of a run's settings.
        steps: the length of the run, which the code is given where it takes it.

    Raises:
        OwnError: the code fails, or gives something else.
    """
    found = call(name, own, arguments, steps=steps)
    if not hasattr(found, "init") or not hasattr(found, "update"):
        raise OwnError(
            f"{name} gives {type(found).__name__}; it must give an optax transformation such as optax.adam(1e-3)"
        )
    return optax.GradientTransformation(found.init, found.update)


def own_entry(build: Callable[..., optax.GradientTransformation], *, linear: bool) -> Entry:
    """What is known of an optimizer that nobody described: a threshold by its linearised map, or none.

    Args:
        build: keyword hyperparameters -> optax transformation.
        linear: whether it has a linear threshold, see `why_no_threshold`.
    """
    return Entry(build, None, adaptive=False, linear=linear)


def first_mode(step: OptimizerMap, weights: Array) -> tuple[float, str]:
    """The angle by which the first unstable mode turns, in radians, seen after `STEPS_TO_LOOK` steps.

    Args:
        step: the map.
        weights: before the first of these steps.

    Returns:
        The angle and "", see `rodflow.optimizers.instability.Instability`; NaN and why if there is no such mode. Where
        nothing moves NaN and "".
    """
    state = step.initial(weights)
    for _ in range(STEPS_TO_LOOK):
        state = step(state)
    try:
        return threshold_of(step, state).angle, ""
    except OptimizerError as error:
        return math.nan, str(error)


def why_no_threshold(step: OptimizerMap, weights: Array) -> str:
    """Why an optimizer has no linear threshold, seen after its first steps; "" where it has one or nothing moves.

    Args:
        step, weights: as for `first_mode`.
    """
    return first_mode(step, weights)[1]
