"""The full-batch loss of a network on a data set, over one flat weight vector.

A loss is called like the function that it is:

    loss, weights = build(dataset, {"kind": "mlp", "hidden": [32, 32]}, "mse", seed=0)
    value, gradient = jax.value_and_grad(loss)(weights)

The samples may be spread over devices, each of which adds up the loss of its share, and a device may work on a few of
its samples at a time, so that it holds the activations of those only. Both change what a step costs and its rounding,
nothing else: gradients, Hessian-vector products and all that is built of them follow by differentiation.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, DTypeLike, Float, Int, PyTree

from rodflow.config.reference import is_own
from rodflow.config.values import Settings
from rodflow.errors import RodflowError
from rodflow.problem import networks
from rodflow.problem.own import criterion_of
from rodflow.problem.own_code import own_criterion, own_model, refuse_what_is_no_loss


class ObjectiveError(RodflowError, ValueError):
    """An objective that cannot be built: one line with what, its value and what is allowed."""


def mse(logits: Float[Array, "sample class"], targets: Float[Array, "sample class"]) -> Array:
    """Half the squared error: averaged over samples, summed over all else (classes, positions), a scalar.

    Args:
        logits: what the network answers; the first axis is that of the samples.
        targets: what it should answer.
    """
    return 0.5 * jnp.mean(jnp.sum((logits - targets) ** 2, axis=range(1, logits.ndim)))


def cross_entropy(
    logits: Float[Array, "sample class"], targets: Float[Array, "sample class"]
) -> Array:
    """Cross-entropy of the softmax of the logits, in nats, averaged over samples, a scalar.

    Args:
        logits: what the network answers.
        targets: one-hot, or probabilities.
    """
    return jnp.mean(optax.softmax_cross_entropy(logits, targets))


SAMPLE = "sample"
"""Name of the mesh axis over which samples are spread."""

CRITERIA: dict[str, Callable[[Array, Array], Array]] = {"mse": mse, "cross_entropy": cross_entropy}


@dataclass(frozen=True)
class Network:
    """A flax module as a function of parameters and inputs; equal for equal modules."""

    module: nn.Module

    def __call__(self, parameters: PyTree[Array], inputs: Array) -> Array:
        return cast(Array, self.module.apply({"params": parameters}, inputs))


@dataclass(frozen=True)
class Unravel:
    """From a flat vector to the tree of parameters, the inverse of JAX's `ravel_pytree`.

    Unlike the closure that `ravel_pytree` returns, it is equal for trees of equal structure, so
    that a jitted function meeting a second objective of the same shapes is not compiled again.
    """

    structure: jax.tree_util.PyTreeDef
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, parameters: PyTree[Array]) -> Unravel:
        """The function that builds trees like this one."""
        leaves, structure = jax.tree.flatten(parameters)
        return cls(structure, tuple(leaf.shape for leaf in leaves))

    def __call__(self, weights: Float[Array, " parameter"]) -> PyTree[Array]:
        ends = list(itertools.accumulate(map(math.prod, self.shapes)))
        pieces = jnp.split(weights, ends[:-1])
        leaves = [x.reshape(shape) for x, shape in zip(pieces, self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)

    @property
    def places(self) -> dict[tuple[str, ...], slice]:
        """Path of each parameter in the tree -> where it is in the flat vector."""
        ends = list(itertools.accumulate(map(math.prod, self.shapes)))
        ranges = jax.tree.unflatten(self.structure, list(map(slice, [0, *ends], ends)))
        found = jax.tree_util.tree_leaves_with_path(ranges)
        return {tuple(key.key for key in path): place for path, place in found}


class Objective(eqx.Module):
    """Full-batch loss as a function of the flat weights.

    A pytree whose leaves are the data: a function that is jitted with the objective as an argument
    (`jax.jit(lambda loss, weights: ...)`, or `equinox.filter_jit(loss)`) takes the data as
    arguments too, instead of being compiled with them inside. The other fields are static and
    compare by value.

    Attributes:
        inputs: what the network sees.
        targets: what it should answer: one-hot, or what the criterion takes.
        network: from parameters and inputs to logits.
        unravel: from flat weights to parameters.
        criterion: from logits and targets to the loss, a mean over samples.
        mesh: the devices over which the samples are spread in equal shares; None: where the data are.
        at_once: how many of its samples a device works on at a time; None: all.
    """

    inputs: Float[Array, "sample ..."]
    targets: Float[Array, "sample class"]
    network: Callable[[PyTree[Array], Array], Array] = eqx.field(static=True)
    unravel: Callable[[Array], PyTree[Array]] = eqx.field(static=True)
    criterion: Callable[[Array, Array], Array] = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True, default=None)
    at_once: int | None = eqx.field(static=True, default=None)

    def __call__(self, weights: Float[Array, " parameter"]) -> Float[Array, ""]:
        if self.mesh is None:
            return self._mean(weights, self.inputs, self.targets)

        def of_share(weights: Array, inputs: Array, targets: Array) -> Array:
            # Once, so that the derivative is summed over devices once, and not in every chunk.
            weights = jax.lax.pcast(weights, SAMPLE, to="varying")
            return jax.lax.pmean(self._mean(weights, inputs, targets), SAMPLE)

        everywhere, spread = PartitionSpec(), PartitionSpec(SAMPLE)
        mean = jax.shard_map(
            of_share,
            mesh=self.mesh,
            in_specs=(everywhere, spread, spread),
            out_specs=everywhere,
        )
        return mean(weights, self.inputs, self.targets)

    def _mean(self, weights: Array, inputs: Array, targets: Array) -> Float[Array, ""]:
        """The mean loss of some samples, in as many equal chunks as hold `at_once` at most.

        `jax.checkpoint` keeps nothing of a chunk for a derivative but computes it again, of any order. The last chunk
        overlaps the one before where the samples are no multiple, and what it has twice does not count.
        """
        samples = inputs.shape[0]
        chunks = math.ceil(samples / (self.at_once or samples))
        if chunks == 1:
            return self.criterion(self.network(self.unravel(weights), inputs), targets)
        size = math.ceil(samples / chunks)
        each = jax.vmap(lambda logit, target: self.criterion(logit[None], target[None]))

        @functools.partial(jax.checkpoint, prevent_cse=False)
        def total(weights: Array, first: Array) -> Array:
            start = jnp.minimum(first, samples - size)
            few, answers = (
                jax.lax.dynamic_slice_in_dim(data, start, size) for data in (inputs, targets)
            )
            losses = each(self.network(self.unravel(weights), few), answers)
            return jnp.sum(losses, where=start + jnp.arange(size) >= first)

        firsts = size * jnp.arange(chunks)
        return jnp.sum(jax.lax.map(lambda first: total(weights, first), firsts)) / samples

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.inputs.shape[0]

    def of(self, samples: Int[Array, " chosen"]) -> Objective:
        """The loss on some of the samples only."""
        return replace(self, inputs=self.inputs[samples], targets=self.targets[samples])

    @property
    def scale_invariant(self) -> dict[str, slice]:
        """Name of each kernel W with L(cW) = L(W) for c > 0 -> where it is in the flat weights.

        See `rodflow.problem.networks.scale_invariant`; empty for a network that is no `Network`.
        """
        if not isinstance(self.network, Network) or not isinstance(self.unravel, Unravel):
            return {}
        places = self.unravel.places
        paths = networks.scale_invariant(self.network.module)
        return {".".join(path): places[path] for path in paths}

    def logits(self, weights: Float[Array, " parameter"]) -> Float[Array, "sample class"]:
        """What the network answers for every sample."""
        return self.network(self.unravel(weights), self.inputs)


def of_run(dataset: xr.Dataset, settings: Settings) -> tuple[Objective, Float[Array, " parameter"]]:
    """The loss that a run trains on, of its own number of images, and its initial weights.

    Args:
        dataset: of the experiment, which may hold more images than the run is trained on.
        settings: of a `rodflow.config.experiment.Run`.

    Raises:
        ObjectiveError: the data set holds fewer images than the run asks for, or see `build`.
        OwnError, ProblemError, ModelError: see `build`.
    """
    samples = settings["dataset"].get("samples")
    if samples is not None and samples > dataset.sizes["sample"]:
        raise ObjectiveError(
            f"dataset.samples is {samples}; the data set has {dataset.sizes['sample']}"
        )
    return build(
        dataset.isel(sample=slice(samples)),
        settings["model"],
        settings["criterion"],
        settings["seed"],
        own=settings.get("own"),
        **settings.get("compute", {}),
    )


def build(
    dataset: xr.Dataset,
    model_settings: Settings,
    criterion: str,
    seed: int,
    dtype: DTypeLike = jnp.float32,
    *,
    devices: int = 1,
    samples_at_once: int | None = None,
    own: Settings | None = None,
) -> tuple[Objective, Float[Array, " parameter"]]:
    """The loss of a model on a data set, and the initial weights of a seed.

    Args:
        dataset: with ``image(sample, row, column, channel)`` and one-hot ``target(sample, class)``, see
            `rodflow.problem.labelled.load`; or with ``input`` and ``target`` of any shape, whole numbers or not.
        model_settings: see `rodflow.problem.networks.build`; or of code of one's own, its name as `kind`.
        criterion: a key of `CRITERIA`, or the name of a function of one's own.
        seed: of the initial weights, which are drawn in single precision whatever the dtype.
        dtype: of data and weights; float64 where JAX has it enabled.
        devices: over how many the samples are spread, in equal shares.
        samples_at_once: how many samples each device works on at a time; None: all of its share.
        own: what identifies code of one's own, and where it is: `own` of a run's settings.

    Raises:
        OwnError, ProblemError: code of one's own fails, or gives no model or criterion.
        ObjectiveError: an unknown criterion, float64 where JAX has it disabled, more devices than there are, or a
            number of them that does not divide that of the samples.
        ModelError: the model cannot be built, or does not fit the images.
    """
    own = own or {}
    measure = _criterion(criterion, own, images="image" in dataset)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        why = f"dtype is {jnp.dtype(dtype).name}, which JAX has disabled"
        raise ObjectiveError(f"{why}; set JAX_ENABLE_X64=1 or take float32")
    inputs, targets = _arrays(dataset, dtype)
    mesh = _mesh(devices, inputs.shape[0])
    if is_own(model_settings["kind"]):
        network, parameters = own_model(model_settings, own, inputs, seed)
    else:
        if targets.ndim == 1 and jnp.issubdtype(targets.dtype, jnp.floating):
            targets = targets[:, None]
        module = networks.build(model_settings, _outputs(dataset, targets))
        network, parameters = Network(module), networks.initialise(module, inputs, seed)
    weights = jnp.asarray(ravel_pytree(parameters)[0], dtype)
    if mesh is not None:
        inputs, targets = jax.device_put(
            (inputs, targets), NamedSharding(mesh, PartitionSpec(SAMPLE))
        )
        weights = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
    unravel = Unravel.of(parameters)
    loss = Objective(inputs, targets, network, unravel, measure, mesh, samples_at_once)
    if "image" not in dataset or own:
        refuse_what_is_no_loss(loss, weights)
    return loss, weights


def _criterion(criterion: str, own: Settings, *, images: bool) -> Callable[[Array, Array], Array]:
    if is_own(criterion):
        return own_criterion(criterion, own)
    if criterion not in CRITERIA:
        raise ObjectiveError(f"criterion is {criterion!r}; it must be one of {', '.join(CRITERIA)}")
    return CRITERIA[criterion] if images else criterion_of(criterion)


def _arrays(dataset: xr.Dataset, dtype: DTypeLike) -> tuple[Array, Array]:
    """Inputs and targets; whole numbers stay whole."""
    if "image" in dataset:
        images = dataset["image"].transpose("sample", "row", "column", "channel")
        one_hot = dataset["target"].transpose("sample", "class")
        return jnp.asarray(images.values, dtype), jnp.asarray(one_hot.values, dtype)
    inputs, targets = (
        jnp.asarray(values, dtype if values.dtype.kind == "f" else None)
        for values in (dataset["input"].values, dataset["target"].values)
    )
    return inputs, targets


def _outputs(dataset: xr.Dataset, targets: Array) -> int:
    """How many numbers a network answers with: for classes by number, how many there are."""
    return int(dataset.attrs.get("classes", targets.shape[-1]))


def _mesh(devices: int, samples: int) -> Mesh | None:
    """So many devices in a row; None for a single one."""
    if devices == 1:
        return None
    if samples % devices:
        raise ObjectiveError(f"compute.devices is {devices}; it must divide the {samples} samples")
    found = jax.devices()
    if devices > len(found):
        why = (
            f"compute.devices is {devices}; JAX finds {len(found)} of the kind {found[0].platform}"
        )
        raise ObjectiveError(f"{why}: ask for fewer, or run where there are more")
    return Mesh(np.array(found[:devices]), SAMPLE)
