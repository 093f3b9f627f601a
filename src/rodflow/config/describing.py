"""A resolved experiment as a table for people."""

from collections.abc import Mapping, Sequence

from rodflow.config.experiment import Experiment
from rodflow.config.messages import show


def describe(experiment: Experiment) -> str:
    """The experiment as a table for people: what all runs share, then a line for each run."""
    shared = {
        "experiment": experiment.name,
        "dataset": _listed(experiment.dataset),
        "criterion": experiment.criterion,
        "replicas": str(experiment.replicas),
        "compute": _listed(experiment.compute),
        "sharpness": _listed(experiment.sharpness),
        "figures": ", ".join(experiment.figures),
    }
    heads = ("run", "start", "steps", "every", "restart", "flows", "hyperparameters")
    if experiment.unreached:
        shared["not at its threshold in time"] = ", ".join(experiment.unreached)
    table: list[tuple[str, ...]] = [heads]
    for run in experiment.all_runs:
        settings = run.settings
        shared[f"model {run.model}"] = _listed(settings["model"])
        hyperparameters = {k: v for k, v in settings["optimizer"].items() if k != "name"}
        if settings["batch_size"] is not None:
            hyperparameters["batch_size"] = settings["batch_size"]
        if settings["criterion"] != experiment.criterion:
            hyperparameters["criterion"] = settings["criterion"]
        numbers = (
            settings["start"],
            settings["steps"],
            settings["snapshots"]["every"],
            run.restart or "oscillation onset",
        )
        flows = " ".join(run.flows)
        table.append((run.path, *map(str, numbers), flows, _listed(hyperparameters)))
    return "\n".join([*_aligned(list(shared.items())), "", *_aligned(table)])


def _listed(settings: Mapping[str, object]) -> str:
    shown = {k: v if isinstance(v, str) else show(v) for k, v in settings.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
