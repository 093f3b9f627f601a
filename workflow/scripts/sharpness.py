"""Measure the (preconditioned) sharpness along the stored trajectories of some runs, one output each."""

import stage


def main() -> None:
    from rodflow.stages.sharpness import Eigenvectors, sharpness
    from rodflow.store import artifact
    from rodflow.store.checkpoint import Checkpoint

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        sharpness=stage.JSON,
        dataset=stage.PATH,
        trajectories=stage.PATHS,
        output=stage.PATHS,
    )
    stage.take_devices(args.settings[0])
    dataset = artifact.read(args.dataset, kind="dataset")
    each = len(args.trajectories) // len(args.settings)
    clock = stage.Clock("sharpness", args.settings[0]["steps"])
    scratch = stage.scratch(args, args.output[0], clock)
    # The discrete run of each comes first, and its flows stay near it.
    known: list[dict[int, Eigenvectors]] = [{} for _ in args.settings]
    for index, (trajectory, output) in enumerate(zip(args.trajectories, args.output, strict=True)):
        settings = args.settings[index // each]
        clock.restart(f"sharpness of {trajectory.stem}")
        with artifact.open_lazily(trajectory, kind="trajectory") as followed:
            data = sharpness(
                dataset,
                followed,
                settings,
                **args.sharpness,
                known=known[index // each],
                checkpoint=Checkpoint(scratch, str(index)),
            )
        stage.store(
            data,
            output,
            args,
            clock,
            kind="sharpness",
            settings=settings | {"sharpness": args.sharpness},
            inputs={"dataset": args.dataset, "trajectory": trajectory},
        )
    scratch.remove()


stage.run(main)
