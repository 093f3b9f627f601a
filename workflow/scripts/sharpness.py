"""Measure the (preconditioned) sharpness along the stored trajectories of a run, one output each."""

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
    dataset = artifact.read(args.dataset, kind="dataset")
    # The discrete run comes first, and the flows stay near it.
    known: dict[int, Eigenvectors] = {}
    for trajectory, output in zip(args.trajectories, args.output, strict=True):
        clock = stage.Clock(f"sharpness of {trajectory.stem}", args.settings["steps"])
        data = sharpness(
            dataset,
            artifact.read(trajectory, kind="trajectory"),
            args.settings,
            **args.sharpness,
            known=known,
        )
        inputs = {"dataset": args.dataset, "trajectory": trajectory}
        stage.store(
            data,
            output,
            args,
            clock,
            kind="sharpness",
            inputs=inputs,
            sharpness=args.sharpness,
        )


stage.run(main)
