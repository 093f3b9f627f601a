"""Measure the (preconditioned) sharpness along the stored trajectories of a run, one output each."""

import stage

stage.single_threaded()
stage.compilation_cache()


def main() -> None:
    import jax

    from rodflow import artifact, stages

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        sharpness=stage.JSON,
        dataset=stage.PATH,
        trajectories=stage.PATHS,
        output=stage.PATHS,
    )
    dataset = artifact.read(args.dataset, kind="dataset")
    known: dict[
        int, stages.Eigenvectors
    ] = {}  # the flows stay near the discrete run, which comes first
    for trajectory, output in zip(args.trajectories, args.output, strict=True):
        clock = stage.Clock(f"sharpness of {trajectory.stem}", args.settings["steps"])
        data = stages.sharpness(
            dataset,
            artifact.read(trajectory, kind="trajectory"),
            args.settings,
            **args.sharpness,
            known=known,
        )
        artifact.write(
            data,
            output,
            kind="sharpness",
            root=args.root,
            settings=args.settings | {"sharpness": args.sharpness},
            inputs={"dataset": args.dataset, "trajectory": trajectory},
            wall_time=clock.elapsed,
            status=data.attrs["status"],
            device=jax.devices()[0].device_kind,
        )


stage.run(main)
