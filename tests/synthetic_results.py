"""A small results tree with made-up numbers, written as the stages write theirs.

To write a run takes most of a second, so what is about neither files nor folders takes one that is in memory only.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import compare, geometric_mean
from rodflow.store import artifact
from rodflow.store.netcdf import plain
from rodflow.store.results import StoredRun
from rodflow.store.trajectory import trajectory

FLOWS = ("stable", "rod", "rod_unit_step")
START, STEPS, EVERY, SAMPLES = 20, 200, 10, 500
DRIFT = {"discrete": 0.0, "stable": 3e-2, "rod": 3e-4, "rod_unit_step": 1e-4}
THRESHOLDS = {"heavy_ball": 38.0, "adam": 38.0, "nadam": 13.571, "nesterov": 13.571}
COUNTS = {
    "gradients": {"rod": 8.0, "rod_unit_step": 4.0, "closure": 6.0},
    "hessian_products": {"closure": 2.0},
}
STEP_TIMES = {"discrete": 2e-3, "rod": 26e-3, "rod_unit_step": 14e-3, "closure": 17e-3}

EIGENVECTOR = np.array([0.6, 0.8, 0.0])
MOMENT = np.array([4.0, 9.0, 16.0])
"""Second moment of every optimizer that has one; the rods are along the eigenvector in P^(1/2) w."""

KERNELS = ["Normalised_0.kernel", "Normalised_1.kernel"]

REPLICAS, LEVEL = np.array([0.5, 2.0, 1.0, 4.0, 1.0]), 1e-4
RESTART = 80


@dataclass(frozen=True)
class RunInMemory(StoredRun):
    """A run that has what it was given, and no file."""

    def has(self, name: str) -> bool:
        return name in self._read


def write_run(root: Path, *run: Any, **options: Any) -> StoredRun:
    """Store every artifact of one run, with the arguments of `make_run`."""
    return make_run(root, *run, store=True, **options)


def make_run(
    root: Path,
    optimizer: str = "gd",
    model: str = "mlp",
    seed: int = 0,
    *,
    flows: tuple[str, ...] = FLOWS,
    diverged: dict[str, int] | None = None,
    learning_rate: float = 0.1,
    hyperparameters: dict[str, float] | None = None,
    replicas: np.ndarray | None = REPLICAS,
    replays: dict[str, xr.Dataset] | None = None,
    settings: dict[str, Any] | None = None,
    kernels: bool = False,
    change: Callable[[str, xr.Dataset], xr.Dataset] = lambda process, data: data,
    measured: Callable[[str, xr.Dataset], xr.Dataset] = lambda process, data: data,
    compared: Callable[[xr.Dataset], xr.Dataset] = lambda data: data,
    store: bool = False,
) -> StoredRun:
    """Every artifact of one run, in memory or in its file.

    Args:
        root: the experiment's folder.
        optimizer, model, seed: which run.
        flows: which flows it has.
        diverged: process -> the step at which it diverged; flows of a discrete run that diverged
            before START are not started.
        learning_rate: step size.
        hyperparameters: other ones.
        replicas: the last tracking error of each replica, in units of LEVEL; None without replicas.
        replays: "iterates", "onset_window" and "outputs", those of the functions of these names unless given.
        settings: others than usual.
        kernels: whether the discrete run is of a network with scale-invariant kernels.
        change: what to make of the trajectory of a process before it is kept.
        measured: what to make of its sharpness.
        compared: what to make of the comparison before it is kept.
        store: whether to write each to its file instead.
    """
    run = RunInMemory(root / model / optimizer / f"seed{seed}")
    given = {"name": optimizer, "learning_rate": learning_rate, "eps": 1e-8}
    settings = {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits", "samples": SAMPLES},
        "model": {"kind": "mlp", "activation": "tanh"},
        "optimizer": given | (hyperparameters or {}),
        "seed": seed,
        "start": START,
        "steps": STEPS,
        "snapshots": {"every": EVERY},
    } | (settings or {})
    rng = np.random.default_rng([seed, *optimizer.encode()])

    def keep(name: str, kind: str, data: xr.Dataset, status: str = "completed") -> None:
        if store:
            path = run.folder / f"{name}.nc"
            artifact.write(data, path, kind=kind, root=root, settings=settings, status=status)
        else:
            kept = plain(data)  # whose attributes are in the form of a file
            kept.attrs = data.attrs | {"settings": json.dumps(settings), "status": status}
            run.take(name, kept)

    trajectories: dict[str, xr.Dataset] = {}
    sharpness: dict[str, xr.Dataset] = {}
    diverged = diverged or {}
    lost = diverged.get("discrete", STEPS) < START
    adaptive = optimizer in ("rmsprop", "adam", "nadam")
    for process in ("discrete", *flows):
        if lost and process != "discrete":
            data = _not_started(process, diverged["discrete"])
        else:
            data = _trajectory(process, rng, diverged.get(process), adaptive=adaptive)
        if kernels and process == "discrete":
            data = with_kernels(data)
        data = change(process, data)
        limit = THRESHOLDS.get(optimizer, 2.0) / learning_rate
        found = measured(process, _sharpness(process, data, limit, rng))
        keep(process, "trajectory", data, data.attrs["status"])
        keep(f"sharpness/{process}", "sharpness", found)
        trajectories[process], sharpness[process] = data, found
    numbers = compare(trajectories, sharpness, start=START, steps=STEPS)
    if replicas is not None:
        numbers = _with_floor(numbers, replicas)
    keep("comparison", "comparison", compared(numbers))
    early = f"not started: discrete run diverged at step {diverged['discrete']}" if lost else ""
    made = {
        "iterates": iterates(status=early),
        "onset_window": onset_window(status=early),
        "outputs": outputs(numbers),
    }
    for kind, data in (made if replays is None else replays).items():
        keep(kind, kind, data, data.attrs["status"])
    return StoredRun(run.folder) if store else run


def run_in_memory(
    path: str,
    comparison: xr.Dataset,
    series: dict[str, xr.Dataset] | None = None,
    **options: Any,
) -> StoredRun:
    """A run of which nothing is stored, for what reads no weights.

    Args:
        path: as of a `rodflow.config.experiment.Run`; it names the optimizer.
        comparison: its comparison.
        series: process -> what it did.
        options: of the optimizer.
    """
    run = StoredRun(Path(path))
    given = {"name": run.optimizer, "learning_rate": 0.1, "eps": 1e-8} | options
    settings = json.dumps({"optimizer": given, "seed": run.seed, "start": START, "steps": STEPS})
    for name, data in (
        {"comparison": comparison, "discrete": xr.Dataset()} | (series or {})
    ).items():
        run.take(name, data.assign_attrs(settings=settings))
    return run


def with_kernels(data: xr.Dataset, radial: float = 0.0) -> xr.Dataset:
    """A discrete run with two kernels that begin with 4 and grow by their squared steps.

    The second one grows by twice `radial` a step besides.
    """
    at = np.arange(data.sizes["step"])[:, None]
    squares, along = np.array([0.02, 0.01]), radial * np.array([0.0, 1.0])
    values = {
        "squared_norm": 4 + at * (squares + 2 * along),
        "squared_update": squares + 0 * at,
        "radial": along + 0 * at,
        "alignment": 1e-8 * (-1.0) ** at * np.array([1.0, 3.0]),
    }
    stored = {
        name: (("step", "kernel"), value.astype(np.float32)) for name, value in values.items()
    }
    return data.assign(stored).assign_coords(kernel=KERNELS)


def is_open(step: np.ndarray) -> np.ndarray:
    """Whether the rods are long."""
    return (step >= 80) & (step <= 120)


def always_open(process: str, data: xr.Dataset) -> xr.Dataset:
    """A trajectory whose rod is long at every step, so that a run is at the edge from its onset to its end."""
    return data.assign(rod_length=0 * data["loss"] + 0.1) if "rod_length" in data else data


def iterates(*, status: str = "", last: int = STEPS, flip: int = 10**6) -> xr.Dataset:
    """Iterates that swing by 0.01, predicted within 3%; the phase is lost from step `flip` on."""
    steps = _steps(RESTART, last, status)
    swing = 0.01 * (-1.0) ** steps
    variables = {
        "iterate_error": ("step", np.where(steps < flip, 0.03, 2.0)),
        "actual": ("step", 1e-4 * steps + swing),
        "predicted": ("step", 1e-4 * steps + np.where(steps < flip, 0.97, -1.0) * swing),
        "rod_length": ("step", 0.02 * 0.99 ** (steps - RESTART)),
    }
    attributes = {"title": "iterates", "restart": RESTART, "sharpness_over_threshold": 1.07}
    return xr.Dataset(variables, {"step": steps}, attributes | {"status": status or "completed"})


def onset_window(*, status: str = "", first: int = 70, last: int = 130) -> xr.Dataset:
    """Every iterate of the discrete run from one step to another, around the oscillation onset."""
    steps = _steps(first, last, status)
    jump = np.where(is_open(steps), 0.1, 1e-4) * (-1.0) ** steps
    variables = {
        "iterate": (("step", "parameter"), _midpoint(steps) + jump[:, None] * EIGENVECTOR),
        "eigenvector": ("parameter", EIGENVECTOR),
    }
    attributes = {"onset": 90.0, "centre": (first + last) // 2, "status": status or "completed"}
    if status:
        attributes |= {"onset": np.nan}
        del attributes["centre"]
    return xr.Dataset(variables, {"step": steps}, attributes)


def outputs(comparison: xr.Dataset, *, share: float = 0.5, status: str = "completed") -> xr.Dataset:
    """Errors in function space that are a part of those in weights."""
    flows = [process for process in comparison["process"].values if process != "discrete"]
    error = share * comparison["tracking_error"].sel(process=flows)
    return xr.Dataset({"output_error": error}, attrs={"status": status})


def toy() -> xr.Dataset:
    """Toy problems with made-up numbers, in the form of `rodflow.stages.toy.toy_dataset`."""
    processes, optimizers = ["discrete", "rod", "rod_unit_step", "closure"], ["gd", "heavy_ball"]
    over, at, steps = np.linspace(0.75, 1.25, 5), np.array([1.7, 1.9, 2.2, 2.5]), np.arange(46)
    amplitude = np.sqrt(np.maximum(1 - 2 / at, 0))
    opening = 0.3 * np.minimum(steps / 30, 1)
    half = np.where(steps < 3, np.nan, opening) * np.linspace(1, 1.1, 4)[:, None]
    rates = np.log(over) * np.linspace(1, 1.1, 8).reshape(2, 4, 1)
    return xr.Dataset(
        {
            "threshold": ("optimizer", [2.0, 6.0]),
            "growth_rate": (("optimizer", "process", "over_threshold"), rates),
            "amplitude": (
                ("process", "eta_sharpness"),
                np.outer(np.linspace(1, 1.1, 4), amplitude),
            ),
            "predicted_amplitude": ("eta_sharpness", amplitude),
            "iterate": ("step", opening * (-1.0) ** steps),
            "centre": (("process", "step"), 0 * half),
            "half_extent": (("process", "step"), half),
        },
        {
            "process": processes,
            "optimizer": optimizers,
            "over_threshold": over,
            "eta_sharpness": at,
            "step": steps,
        },
        {"title": "toy", "sharpness": 1.0, "quartic": 1.0, "learning_rate": 2.2, "start": 3},
    )


def adam_region() -> xr.Dataset:
    """What `rodflow.stages.adam_region` gives, made up: four points, few steps, bounds that are attained."""
    b, c, plane = 0.9, np.array([0.99, 0.9, 0.81, 0.7]), 1 - np.geomspace(0.6, 1e-3, 5)
    steps, training_steps = np.arange(1, 201), np.arange(1, 31)
    quotient, condition = b**2 / c, 2 * (1 - b) / b - (1 - c) / c
    sums = np.cumsum(quotient[:, None] ** (steps - 1.0), axis=1)
    bound = (1 - b) / np.sqrt(1 - c)[:, None] * np.sqrt(sums)
    limit = np.full(4, np.inf)
    limit[:2] = (1 - b) / np.sqrt(((1 - c) * (1 - quotient))[:2])
    correction = np.sqrt(1 - c[:, None] ** steps) / (1 - b**steps)
    predicted = np.stack([np.log(quotient) / 2, -condition / 2], axis=1)
    share = np.array([1.0, 0.5, 0.8, 0.2])
    seeds = np.array([0.9, 0.95, 1.0])[:, None]
    trained = (bound * correction)[:, None, : training_steps.size] * seeds
    return xr.Dataset(
        {
            "plane_condition": (("b1", "b2"), 2 * (1 / plane[:, None] - 1) - (1 / plane - 1)),
            "plane_quotient": (("b1", "b2"), plane[:, None] ** 2 / plane),
            "path_b1": ("point", np.full(4, b)),
            "path_b2": ("point", c),
            "condition": ("point", condition),
            "quotient": ("point", quotient),
            "bound": (("point", "step"), bound),
            "correction": (("point", "step"), correction),
            "limit": ("point", limit),
            "update": (("point", "gradients", "step"), bound[:, None] * share[:, None]),
            "growth_rate": (("point", "time"), np.maximum(predicted, 0) * 1.001),
            "predicted_rate": (("point", "time"), predicted),
            "climbed": (("point", "start"), np.outer(bound[:, 11], [1.0, 0.99])),
            "eigenvalue": ("point", bound[:, 11]),
            "training_update": (("point", "seed", "training_step"), trained),
            "training_loss": (
                ("point", "seed", "training_step"),
                np.ones(4)[:, None, None] * seeds / training_steps,
            ),
        },
        {
            "b1": plane,
            "b2": plane,
            "point": np.arange(4),
            "step": steps,
            "gradients": ["worst", "random", "constant", "alternating"],
            "time": ["discrete", "continuous"],
            "start": np.arange(2),
            "seed": [1, 2, 3],
            "training_step": training_steps,
        },
        {"title": "made up", "climbed_steps": 12, "sequences": 256, "learning_rate": 0.03},
    )


def _steps(first: int, last: int, status: str) -> np.ndarray:
    return np.zeros(0, int) if status.startswith("not started") else np.arange(first, last + 1)


def _midpoint(steps: np.ndarray) -> np.ndarray:
    return steps[:, None] * np.array([1.0, 0.5, -0.2]) / STEPS


def _trajectory(
    process: str, rng: np.random.Generator, stop: int | None, *, adaptive: bool
) -> xr.Dataset:
    first = 1 if process == "discrete" else START
    steps = np.arange(first, stop or STEPS + 1)
    # A snapshot is taken before its step is, so there is one at a step that diverges.
    kept = np.arange(first - (first - START) % -EVERY, (stop or STEPS) + 1, EVERY)
    level = 0.4 * np.exp(-steps / 70) + 1e-3
    if stop:
        level = level * 10.0 ** np.clip(3 * (steps - stop + 12), 0, 38)
    wobble = 0.05 * np.minimum(steps / STEPS, 1)
    swing = wobble * (-1.0) ** steps if process == "discrete" else 0.0
    series = {"loss": level * (1 + swing)}
    if process.startswith("rod"):
        series |= {"loss_plus": level * (1 + wobble), "loss_minus": level * (1 - wobble)}
    if process.startswith("central"):
        series |= {"averaged_loss": level, "oscillation": is_open(steps) * 0.1}
    if process == "discrete" and not kept.size:
        return _without_snapshots(steps, series, stop)
    away = DRIFT.get(process, 1e-2) * (1 + rng.random((len(kept), 3)))
    snapshots = {"weights": _midpoint(kept) + away * np.maximum(kept - START, 0)[:, None] / STEPS}
    for count, values in COUNTS.items():
        if process in values:
            series[count] = np.full(len(steps), values[process])
    if process != "stable":
        series["rod_length"] = np.where(is_open(steps), 0.1, 1e-4)
        snapshots["multiplier"] = 1 + 0.02 * (-1.0) ** np.arange(len(kept))
        snapshots["half_extent"] = _half_extent(kept, MOMENT if adaptive else np.ones(3))
    if adaptive:
        snapshots["second_moment"] = np.tile(MOMENT, (len(kept), 1))
    ended = f"diverged at step {stop}" if stop else "completed"
    return trajectory(
        steps,
        {name: values.astype(np.float32) for name, values in series.items()},
        kept,
        {name: values.astype(np.float32) for name, values in snapshots.items()},
        process=process,
        title=process,
        attributes={"status": ended, "step_time_s": STEP_TIMES.get(process, 1e-3)},
    )


def _without_snapshots(steps: np.ndarray, series: dict, stop: int | None) -> xr.Dataset:
    """A discrete run that diverged before its first snapshot, as `rodflow.stages.training` labels it."""
    weights, attributes = np.zeros((0, 3), np.float32), {"status": f"diverged at step {stop}"}
    series = series | {"rod_length": np.full(len(steps), 1e-4)}
    return trajectory(
        steps,
        {name: values.astype(np.float32) for name, values in series.items()},
        np.zeros(0, int),
        {"weights": weights},
        process="discrete",
        title="discrete",
        attributes=attributes,
    )


def _half_extent(kept: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Along the eigenvector where the rods are open, across it elsewhere."""
    direction = np.where(is_open(kept)[:, None], EIGENVECTOR, [0.0, 0.0, 1.0])
    extent = direction / moment**0.25
    length = np.where(is_open(kept), 0.1, 1e-4) / np.linalg.norm(extent, axis=1)
    return extent * length[:, None]


def _not_started(process: str, stop: int) -> xr.Dataset:
    """A flow of a discrete run that diverged at this step, as `rodflow.stages.run.flow_run` labels it."""
    none, status = np.zeros(0), f"not started: discrete run diverged at step {stop}"
    weights, attributes = np.zeros((0, 3), np.float32), {"status": status}
    return trajectory(
        none,
        {"loss": none},
        none,
        {"weights": weights},
        process=process,
        title=process,
        attributes=attributes,
    )


def _sharpness(
    process: str, data: xr.Dataset, limit: float, rng: np.random.Generator
) -> xr.Dataset:
    at = data["snapshot"] / STEPS
    ratio = 0.3 + (1.7 if process == "stable" else 0.0) * at + np.minimum(at * 1.5, 0.7)
    ratio = ratio + 0.02 * rng.random(ratio.size)
    vectors = (("snapshot", "parameter"), np.tile(EIGENVECTOR, (at.size, 1)))
    eigenvalues = (limit * ratio).expand_dims(eigenvalue_rank=1, axis=-1)
    rods = (
        {}
        if "half_extent" not in data
        else {
            f"{name}{over}": share * scale * ratio
            for name, share in (("secant", 0.97), ("quotient", 0.98))
            for over, scale in (("", limit), ("_over_threshold", 1.0))
        }
        | {"rod_in_span": _along_eigenvector(data), "span_reaches": 0.5 * ratio}
    )
    found = xr.Dataset(
        rods
        | {
            "sharpness_over_threshold": ratio,
            "eigenvalue": eigenvalues,
            "raw_sharpness": limit * ratio,
            "eigenvector": vectors,
        },
        {"snapshot": data["snapshot"]},
    )
    return found.assign_attrs(process=process, threshold=limit)


def _along_eigenvector(data: xr.Dataset) -> xr.DataArray:
    """Part of the squared rods along the eigenvector, in P^(1/2) w; in any weights beside its three it is zero."""
    rods = (
        data["half_extent"] * data.get("second_moment", xr.ones_like(data["half_extent"])) ** 0.25
    )
    along = (rods[..., : len(EIGENVECTOR)] * EIGENVECTOR).sum("parameter")
    return along**2 / (rods**2).sum("parameter")


def _with_floor(numbers: xr.Dataset, replicas: np.ndarray) -> xr.Dataset:
    """Replicas whose tracking error rises to LEVEL times a number each."""
    at = numbers["snapshot"].values
    if np.sum(at >= START) < 2:  # as `rodflow.analysis.comparison.compare` has it
        return numbers
    floor = replicas[:, None] * np.where(at > START, LEVEL * at / at[-1], np.nan)
    numbers["floor"] = (("replica", "snapshot"), floor)
    numbers["floor_last"] = ("replica", floor[:, -1])
    numbers["floor_mean"] = geometric_mean(numbers["floor"])
    return numbers


# Every way in which a run can end or be empty


def _unmeasured(process: str, data: xr.Dataset) -> xr.Dataset:
    """Eigenvectors that the solver did not find."""
    names = [name for name in ("eigenvector", "rod_in_span", "span_reaches") if name in data]
    return data.assign({name: data[name] * np.nan for name in names})


def _without_threshold(process: str, data: xr.Dataset) -> xr.Dataset:
    """An optimizer whose step is not linear in a small gradient, as `rodflow.stages.sharpness` has it."""
    over = [name for name in data if str(name).endswith("over_threshold")]
    nothing = data.assign({name: np.nan * data[name] for name in over})
    return nothing.assign_attrs(threshold=np.nan)


def _turning(process: str, data: xr.Dataset) -> xr.Dataset:
    """A trajectory of an optimizer whose first unstable mode turns by a right angle in a step."""
    return data.assign(angle=("snapshot", np.full(data.sizes["snapshot"], np.pi / 2)))


def _flat(process: str, data: xr.Dataset) -> xr.Dataset:
    """A Hessian that is exactly zero."""
    zeros = ("sharpness_over_threshold", "eigenvalue", "raw_sharpness")
    return data.assign({name: 0 * data[name] for name in zeros})


def _nowhere(process: str, data: xr.Dataset) -> xr.Dataset:
    """A search that gave NaN at every snapshot."""
    return data.map(lambda values: values * np.nan, keep_attrs=True).assign_attrs(data.attrs)


def _far_beyond(process: str, data: xr.Dataset) -> xr.Dataset:
    """Flows whose sharpness is a hundred thousand thresholds."""
    if process == "discrete":
        return data
    far = ("sharpness_over_threshold", "eigenvalue", "raw_sharpness")
    return data.assign({name: 1e5 * data[name] for name in far})


def _one_snapshot(process: str, data: xr.Dataset) -> xr.Dataset:
    """Snapshots so far apart that there is only that of the start."""
    return data.sel(snapshot=[START])


EVERY_FLOW = ("stable", "rod", "rod_unit_step", "closure", "central", "edge", "adam_continuous")

STATES: dict[str, dict[str, Any]] = {
    "at step 1": {"diverged": {"discrete": 1}},
    "before the first snapshot": {"diverged": {"discrete": 5}},
    "at a snapshot before the start": {"diverged": {"discrete": 10}},
    "before the start": {"diverged": {"discrete": 12}},
    "at the start": {"diverged": {"discrete": START}},
    "after the start": {"diverged": {"discrete": START + 1}},
    "at a snapshot": {"diverged": {"discrete": 100}},
    "in the last quarter": {"diverged": {"discrete": 171}},
    "flows at the start": {"diverged": dict.fromkeys(EVERY_FLOW, START)},
    "flows after the start": {"diverged": dict.fromkeys(EVERY_FLOW, START + 1)},
    "flows at a snapshot": {"diverged": dict.fromkeys(EVERY_FLOW, 100)},
    "one flow": {"diverged": {"rod": 57}},
    "all at the start": {"diverged": dict.fromkeys(("discrete", *EVERY_FLOW), START)},
    "zero Hessian": {"measured": _flat},
    "NaN eigenvectors": {"measured": _unmeasured},
    "NaN sharpness": {"measured": _nowhere},
    "no threshold": {"measured": _without_threshold},
    "no rod": {"change": _turning},
    "flows far beyond": {"measured": _far_beyond},
    "one snapshot": {"change": _one_snapshot},
    "no replays": {"replays": {}, "replicas": None},
    "no flows": {"flows": ()},
}
"""What may be wrong with a run, as arguments of `make_run`."""


def make_state(root: Path, state: str, optimizer: str = "gd", **options: Any) -> StoredRun:
    """A run with every flow in one of the `STATES`, with kernels where it got to a step."""
    chosen = {"flows": EVERY_FLOW, "kernels": True} | STATES[state] | options
    return make_run(root, optimizer, **chosen)
