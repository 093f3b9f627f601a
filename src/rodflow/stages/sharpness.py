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

from rodflow.config.values import Settings
from rodflow.linalg.curvature import Curvature, Loss, top_eigenpairs
from rodflow.linalg.stated_error import Levels, stated_errors
from rodflow.linalg.warm_start import Eigenvectors, start_vectors
from rodflow.optimizers.table import Entry
from rodflow.problem import objective
from rodflow.stages.along_rod import along_rod, in_span
from rodflow.stages.run import optimizer_of, preconditioner
from rodflow.store.checkpoint import Checkpoint, let_go
from rodflow.store.trajectory import described

SPAN = 8
"""Each how many-th snapshot that is looked at is checked; those between start from both sides."""

FOLLOWED = 4
"""Eigenvectors that are followed at least, and one more than are wanted: the next ones are known before they lead."""

CERTAIN = 3
"""Tolerances up to which the bound on a checked eigenvalue is good enough."""


class _Place(NamedTuple):
    """A snapshot that was looked at."""

    weights: np.ndarray
    preconditioner: np.ndarray
    found: Curvature

    @property
    def eigenvectors(self) -> Eigenvectors:
        moves = np.isfinite(
            self.preconditioner
        )  # one that does not is infinitely heavy, and in no direction
        root = np.sqrt(np.where(moves, self.preconditioner, 0))[:, None]
        return Eigenvectors(self.weights, root * self.found.vectors, self.found.raw_vector[:, None])

    @property
    def checked(self) -> bool:
        return bool(np.isfinite(self.found.missed))

    @property
    def row(self) -> dict[str, ArrayLike]:
        found = self.found
        return {
            "eigenvalue": found.values,
            "residual": found.residuals,
            "eigenvector": found.vectors[:, 0],
            "raw_sharpness": found.raw_value,
            "raw_residual": found.raw_residual,
            "missed_probability": found.missed,
            "followed": found.followed,
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
    """The largest eigenvalues along a trajectory of a run of a config: see `along`.

    Args:
        dataset: the training data.
        data: the trajectory.
        settings: of the run.
        count, tolerance, every: how eigenvalues are looked for, see `Search`.
        known, checkpoint: see `along`.
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

    Every `SPAN`-th snapshot, the first and the last one are checked for eigenvalues that a search from others cannot
    see. Those between are looked at from the middle on, each from the eigenvectors on both sides. So what takes the
    lead between two checks is known from the later one.

    Args:
        loss: the full-batch loss of the flat weights.
        optimizer: what is known of the optimizer: its preconditioner and its threshold.
        hyperparameters: of the optimizer.
        data: a trajectory with weights, and the second moment or the gain where P is made of that; one that
            `rodflow.store.artifact.open_lazily` gives is read snapshot by snapshot.
        search: how eigenvalues are looked for.
        known: snapshot -> eigenvectors of another process of the run, such as the discrete run. Where its
            weights are nearer than those of the snapshot before, the search starts there. What is found
            at snapshots that it does not have is entered.
        checkpoint: of this process of the run and no other. If it has been saved the search continues there.

    Returns:
        By snapshot: `eigenvalue` of P^{-1/2} H P^{-1/2} with `residual` and `error`, its leading `eigenvector`,
        `sharpness_over_threshold`, and the `raw_sharpness` of H with `raw_residual` and `raw_error`. The errors are
        bounds but for the `missed_probability` where that is a number, and an estimate elsewhere
        (`rodflow.linalg.stated_error`).
        Beside them what the rods see along themselves: see `rodflow.stages.along_rod`.
    """
    data = data.isel(snapshot=slice(None, None, search.every))
    known = {} if known is None else known
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    _search(loss, optimizer, hyperparameters, data, search, known, checkpoint)
    stored = _labelled(checkpoint, data["snapshot"], known, search.count, data.sizes["parameter"])
    limit = optimizer.limit(**hyperparameters)
    ratio = stored["eigenvalue"].isel(eigenvalue_rank=0) / limit
    words = {"long_name": "preconditioned sharpness over the stability threshold", "units": "1"}
    stored = stored.assign(sharpness_over_threshold=ratio.assign_attrs(words))
    rods = along_rod(loss, optimizer, hyperparameters, data)
    if rods and data.sizes["snapshot"]:
        directions = checkpoint.column("preconditioned"), checkpoint.column("followed")
        rods = rods.merge(in_span(optimizer, hyperparameters, data, *directions))
    return stored.assign(rods.data_vars).assign_attrs(
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
    """Look at one span of snapshots after the other, and keep in the checkpoint what is found."""
    snapshots = data["snapshot"].values
    needed = data[[name for name in ("weights", "second_moment", "gain") if name in data]]
    columns = max(search.count + 1, FOLLOWED)
    look = partial(_looked, partial(_eigenpairs, loss, search, columns))

    def at(index: int, *beside: Eigenvectors, checked: bool) -> _Place:
        here = needed.isel(snapshot=index).load()
        scale = preconditioner(optimizer, hyperparameters, here)
        there = known.get(int(snapshots[index]))
        return look(here["weights"].values, scale, beside, there, index if checked else None)

    left: tuple[Eigenvectors, Levels] | None = None
    before = -1
    if (begun := checkpoint.resume()) is not None:
        before = begun[1]["done"] - 1
        left = Eigenvectors(*begun[0][:3]), Levels(*begun[0][3:])
        checkpoint.tell(f"continues after {before + 1} of {len(snapshots)} snapshots")
    while before + 1 < len(snapshots):
        end = min(before + SPAN, len(snapshots) - 1) if left else 0
        right = at(end, *([left[0]] if left else []), checked=True)
        between = _between(at, left[0], right, before, end) if left else []
        _store([*between, right], left[1] if left else None, checkpoint)
        left, before = (right.eigenvectors, Levels.of(right.found)), end
        if checkpoint.due:
            checkpoint.save([*left[0], *left[1]], done=end + 1)


def _between(
    at: Callable[..., _Place], left: Eigenvectors, right: _Place, first: int, last: int
) -> list[_Place]:
    """The snapshots between two, from the middle on.

    It is checked as well where nothing is known beside it, or where the lead has changed unseen in half a span.
    """
    if last - first < 2:
        return []
    middle = (first + last) // 2
    beside = [one for one in (left, right.eigenvectors) if one.known]
    unseen = right.found.corrected and last - first >= SPAN // 2
    here = at(middle, *beside, checked=unseen or not beside)
    return [
        *_between(at, left, here, first, middle),
        here,
        *_between(at, here.eigenvectors, right, middle, last),
    ]


def _looked(
    pairs: Callable[..., Curvature],
    weights: np.ndarray,
    scale: np.ndarray,
    beside: Sequence[Eigenvectors],
    there: Eigenvectors | None,
    key: int | None,
) -> _Place:
    """The eigenpairs at some weights, from those beside, or those of another process if it is nearer."""
    if beside and there is not None and there.known:
        middle = np.mean([one.weights for one in beside], axis=0)
        if np.linalg.norm(there.weights - weights) < np.linalg.norm(middle - weights):
            beside = [there]
    found = pairs(weights, scale, beside, key)
    for one in (*beside, *([there] if there else [])):
        for part in one:
            let_go(part)
    return _Place(weights, scale, found)


def _eigenpairs(
    loss: Loss,
    search: Search,
    columns: int,
    weights: np.ndarray,
    scale: np.ndarray,
    beside: Sequence[Eigenvectors],
    key: int | None,
) -> Curvature:
    """The eigenpairs at some weights from those beside; where there is a key all but the last column are checked."""
    checked = key is not None
    start = start_vectors(scale, beside, columns)
    found = top_eigenpairs(
        loss,
        jnp.asarray(weights),
        jnp.asarray(scale),
        jnp.array(start[:, :columns]),
        search.tolerance,
        also=jnp.array(start[:, columns:]),
        count=max(columns - 1, search.count) if checked else search.count,
        checked=checked,
        key=None if key is None else jax.random.key(key),
    )
    return found._replace(
        values=found.values[: search.count],
        residuals=found.residuals[: search.count],
        upper_bounds=found.upper_bounds[: search.count],
    )


def _store(places: Sequence[_Place], before: Levels | None, checkpoint: Checkpoint) -> None:
    """Keep a span, of which the last place is checked, with its errors; the one before it was checked too."""
    since, left = 0, before
    for index, place in enumerate(places):
        if not place.checked and index + 1 < len(places):
            continue
        span = places[since : index + 1]
        seen = [Levels.of(one.found) for one in span]
        levels = seen if left is None else [left, *seen]
        for at, one in enumerate(span, start=len(levels) - len(span)):
            errors = stated_errors(one.found, levels, at / max(len(levels) - 1, 1))
            for name, values in {**one.row, **errors}.items():
                checkpoint.append(name, np.asarray(values)[None])
        since, left = index + 1, Levels.of(place.found)


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


def _judged(stored: xr.Dataset, tolerance: float) -> dict[str, str | float]:
    """The worst residual and errors, and a status that says what was not reached."""
    empty = not stored.sizes["snapshot"]
    worst = 0.0 if empty else float(stored["residual"].isel(eigenvalue_rank=0).max())
    errors = stored["error"].isel(eigenvalue_rank=0)
    checked = errors.where(stored["missed_probability"].notnull())
    certain = 0.0 if empty else float(checked.max())
    faults = []
    if worst > tolerance:
        faults.append(f"residual {worst:.2g}")
    if certain > CERTAIN * tolerance:
        faults.append(f"a checked eigenvalue may be up to {certain:.2g} too low")
    return {
        "worst_residual": worst,
        "worst_error": 0.0 if empty else float(errors.max()),
        "worst_checked_error": certain,
        "checked_every": SPAN,
        "status": f"not converged: {'; '.join(faults)}" if faults else "completed",
    }


def _preconditioned_by(optimizer: Entry) -> str:
    if optimizer.by_gain:
        return "critical gain"
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
    "error": (
        ("eigenvalue_rank",),
        "what the eigenvalue may lack, over the largest: a bound where it was checked, an estimate elsewhere",
    ),
    "eigenvector": (
        ("parameter",),
        "leading unit eigenvector of the preconditioned Hessian",
    ),
    "raw_sharpness": ((), "largest eigenvalue of the Hessian"),
    "raw_residual": ((), "residual of the largest eigenvalue of the Hessian, relative"),
    "raw_error": ((), "what the largest eigenvalue of the Hessian may lack, relative; as error"),
    "missed_probability": (
        (),
        "probability at most that an eigenvalue errs by more, where it was checked, from Lanczos steps with a "
        "random start "
        "(van Dorsselaer, Hochstenbach and van der Vorst 2000)",
    ),
    "hessian_products": ((), "products with the Hessian that were formed"),
}
