"""The sharpness stage: leading eigenvalues of the (preconditioned) Hessian along a stored trajectory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from rodflow.linalg.curvature import top_eigenpairs
from rodflow.linalg.eigensolver import random_guess
from rodflow.optimizers.table import Optimizer
from rodflow.problem import objective
from rodflow.stages.run import Settings, optimizer_of, preconditioner
from rodflow.store.checkpoint import Checkpoint, let_go
from rodflow.store.trajectory import described


class Eigenvectors(NamedTuple):
    """Eigenvectors of the preconditioned Hessian and of the Hessian, and the weights where they were found."""

    weights: np.ndarray
    preconditioned: np.ndarray
    raw: np.ndarray


def sharpness(
    dataset: xr.Dataset,
    data: xr.Dataset,
    settings: Settings,
    *,
    count: int,
    tolerance: float,
    every: int,
    known: dict[int, Eigenvectors] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """The largest eigenvalues of the (preconditioned) Hessian along a stored trajectory.

    Args:
        dataset: the training data.
        data: a trajectory with weights, and the second moment where the optimizer has one; one that
            `rodflow.store.artifact.open_lazily` gives is read snapshot by snapshot.
        settings: of the run.
        count: how many eigenvalues of the preconditioned Hessian.
        tolerance: relative residual at which an eigenpair is accepted.
        every: each how many-th snapshot is looked at.
        known: snapshot -> eigenvectors of another process of the run, such as the discrete run. Where its
            weights are nearer than those of the snapshot before, the search starts there. What is found
            at snapshots that it does not have is entered.
        checkpoint: of this process of the run and no other. If it has a checkpoint the search continues there.

    Returns:
        By snapshot: `eigenvalue` of P^{-1/2} H P^{-1/2} with `residual`, its leading `eigenvector`,
        `sharpness_over_threshold`, and the `raw_sharpness` of H with `raw_residual`.
    """
    optimizer, hyperparameters = optimizer_of(settings)
    loss, _ = objective.of_run(dataset, settings)
    data = data.isel(snapshot=slice(None, None, every))
    limit = optimizer.limit(**hyperparameters)
    parameters = data.sizes["parameter"]
    random = np.asarray(random_guess(jax.random.key(0), parameters, count))
    last = Eigenvectors(np.full(parameters, np.inf, np.float32), random, random[:, :1])
    known = {} if known is None else known
    ones = jnp.ones(parameters)
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    snapshots = data["snapshot"].values
    done = 0
    if (begun := checkpoint.resume()) is not None:
        last, done = Eigenvectors(*begun[0]), begun[1]["done"]
        checkpoint.tell(f"continues after {done} of {len(snapshots)} snapshots")
    needed = data[[name for name in ("weights", "second_moment", "gain") if name in data]]
    for index in range(done, len(snapshots)):
        here = needed.isel(snapshot=index).load()
        weights = jnp.asarray(here["weights"].values)
        scale = jnp.asarray(preconditioner(optimizer, hyperparameters, here))
        nearest = min(
            (last, known.get(int(snapshots[index]), last)),
            key=lambda found: float(np.linalg.norm(found.weights - here["weights"].values)),
        )
        start, raw_start = jnp.array(nearest.preconditioned), jnp.array(nearest.raw)
        for part in nearest:
            let_go(part)
        pairs = top_eigenpairs(loss, weights, scale, start, tolerance)
        if (scale == scale[0]).all():
            # The Hessian itself, up to a factor.
            raw = pairs._replace(values=scale[0] * pairs.values)
        else:
            # Its sharpness is at least its Rayleigh quotient along the direction just found.
            along = (pairs.vectors[:, 0] / jnp.sqrt(scale))[:, None]
            raw_start = jnp.concatenate([raw_start, along / jnp.linalg.norm(along)], axis=1)
            raw = top_eigenpairs(loss, weights, ones, raw_start, tolerance, count=1)
        last = Eigenvectors(
            here["weights"].values, np.asarray(pairs.vectors), np.asarray(raw.vectors[:, :1])
        )
        row = {
            "eigenvalue": pairs.values,
            "residual": pairs.residuals,
            "raw_sharpness": raw.values[0],
            "raw_residual": raw.residuals[0],
            **last._asdict(),
        }
        for name, values in jax.device_get(row).items():
            checkpoint.append(name, np.asarray(values)[None])
        if checkpoint.due:
            checkpoint.save(list(last), done=index + 1)

    shapes = {
        "eigenvalue": ("eigenvalue_rank",),
        "residual": ("eigenvalue_rank",),
        "eigenvector": ("parameter",),
        "raw_sharpness": (),
        "raw_residual": (),
    }
    if len(snapshots):
        found_at = {name: checkpoint.column(name) for name in checkpoint.names}
        for snapshot, *vectors in zip(
            snapshots, *(found_at[name] for name in Eigenvectors._fields), strict=True
        ):
            known.setdefault(int(snapshot), Eigenvectors(*vectors))
        found_at["eigenvector"] = found_at["preconditioned"][:, :, 0]
    else:
        sizes = {"eigenvalue_rank": count, "parameter": parameters}
        found_at = {
            name: np.zeros((0, *(sizes[dim] for dim in dims)), np.float32)
            for name, dims in shapes.items()
        }
    variables = {
        name: (("snapshot", *dims), found_at[name], described(_SHARPNESS_NAMES[name]))
        for name, dims in shapes.items()
    }
    found = xr.Dataset(variables, {"snapshot": data["snapshot"]})
    ratio = (found["eigenvalue"].isel(eigenvalue_rank=0) / limit).assign_attrs(
        long_name="preconditioned sharpness over the stability threshold", units="1"
    )
    worst = float(found["residual"].max()) if len(snapshots) else 0.0
    return found.assign(sharpness_over_threshold=ratio).assign_attrs(
        title=f"sharpness of {data.attrs['title']}",
        process=data.attrs["process"],
        threshold=limit,
        preconditioner=_preconditioned_by(optimizer),
        tolerance=tolerance,
        worst_residual=worst,
        status="completed" if worst <= tolerance else f"not converged: residual {worst:.2g}",
    )


def _preconditioned_by(optimizer: Optimizer) -> str:
    if optimizer.threshold is None:
        return "alternating gain"
    return "second moment" if optimizer.adaptive else "identity"


_SHARPNESS_NAMES = {
    "eigenvalue": "largest eigenvalues of the preconditioned Hessian P^(-1/2) H P^(-1/2)",
    "residual": "residual ||A u - value u|| over the largest eigenvalue",
    "eigenvector": "leading unit eigenvector of the preconditioned Hessian",
    "raw_sharpness": "largest eigenvalue of the Hessian",
    "raw_residual": "residual of the largest eigenvalue of the Hessian, relative",
}
