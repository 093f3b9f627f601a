"""A small results tree that an audit finds nothing wrong with: made-up weights, but the curvature of a real loss there.

Every artifact records its inputs and the settings of an experiment, as those of the workflow do.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from rodflow.analysis.comparison import compare
from rodflow.config import plan
from rodflow.config.catalogue import FIGURES
from rodflow.config.experiment import Experiment, Run
from rodflow.figures.core.style import Drawing, save
from rodflow.optimizers.table import TABLE
from rodflow.problem import labelled, objective
from rodflow.stages.outputs import outputs
from rodflow.store import artifact
from rodflow.store.manifest import write_manifest
from rodflow.store.results import drawn_from
from rodflow.store.trajectory import trajectory
from synthetic_results import adam_region, toy


def write_results(
    root: Path, experiment: Experiment, draw: Callable[[plan.Figure, Path], Drawing] | None = None
) -> Path:
    """Every artifact and figure of an experiment whose runs have 60 steps, and the manifest.

    Args:
        root: the results folder.
        experiment: what it is to hold.
        draw: makes a figure, if its module does not.
    """
    dataset = labelled.load(experiment.dataset)
    options = {"root": root, "settings": experiment.dataset}
    artifact.write(dataset, root / "dataset.nc", kind="dataset", **options)
    first = experiment.runs[0].settings
    loss, weights = objective.build(dataset, first["model"], first["criterion"], seed=0)
    hessian = jax.jit(jax.hessian(loss))
    for run in experiment.runs:
        store_run(root, run, experiment, np.asarray(weights), hessian)
        if plan.has_outputs(run, experiment):
            store_outputs(root, run, dataset)
    for kind, data in (("toy", toy()), ("adam_region", adam_region())):
        if f"{kind}.nc" in plan.expected_files(experiment):
            artifact.write(data, root / f"{kind}.nc", kind=kind, root=root)
    for figure in plan.figures(experiment):
        caption = FIGURES[figure.name].captioned(figure.part)
        save((draw or drawn)(figure, root), root / figure.stem, caption)
    write_manifest(root, accept=True)
    return root


def drawn(figure: plan.Figure, root: Path) -> Drawing:
    """A figure as its module draws it."""
    return FIGURES.load(figure.name).draw(drawn_from([root / place for place in figure.drawn_from]))


def store_run(root: Path, run: Run, experiment: Experiment, weights: np.ndarray, hessian) -> None:
    trajectories, sharpness = {}, {}
    folder, data = root / run.path, {"dataset": root / "dataset.nc"}
    for number, process in enumerate(run.processes):
        rng = np.random.default_rng([number, *run.optimizer.encode()])
        trajectories[process] = walk(process, rng, weights, TABLE[run.optimizer].adaptive)
        sharpness[process] = curvature(trajectories[process], run, hessian)
        options = {"root": root, "settings": run.settings}
        path = folder / f"{process}.nc"
        inputs = data | ({} if process == "discrete" else {"discrete": folder / "discrete.nc"})
        artifact.write(trajectories[process], path, kind="trajectory", inputs=inputs, **options)
        options["settings"] = run.settings | {"sharpness": experiment.sharpness}
        inputs = data | {"trajectory": path}
        path = folder / f"sharpness/{process}.nc"
        artifact.write(sharpness[process], path, kind="sharpness", inputs=inputs, **options)
    inputs = data | {"discrete": folder / "discrete.nc"}
    own = {"replicas": {"replicas": experiment.replicas}, "iterates": {"restart": run.restart}}
    made = {
        "replicas": replicas(weights),
        "iterates": iterates(trajectories["discrete"]),
        "onset_window": onset_window(trajectories["discrete"]),
    }
    replays = {kind: made[kind] for kind in plan.replays(run, experiment)}
    for kind, replayed in replays.items():
        options["settings"] = run.settings | own.get(kind, {})
        artifact.write(replayed, folder / f"{kind}.nc", kind=kind, inputs=inputs, **options)
    store_comparison(root, run, trajectories, sharpness, replays)


def store_outputs(root: Path, run: Run, dataset: xr.Dataset) -> None:
    paths = {process: root / run.path / f"{process}.nc" for process in run.processes}
    loss, _ = objective.of_run(dataset, run.settings)
    artifact.write(
        outputs(loss, {name: artifact.read(path) for name, path in paths.items()}, 20),
        root / run.path / "outputs.nc",
        kind="outputs",
        root=root,
        settings=run.settings,
        inputs={"dataset": root / "dataset.nc"} | paths,
    )


def store_comparison(
    root: Path, run: Run, trajectories: dict, sharpness: dict, replays: dict
) -> None:
    folder = root / run.path
    compared = {kind: data for kind, data in replays.items() if kind != "onset_window"}
    inputs = {name: folder / f"{name}.nc" for name in (*trajectories, *compared)}
    inputs |= {f"sharpness/{name}": folder / f"sharpness/{name}.nc" for name in sharpness}
    artifact.write(
        compare(trajectories, sharpness, **compared, start=20, steps=60),
        folder / "comparison.nc",
        kind="comparison",
        root=root,
        settings=run.settings,
        inputs=inputs,
    )


def replicas(weights: np.ndarray) -> xr.Dataset:
    """Two walks from the same weights."""
    walks = [walk("stable", np.random.default_rng(k), weights, False) for k in (7, 8)]
    together = xr.concat([one[["weights"]] for one in walks], "replica")
    return together.assign_attrs(title="replicas", status="completed")


def iterates(discrete: xr.Dataset) -> xr.Dataset:
    """Iterates from step 40 on, predicted within a hundredth."""
    weights = 1.01 * discrete["iterate"].sel(snapshot=slice(40, None))
    lengths = discrete["rod_length"].sel(step=slice(40, None))
    attributes = {"title": "iterates", "restart": 40, "status": "completed"}
    return xr.Dataset({"weights": weights, "rod_length": lengths}, attrs=attributes)


def onset_window(discrete: xr.Dataset) -> xr.Dataset:
    """The snapshots of a run, as if they were steps around its oscillation onset."""
    steps = discrete[["iterate"]].rename(snapshot="step").drop_vars("step")
    return steps.assign_attrs(title="onset_window", onset=40.0, centre=40, status="completed")


def walk(process: str, rng: np.random.Generator, weights: np.ndarray, adaptive: bool) -> xr.Dataset:
    """Weights that wander off, and a loss that falls."""
    kept = np.arange(10 if process == "discrete" else 20, 61, 10)
    steps = np.arange(0 if process == "discrete" else 20, 61)
    path = weights + rng.normal(0, 0.03, (kept.size, weights.size)).cumsum(0)
    snapshots = {"weights": path.astype(np.float32)}
    if process == "discrete":
        snapshots["iterate"] = path.astype(np.float32)
    if adaptive:
        snapshots["second_moment"] = rng.uniform(0.5, 2, path.shape).astype(np.float32)
    level = np.exp(-steps / 60)
    series = {"loss": level}
    if process != "stable":
        series["rod_length"] = 1 - level
    if process == "rod":
        series |= {"loss_plus": level, "loss_minus": level}
    status = {"status": "completed"}
    return trajectory(
        steps, series, kept, snapshots, process=process, title=process, attributes=status
    )


def curvature(data: xr.Dataset, run: Run, hessian) -> xr.Dataset:
    """What `rodflow.stages.sharpness.sharpness` stores, from the whole Hessian."""
    rate = run.settings["optimizer"]["learning_rate"]
    limit = 2 / rate
    rows = []
    for at in data["snapshot"].values:
        here = data.sel(snapshot=at)
        matrix = np.asarray(hessian(here["weights"].values), np.float64)
        moment = here["second_moment"].values if "second_moment" in data else np.ones(len(matrix))
        scale = 1 / np.sqrt(np.sqrt(moment) + (1e-8 if "second_moment" in data else 0))
        values, vectors = np.linalg.eigh(scale[:, None] * matrix * scale)
        raw = np.linalg.eigvalsh(matrix)[-1]
        rows.append((values[:-4:-1], np.full(3, 1e-7), vectors[:, -1], raw, 1e-7))
    dims = [("eigenvalue_rank",), ("eigenvalue_rank",), ("parameter",), (), ()]
    names = ["eigenvalue", "residual", "eigenvector", "raw_sharpness", "raw_residual"]
    found = xr.Dataset(
        {
            name: (("snapshot", *dim), np.array(values, np.float32))
            for name, dim, values in zip(names, dims, zip(*rows, strict=True), strict=True)
        },
        {"snapshot": data["snapshot"]},
        {"threshold": limit, "status": "completed"},
    )
    ratio = found["eigenvalue"].isel(eigenvalue_rank=0) / limit
    return found.assign(sharpness_over_threshold=ratio)


def rewrite(path: Path, root: Path, change: Callable[[xr.Dataset], xr.Dataset], **other) -> None:
    """Forge an artifact: other content, with seal, digests and provenance that fit it."""
    data = artifact.read(path)
    inputs = {name: root / recorded["path"] for name, recorded in artifact.inputs(data).items()}
    options = {"settings": artifact.settings(data), "inputs": inputs, "status": "completed"} | other
    artifact.write(change(data), path, kind=data.attrs["kind"], root=root, **options)


def seal(path: Path) -> None:
    image = path.read_bytes()
    path.write_bytes(image + f"\nsha256:{hashlib.sha256(image).hexdigest()}\n".encode())
