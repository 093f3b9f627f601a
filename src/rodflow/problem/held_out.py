"""A test set: the loss and the accuracy, at any weights, on samples that nothing is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from rodflow.problem.objective import Objective


class HeldOut(eqx.Module):
    """What is measured on a test set.

    Attributes:
        loss: from flat weights to the mean loss of its samples.
        answers: from flat weights to what the model answers for each sample; None of a loss that is no model's.
        labels: the class of each sample; None where the targets are no classes, so that there is no accuracy.
    """

    loss: Callable[[Float[Array, " parameter"]], Float[Array, ""]]
    answers: Callable[[Float[Array, " parameter"]], Float[Array, "sample ... class"]] | None = None
    labels: Int[Array, "sample ..."] | None = None

    def along(
        self, weights: Float[np.ndarray, "snapshot parameter"]
    ) -> dict[str, Float[np.ndarray, " snapshot"]]:
        """`test_loss` at each of the weights, and `test_accuracy` where there are classes: a share from 0 to 1."""
        return {
            name: np.asarray(values) for name, values in _along(self, jnp.asarray(weights)).items()
        }

    def accuracy(self, weights: Float[Array, " parameter"]) -> Float[Array, ""]:
        """The share of samples whose largest answer is that of their class."""
        assert self.answers is not None and self.labels is not None
        return jnp.mean(jnp.argmax(self.answers(weights), axis=-1) == self.labels)


@eqx.filter_jit
def _along(test: HeldOut, weights: Array) -> dict[str, Array]:
    measures = {"test_loss": test.loss}
    if test.answers is not None and test.labels is not None:
        measures["test_accuracy"] = test.accuracy
    return jax.lax.map(lambda w: {name: of(w) for name, of in measures.items()}, weights)


def of_objective(loss: Objective, dataset: xr.Dataset) -> HeldOut | None:
    """The test set that a data set has beside the samples of a loss; None where it has none.

    Args:
        loss: of the run, whose network and criterion are those of its test set.
        dataset: with `test_image` and `test_target`, see `rodflow.problem.labelled.with_test`.
    """
    if "test_image" not in dataset:
        return None
    dtype = loss.inputs.dtype
    images, targets = (
        jnp.asarray(dataset[name].values, dtype) for name in ("test_image", "test_target")
    )
    test = replace(loss, inputs=images, targets=targets, mesh=None)
    return HeldOut(test, test.logits, labels_of(targets))


def labels_of(targets: Array) -> Int[Array, "sample ..."] | None:
    """The classes that targets stand for: whole numbers, or rows with a single one among zeros; else None."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return targets
    one_hot = targets.ndim > 1 and targets.shape[-1] > 1
    if one_hot and bool(jnp.all((targets == 0) | (targets == 1)) & jnp.all(targets.sum(-1) == 1)):
        return jnp.argmax(targets, axis=-1)
    return None
