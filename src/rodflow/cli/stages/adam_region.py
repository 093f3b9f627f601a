"""The decays with which updates of Adam are bounded: along a path through the region and out of it."""

from collections.abc import Mapping

from rodflow.cli.jobs import PATH, Job, Option

OPTIONS: Mapping[str, Option] = {"dataset": PATH, "output": PATH}
COMPUTES = True


def run(job: Job) -> None:
    """Follow the path."""
    from rodflow.stages.adam_region import TRAINING, adam_region
    from rodflow.store import artifact

    args = job.args
    data = adam_region(artifact.read(args.dataset, kind="dataset"))
    inputs = {"dataset": args.dataset}
    job.store(data, args.output, kind="adam_region", settings=dict(TRAINING), inputs=inputs)
