"""Train: the discrete run of one optimizer."""

import stage

stage.single_threaded()
stage.compilation_cache()


def main() -> None:
    import jax

    from rodflow import artifact, stages

    args = stage.arguments(__doc__, settings=stage.JSON, dataset=stage.PATH)
    clock = stage.Clock("discrete", args.settings["steps"])
    data = stages.discrete_run(artifact.read(args.dataset, kind="dataset"), args.settings, clock)
    artifact.write(
        data,
        args.output,
        kind="trajectory",
        root=args.root,
        settings=args.settings,
        inputs={"dataset": args.dataset},
        wall_time=clock.elapsed,
        status=data.attrs["status"],
        device=jax.devices()[0].device_kind,
    )


stage.run(main)
