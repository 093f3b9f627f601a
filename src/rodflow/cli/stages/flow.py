"""Integrate a flow from the discrete run's states around the start."""

from collections.abc import Mapping

from rodflow.cli.jobs import JSON, PATH, Job, Option

OPTIONS: Mapping[str, Option] = {
    "settings": JSON,
    "dataset": PATH,
    "discrete": PATH,
    "flow": {"metavar": "NAME"},
    "output": PATH,
}
COMPUTES = True


def run(job: Job) -> None:
    """Store the flow as a trajectory."""
    from rodflow.stages.flow import flow_run
    from rodflow.store import artifact

    args = job.args
    job.clock.restart(args.flow)
    scratch = job.scratch(args.output)
    dataset = artifact.read(args.dataset, kind="dataset")
    with artifact.open_lazily(args.discrete, kind="trajectory") as discrete:
        data = flow_run(dataset, discrete, args.flow, args.settings, job.clock, scratch)
    inputs = {"dataset": args.dataset, "discrete": args.discrete}
    job.store(data, args.output, kind="trajectory", settings=args.settings, inputs=inputs)
    scratch.remove()
