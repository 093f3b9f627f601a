"""Measure the (preconditioned) sharpness along the stored trajectories of some runs, one output each."""

from collections.abc import Mapping

from rodflow.cli.jobs import JSON, PATH, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {
    "settings": JSON,
    "sharpness": JSON,
    "dataset": PATH,
    "trajectories": PATHS,
    "output": PATHS,
}
COMPUTES = True


def run(job: Job) -> None:
    """Follow the trajectories one after the other; those of a run share where the search begins."""
    from rodflow.linalg.warm_start import Eigenvectors
    from rodflow.stages.sharpness import sharpness
    from rodflow.store import artifact
    from rodflow.store.checkpoint import Checkpoint

    args = job.args
    dataset = artifact.read(args.dataset, kind="dataset")
    each = len(args.trajectories) // len(args.settings)
    scratch = job.scratch(args.output[0])
    # The discrete run of each comes first, and its flows stay near it.
    known: list[dict[int, Eigenvectors]] = [{} for _ in args.settings]
    for index, (trajectory, output) in enumerate(zip(args.trajectories, args.output, strict=True)):
        settings = args.settings[index // each]
        job.clock.restart(f"sharpness of {trajectory.stem}")
        with artifact.open_lazily(trajectory, kind="trajectory") as followed:
            data = sharpness(
                dataset,
                followed,
                settings,
                **args.sharpness,
                known=known[index // each],
                checkpoint=Checkpoint(scratch, str(index)),
            )
        job.store(
            data,
            output,
            kind="sharpness",
            settings=settings | {"sharpness": args.sharpness},
            inputs={"dataset": args.dataset, "trajectory": trajectory},
        )
    scratch.remove()
