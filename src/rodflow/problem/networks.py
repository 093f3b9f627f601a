"""Image classifiers as flax modules, by the ``kind`` that a config names: a module of `rodflow.problem.models`.

    network = build({"kind": "cnn", "channels": [8, 16], "activation": "tanh"}, classes=10)
    parameters = initialise(network, images, seed=0)
    logits = network.apply({"params": parameters}, images)  # (sample, class)

Images are (sample, row, column, channel). Nothing is random after the start (no dropout), and with
any activation but ``relu`` the logits are smooth in the weights. Arithmetic is in the precision of
parameters and images.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from rodflow.config.catalogue import MODELS
from rodflow.config.declarations import choices_of
from rodflow.config.values import Settings
from rodflow.problem.layers import Images, ModelError


def build(settings: Settings, classes: int) -> nn.Module:
    """The network that the settings describe.

    Two networks of equal settings are equal and have the same hash.

    Args:
        settings: ``kind`` (a module of `rodflow.problem.models`) and its settings; those left out have defaults.
        classes: how many logits.

    Raises:
        ModelError: an unknown kind, setting or activation, or heads that do not divide the width.
            Applying the network raises it where the image is too small for the convolutions, or no
            whole number of patches.
    """
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in MODELS:
        raise ModelError(f"kind is {kind!r}; it must be one of {', '.join(MODELS)}")
    known = MODELS[kind].settings
    for key, value in options.items():
        if key not in known:
            takes = f"{kind} takes only {', '.join(sorted(known))}"
            raise ModelError(f"{key} is {value!r}, but {takes}")
        allowed = choices_of(known[key])
        if allowed and value not in allowed:
            raise ModelError(
                f"{key} is {value!r}; it must be one of {', '.join(map(str, allowed))}"
            )
    return MODELS.load(kind).network(classes=classes, **options)


def scale_invariant(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Paths, in the tree of parameters, of the kernels whose scale the logits do not depend on.

    Those of `Normalised` and `NormalisedConvolution` layers, each as a whole and in the order of the
    layers. No other parameter of these networks has this property at all weights: not the scale and
    bias after the norm, not the last layer, and no layer of a transformer, where norms stand before
    the kernels. A network tells with a method of this name; one without it has none.
    """
    return network.scale_invariant() if hasattr(network, "scale_invariant") else ()


def initialise(network: nn.Module, images: Images, seed: int) -> PyTree[Float[np.ndarray, "..."]]:
    """Initial parameters: Lecun-normal kernels, zero biases, flax's own defaults.

    All numbers come from one draw, cut to the shapes of the parameters. It compiles in 0.3 s where
    `network.init`, which draws for each kernel, takes up to 6 s in every process of a pipeline. It
    is in single precision, so that a seed means the same network in any.

    Args:
        network: as `build` returns it.
        images: of the shape that the network is for; their number does not matter.
        seed: of the draw.

    Returns:
        The tree of parameters, float32.

    Raises:
        ModelError: the network does not fit the images, or a parameter has a name of unknown initial value.
    """
    key = jax.random.key(seed)
    shapes = jax.eval_shape(network.init, key, images)["params"]
    named, structure = jax.tree_util.tree_flatten_with_path(shapes)
    ends = np.cumsum([leaf.size for _, leaf in named])
    draws = np.asarray(jax.random.truncated_normal(key, -2, 2, (ends[-1],), jnp.float32))
    pieces = np.split(draws / np.float32(_TRUNCATED_DEVIATION), ends[:-1])
    leaves = [
        _initial(path[-1].key, piece.reshape(leaf.shape))
        for (path, leaf), piece in zip(named, pieces, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


_TRUNCATED_DEVIATION = 0.87962566103423978  # of a standard normal cut off at -2 and 2


def _initial(name: str, draw: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The initial value of a parameter from random numbers of variance 1 and its shape."""
    match name:
        case "kernel":
            return draw / np.float32(math.sqrt(math.prod(draw.shape[:-1])))
        case "positions" | "embedding":
            return draw * np.float32(0.02)
        case "scale":
            return np.ones_like(draw)
        case "bias":
            return np.zeros_like(draw)
    raise ModelError(
        f"parameter {name} has no initial value; it must be kernel, bias, scale, positions or embedding"
    )
