"""Prepare the data set."""

from collections.abc import Mapping

from rodflow.cli.jobs import JSON, PATH, Job, Option

OPTIONS: Mapping[str, Option] = {"settings": JSON, "output": PATH}
COMPUTES = False


def run(job: Job) -> None:
    """Read and scale the images."""
    from rodflow.problem import labelled

    args = job.args
    data = labelled.load(args.settings)
    job.store(data, args.output, kind="dataset", settings=args.settings, computed=COMPUTES)
