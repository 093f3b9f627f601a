"""Train: discrete runs that share a program, of one settings and one output each."""

from collections.abc import Mapping

from rodflow.cli.jobs import JSON, PATH, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {"settings": JSON, "dataset": PATH, "output": PATHS}
COMPUTES = True


def run(job: Job) -> None:
    """Store each discrete run as soon as it is there."""
    from rodflow.stages.training import discrete_runs
    from rodflow.store import artifact

    args = job.args
    dataset = artifact.read(args.dataset, kind="dataset")
    scratch = job.scratch(args.output[0])
    runs = discrete_runs(dataset, args.settings, job.clock, scratch)
    for data, settings, output in zip(runs, args.settings, args.output, strict=True):
        inputs = {"dataset": args.dataset}
        job.store(data, output, kind="trajectory", settings=settings, inputs=inputs)
        job.clock.restart()
    scratch.remove()
