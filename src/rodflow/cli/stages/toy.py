"""Toy potentials: growth rates, two-cycles and a trajectory, of the discrete run and the flows."""

from collections.abc import Mapping

from rodflow.cli.jobs import PATH, Job, Option

OPTIONS: Mapping[str, Option] = {"output": PATH}
COMPUTES = True


def run(job: Job) -> None:
    """Work the potentials out."""
    from rodflow.stages import toy

    job.store(toy.toy_dataset(), job.args.output, kind="toy", settings={})
