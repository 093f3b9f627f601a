"""The sharpness stage: leading eigenvalues of the (preconditioned) Hessian along a stored trajectory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from rodflow.linalg.curvature import PROBABILITY, Curvature, Loss, top_eigenpairs
from rodflow.linalg.eigensolver import random_guess
from rodflow.optimizers.table import Entry
from rodflow.problem import objective
from rodflow.stages.run import Settings, optimizer_of, preconditioner
from rodflow.store.checkpoint import Checkpoint, let_go
from rodflow.store.trajectory import described

CHECKED_EVERY = 8
"""Each how many-th snapshot that is looked at is checked for an eigenvalue that the search cannot see."""

FOLLOWED = 3
"""Eigenvectors that are followed at least, so that the next ones are known before they become the largest."""


class Eigenvectors(NamedTuple):
    """Eigenvectors at the weights where they were found.

    `preconditioned` are P^{1/2} u of the preconditioned Hessian, which hardly change where only P does, for
    P^{1/2} u = H z / value with z = P^{-1/2} u; `raw` is of the Hessian.
    """

    weights: np.ndarray
    preconditioned: np.ndarray
    raw: np.ndarray


class _Place(NamedTuple):
    """A snapshot that was looked at."""

    weights: np.ndarray
    preconditioner: np.ndarray
    found: Curvature

    @property
    def eigenvectors(self) -> Eigenvectors:
        root = np.sqrt(self.preconditioner)[:, None]
        return Eigenvectors(self.weights, root * self.found.vectors, self.found.raw_vector[:, None])

    @property
    def row(self) -> dict[str, ArrayLike]:
        found = self.found
        return {
            "eigenvalue": found.values,
            "residual": found.residuals,
            "upper_bound": found.upper_bounds,
            "eigenvector": found.vectors[:, 0],
            "raw_sharpness": found.raw_value,
            "raw_residual": found.raw_residual,
            "raw_upper_bound": found.raw_upper_bound,
            "missed_probability": found.missed,
            "hessian_products": found.products,
            **self.eigenvectors._asdict(),
        }


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
    """The largest eigenvalues along a trajectory of a run of a config: see `along`, whose arguments the others are.

    Args:
        dataset: the training data.
        data: the trajectory.
        settings: of the run.
        count, tolerance, every, known, checkpoint: see `along`.
    """
    loss, _ = objective.of_run(dataset, settings)
    optimizer, hyperparameters = optimizer_of(settings, data)
    search = Search(count, tolerance, every)
    return along(loss, optimizer, hyperparameters, data, search, known, checkpoint)


@dataclass(frozen=True)
class Search:
    """How eigenvalues are looked for.

    Attributes:
        count: how many of the largest eigenvalues of the preconditioned Hessian.
        tolerance: relative residual at which an eigenpair is accepted.
        every: each how many-th snapshot is looked at.
    """

    count: int
    tolerance: float
    every: int = 1


def along(
    loss: Loss,
    optimizer: Entry,
    hyperparameters: Mapping[str, float],
    data: xr.Dataset,
    search: Search,
    known: dict[int, Eigenvectors] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """The largest eigenvalues of the (preconditioned) Hessian along a stored trajectory.

    Every `CHECKED_EVERY`-th snapshot and the last one are checked for eigenvalues that a search from those
    before cannot see. Where one is seen the snapshots since the last check are searched again, from its vector.

    Args:
        loss: the full-batch loss of the flat weights.
        optimizer: what is known of the optimizer: its preconditioner and its threshold.
        hyperparameters: of the optimizer.
        data: a trajectory with weights, and the second moment where the optimizer has one; one that
            `rodflow.store.artifact.open_lazily` gives is read snapshot by snapshot.
        search: how eigenvalues are looked for.
        known: snapshot -> eigenvectors of another process of the run, such as the discrete run. Where its
            weights are nearer than those of the snapshot before, the search starts there. What is found
            at snapshots that it does not have is entered.
        checkpoint: of this process of the run and no other. If it has been saved the search continues there.

    Returns:
        By snapshot: `eigenvalue` of P^{-1/2} H P^{-1/2} with `residual` and `upper_bound`, its leading
        `eigenvector`, `sharpness_over_threshold`, and the `raw_sharpness` of H with `raw_residual` and
        `raw_upper_bound`. The bounds hold but for the `missed_probability`.
    """
    data = data.isel(snapshot=slice(None, None, search.every))
    known = {} if known is None else known
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    _search(loss, optimizer, hyperparameters, data, search, known, checkpoint)
    stored = _labelled(checkpoint, data["snapshot"], known, search.count, data.sizes["parameter"])
    limit = optimizer.limit(**hyperparameters)
    ratio = stored["eigenvalue"].isel(eigenvalue_rank=0) / limit
    words = {"long_name": "preconditioned sharpness over the stability threshold", "units": "1"}
    return stored.assign(sharpness_over_threshold=ratio.assign_attrs(words)).assign_attrs(
        title=f"sharpness of {data.attrs['title']}",
        process=data.attrs["process"],
        threshold=limit,
        preconditioner=_preconditioned_by(optimizer),
        tolerance=search.tolerance,
        **_judged(stored, search.tolerance),
    )


def _search(
    loss: Loss,
    optimizer: Entry,
    hyperparameters: Mapping[str, float],
    data: xr.Dataset,
    search: Search,
    known: Mapping[int, Eigenvectors],
    checkpoint: Checkpoint,
) -> None:
    """Look at one snapshot after the other, and keep in the checkpoint what is found."""
    snapshots, done = data["snapshot"].values, 0
    last = _anywhere(data.sizes["parameter"], max(search.count, FOLLOWED))
    if (begun := checkpoint.resume()) is not None:
        last, done = Eigenvectors(*begun[0]), begun[1]["done"]
        checkpoint.tell(f"continues after {done} of {len(snapshots)} snapshots")
    needed = data[[name for name in ("weights", "second_moment", "gain") if name in data]]
    look = partial(_looked, loss, search.count, search.tolerance)
    window: list[_Place] = []
    for index in range(done, len(snapshots)):
        here = needed.isel(snapshot=index).load()
        weights, scale = here["weights"].values, preconditioner(optimizer, hyperparameters, here)
        nearest = _nearest(weights, last, known.get(int(snapshots[index]), last))
        checked = (index + 1) % CHECKED_EVERY == 0 or index + 1 == len(snapshots)
        found = look(weights, scale, [nearest], key=index if checked else None)
        window.append(_Place(weights, scale, found))
        if np.isfinite(window[-1].eigenvectors.preconditioned).all():  # not where P is no number
            last = window[-1].eigenvectors
        if checked:
            _store(_looked_back(window, look) if found.corrected else window, checkpoint)
            window = []
            if checkpoint.due:
                checkpoint.save(list(last), done=index + 1)


def _nearest(weights: np.ndarray, *places: Eigenvectors) -> Eigenvectors:
    return min(places, key=lambda found: float(np.linalg.norm(found.weights - weights)))


def _store(window: Sequence[_Place], checkpoint: Checkpoint) -> None:
    for place in window:
        for name, values in place.row.items():
            checkpoint.append(name, np.asarray(values)[None])


def _labelled(
    checkpoint: Checkpoint,
    snapshots: xr.DataArray,
    known: dict[int, Eigenvectors],
    count: int,
    parameters: int,
) -> xr.Dataset:
    """What was found, by snapshot; the eigenvectors are entered in `known`."""
    found_at = {name: checkpoint.column(name) for name in checkpoint.names}
    if snapshots.size:
        columns = (found_at[name] for name in Eigenvectors._fields)
        for snapshot, *vectors in zip(snapshots.values, *columns, strict=True):
            known.setdefault(int(snapshot), Eigenvectors(*vectors))
    else:
        sizes = {"eigenvalue_rank": count, "parameter": parameters}
        found_at = {
            name: np.zeros((0, *(sizes[dim] for dim in dims)), np.float32)
            for name, (dims, _) in _VARIABLES.items()
        }
    variables = {
        name: (("snapshot", *dims), found_at[name], described(words))
        for name, (dims, words) in _VARIABLES.items()
    }
    return xr.Dataset(variables, {"snapshot": snapshots})


def _anywhere(parameters: int, columns: int) -> Eigenvectors:
    """Random directions, infinitely far from any weights."""
    guess = np.zeros((parameters, columns), np.float32)
    columns = min(parameters, columns)
    guess[:, :columns] = random_guess(jax.random.key(0), parameters, columns)
    return Eigenvectors(np.full(parameters, np.inf, np.float32), guess, guess[:, :1])


def _looked(
    loss: Loss,
    count: int,
    tolerance: float,
    weights: np.ndarray,
    scale: np.ndarray,
    starts: Sequence[Eigenvectors],
    *,
    key: int | None,
) -> Curvature:
    """The eigenpairs at some weights, from those of other ones; checked with a random direction where it has a key."""
    root = np.sqrt(scale)[:, None]
    guesses = [start.preconditioned / root for start in starts]
    if not np.isfinite(guesses).all():
        guesses = [_anywhere(*guesses[0].shape).preconditioned for _ in starts]
    also = guesses[1:]
    if not (scale == scale[0]).all():
        also += [root * start.raw for start in starts]
    found = top_eigenpairs(
        loss,
        jnp.asarray(weights),
        jnp.asarray(scale),
        jnp.array(guesses[0]),
        tolerance,
        also=jnp.column_stack(also) if also else None,
        count=count,
        checked=key is not None,
        key=None if key is None else jax.random.key(key),
    )
    for start in starts:
        for part in start:
            let_go(part)
    return found


def _looked_back(window: list[_Place], look: Callable[..., Curvature]) -> list[_Place]:
    """The snapshots before a corrected one, searched again from its vectors for as long as that finds larger values."""
    places = list(window)
    for index in range(len(places) - 2, -1, -1):
        old = places[index]
        starts = [old.eigenvectors, places[index + 1].eigenvectors]
        new = look(old.weights, old.preconditioner, starts, key=None)
        products = old.found.products + new.products
        rise = np.max((new.values - old.found.values) / abs(old.found.values[0]))
        raw_rise = (new.raw_value - old.found.raw_value) / abs(old.found.raw_value)
        if rise <= np.max(old.found.residuals) and raw_rise <= old.found.raw_residual:
            places[index] = old._replace(found=old.found._replace(products=products))
            break
        places[index] = old._replace(found=new._replace(products=products))
    return places


def _judged(stored: xr.Dataset, tolerance: float) -> dict[str, str | float]:
    """The worst residual and probability, and a status that says what was not reached."""
    empty = not stored.sizes["snapshot"]
    residuals = [stored[name] for name in ("residual", "raw_residual")]
    worst = 0.0 if empty else max(float(found.max()) for found in residuals)
    missed = 0.0 if empty else float(stored["missed_probability"].max())
    faults = []
    if worst > tolerance:
        faults.append(f"residual {worst:.2g}")
    if missed > PROBABILITY:
        faults.append(f"a larger eigenvalue is missed with a probability of up to {missed:.2g}")
    return {
        "worst_residual": worst,
        "worst_missed_probability": missed,
        "checked_every": CHECKED_EVERY,
        "status": f"not converged: {'; '.join(faults)}" if faults else "completed",
    }


def _preconditioned_by(optimizer: Entry) -> str:
    if optimizer.by_gain:
        return "alternating gain"
    return "second moment" if optimizer.adaptive else "identity"


_VARIABLES = {
    "eigenvalue": (
        ("eigenvalue_rank",),
        "largest eigenvalues of the preconditioned Hessian P^(-1/2) H P^(-1/2)",
    ),
    "residual": (
        ("eigenvalue_rank",),
        "residual ||A u - value u|| over the largest eigenvalue",
    ),
    "upper_bound": (
        ("eigenvalue_rank",),
        "bound on the eigenvalue from above, where it was checked",
    ),
    "eigenvector": (
        ("parameter",),
        "leading unit eigenvector of the preconditioned Hessian",
    ),
    "raw_sharpness": ((), "largest eigenvalue of the Hessian"),
    "raw_residual": ((), "residual of the largest eigenvalue of the Hessian, relative"),
    "raw_upper_bound": (
        (),
        "bound on the largest eigenvalue of the Hessian from above, where it was checked",
    ),
    "missed_probability": (
        (),
        "probability at most that an eigenvalue is above its bound, from Lanczos steps with a random start "
        "(van Dorsselaer, Hochstenbach and van der Vorst 2000)",
    ),
    "hessian_products": ((), "products with the Hessian that were formed"),
}
