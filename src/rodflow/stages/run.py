"""A run that is ready to go: its map, its weights, and what its optimizer makes of a snapshot.

The stages take a `Prepared` run and know nothing of configs. `prepare` makes one of a data set and the settings of a
`rodflow.config.experiment.Run`; a problem of one's own makes its own (`rodflow.study`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, Float

from rodflow.config.reference import is_own
from rodflow.config.values import Settings
from rodflow.dynamics.amplitude import multiplier_if_open
from rodflow.dynamics.discrete import scale_invariant
from rodflow.dynamics.lifted import Rod
from rodflow.dynamics.process import Recording, Snapshot
from rodflow.optimizers.instability import critical_gain
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.optimizers.own import own_entry, own_transformation, why_no_threshold
from rodflow.optimizers.schedules import scheduled_entry
from rodflow.optimizers.table import TABLE, Entry
from rodflow.optimizers.tuned import Transformation
from rodflow.problem import objective
from rodflow.problem.held_out import HeldOut, of_objective
from rodflow.store.trajectory import states, trajectory


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to go.

    Attributes:
        settings: what determines it, as JSON values; the stages read `start`, `steps`, `snapshots.every`,
            `batch_size` and `seed`; `train` also whether there is `compute`, and all of them to compare runs.
        optimizer: its map F.
        weights: the initial weights, flat.
        known: what is known of the optimizer: its preconditioner and its threshold, if it has a formula.
        hyperparameters: of the optimizer, by name.
        about: what is trained on what, in a few words.
        test: what is measured at each snapshot on samples that nothing is trained on; None: nothing.
    """

    settings: Settings
    optimizer: OptimizerMap
    weights: Float[Array, " parameter"]
    known: Entry
    hyperparameters: Mapping[str, float]
    about: str
    test: HeldOut | None = None

    @property
    def every(self) -> int:
        """Steps from one snapshot to the next."""
        return self.settings["snapshots"]["every"]

    @property
    def limit(self) -> float:
        """The largest stable eigenvalue of P^{-1/2} H P^{-1/2}."""
        return self.known.limit(**self.hyperparameters)

    def keep(self, snapshot: Snapshot) -> Snapshot:
        """What of a snapshot is stored.

        Of the memory it is the second moment, or the critical gain where P is that; of a rod with its memory its
        multiplier, for two gradients. A run on minibatches has none: no step is made on the full batch.
        """
        kept = dict(snapshot)
        memory, beside = kept.pop("memory"), kept.pop("memory_extent", None)
        if "memory_extent" in snapshot and self.settings["batch_size"] is None:
            extent = State(kept["half_extent"], beside)
            rod = Rod(State(kept["weights"], memory), extent)
            kept["multiplier"] = np.asarray(multiplier_if_open(self.optimizer, rod))
        if self.known.by_gain:
            found = critical_gain(self.optimizer, State(kept["weights"], memory))
            kept["gain"] = found.gain
            kept["angle"] = np.asarray(found.angle, found.gain.dtype)
        elif self.known.adaptive:
            with np.errstate(all="ignore"):  # of a run that diverges
                moment = self.known.second_moment(memory, **self.hyperparameters)
                kept["second_moment"] = np.asarray(moment)
        return kept

    def preconditioner(self, here: xr.Dataset) -> Float[np.ndarray, " parameter"]:
        """The diagonal of P at one snapshot of a trajectory, one number a weight.

        Where no formula of the optimizer's threshold is known it is the inverse of the stored critical gain.
        """
        return preconditioner(self.known, self.hyperparameters, here)

    def title(self, process: str) -> str:
        """One line that says what a trajectory is."""
        what = "iterates" if process == "discrete" else f"{process.replace('_', ' ')} flow"
        return f"{what} of {self.about}"

    def states_at_start(self, discrete: xr.Dataset) -> tuple[State, State, State] | None:
        """The discrete run's states at start - 1, start and start + 1; None if it diverged before."""
        leaves = states(discrete)
        if not leaves:
            return None
        like, structure = jax.tree.flatten(self.optimizer.initial(self.weights))
        shapes = [leaf.shape for leaf in like]

        def state(which: int) -> State:
            values = [
                jnp.asarray(leaf[which]).reshape(shape)
                for leaf, shape in zip(leaves, shapes, strict=True)
            ]
            return State(*jax.tree.unflatten(structure, values))

        return state(0), state(1), state(2)

    def replayable(self, discrete: xr.Dataset) -> tuple[State, State, State] | None:
        """The same states of a run that is a map of them; None of one on minibatches too."""
        return self.states_at_start(discrete) if self.settings["batch_size"] is None else None

    def label(self, recording: Recording, process: str) -> xr.Dataset:
        """A recording as a labelled trajectory.

        Args:
            recording: of the discrete run or a flow, with the snapshots as `keep` gives them.
            process: "discrete" or the name of the flow.

        Raises:
            TrajectoryError: it shows something that has no words, see `rodflow.store.trajectory.trajectory`.
        """
        snapshots = recording.snapshots
        if self.test is not None:
            snapshots = snapshots | self.test.along(snapshots.get("iterate", snapshots["weights"]))
        kernels = [*scale_invariant(self.optimizer)] if "alignment" in recording.series else ()
        return trajectory(
            recording.steps,
            recording.series,
            recording.snapshot_steps,
            snapshots,
            process=process,
            title=self.title(process),
            attributes={
                "status": recording.status,
                "compile_time_s": recording.compile_time,
                "step_time_s": recording.step_time,
            },
            kernels=kernels,
        )


def prepare(dataset: xr.Dataset, settings: Settings) -> Prepared:
    """A run of a config, from the data set of its experiment.

    Args:
        dataset: which may hold more images than the run is trained on.
        settings: of a `rodflow.config.experiment.Run`.

    Raises:
        ObjectiveError, ModelError: see `rodflow.problem.objective.of_run`.
        OwnError, ProblemError: code of one's own fails, or gives something else than it must.
        OptimizerError: the optimizer is no deterministic map of a state.
    """
    loss, weights = objective.of_run(dataset, settings)
    name = settings["optimizer"]["name"]
    about = f"{name}, {settings['model']['kind']} on {settings['dataset']['name']}"
    known, hyperparameters = optimizer_of(settings)
    if is_own(name):
        transformation: Transformation = known.build()
        optimizer = optimizer_map(loss, transformation, weights, unravel=loss.unravel)
        known = own_entry(known.build, linear=not why_no_threshold(optimizer, weights))
    else:
        transformation = known.tuned(weights.dtype, **hyperparameters)
        unravel = None if transformation.shapeless else loss.unravel
        optimizer = optimizer_map(loss, transformation, weights, unravel=unravel)
    return Prepared(
        settings, optimizer, weights, known, hyperparameters, about, of_objective(loss, dataset)
    )


def optimizer_of(
    settings: Settings, stored: xr.Dataset | None = None
) -> tuple[Entry, dict[str, float]]:
    """What is known of the optimizer that a run names, and its hyperparameters.

    Args:
        settings: of the run.
        stored: a trajectory of the run, which shows whether an optimizer of one's own is linear: it has a gain then.
    """
    hyperparameters = dict(settings["optimizer"])
    name = hyperparameters.pop("name")
    if is_own(name):

        def build() -> optax.GradientTransformation:
            return own_transformation(name, hyperparameters, settings["own"], settings["steps"])

        return own_entry(build, linear=stored is None or "gain" in stored), hyperparameters
    rate = hyperparameters.get("learning_rate")
    if isinstance(rate, Mapping):
        del hyperparameters["learning_rate"]
        return scheduled_entry(TABLE[name], rate), hyperparameters
    return TABLE[name], hyperparameters


def preconditioner(
    known: Entry, hyperparameters: Mapping[str, float], here: xr.Dataset
) -> Float[np.ndarray, " parameter"]:
    """The diagonal of P at one snapshot of a trajectory, see `Prepared.preconditioner`.

    Args:
        known: what is known of the optimizer.
        hyperparameters: of the optimizer, by name.
        here: the snapshot: its `weights`, and the `gain` or `second_moment` that P is made of.

    Returns:
        One number a weight; infinite where the gain is 0, of a weight that does not move.
    """
    if known.by_gain:
        with np.errstate(divide="ignore"):  # a weight that does not move is infinitely heavy
            return np.asarray(1 / here["gain"].values)
    moment = jnp.asarray(here["second_moment"].values) if known.adaptive else None
    ones = np.ones(here["weights"].shape, np.float32)
    return np.asarray(known.preconditioner(moment, **hyperparameters)) * ones


def not_started(discrete: xr.Dataset) -> str:
    """The status of what should have started from a discrete run that did not get there, or is no map of its state."""
    if discrete.attrs["status"] == "completed":
        return "not started: discrete run is on minibatches"
    return f"not started: discrete run {discrete.attrs['status']}"
