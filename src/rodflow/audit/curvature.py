"""The part of the audit that needs JAX: stored eigenpairs against the stored weights.

A stored leading eigenvector u of A = P^(-1/2) H P^(-1/2) is multiplied by A once, at a few
snapshots. Its Rayleigh quotient u.Au must be the stored eigenvalue and ||A u - value u|| the stored
residual. That shows an eigenpair, and at the weights that are stored; that no larger eigenvalue
exists is not shown again, nor are the lower eigenvalues, whose vectors are not stored. Where the
optimizer has a preconditioner, the sharpness of H itself has no stored vector either; it cannot be
below the Rayleigh quotient of P^(-1/2) u, and is held against that. The Rayleigh quotient of the rod is
formed again from its stored half-extent; its secant and its multiplier are not.

Snapshots of all runs of a model go through one compiled program.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from rodflow.audit.recompute import Recomputed, Sample
from rodflow.config.values import Settings
from rodflow.dynamics.amplitude import is_closed, quotient
from rodflow.linalg.curvature import Loss
from rodflow.problem import objective
from rodflow.stages.run import optimizer_of, preconditioner

SOURCE = "weights and eigenvector"

ALLOWED = 1e-4
"""Relative difference of eigenvalues, and of residuals in units of the eigenvalue.

Both are float32 sums over the data, whose order depends on machine and compiler.
"""


class _Pair(NamedTuple):
    """A stored number, what it should be, and in units of what they are compared."""

    what: str
    stored: float
    expected: float
    unit: float

    @property
    def difference(self) -> float:
        if np.isnan(self.stored) and np.isnan(self.expected):
            return 0.0
        if np.isnan(self.stored) or np.isnan(self.expected):
            return float("inf")
        difference = abs(self.stored - self.expected)
        if not difference:
            return 0.0
        return difference / abs(self.unit) if self.unit else float("inf")

    def __str__(self) -> str:
        return f"{self.what} is {self.stored:.7g}, recomputed {self.expected:.7g}"


def losses_of(dataset: xr.Dataset) -> Callable[[Settings], Loss]:
    """The loss of the settings of a run, on one device; runs that share it get the same."""
    losses: dict[str, Loss] = {}

    def of(settings: Settings) -> Loss:
        what = [settings.get(part) for part in ("dataset", "model", "criterion", "own")]
        key = json.dumps(what, sort_keys=True)
        if key not in losses:
            on_one = {"compute": {**settings.get("compute", {}), "devices": 1}}
            losses[key], _ = objective.of_run(dataset, {**settings, **on_one})
        return losses[key]

    return of


def check(dataset: xr.Dataset, samples: Sequence[Sample]) -> Iterator[Recomputed]:
    """Verify the eigenpairs of samples of any models and optimizers on a data set.

    Args:
        dataset, samples: what all losses are of, and what is verified.

    Returns:
        One by one what came out of each sample, which names the first fault instead of raising it.
    """
    losses = losses_of(dataset)
    for one in samples:
        try:
            pairs = list(_pairs(losses(one.settings), one))
        except Exception as error:  # whatever a forged file may cause
            fault = f"cannot be checked: {error}"
            yield Recomputed(one.artifact, SOURCE, 0, float("inf"), ALLOWED, fault)
            continue
        wrong = [str(pair) for pair in pairs if not pair.difference <= ALLOWED]
        largest = max(pair.difference for pair in pairs)
        fault = wrong[0] if wrong else ""
        yield Recomputed(one.artifact, SOURCE, len(pairs), largest, ALLOWED, fault)


def _pairs(loss: Loss, one: Sample) -> Iterator[_Pair]:
    optimizer, hyperparameters = optimizer_of(one.settings, one.vectors)
    limit = optimizer.limit(**hyperparameters)
    stored = one.sharpness
    leading = stored[["eigenvalue", "residual"]].isel(eigenvalue_rank=0)

    threshold = float(np.asarray(stored.attrs["threshold"]).item())
    yield _Pair("the attribute threshold", threshold, limit, limit)
    for at in stored["snapshot"].values:
        ratio = float(stored["sharpness_over_threshold"].sel(snapshot=at))
        expected = float(leading["eigenvalue"].sel(snapshot=at)) / limit
        yield _Pair(f"sharpness_over_threshold[snapshot={at}]", ratio, expected, expected)

    for at in one.vectors["snapshot"].values:
        here = one.vectors.sel(snapshot=at)
        weights = jnp.asarray(here["weights"].values)
        norm, value, residual, raw = map(
            float,
            _product(
                loss,
                weights,
                jnp.asarray(preconditioner(optimizer, hyperparameters, here)),
                jnp.asarray(here["eigenvector"].values),
            ),
        )
        place = f"[snapshot={at}]"
        eigenvalue = float(leading["eigenvalue"].sel(snapshot=at))
        yield _Pair(f"the norm of eigenvector{place}", norm, 1.0, 1.0)
        yield _Pair(f"eigenvalue{place}", eigenvalue, value, value)
        yield _Pair(f"residual{place}", float(leading["residual"].sel(snapshot=at)), residual, 1.0)
        yield from _along_rod(loss, one, here, limit)
        least = float(stored["raw_sharpness"].sel(snapshot=at))
        yield _Pair(f"raw_sharpness{place}", least, max(least, raw), raw)


def _along_rod(loss: Loss, one: Sample, here: xr.Dataset, limit: float) -> Iterator[_Pair]:
    """The stored Rayleigh quotient of a rod that is open, against the stored weights."""
    at = int(here["snapshot"])
    if "quotient" not in one.sharpness or "half_extent" not in here:
        return
    found = float(one.sharpness["quotient"].sel(snapshot=at))
    centre, extent = (jnp.asarray(here[name].values) for name in ("weights", "half_extent"))
    expected = np.nan
    if not is_closed(centre, extent):
        scale = jnp.asarray(preconditioner(*optimizer_of(one.settings, one.vectors), here))
        expected = float(quotient(loss, centre, extent, scale))
    unit = abs(float(one.sharpness["eigenvalue"].sel(snapshot=at).isel(eigenvalue_rank=0)))
    yield _Pair(f"quotient[snapshot={at}]", found, expected, unit)
    over = float(one.sharpness["quotient_over_threshold"].sel(snapshot=at))
    yield _Pair(f"quotient_over_threshold[snapshot={at}]", over, expected / limit, unit / limit)


@eqx.filter_jit
def _product(
    loss: Loss,
    weights: Float[Array, " parameter"],
    preconditioner: Float[Array, " parameter"],
    vector: Float[Array, " parameter"],
) -> tuple[Array, Array, Array, Array]:
    """Norm of u, value u.Au, ||A u - value u|| / value, and the Rayleigh quotient of P^(-1/2) u."""
    scale = jax.lax.rsqrt(preconditioner)
    direction = scale * vector
    image = scale * jax.jvp(jax.grad(loss), (weights,), (direction,))[1]
    value = vector @ image
    residual = jnp.linalg.norm(image - value * vector) / jnp.abs(value)
    return jnp.linalg.norm(vector), value, residual, value / (direction @ direction)
