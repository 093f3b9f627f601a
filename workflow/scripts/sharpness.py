"""Measure the (preconditioned) sharpness along the stored trajectories of some runs, one output each."""

import stage


def main() -> None:
    from rodflow import artifact
    from rodflow.sharpness import Eigenvectors, sharpness

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
    # The discrete run of each comes first, and its flows stay near it.
    known: list[dict[int, Eigenvectors]] = [{} for _ in args.settings]
    for index, (trajectory, output) in enumerate(zip(args.trajectories, args.output, strict=True)):
        settings = args.settings[index // each]
        clock = stage.Clock(f"sharpness of {trajectory.stem}", settings["steps"])
        data = sharpness(
            dataset,
            artifact.read(trajectory, kind="trajectory"),
            settings,
            **args.sharpness,
            known=known[index // each],
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


stage.run(main)
