"""A study of a problem of one's own: its discrete run, flows, sharpness, tracking errors and figure, in one call.

    study = rodflow.study(loss, params, optax.adam(1e-3), data=data, steps=600)
    study.tracking_error.sel(process="rod_unit_step")
    study.figure().savefig("tracking.png")

It is the pipeline's own stages on a run that is made here instead of from a config. What they give is stored as
artifacts, in a folder of your choice or in a temporary one, so that a killed study continues where it was, an audit
reads it and every figure of the library can draw it.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array

from rodflow.analysis.comparison import compare
from rodflow.config.catalogue import FIGURES, FLOWS
from rodflow.config.code import digest
from rodflow.config.paths import placed
from rodflow.errors import RodflowError
from rodflow.optimizers.on_tree import Layout
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map
from rodflow.optimizers.own import STEPS_TO_LOOK, first_mode, own_entry
from rodflow.optimizers.table import Entry
from rodflow.problem.held_out import HeldOut, labels_of
from rodflow.problem.own import (
    Criterion,
    Data,
    Model,
    Parameters,
    Problem,
    function_of,
    of_model,
    own,
)
from rodflow.stages.flow import follow
from rodflow.stages.progress import Clock
from rodflow.stages.run import Prepared
from rodflow.stages.sharpness import Search, along
from rodflow.stages.training import train
from rodflow.store import artifact
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.results import DISCRETE, StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOWS_BY_DEFAULT = ("stable", "rod_unit_step")


class StudyError(RodflowError, ValueError):
    """A study that cannot be made: one line with the argument, its value and what is allowed."""


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        run: its artifacts, as figures and claims read them.
        layout: how the tree of parameters lies in the flat weights.
        names: of the parameters, in the order of the flat weights.
        threshold: in words, why it has one or not.
    """

    run: StoredRun
    layout: Layout
    names: tuple[str, ...]
    threshold: str
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where the artifacts of the run are."""
        return self.run.folder

    @property
    def comparison(self) -> xr.Dataset:
        """The numbers of the figures: see `rodflow.analysis.comparison.compare`."""
        return self.run.comparison

    @property
    def tracking_error(self) -> xr.DataArray:
        """Distance of each flow from the run's midpoint over the distance travelled, [process, snapshot]."""
        return self.comparison["tracking_error"]

    @property
    def sharpness(self) -> xr.DataArray:
        """Preconditioned sharpness over its threshold, [process, snapshot]; NaN where there is no threshold."""
        return self.comparison["sharpness_over_threshold"]

    @property
    def along_rod(self) -> xr.Dataset:
        """Secant and quotient along the rod, both over the threshold too, and its multiplier, [process, snapshot].

        See `rodflow.dynamics.amplitude`. Secant and quotient are in the metric of the optimizer's preconditioner, that
        of the weights where there is no threshold, as for Muon. NaN where the rod is closed, or the process has none;
        and over the threshold, where there is no threshold.
        """
        beside = self.comparison[["secant_over_threshold", "quotient_over_threshold", "multiplier"]]
        processes = [p for p in self.run.processes if "secant" in self.run.eigenvalues(p)]
        measured = [self.run.eigenvalues(p)[["secant", "quotient"]] for p in processes]
        if not measured:
            return beside
        index = xr.Variable("process", processes)
        return xr.merge(
            [xr.concat(measured, index), beside], join="outer", combine_attrs="drop_conflicts"
        )

    def trajectory(self, process: str = DISCRETE) -> xr.Dataset:
        """What a process did, step by step: see `rodflow.store.trajectory`."""
        return self.run.trajectory(process)

    def weights(self, process: str = DISCRETE) -> xr.Dataset:
        """The weights of a process at its snapshots, by parameter name, each in its own shape."""
        flat = self.trajectory(process)["weights"]
        found = {}
        for name, shape, place in zip(
            self.names, self.layout.shapes, self.layout.places, strict=True
        ):
            axes = [f"{name}_{axis}" for axis in range(len(shape))]
            values = flat.values[:, place].reshape(-1, *shape)
            found[name] = (("snapshot", *axes), values)
        return xr.Dataset(found, {"snapshot": flat["snapshot"]})

    def tree(self, step: int, process: str = DISCRETE) -> Parameters:
        """The tree of parameters of a process at a snapshot.

        Args:
            step: optimizer step of the snapshot.
            process: "discrete" or the name of a flow.

        Raises:
            KeyError: the process has no snapshot at this step.
        """
        flat = self.trajectory(process)["weights"].sel(snapshot=step)
        return self.layout.unravel(jnp.asarray(flat.values))

    def figure(self, name: str = "tracking") -> "Figure":
        """The loss, the sharpness over its threshold and the tracking errors; or another figure of one run."""
        return FIGURES.load(name).draw([self.run]).figure

    def __str__(self) -> str:
        rows = [f"{self.run.path}: {self.threshold}"]
        for process in self.run.processes:
            row = self.comparison.sel(process=process)
            error = row["error_last"].item()
            words = f"tracking error {error:.2g} at the end" if np.isfinite(error) else ""
            rows.append(f"  {process:<15} {row['status'].item():<12} {words}".rstrip())
        return "\n".join(rows)


def study(
    problem: Callable[..., Array] | Model,
    parameters: Parameters | None,
    optimizer: optax.GradientTransformation,
    *,
    data: Data = None,
    criterion: str | Criterion = "mse",
    test: Data = None,
    steps: int,
    start: int | None = None,
    every: int | None = None,
    flows: Sequence[str] = FLOWS_BY_DEFAULT,
    eigenvalues: int = 1,
    tolerance: float = 1e-2,
    seed: int = 0,
    name: str = "own",
    folder: str | Path | None = None,
    progress: bool = True,
) -> Study:
    """Train, integrate the flows, measure the sharpness along each and compare them.

    Args:
        problem: `loss(params)`, or `loss(params, data)` with `data`; or a flax (linen or nnx) or equinox model, with
            `data` its inputs and targets and a `criterion`.
        parameters: where training starts, any pytree of floating-point arrays; None for a model, which brings its own.
        optimizer: any deterministic optax transformation, schedules included. It acts on the tree of parameters.
        data: any pytree of arrays, all of them in every step.
        criterion: of a model: see `rodflow.problem.own.of_model`.
        test: data like `data` that nothing is trained on. Trajectories and comparison have their `test_loss` then, and
            of a model whose targets are classes the `test_accuracy`.
        steps: the length of the run.
        start: step t0 at which the flows start, after the first transient; None: a tenth of the run.
        every: steps between two snapshots; None: such that there are about sixty.
        flows: names of flows, see `rodflow.config.catalogue.FLOWS`.
        eigenvalues: how many of the largest eigenvalues of the preconditioned Hessian are measured.
        tolerance: relative residual at which one is accepted.
        seed: of a linen model's parameters, and of the noise that seeds the rod.
        name: what the run is called in figures and folders.
        folder: where artifacts go; None: a temporary folder that ends with the study.
        progress: whether to say on standard error how far it is and how long it will take.

    Raises:
        StudyError: an argument is not as it must be.
        PathError: the folder is in a home folder that there is not.
        ProblemError: the loss, the model or the parameters are not.
        OptimizerError: the optimizer is no deterministic map of a state, or has none of a flow.
    """
    # Longer than others because its docstring names all that it takes.
    start, every = _times(steps, start, every)
    _check_names(flows, optimizer, name)
    parameters_given = parameters
    if parameters is None:
        loss, parameters = of_model(problem, data, criterion, seed=seed)  # type: ignore[arg-type]
    else:
        loss, parameters = own(problem, parameters, data)  # type: ignore[arg-type]
    step = optimizer_map(loss, optimizer, parameters)
    layout = Layout.of(parameters)
    settings = _settings(name, criterion, seed) | {
        "snapshots": {"every": every},
        "start": start,
        "steps": steps,
    }
    weights = layout.ravel(parameters)
    _check_flows(flows, step, weights)
    known, words = _known(step, weights, optimizer)
    # A threshold that is there includes the learning rate already.
    model = problem if parameters_given is None else None
    held_out = None if test is None else _held_out(loss, layout, test, model, seed)
    prepared = Prepared(settings, step, weights, known, {"learning_rate": 1.0}, name, held_out)
    temporary = tempfile.TemporaryDirectory(prefix="rodflow-") if folder is None else None
    root = Path(temporary.name) if temporary else placed(folder or ".", key="folder")
    run = StoredRun(root / name / name / f"seed{seed}")
    _make(prepared, run, root, tuple(flows), Search(eigenvalues, tolerance), progress)
    paths = jax.tree_util.tree_leaves_with_path(parameters)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    return Study(run, layout, tuple(n or "weights" for n in names), words, temporary)


def _held_out(loss: Problem, layout: Layout, test: Data, model: object, seed: int) -> HeldOut:
    """The test set of a loss of data, or of a model.

    Raises:
        StudyError: the loss has no data.
    """
    if loss.data is None:
        raise StudyError(
            "test is given, but the loss takes no data; give data too, or leave test out"
        )
    other = Problem(loss.function, jax.tree.map(jnp.asarray, test))
    labels, answers = None, None
    if model is not None:
        inputs, targets = other.data
        apply, _ = function_of(model, inputs, seed)
        labels = labels_of(targets)

        def answers(weights: Array) -> Array:
            return apply(layout.unravel(weights), inputs)

    return HeldOut(lambda weights: other(layout.unravel(weights)), answers, labels)


def _settings(name: str, criterion: str | Criterion, seed: int) -> dict[str, object]:
    """What a run of a config has as settings, in so far as a problem of one's own has it."""
    return {
        "batch_size": None,
        "criterion": criterion if isinstance(criterion, str) else "own",
        "dataset": {"name": "own"},
        "model": {"kind": name},
        "optimizer": {"name": name},
        "seed": seed,
    }


def _times(steps: int, start: int | None, every: int | None) -> tuple[int, int]:
    """When the flows start and how often weights are kept.

    Raises:
        StudyError: the run is too short for them.
    """
    start = max(1, steps // 10) if start is None else start
    every = max(1, (steps - start) // 60) if every is None else every
    for name, value in {"steps": steps, "start": start, "every": every}.items():
        if not isinstance(value, int) or value < 1:
            raise StudyError(f"{name} is {value!r}; it must be a whole number from 1 on")
    if start + every > steps:
        raise StudyError(
            f"start + every is {start} + {every}; it must be at most steps, which is {steps}"
        )
    return start, every


def _check_names(flows: Sequence[str], optimizer: optax.GradientTransformation, name: str) -> None:
    for flow in flows:
        if flow not in FLOWS:
            raise StudyError(f"flows has {flow!r}; there are {', '.join(FLOWS)}")
        if FLOWS[flow].batches:
            why = "it models minibatches, and a study takes all data in every step"
            raise StudyError(f"flows has {flow!r}; {why}: leave it out")
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise StudyError(
            f"optimizer is {type(optimizer).__name__}; give an optax transformation such as optax.adam(1e-3)"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise StudyError(f"name is {name!r}; it must be lower-case letters, digits, _ and -")


def _check_flows(flows: Sequence[str], step: OptimizerMap, weights: Array) -> None:
    """Begin each flow without computing: one that does not exist for the optimizer says so before training."""
    state = step.initial(weights)
    for flow in flows:
        jax.eval_shape(FLOWS.load(flow).process().begin, step, state, state, state)


def _known(
    step: OptimizerMap, weights: Array, optimizer: optax.GradientTransformation
) -> tuple[Entry, str]:
    """What is known of the optimizer: a threshold by its linearised map, or in words why it has none."""
    angle, why = first_mode(step, weights)
    words = f"no linear threshold: {why}" if why else "threshold by the linearised map"
    if np.isfinite(angle) and angle != np.pi:
        words += f"; its first unstable mode turns by {np.degrees(angle):.0f} degrees a step, where a rod is no model"
    return own_entry(lambda: optimizer, linear=not why), words


def _make(
    prepared: Prepared,
    run: StoredRun,
    root: Path,
    flows: tuple[str, ...],
    search: Search,
    progress: bool,
) -> None:
    """Every artifact of the run that is not there yet."""
    key = _key(prepared, flows, search)
    clock = Clock(DISCRETE, prepared.settings["steps"]) if progress else None

    def stored(name: str, kind: str, make: Callable[[Scratch], xr.Dataset]) -> xr.Dataset:
        path = run.folder / f"{name}.nc"
        if path.is_file():
            found = artifact.read(path, kind=kind)
            if found.attrs.get("study") == key:
                return found
        if clock is not None:
            clock.restart(name)
        scratch = Scratch(path.with_name(f".{path.name}.partial"), lambda: key)
        data = make(scratch).assign_attrs(study=key)
        status = data.attrs.get("status", "completed")
        artifact.write(data, path, kind=kind, root=root, settings=prepared.settings, status=status)
        scratch.remove()
        return data

    discrete = stored(
        DISCRETE, "trajectory", lambda scratch: next(train([prepared], clock, scratch))
    )
    trajectories = {DISCRETE: discrete} | {
        flow: stored(
            flow,
            "trajectory",
            partial(_followed, prepared, discrete, flow, clock),
        )
        for flow in flows
    }
    measured = {
        process: stored(
            f"sharpness/{process}", "sharpness", partial(_measured, prepared, data, search, clock)
        )
        for process, data in trajectories.items()
    }
    times = {name: prepared.settings[name] for name in ("start", "steps")}
    stored("comparison", "comparison", lambda _: compare(trajectories, measured, **times))


def _followed(
    prepared: Prepared, discrete: xr.Dataset, flow: str, clock: Clock | None, scratch: Scratch
) -> xr.Dataset:
    return follow(prepared, discrete, flow, clock, scratch)


def _measured(
    prepared: Prepared, data: xr.Dataset, search: Search, clock: Clock | None, scratch: Scratch
) -> xr.Dataset:
    if clock is not None:
        clock.tell(f"the largest eigenvalues at {data.sizes['snapshot']} snapshots", 0)
    return along(
        prepared.optimizer.loss,
        prepared.known,
        prepared.hyperparameters,
        data,
        search,
        checkpoint=Checkpoint(scratch, data.attrs["process"]),
    )


def _key(prepared: Prepared, flows: tuple[str, ...], search: Search) -> str:
    """What tells this study from another one in the same folder.

    A loss and a transformation are functions, which have no digest. What they do in the first steps has one.
    """
    state, seen = prepared.optimizer.initial(prepared.weights), []
    for _ in range(STEPS_TO_LOOK):
        loss, gradient, state = prepared.optimizer.evaluate(state)
        seen += [np.asarray(leaf).tobytes() for leaf in (loss, gradient, *jax.tree.leaves(state))]
    if prepared.test is not None:
        seen += [prepared.test.along(np.asarray(prepared.weights)[None])["test_loss"].tobytes()]
    code = digest(__name__, *(FLOWS.module(flow) for flow in flows))
    words = json.dumps([prepared.settings, asdict(search), flows, code], sort_keys=True)
    return hashlib.sha256(b"".join([words.encode(), *seen])).hexdigest()
