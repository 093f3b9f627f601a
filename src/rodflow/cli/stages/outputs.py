"""Measure how far the flows of a run are from its iterates in function space."""

from collections.abc import Mapping
from contextlib import ExitStack

from rodflow.cli.jobs import JSON, PATH, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {
    "settings": JSON,
    "dataset": PATH,
    "trajectories": PATHS,
    "output": PATH,
}
COMPUTES = True


def run(job: Job) -> None:
    """Take the outputs at each snapshot of the trajectories, which are never in memory as a whole."""
    from rodflow.problem import objective
    from rodflow.stages.outputs import outputs
    from rodflow.store import artifact

    args = job.args
    loss, _ = objective.of_run(artifact.read(args.dataset, kind="dataset"), args.settings)
    paths = {path.stem: path for path in args.trajectories}
    job.clock.restart("outputs")
    with ExitStack() as opened:
        trajectories = {
            name: opened.enter_context(artifact.open_lazily(path, kind="trajectory"))
            for name, path in paths.items()
        }
        data = outputs(loss, trajectories, args.settings["start"])
    inputs = {"dataset": args.dataset} | paths
    job.store(data, args.output, kind="outputs", settings=args.settings, inputs=inputs)
