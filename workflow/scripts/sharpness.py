"""Measure the (preconditioned) sharpness along a stored trajectory."""

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
        trajectory=stage.PATH,
    )
    clock = stage.Clock("sharpness", args.settings["steps"])
    data = stages.sharpness(
        artifact.read(args.dataset, kind="dataset"),
        artifact.read(args.trajectory, kind="trajectory"),
        args.settings,
        **args.sharpness,
    )
    artifact.write(
        data,
        args.output,
        kind="sharpness",
        root=args.root,
        settings=args.settings | {"sharpness": args.sharpness},
        inputs={"dataset": args.dataset, "trajectory": args.trajectory},
        wall_time=clock.elapsed,
        status=data.attrs["status"],
        device=jax.devices()[0].device_kind,
    )


stage.run(main)
