"""Models and criteria of one's own, by the name that a config gives: `FILE.py:NAME`."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rodflow.config.loading import call, explained, function
from rodflow.config.values import Settings
from rodflow.problem.own import Apply, Parameters, ProblemError, function_of

Own = Settings
"""`own` of a run's settings."""


def own_model(settings: Settings, own: Own, inputs: Array, seed: int) -> tuple[Apply, Parameters]:
    """The function and the initial parameters of a model.

    Args:
        settings: `kind`, the reference, and its arguments.
        own: what identifies the code, and where it is.
        inputs: of the shape that it is for.
        seed: of the initial parameters; the code is given it as `seed`, `key` or `rngs` where it takes one.

    Raises:
        OwnError: the code fails.
        ProblemError: it gives no model, or one with state or randomness.
    """
    arguments = dict(settings)
    name = arguments.pop("kind")
    given = {"seed": seed, "key": jax.random.key(seed), "rngs": nnx.Rngs(seed)}
    return function_of(call(name, own, arguments, **given), inputs, seed)


def own_criterion(name: str, own: Own) -> Callable[[Array, Array], Float[Array, ""]]:
    """The criterion, of outputs and targets.

    Args:
        name: the reference, `FILE.py:NAME`.
        own: what identifies the code, and where it is; and the arguments that the config gives to the criterion.

    Raises:
        OwnError: the file has changed since the settings were made from it, or fails as it is loaded.
        PathError: it is in a home folder that there is not.
    """
    arguments = own.get("criterion", {})
    found = function(name, own)
    return partial(found, **arguments) if arguments else found


def refuse_what_is_no_loss(
    loss: Callable[[Array], Float[Array, ""]], weights: Float[Array, " parameter"]
) -> None:
    """A loss is a number, finite where training starts.

    Args:
        loss: of the flat weights.
        weights: where training starts.

    Raises:
        OwnError: code of one's own fails.
        ProblemError: it is no number, or not finite there.
    """
    with explained():
        shape = jax.eval_shape(loss, weights).shape
        if shape != ():
            raise ProblemError(
                f"the criterion gives an array of shape {shape}; it must be a scalar: take its mean over samples"
            )
        start = loss(weights)
    if not jnp.isfinite(start):
        raise ProblemError(f"the loss is {float(start)} at the start; begin where it is finite")
