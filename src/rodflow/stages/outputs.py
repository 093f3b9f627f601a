"""How far flows are from their run in function space: by the network's outputs on the data that it is trained on.

Weights that differ may be one function, and weights that are near may not be. So this is the tracking error of
`rodflow.analysis.comparison` once more, with f(w), the outputs of the network for every training sample, in place of w:

    ||f(w_flow(t)) - f(wbar_t)|| / ||f(wbar_t) - f(wbar_t0)||,    wbar the midpoint of the discrete run.

Norms are Euclidean over samples and outputs; outputs are those before the criterion. Both sides come from one compiled
program, so that equal weights are at distance 0. A snapshot costs a forward pass for each process.
"""

import math
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from rodflow.problem.objective import Objective
from rodflow.store.trajectory import described

DISCRETE = "discrete"

Outputs = Callable[[Float[np.ndarray, " parameter"]], Float[np.ndarray, "sample ..."]]
"""From flat weights to what the network answers for each sample, in float64."""


def outputs(
    loss: Callable[..., Array], trajectories: Mapping[str, xr.Dataset], start: int
) -> xr.Dataset:
    """The tracking errors of flows in function space.

    Args:
        loss: what the run is trained on.
        trajectories: process -> trajectory, "discrete" among them; they may be read snapshot by snapshot.
        start: t0, where the flows start.

    Returns:
        `output_error` and `output_distance` [process, snapshot] of the flows, and `output_travelled` [snapshot], from
        t0 on; NaN at snapshots that a flow has not, and the error also at t0. Without snapshots, and with a status
        that says why, where the loss has no outputs.
    """
    discrete = trajectories[DISCRETE]
    flows = [process for process in trajectories if process != DISCRETE]
    kept, weights = discrete["snapshot"].values, discrete["weights"]
    why = why_none(loss, jax.ShapeDtypeStruct(weights.shape[1:], weights.dtype))
    snapshots = kept[:0] if why else kept[kept >= start]
    distance = np.full((len(flows), snapshots.size), np.nan)
    travelled = np.full(snapshots.size, np.nan)
    if snapshots.size:
        assert isinstance(loss, Objective)
        of = outputs_of(loss)
        first = of(_weights(discrete, snapshots[0]))
        for column, at in enumerate(snapshots):
            here = of(_weights(discrete, at))
            travelled[column] = np.linalg.norm(here - first)
            for row, flow in enumerate(flows):
                if at in trajectories[flow]["snapshot"]:
                    there = of(_weights(trajectories[flow], at))
                    distance[row, column] = np.linalg.norm(there - here)
    both = ("process", "snapshot")
    error = error_of(distance, travelled)
    return xr.Dataset(
        {
            "output_error": (both, error, described(_ERROR)),
            "output_distance": (both, distance, described(_DISTANCE)),
            "output_travelled": ("snapshot", travelled, described(_TRAVELLED)),
        },
        {
            "process": ("process", flows, described("name of a flow")),
            "snapshot": ("snapshot", snapshots, discrete["snapshot"].attrs),
        },
        {
            "title": f"outputs of flows against those of {discrete.attrs['title']}",
            "status": f"no outputs: {why}" if why else "completed",
        },
    )


_ERROR = "tracking error in function space ||f(w_flow) - f(wbar)|| / ||f(wbar) - f(wbar(t0))||"
_DISTANCE = "distance of the outputs at the flow's weights from those at the run's midpoint"
_TRAVELLED = "distance of the outputs at the run's midpoint from those at t0"


def error_of(distance: np.ndarray, travelled: np.ndarray) -> np.ndarray:
    """A distance over how far the outputs have travelled; NaN where they have not.

    Args:
        distance: of a flow's outputs from the run's, [..., snapshot].
        travelled: distance of the run's outputs from those at t0, in the same norm, [snapshot].
    """
    return distance / np.where(travelled > 0, travelled, np.nan)


def why_none(loss: Callable[..., Array], weights: jax.ShapeDtypeStruct) -> str:
    """Why a loss has no outputs in which a distance means something; "" if it has.

    Args:
        loss: what a run is trained on.
        weights: of which shape and type its flat weights are.
    """
    if not isinstance(loss, Objective):
        return "the loss is one of the weights alone"
    given = jax.eval_shape(loss.logits, weights)
    if not isinstance(given, jax.ShapeDtypeStruct):
        return "the model gives several arrays, or none"
    if not given.shape or given.shape[0] != loss.samples:
        return f"the model gives an array of shape {given.shape}, which has no row a sample"
    if not jnp.issubdtype(given.dtype, jnp.floating):
        return f"the model answers in {given.dtype}"
    traced = jax.make_jaxpr(loss.criterion)(given, loss.targets).jaxpr
    targets = traced.invars[-1]
    if not any(targets is one for equation in traced.eqns for one in equation.invars):
        return "the criterion reads no targets, so that the model gives a loss"
    return ""


def outputs_of(loss: Objective) -> Outputs:
    """The outputs of a loss as a function of flat weights; of as many samples at a time as the loss works on."""
    size = loss.samples
    if loss.at_once is not None:
        size = math.ceil(size / math.ceil(size / loss.at_once))
    edges = range(0, loss.samples, size)
    parts = [loss.of(jnp.arange(at, min(at + size, loss.samples))) for at in edges]
    if len(parts) == 1:
        parts = [loss]

    def of(weights: Float[np.ndarray, " parameter"]) -> Float[np.ndarray, "sample ..."]:
        given = [np.asarray(_answers(part, jnp.asarray(weights)), np.float64) for part in parts]
        return np.concatenate(given)

    return of


@eqx.filter_jit
def _answers(loss: Objective, weights: Float[Array, " parameter"]) -> Float[Array, "sample ..."]:
    return loss.logits(weights)


def _weights(trajectory: xr.Dataset, at: int) -> Float[np.ndarray, " parameter"]:
    return np.asarray(trajectory["weights"].sel(snapshot=at).values)
